import type { IncomingMessage } from 'node:http';
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

  /**
   * Records that a client is given a file, whole or in part.
   *
   * @returns whether a `Range` without `If-Range` may be answered in part: unless this client began with another file
   */
  start({ socket, url = '', method, headers }: IncomingMessage, etag: string): boolean {
    const key = `${socket.remoteAddress ?? ''} ${url}`;
    const begun = this.#etags.get(key);
    const mayContinue = begun === undefined || begun === etag;
    // A client that asked for the rest of another file still has its beginning, and may ask for that rest again.
    const isNew = headers.range === undefined;
    if (method === 'GET' && (isNew || mayContinue)) this.#etags.set(key, etag);
    return mayContinue;
  }
}
