import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { type FileHandle, lstat, open, rename, rm } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';

/** Name of the lock in its folder. */
const NAME = 'lock';

/** How often a lock that a dead process left is removed before it is given up: others may be at the same. */
const ATTEMPTS = 3;

/**
 * Says that a folder belongs to a running process: a socket that the process listens on. A file with a process's number would
 * outlive its owner, and the number would mean another one in another container; what nobody listens on any more can be told
 * by whoever tries, after a `kill -9` too. Holds on one host, so that a folder on a network's file system is not protected
 * from other hosts.
 */
export class FolderLock {
  readonly #server: Server;
  readonly #folder: FileHandle;

  private constructor(server: Server, folder: FileHandle) {
    this.#server = server;
    this.#folder = folder;
  }

  /**
   * Takes the lock of a folder.
   *
   * @returns `undefined` where a running process has it
   * @throws the system's error when the folder cannot be used
   */
  static async take(directory: string): Promise<FolderLock | undefined> {
    const folder = await open(directory, 'r');
    const path = lockPath(directory, folder);
    try {
      for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
        const server = await listen(path);
        if (server !== undefined) return new FolderLock(server, folder);
        if (await isAnswered(path)) break;
        await removeDead(path);
      }
    } catch (error) {
      await folder.close();
      throw error;
    }
    await folder.close();
    return undefined;
  }

  /** Gives the folder up. */
  async release(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    await closed;
    await this.#folder.close();
  }
}

/**
 * The address of the socket. The system takes no more than some 100 bytes of it, so that where it can the folder is named by
 * the number that this process has it open under.
 */
function lockPath(directory: string, { fd }: FileHandle): string {
  const short = `/proc/self/fd/${fd}`;
  return join(existsSync(short) ? short : directory, NAME);
}

/** @returns `undefined` where there is such a socket, whether or not somebody listens on it */
async function listen(path: string): Promise<Server | undefined> {
  const server = createServer((socket) => socket.destroy());
  // It is there for others to find, and keeps no process from ending.
  server.unref();
  server.listen(path);
  try {
    await once(server, 'listening');
    return server;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') return undefined;
    throw error;
  }
}

/**
 * Removes a socket that nobody listened on. Another process may have done so meanwhile, and listen on one of its own under the
 * same name: what is taken aside is looked at again, and put back.
 */
async function removeDead(path: string): Promise<void> {
  const aside = `${path}-${randomBytes(4).toString('hex')}`;
  try {
    if (!(await lstat(path)).isSocket()) throw new Error(`its "${NAME}" is not a socket`);
    await rename(path, aside);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return;
    throw error;
  }
  if (await isAnswered(aside)) await rename(aside, path);
  else await rm(aside, { force: true });
}

/** Whether a process listens. Anything but a refusal is taken for one that does. */
async function isAnswered(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return true;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : '';
    return code !== 'ECONNREFUSED' && code !== 'ENOENT';
  } finally {
    socket.destroy();
  }
}
