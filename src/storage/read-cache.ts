import { lendChunk, ownChunk, releaseChunk } from '../streams/chunk.ts';

/** A piece of a file that several read. */
interface CachedChunk {
  readonly reading: Promise<Uint8Array>;
  readonly bytes: number;
  /** Readers that have it. */
  readers: number;
  /** Whether those who come may still have it. */
  isKept: boolean;
}

/**
 * Pieces of files that several read at once. Who fetches an image together with fifty others is never far from them, so that
 * what one of them has read can serve all: it is read and checked once, and is once in memory.
 */
export class ReadCache {
  readonly #maxBytes: number;
  /** In the order in which they were read. */
  readonly #pieces = new Map<string, CachedChunk>();
  #bytes = 0;

  /** @param maxBytes most bytes that are kept; those that were read first go first */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /**
   * Gives a piece. Its memory goes once it is not kept any more and all who have it have given it back.
   *
   * @param key file, beginning and length: equal keys mean equal bytes
   * @param read reads it where it is not here; what fails is not kept
   * @returns a view of this reader's own, to be given back with `release`
   */
  async get(key: string, bytes: number, read: () => Promise<Uint8Array>): Promise<Uint8Array> {
    const piece = this.#pieces.get(key) ?? this.#begin(key, bytes, read);
    piece.readers += 1;
    const whole = await piece.reading;
    return lendChunk(whole.subarray(), () => {
      piece.readers -= 1;
      if (piece.readers === 0 && !piece.isKept) releaseChunk(whole);
    });
  }

  /** Forgets all pieces of a file that nobody, or only one, reads any more. */
  forgetAll(prefix: string): void {
    for (const key of this.#pieces.keys()) if (key.startsWith(prefix)) this.#forget(key);
  }

  #begin(key: string, bytes: number, read: () => Promise<Uint8Array>): CachedChunk {
    const piece = { reading: read().then(ownChunk), bytes, readers: 0, isKept: true };
    this.#pieces.set(key, piece);
    this.#bytes += bytes;
    for (const [oldest] of this.#pieces) {
      if (this.#bytes <= this.#maxBytes) break;
      this.#forget(oldest);
    }
    piece.reading.catch(() => this.#forget(key));
    return piece;
  }

  #forget(key: string): void {
    const piece = this.#pieces.get(key);
    if (piece === undefined) return;
    this.#pieces.delete(key);
    this.#bytes -= piece.bytes;
    piece.isKept = false;
    if (piece.readers === 0) piece.reading.then(releaseChunk, () => undefined);
  }
}
