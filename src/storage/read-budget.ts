/** Bounds of one read, in bytes. Above the upper bound a read is no faster. */
const MIN_READ_BYTES = 64 * 1024;
const MAX_READ_BYTES = 1024 * 1024;

/** Bytes of the largest chunk that readers of one file share. */
const MAX_SHARED_BYTES = 512 * 1024;

/** Chunks that a reader holds at once: one is sent while the next is read. */
const CHUNKS_OF_A_READER = 2;

/** Divides memory among the readers of files, so that hundreds of slow clients do not hold a megabyte each. */
export class ReadBudget {
  readonly #maxBytes: number;
  #readers = 0;

  /** @param maxBytes that all readers together may hold, unless there are too many for the smallest read */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Adds a reader. */
  enter(): void {
    this.#readers += 1;
  }

  /** Removes a reader. */
  leave(): void {
    this.#readers -= 1;
  }

  /** Whether there is enough memory for a reader to read its next chunk ahead. */
  get isAmple(): boolean {
    return this.readBytes > MIN_READ_BYTES;
  }

  /** Bytes of a reader's next read: a power of two, so that several readers of one file can share chunks. */
  get readBytes(): number {
    let bytes = MAX_READ_BYTES;
    const all = CHUNKS_OF_A_READER * this.#readers;
    while (bytes > MIN_READ_BYTES && bytes * all > this.#maxBytes) bytes /= 2;
    return bytes;
  }

  /**
   * Bytes of the next read of a file that has several readers. They share most chunks and do not read ahead, so their chunks may
   * be larger. A larger chunk saves each reader turns of the event loop.
   */
  get sharedBytes(): number {
    return this.isAmple ? Math.min(MAX_SHARED_BYTES, 4 * this.readBytes) : MIN_READ_BYTES;
  }
}
