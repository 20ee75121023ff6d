import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { type FileHandle, lstat, open, rename, rm } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { systemErrorCode } from '../util/system-error.ts';

/** Name of the lock in its folder. */
const NAME = 'lock';

/** Attempts to replace the lock of a dead process: other processes may be doing the same. */
const ATTEMPTS = 3;

/** What a held lock consists of. */
interface Held {
  readonly server: Server;
  /** Keeps the short path of the socket valid. */
  readonly folder: FileHandle;
  /** Path of the socket, by the name of the folder. */
  readonly path: string;
  /** Device and inode of the socket. */
  readonly identity: string | undefined;
}

/**
 * Marks a folder as used by a running process: a socket that the process listens on. After a `kill -9` nothing listens any
 * more, so the next process can see that the lock is dead. A file with a process ID could not show that: the ID may belong to
 * another process by then, or to one in another container. The lock works within one host. A folder on a network file system
 * is not protected from other hosts.
 */
export class FolderLock {
  readonly #held: Held;

  private constructor(held: Held) {
    this.#held = held;
  }

  /**
   * Takes the lock of a folder.
   *
   * @returns `undefined` while a running process holds it
   * @throws the system's error when the folder cannot be used
   */
  static async take(directory: string): Promise<FolderLock | undefined> {
    const folder = await open(directory, 'r');
    const address = addressOf(directory, folder);
    try {
      for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
        const server = await listen(address);
        if (server !== undefined) {
          const path = join(directory, NAME);
          return new FolderLock({ server, folder, path, identity: await identityOf(address) });
        }
        if (await isAnswered(address)) break;
        await removeDead(address);
      }
    } catch (error) {
      await folder.close();
      throw error;
    }
    await folder.close();
    return undefined;
  }

  /** Whether the lock is still in the folder. Another program may remove it, as a cleaner of temporary folders does. */
  async isHeld(): Promise<boolean> {
    const { path, identity } = this.#held;
    return identity !== undefined && (await identityOf(path)) === identity;
  }

  /** Gives the folder up. */
  async release(): Promise<void> {
    const { server, folder } = this.#held;
    // Closing the server removes the file at its address. Where that is another lock by now, the address is made invalid first.
    const isHeld = await this.isHeld();
    if (!isHeld) await folder.close();
    const closed = once(server, 'close');
    server.close();
    await closed;
    if (isHeld) await folder.close();
  }
}

/**
 * The address of the socket. The system limits it to about 100 bytes, so the folder is named by its descriptor in this
 * process where the system has `/proc`.
 *
 * @see https://man7.org/linux/man-pages/man7/unix.7.html
 */
function addressOf(directory: string, { fd }: FileHandle): string {
  const short = `/proc/self/fd/${fd}`;
  return join(existsSync(short) ? short : directory, NAME);
}

/** Tells a file from another of the same name; `undefined` where there is none. */
async function identityOf(path: string): Promise<string | undefined> {
  const found = await lstat(path, { bigint: true }).catch(() => undefined);
  return found === undefined ? undefined : `${found.dev} ${found.ino}`;
}

/** @returns `undefined` where a socket of that name exists, whether or not a process listens on it */
async function listen(address: string): Promise<Server | undefined> {
  const server = createServer((socket) => socket.destroy());
  // The lock must not keep the process from ending.
  server.unref();
  server.listen(address);
  try {
    await once(server, 'listening');
    return server;
  } catch (error) {
    if (systemErrorCode(error) === 'EADDRINUSE') return undefined;
    throw error;
  }
}

/**
 * Removes the socket of a dead process. Another process may have replaced it by its own since the check, so the socket is
 * renamed and checked again. A socket that answers is put back.
 */
async function removeDead(address: string): Promise<void> {
  const aside = `${address}-${randomBytes(4).toString('hex')}`;
  try {
    if (!(await lstat(address)).isSocket()) throw new Error(`its "${NAME}" is not a socket`);
    await rename(address, aside);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return;
    throw error;
  }
  if (await isAnswered(aside)) await rename(aside, address);
  else await rm(aside, { force: true });
}

/**
 * Whether a process listens on a socket. An error other than a refusal counts as a running process: a process that is too busy
 * to accept (EAGAIN), or belongs to another user (EACCES), must keep its folder.
 */
async function isAnswered(address: string): Promise<boolean> {
  const socket = connect(address);
  try {
    await once(socket, 'connect');
    return true;
  } catch (error) {
    return !['ECONNREFUSED', 'ENOENT'].includes(systemErrorCode(error) ?? '');
  } finally {
    socket.destroy();
  }
}
