import type { FileHandle } from 'node:fs/promises';
import { PassthroughError } from '../errors.ts';
import { ownPiece } from '../pieces.ts';
import { instruments } from '../telemetry/metrics.ts';
import { storageError } from './storage-error.ts';

/**
 * Bytes that one read takes: few enough to hold several at once, enough that the cost of a call does not count. Reads of
 * 64 KiB reach a third of this speed.
 */
const READ_BYTES = 512 * 1024;

/** A file without a name: written once from start to end, then read as often as wanted. Its bytes go when it is closed. */
export class TemporaryFile {
  readonly #handle: FileHandle;
  #size = 0;
  /** Bytes of it that count as lying in the workspace. */
  #held = 0;

  /** @param handle open for reading and writing, empty; belongs to this object from now on */
  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  /** Bytes written so far. */
  get size(): number {
    return this.#size;
  }

  /**
   * Appends bytes.
   *
   * @throws PassthroughError `NO_SPACE` when the disk is full, `INTERNAL`
   */
  async write(bytes: Uint8Array): Promise<void> {
    try {
      for (let done = 0; done < bytes.byteLength; ) {
        const { bytesWritten } = await this.#handle.write(bytes, done, bytes.byteLength - done, this.#size);
        done += bytesWritten;
        this.#size += bytesWritten;
        this.#held += bytesWritten;
        instruments().workspaceUsage.add(bytesWritten);
      }
    } catch (error) {
      throw storageError(error);
    }
  }

  /**
   * Reads the file, or a part of it. Each piece is a buffer of its own, free to be kept, or to be given back
   * with {@link release}.
   *
   * @param range bytes from `start` up to, not including, `end`; the whole unless said
   * @throws PassthroughError `INTERNAL` when the disk fails
   */
  async *read({ start, end } = { start: 0, end: this.#size }): AsyncGenerator<Uint8Array, void, undefined> {
    for (let position = start; position < end; ) {
      const wanted = Math.min(READ_BYTES, end - position);
      const buffer = Buffer.allocUnsafeSlow(wanted);
      const { bytesRead } = await this.#handle.read(buffer, 0, wanted, position).catch((error: unknown) => {
        throw storageError(error);
      });
      if (bytesRead === 0) {
        throw new PassthroughError(
          'INTERNAL',
          `Cannot read temporary file: it ends at ${position} of ${this.#size} bytes`,
        );
      }
      position += bytesRead;
      yield ownPiece(buffer.subarray(0, bytesRead));
    }
  }

  /** Frees the bytes. Closing twice does nothing. */
  async close(): Promise<void> {
    await this.#handle.close();
    instruments().workspaceUsage.add(-this.#held);
    this.#held = 0;
  }
}
