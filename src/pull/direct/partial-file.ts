import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { getSystemErrorMessage } from 'node:util';
import { PassthroughError } from '../../errors.ts';
import { quoted } from '../../util/printable.ts';
import { type FileTarget, findTarget, ReplacedFile } from '../../util/replaced-file.ts';
import { systemErrorCode } from '../../util/system-error.ts';
import { formatBytes } from '../../util/text/format-bytes.ts';

/** System errors that say "the disk, or this user's share of it, is full". */
const FULL = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/** Longest path in an error, in characters: the longest of Linux. */
const MAX_PATH_LENGTH = 4096;

/**
 * Checks that a file can be written to a path, before anything is fetched for it. Nothing is changed.
 *
 * @returns what is there
 * @throws PassthroughError `CANNOT_WRITE`
 */
export async function checkTarget(path: string): Promise<FileTarget> {
  return await named(path, undefined, () => findTarget(path));
}

/** A {@link ReplacedFile} whose errors name it. */
export class PartialFile implements AsyncDisposable {
  /** The path as it was given, for messages. */
  readonly #name: string;
  readonly #file: ReplacedFile;
  readonly #signal: AbortSignal | undefined;

  private constructor(name: string, file: ReplacedFile, signal: AbortSignal | undefined) {
    this.#name = name;
    this.#file = file;
    this.#signal = signal;
  }

  /**
   * Creates the file beside a path.
   *
   * @param signal stops what waits for the reader of a pipe
   * @throws PassthroughError `CANNOT_WRITE`, `NO_SPACE`; the signal's reason
   */
  static async create(path: string, signal?: AbortSignal): Promise<PartialFile> {
    const file = await named(path, signal, () => ReplacedFile.create(path, signal));
    return new PartialFile(path, file, signal);
  }

  /** Absolute path of the file, with symbolic links resolved. */
  get path(): string {
    return this.#file.path;
  }

  /** Whether bytes can be written at any position; a device or a pipe takes them only in order. */
  get isSeekable(): boolean {
    return this.#file.isSeekable;
  }

  /**
   * Checks that the disk has room for the file.
   *
   * @param least bytes that it will have at least
   * @throws PassthroughError `NO_SPACE`
   */
  async checkSpace(least: number): Promise<void> {
    if (!this.isSeekable) return;
    const disk = await statfs(dirname(this.path)).catch(() => undefined);
    if (disk === undefined) return;
    const free = (process.geteuid?.() === 0 ? disk.bfree : disk.bavail) * disk.bsize;
    if (free >= least) return;
    throw new PassthroughError(
      'NO_SPACE',
      `Cannot write ${quoted(this.#name, MAX_PATH_LENGTH)}: it needs at least ${formatBytes(least)}, and ${formatBytes(free)} are free`,
    );
  }

  /**
   * Writes bytes.
   *
   * @param position `undefined` for behind the last write without a position
   * @throws PassthroughError `CANNOT_WRITE`, `NO_SPACE`; the signal's reason
   */
  async write(bytes: Uint8Array, position?: number): Promise<void> {
    await named(this.#name, this.#signal, () => this.#file.write(bytes, position));
  }

  /**
   * Removes all bytes that were written at a position. None may have been written without one.
   *
   * @throws PassthroughError `CANNOT_WRITE`
   */
  async restart(): Promise<void> {
    await named(this.#name, this.#signal, () => this.#file.restart());
  }

  /**
   * Ends the file and gives it its name.
   *
   * @throws PassthroughError `CANNOT_WRITE`, `NO_SPACE`; the signal's reason
   */
  async finish(): Promise<void> {
    await named(this.#name, this.#signal, () => this.#file.finish());
  }

  /** Removes the file unless it is finished. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file[Symbol.asyncDispose]();
  }
}

/** Runs an action of the file system; its errors name the file. */
async function named<T>(path: string, signal: AbortSignal | undefined, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw signal?.aborted === true && error === signal.reason ? error : writeError(path, error);
  }
}

function writeError(path: string, error: unknown): PassthroughError {
  const code = systemErrorCode(error) ?? '';
  const what = `Cannot write ${quoted(path, MAX_PATH_LENGTH)}`;
  if (FULL.has(code)) return new PassthroughError('NO_SPACE', `${what}: the disk is full`, { cause: error });
  const hasNumber = error instanceof Error && 'errno' in error && typeof error.errno === 'number';
  const message = error instanceof Error ? error.message : String(error);
  const reason = hasNumber ? `${getSystemErrorMessage(Number(error.errno))} (${code})` : message;
  return new PassthroughError('CANNOT_WRITE', `${what}: ${reason}`, { reason, cause: error });
}
