/** Most downloads that are remembered: a few hundred bytes each. */
const MAX_DOWNLOADS = 10_000;

/**
 * Remembers which file each client was last given under an address. Some clients, curl and wget among them, ask for the rest
 * of a file without a word on which file they mean. Where the tag behind the address has moved meanwhile, the rest of another
 * file would be mixed with what they have; they get the whole then, and see by its status that it is not the rest.
 */
export class StartedDownloads {
  readonly #tags = new Map<string, string>();

  /** Notes that a client is given a file, whole or in part. */
  note(client: string, address: string, etag: string): void {
    const key = keyOf(client, address);
    this.#tags.delete(key);
    const oldest = this.#tags.keys().next();
    if (this.#tags.size >= MAX_DOWNLOADS && oldest.done !== true) this.#tags.delete(oldest.value);
    this.#tags.set(key, etag);
  }

  /** Whether a client may go on with a file: unless it is known to have begun with another one. */
  mayContinue(client: string, address: string, etag: string): boolean {
    const begun = this.#tags.get(keyOf(client, address));
    return begun === undefined || begun === etag;
  }
}

function keyOf(client: string, address: string): string {
  return `${client} ${address}`;
}
