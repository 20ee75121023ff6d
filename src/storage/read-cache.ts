import { lendChunk, ownChunk, releaseChunk } from '../streams/chunk.ts';

/** A chunk of a file that several readers share. */
interface CachedChunk {
  readonly reading: Promise<Uint8Array>;
  readonly bytes: number;
  /** Readers that hold it. */
  readers: number;
  /** Whether it is in the cache. */
  isCached: boolean;
}

/**
 * Caches chunks of files that have several readers. Fifty clients that fetch one image at the same time are close together in
 * it, so that each chunk is read and checked once, and is in memory once.
 */
export class ReadCache {
  readonly #maxBytes: number;
  /** The one that was read first is first. */
  readonly #chunks = new Map<string, CachedChunk>();
  #bytes = 0;

  /** @param maxBytes bound of the cache; the chunks that were read first are dropped first */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /**
   * Returns a chunk. Its memory is freed after it has left the cache and all its readers have released it.
   *
   * @param key file, start and end: equal keys mean equal bytes
   * @param bytes length of the chunk
   * @param read reads it on a miss; a failure is not cached
   * @returns this reader's view, to be released with {@link releaseChunk}
   * @throws what `read` throws
   */
  async get(key: string, bytes: number, read: () => Promise<Uint8Array>): Promise<Uint8Array> {
    const chunk = this.#chunks.get(key) ?? this.#begin(key, bytes, read);
    chunk.readers += 1;
    const whole = await chunk.reading;
    return lendChunk(whole.subarray(), () => {
      chunk.readers -= 1;
      if (chunk.readers === 0 && !chunk.isCached) releaseChunk(whole);
    });
  }

  /** Drops the chunks of a file, by the start of their keys. */
  forgetAll(prefix: string): void {
    for (const key of this.#chunks.keys()) if (key.startsWith(prefix)) this.#forget(key);
  }

  #begin(key: string, bytes: number, read: () => Promise<Uint8Array>): CachedChunk {
    const chunk = { reading: read().then(ownChunk), bytes, readers: 0, isCached: true };
    this.#chunks.set(key, chunk);
    this.#bytes += bytes;
    for (const [oldest] of this.#chunks) {
      if (this.#bytes <= this.#maxBytes) break;
      this.#forget(oldest);
    }
    chunk.reading.catch(() => this.#forget(key));
    return chunk;
  }

  #forget(key: string): void {
    const chunk = this.#chunks.get(key);
    if (chunk === undefined) return;
    this.#chunks.delete(key);
    this.#bytes -= chunk.bytes;
    chunk.isCached = false;
    if (chunk.readers === 0) chunk.reading.then(releaseChunk, () => undefined);
  }
}
