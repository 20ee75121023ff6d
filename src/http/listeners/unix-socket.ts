import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Stats } from 'node:fs';
import { access, chmod, lstat, rename, rm } from 'node:fs/promises';
import { connect, type Server } from 'node:net';
import { dirname } from 'node:path';
import { VARIABLES } from '../../config/variables.ts';
import { PassthroughError } from '../../errors.ts';
import { quoted } from '../../util/printable.ts';
import { systemErrorCode } from '../../util/system-error.ts';

/** Longest path in an error, in characters: that of a socket has at most 107 bytes. */
const MAX_PATH_LENGTH = 400;

/** Random bytes in the name under which a socket is made: `config/listener.ts` leaves room for them. */
const RANDOM_BYTES = 4;

/** Longest wait for another process to accept, in milliseconds. Its system accepts, unless its queue is full. */
const CONNECT_MS = 1_000;

/** What is wrong with a path, by the code of the system's error. */
const REASONS: ReadonlyMap<string | undefined, string> = new Map([
  ['EACCES', 'the process has no permission to make it'],
  ['EPERM', 'the process has no permission to make it'],
  ['EROFS', 'the file system is read-only'],
  ['ENOENT', 'its folder does not exist'],
  ['ENOTDIR', 'its folder is a file'],
  ['ENOSPC', 'the disk is full'],
]);

/** The file of a Unix socket. */
export interface SocketFile {
  /** Removes it, unless another process has put its own in its place. */
  remove(): Promise<void>;
}

/**
 * Listens on a path. A socket that is there already is replaced if no process listens on it: that of a process that was killed.
 *
 * The socket is made under another name, gets its mode, and is renamed. So no client can connect before it has its mode, whatever the
 * umask is, and a client finds the old socket or the new one at every moment.
 *
 * @param server must not listen yet
 * @throws PassthroughError `INVALID_CONFIGURATION`
 */
export async function listenOnPath(
  server: Server,
  path: string,
  mode: number,
  backlog: number,
): Promise<SocketFile> {
  const made = `${path}.${randomBytes(RANDOM_BYTES).toString('hex')}`;
  try {
    // libuv says EACCES of a folder that does not exist.
    await access(dirname(path));
    await refuseUsed(path);
    server.listen({ path: made, backlog });
    await once(server, 'listening');
    await chmod(made, mode);
    const { dev, ino } = await lstat(made);
    await rename(made, path);
    return {
      remove: async () => {
        const found = await statIfThere(path).catch(() => undefined);
        if (found?.dev === dev && found.ino === ino) await rm(path, { force: true }).catch(() => undefined);
      },
    };
  } catch (error) {
    server.close();
    await rm(made, { force: true }).catch(() => undefined);
    if (error instanceof PassthroughError) throw error;
    const code = systemErrorCode(error);
    throw invalid(path, `${REASONS.get(code) ?? 'it cannot be made'} (${code ?? String(error)})`, error);
  }
}

/** @throws PassthroughError if the path has something else than a socket on which no process listens */
async function refuseUsed(path: string): Promise<void> {
  const found = await statIfThere(path);
  if (found === undefined) return;
  if (!found.isSocket()) throw invalid(path, 'there is a file of this name, which is no socket');
  if (await isListening(path)) throw invalid(path, 'another process listens on it');
}

async function statIfThere(path: string): Promise<Stats | undefined> {
  try {
    return await lstat(path);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Only a refused connection says that no process listens. One without permission, or a full queue, says that one may. */
async function isListening(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(CONNECT_MS) });
    return true;
  } catch (error) {
    return systemErrorCode(error) !== 'ECONNREFUSED';
  } finally {
    socket.destroy();
  }
}

function invalid(path: string, why: string, cause?: unknown): PassthroughError {
  return new PassthroughError(
    'INVALID_CONFIGURATION',
    `Cannot use ${VARIABLES.socket}=${quoted(path, MAX_PATH_LENGTH)}: ${why}`,
    { cause },
  );
}
