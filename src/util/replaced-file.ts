/** Files that are written beside their path and then renamed. */

import { randomBytes } from 'node:crypto';
import { constants, open as openDescriptor } from 'node:fs';
import { access, type FileHandle, open, readlink, realpath, rename, rm, stat } from 'node:fs/promises';
import { Socket } from 'node:net';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import { unlessAborted } from './map-concurrently.ts';
import { systemErrorCode } from './system-error.ts';

/** Random bytes in the name of a file that is being written. */
const RANDOM_BYTES = 8;

/** Most links from one to the next, as in Linux. */
const MAX_LINKS = 40;

/** Bits of a file's mode that its successor gets. Those for other users' rights (setuid) are for programs. */
const PERMISSIONS = 0o777;

/** Milliseconds between two looks for the reader of a pipe. */
const READER_INTERVAL_MS = 50;

/** Where a file is written. */
export interface FileTarget {
  /** Absolute, without symbolic links. */
  readonly path: string;
  /** A device or a pipe stays what it is, and takes bytes only in order. */
  readonly kind: 'file' | 'device' | 'pipe';
  /** The file that is replaced. */
  readonly older: { readonly mode: number; readonly uid: number; readonly gid: number } | undefined;
}

/**
 * Finds out where a file is written, and whether this process may write there. Nothing is changed.
 *
 * @param path its last part may be missing; a symbolic link is followed, also to a file that is missing
 * @throws the system's error: `ENOENT` for a folder that is missing, `EISDIR` for a folder in the file's place, `EACCES`, `EROFS`
 */
export async function findTarget(path: string): Promise<FileTarget> {
  const found = await stat(path).catch((error: unknown) => {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (found?.isDirectory() === true || (found === undefined && path.endsWith('/'))) {
    throw Object.assign(new Error('it is a folder'), { code: 'EISDIR' });
  }
  if (found !== undefined) await access(path, constants.W_OK);
  if (found !== undefined && !found.isFile()) {
    return { path: await realpath(path), kind: found.isFIFO() ? 'pipe' : 'device', older: undefined };
  }
  const target = await followLinks(path);
  await access(dirname(target), constants.W_OK | constants.X_OK);
  return { path: target, kind: 'file', older: found };
}

/** Follows links at the end of a path. `realpath` refuses one whose target is missing. */
async function followLinks(path: string): Promise<string> {
  let at = path;
  for (let links = 0; links <= MAX_LINKS; links += 1) {
    const folder = await realpath(dirname(at));
    const here = join(folder, basename(at));
    const target = await readlink(here).catch((error: unknown) => {
      const code = systemErrorCode(error);
      if (code === 'EINVAL' || code === 'ENOENT') return undefined;
      throw error;
    });
    if (target === undefined) return here;
    // Not normalised: `..` behind a link to a folder is not the folder that the text says.
    at = isAbsolute(target) ? target : `${folder}/${target}`;
  }
  throw Object.assign(new Error('too many symbolic links'), { code: 'ELOOP' });
}

/**
 * A file that is written beside its path and then renamed. So the path never has a part of it, and an existing file is replaced
 * only by a whole one, which gets its mode and, where this process may do that, its owner. A symbolic link stays, and its target
 * is replaced. A device or a pipe is written directly, in order.
 *
 * All errors are those of the system.
 */
export class ReplacedFile implements AsyncDisposable {
  /** Absolute path of the file, with symbolic links resolved. */
  readonly path: string;
  /** Whether bytes can be written at any position; a device or a pipe takes them only in order. */
  readonly isSeekable: boolean;
  readonly #output: FileHandle | Pipe;
  /** Path under which a regular file is written. */
  readonly #partial: string | undefined;
  #isOpen = true;
  #isDone = false;

  private constructor(path: string, output: FileHandle | Pipe, partial?: string) {
    this.path = path;
    this.isSeekable = partial !== undefined;
    this.#output = output;
    this.#partial = partial;
  }

  /**
   * Creates the file beside a path.
   *
   * @param signal ends the wait for the reader of a pipe
   * @throws what {@link findTarget} throws; the signal's reason
   */
  static async create(path: string, signal?: AbortSignal): Promise<ReplacedFile> {
    const target = await findTarget(path);
    if (target.kind === 'pipe') return new ReplacedFile(target.path, await Pipe.open(target.path, signal));
    if (target.kind === 'device') return new ReplacedFile(target.path, await open(target.path, 'w'));
    const { older } = target;
    const partial = `${target.path}.${randomBytes(RANDOM_BYTES).toString('hex')}.partial`;
    const handle = await open(partial, 'wx', older && older.mode & PERMISSIONS);
    const file = new ReplacedFile(target.path, handle, partial);
    if (older === undefined) return file;
    try {
      // Root may give the file to its owner; others may not, and own the new file then.
      await handle.chown(older.uid, older.gid).catch(() => undefined);
      await handle.chmod(older.mode & PERMISSIONS);
      return file;
    } catch (error) {
      await file[Symbol.asyncDispose]();
      throw error;
    }
  }

  /**
   * Writes bytes.
   *
   * @param position `undefined` for behind the last write without a position
   */
  async write(bytes: Uint8Array, position?: number): Promise<void> {
    if (this.#output instanceof Pipe) return await this.#output.write(bytes);
    for (let at = 0; at < bytes.byteLength; ) {
      const where = position === undefined ? null : position + at;
      const { bytesWritten } = await this.#output.write(bytes, at, bytes.byteLength - at, where);
      at += bytesWritten;
    }
  }

  /** Removes all bytes that were written at a position; only for a file that takes such bytes. */
  async restart(): Promise<void> {
    if (this.#output instanceof Pipe) throw new Error('a pipe cannot begin again');
    await this.#output.truncate(0);
  }

  /** Ends the file and gives it its name. */
  async finish(): Promise<void> {
    if (this.#output instanceof Pipe) await this.#output.end();
    await this.#close();
    if (this.#partial !== undefined) await rename(this.#partial, this.path);
    this.#isDone = true;
  }

  /** Removes the file unless it is finished. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isDone) return;
    await this.#close().catch(() => undefined);
    if (this.#partial !== undefined) await rm(this.#partial, { force: true });
  }

  async #close(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    await this.#output.close();
  }
}

/**
 * A named pipe. A thread that waits for its reader, in `open` or `write`, cannot be stopped, and Node.js does not end before it. So
 * the pipe is opened without waiting, and written as sockets are.
 */
class Pipe {
  readonly #socket: Socket;
  readonly #signal: AbortSignal;

  private constructor(socket: Socket, signal: AbortSignal) {
    this.#socket = socket.on('error', () => undefined);
    this.#signal = signal;
  }

  /** Opens a pipe as soon as it has a reader. */
  static async open(path: string, signal = new AbortController().signal): Promise<Pipe> {
    for (;;) {
      signal.throwIfAborted();
      try {
        const fd = await promisify(openDescriptor)(path, constants.O_WRONLY | constants.O_NONBLOCK);
        return new Pipe(new Socket({ fd, readable: false, writable: true }), signal);
      } catch (error) {
        // No reader yet.
        if (systemErrorCode(error) !== 'ENXIO') throw error;
      }
      await unlessAborted(setTimeout(READER_INTERVAL_MS), signal);
    }
  }

  async write(bytes: Uint8Array): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#socket.write(bytes, (error) => (error ? reject(error) : resolve()));
    await unlessAborted(promise, this.#signal);
  }

  async end(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#socket.end(resolve);
    await unlessAborted(promise, this.#signal);
  }

  async close(): Promise<void> {
    this.#socket.destroy();
  }
}
