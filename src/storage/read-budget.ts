/** Least and most bytes of one read: more is no faster. */
const MIN_READ_BYTES = 64 * 1024;
const MAX_READ_BYTES = 1024 * 1024;

/** Most bytes of a piece that several readers of one file may have. */
const MAX_SHARED_BYTES = 512 * 1024;

/** Pieces that a reader has at once: one that is sent, and one that is read. */
const PIECES_OF_A_READER = 2;

/** Shares out the memory of those who read files: slow clients by the hundred must not hold a megabyte each. */
export class ReadBudget {
  readonly #maxBytes: number;
  #readers = 0;

  /** @param maxBytes that all readers together may have, as far as the least read lets them */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Counts a reader more. */
  enter(): void {
    this.#readers += 1;
  }

  /** Counts a reader less. */
  leave(): void {
    this.#readers -= 1;
  }

  /** Whether there is so much that a reader may have its next piece read before it needs it. */
  get isAmple(): boolean {
    return this.readBytes > MIN_READ_BYTES;
  }

  /** Bytes of a reader's next read: a power of two, so that pieces of several readers of one file can be the same. */
  get readBytes(): number {
    let bytes = MAX_READ_BYTES;
    const all = PIECES_OF_A_READER * this.#readers;
    while (bytes > MIN_READ_BYTES && bytes * all > this.#maxBytes) bytes /= 2;
    return bytes;
  }

  /**
   * Bytes of the next read of one who reads a file together with others. They mostly have the same pieces, and none has another
   * one read ahead, so that theirs may be larger: each piece costs every one of them a turn.
   */
  get sharedBytes(): number {
    return this.isAmple ? Math.min(MAX_SHARED_BYTES, 4 * this.readBytes) : MIN_READ_BYTES;
  }
}
