import { type Content, type ContentFile, contentOfBytes, contentOfFile, MAX_SMALL_BYTES } from './content.ts';

/** A file that is being written, for one holder. */
export interface SpoolFile {
  /** Appends bytes. The caller waits for the promise before the next call, and does not change the bytes until then. */
  write(bytes: Uint8Array): Promise<void>;
  /** Ends the file; it is removed with its release. */
  finish(): Promise<ContentFile>;
  /** Removes an unfinished file. */
  abandon(): Promise<void>;
}

/** First buffer of a spool, in bytes: most manifests fit. */
const FIRST_BUFFER_BYTES = 4 * 1024;

/**
 * Collects the bytes of a document as they come: in memory while they are few, else in a file. The sender may take minutes, so
 * no more memory than one buffer is held meanwhile. A buffer also joins what comes in tiny chunks.
 */
export class Spool {
  readonly #openFile: () => Promise<SpoolFile>;
  #buffer = Buffer.allocUnsafeSlow(FIRST_BUFFER_BYTES);
  /** Bytes in the buffer. */
  #length = 0;
  #file: SpoolFile | undefined;

  /** @param openFile creates the file when memory does not suffice */
  constructor(openFile: () => Promise<SpoolFile>) {
    this.#openFile = openFile;
  }

  /**
   * Appends bytes.
   *
   * @throws what creating and writing the file throws
   */
  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.byteLength; ) {
      if (this.#length === MAX_SMALL_BYTES) await this.#flush();
      const part = bytes.subarray(at, at + MAX_SMALL_BYTES - this.#length);
      this.#grow(this.#length + part.byteLength);
      this.#buffer.set(part, this.#length);
      this.#length += part.byteLength;
      at += part.byteLength;
    }
  }

  /**
   * Ends the document.
   *
   * @returns its bytes, which the caller must release
   * @throws what creating and writing the file throws
   */
  async finish(): Promise<Content> {
    if (this.#file === undefined) return contentOfBytes(this.#takeBuffer());
    await this.#flush();
    return contentOfFile(await this.#file.finish());
  }

  /** Drops everything. */
  async abandon(): Promise<void> {
    this.#length = 0;
    await this.#file?.abandon();
  }

  /** The bytes of the buffer, without the room behind them. */
  #takeBuffer(): Uint8Array {
    if (this.#length === this.#buffer.byteLength) return this.#buffer;
    // Not from Node's pool: a small document that is kept would keep 64 KB of it.
    const bytes = Buffer.allocUnsafeSlow(this.#length);
    bytes.set(this.#buffer.subarray(0, this.#length));
    return bytes;
  }

  #grow(bytes: number): void {
    let size = this.#buffer.byteLength;
    if (bytes <= size) return;
    while (size < bytes) size *= 2;
    const larger = Buffer.allocUnsafeSlow(size);
    larger.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = larger;
  }

  async #flush(): Promise<void> {
    this.#file ??= await this.#openFile();
    await this.#file.write(this.#buffer.subarray(0, this.#length));
    this.#length = 0;
  }
}
