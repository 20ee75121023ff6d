/** Moves forward through the bytes of an archive. */
export interface Cursor {
  /** Offset of the next byte. */
  readonly position: number;
  /** A copy of the next `length` bytes; fewer only at the end of the source. */
  take(length: number): Promise<Uint8Array>;
  /** Passes over `length` bytes. Returns how many there were: fewer only at the end of the source. */
  skip(length: number): Promise<number>;
  /** The next `length` bytes in chunks that are valid until the next one is asked for; fewer only at the end of the source. */
  chunks(length: number): AsyncGenerator<Uint8Array, void, undefined>;
}

/** Moves through a stream. Holds one chunk, of which it gives out parts, until it asks for the next. */
export class StreamCursor implements Cursor {
  readonly #source: AsyncIterator<Uint8Array>;
  #chunk: Uint8Array = new Uint8Array();
  #position = 0;

  /** @param source its chunks are taken over; {@link close} ends it */
  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Offset of the next byte. */
  get position(): number {
    return this.#position;
  }

  /** @throws what the source throws */
  async take(length: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for (let left = length; left > 0; ) {
      const part = await this.#next(left);
      if (part === undefined) break;
      parts.push(Uint8Array.prototype.slice.call(part));
      left -= part.byteLength;
    }
    return Buffer.concat(parts);
  }

  /** @throws what the source throws */
  async skip(length: number): Promise<number> {
    let left = length;
    while (left > 0) {
      const part = await this.#next(left);
      if (part === undefined) break;
      left -= part.byteLength;
    }
    return length - left;
  }

  /** @throws what the source throws */
  async *chunks(length: number): AsyncGenerator<Uint8Array, void, undefined> {
    for (let left = length; left > 0; ) {
      const part = await this.#next(left);
      if (part === undefined) return;
      left -= part.byteLength;
      yield part;
    }
  }

  /** Closes the source. */
  async close(): Promise<void> {
    await this.#source.return?.();
  }

  /** At most `limit` bytes; `undefined` at the end. */
  async #next(limit: number): Promise<Uint8Array | undefined> {
    while (this.#chunk.byteLength === 0) {
      const next = await this.#source.next();
      if (next.done === true) return undefined;
      this.#chunk = next.value;
    }
    const part = this.#chunk.subarray(0, limit);
    this.#chunk = this.#chunk.subarray(part.byteLength);
    this.#position += part.byteLength;
    return part;
  }
}
