/** Folders that are gone when a test is. */

import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** A folder, for `await using`. */
export interface TemporaryFolder extends AsyncDisposable {
  readonly path: string;
}

/** Make an empty folder. */
export async function makeFolder(): Promise<TemporaryFolder> {
  const path = await mkdtemp(join(tmpdir(), 'storage-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/**
 * Make a folder on a disk of its own.
 *
 * @param bytes how much the disk holds
 * @returns `undefined` where this user may not mount one
 */
export async function makeSmallDisk(bytes: number): Promise<TemporaryFolder | undefined> {
  const folder = await makeFolder();
  const run = promisify(execFile);
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', folder.path]);
  } catch {
    await folder[Symbol.asyncDispose]();
    return undefined;
  }
  return {
    path: folder.path,
    async [Symbol.asyncDispose]() {
      // Lazily: a test that failed may have left files open.
      await run('umount', ['-l', folder.path]);
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** Bytes that repeat in no period of a power of two, so that a piece in the wrong place shows. */
export function patternOf(length: number): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, at) => (at % 251) ^ (at >> 16)));
}
