import { BoundedMap } from '../../util/bounded-map.ts';

/** Most downloads that are remembered: each entry takes a few hundred bytes. */
const MAX_DOWNLOADS = 10_000;

/**
 * Remembers which file each client address was last given under a URL. curl and wget ask for the rest of a file by `Range` alone,
 * without saying which file. If the tag has moved meanwhile, the rest of the new file would be appended to the beginning of the
 * old one. Such a client gets the whole file with 200, which shows that it is not the rest.
 */
export class StartedDownloads {
  readonly #etags = new BoundedMap<string, string>({ maxCost: MAX_DOWNLOADS });

  /** Records that a client is given a file, whole or in part. */
  record(client: string, url: string, etag: string): void {
    this.#etags.set(keyOf(client, url), etag);
  }

  /** Whether a `Range` without `If-Range` may be answered in part: unless the client is known to have begun with another file. */
  mayContinue(client: string, url: string, etag: string): boolean {
    const begun = this.#etags.get(keyOf(client, url));
    return begun === undefined || begun === etag;
  }
}

function keyOf(client: string, url: string): string {
  return `${client} ${url}`;
}
