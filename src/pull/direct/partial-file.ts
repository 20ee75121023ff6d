import { randomBytes } from 'node:crypto';
import { type FileHandle, open, realpath, rename, rm, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { getSystemErrorMessage } from 'node:util';
import { PassthroughError } from '../../errors.ts';
import { quoted } from '../../util/printable.ts';
import { systemErrorCode } from '../../util/system-error.ts';

/** Random bytes in the name of a file that is being written. */
const RANDOM_BYTES = 8;

/** System errors that say "the disk, or this user's share of it, is full". */
const FULL = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/**
 * A file that is written beside its path and then renamed. So the path never has a part of it, and an existing file is replaced
 * only by a whole one. A symbolic link stays, and its target is replaced. A device or a pipe is written directly, in order.
 */
export class PartialFile implements AsyncDisposable {
  /** Absolute path of the file, with symbolic links resolved. */
  readonly path: string;
  /** Whether bytes can be written at any position; a device or a pipe takes them only in order. */
  readonly isSeekable: boolean;
  /** The path as it was given, for messages. */
  readonly #name: string;
  readonly #partial: string;
  readonly #file: FileHandle;
  #isOpen = true;
  #isDone = false;

  private constructor(name: string, path: string, partial: string, file: FileHandle) {
    this.#name = name;
    this.path = resolve(path);
    this.isSeekable = path !== partial;
    this.#partial = partial;
    this.#file = file;
  }

  /**
   * Creates the file beside a path.
   *
   * @throws PassthroughError `CANNOT_WRITE`, `NO_SPACE`
   */
  static async create(path: string): Promise<PartialFile> {
    try {
      const found = await stat(path).catch(() => undefined);
      if (found?.isDirectory() === true) throw cannotWrite(path, 'it is a folder');
      if (found !== undefined && !found.isFile())
        return new PartialFile(path, path, path, await open(path, 'w'));
      const target = await realpath(path).catch((error: unknown) => {
        if (systemErrorCode(error) === 'ENOENT') return path;
        throw error;
      });
      const partial = `${target}.${randomBytes(RANDOM_BYTES).toString('hex')}.partial`;
      return new PartialFile(path, target, partial, await open(partial, 'wx'));
    } catch (error) {
      throw writeError(path, error);
    }
  }

  /**
   * Writes bytes.
   *
   * @param position `undefined` for behind the last write without a position
   * @throws PassthroughError `CANNOT_WRITE`, `NO_SPACE`
   */
  async write(bytes: Uint8Array, position?: number): Promise<void> {
    try {
      for (let at = 0; at < bytes.byteLength; ) {
        const where = position === undefined ? null : position + at;
        const { bytesWritten } = await this.#file.write(bytes, at, bytes.byteLength - at, where);
        at += bytesWritten;
      }
    } catch (error) {
      throw writeError(this.#name, error);
    }
  }

  /**
   * Ends the file and gives it its name.
   *
   * @throws PassthroughError `CANNOT_WRITE`, `NO_SPACE`
   */
  async finish(): Promise<void> {
    try {
      await this.#close();
      if (this.isSeekable) await rename(this.#partial, this.path);
      this.#isDone = true;
    } catch (error) {
      throw writeError(this.#name, error);
    }
  }

  /** Removes the file unless it is finished. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isDone) return;
    await this.#close().catch(() => undefined);
    if (this.isSeekable) await rm(this.#partial, { force: true });
  }

  async #close(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    await this.#file.close();
  }
}

function writeError(path: string, error: unknown): PassthroughError {
  if (error instanceof PassthroughError) return error;
  const code = systemErrorCode(error) ?? '';
  if (FULL.has(code)) {
    return new PassthroughError('NO_SPACE', `Cannot write ${quoted(path)}: the disk is full`, {
      cause: error,
    });
  }
  const hasNumber = error instanceof Error && 'errno' in error && typeof error.errno === 'number';
  const reason = hasNumber ? `${getSystemErrorMessage(Number(error.errno))} (${code})` : String(error);
  return cannotWrite(path, reason, error);
}

function cannotWrite(path: string, reason: string, cause?: unknown): PassthroughError {
  return new PassthroughError('CANNOT_WRITE', `Cannot write ${quoted(path)}: ${reason}`, {
    reason,
    ...(cause !== undefined && { cause }),
  });
}
