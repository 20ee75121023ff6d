import { randomBytes } from 'node:crypto';
import { lstat, readdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { FolderLock } from './lock.ts';

/** Starts the name of each folder that is removed with its process. */
const PREFIX = 'docker-http-passthrough-';

/** The system's folder for temporary files. */
export const DEFAULT_PARENT = tmpdir();

/** Random bytes in a name: two names are never equal. */
const RANDOM_BYTES = 16;

/** Folders with other names are never removed, such as `docker-http-passthrough-1.0`. */
const NAME = new RegExp(`^${PREFIX}[0-9a-f]{${2 * RANDOM_BYTES}}$`);

/** A name that no other file has. */
export function randomName(): string {
  return randomBytes(RANDOM_BYTES).toString('hex');
}

/** A name for a folder that is removed with its process. */
export function temporaryName(): string {
  return `${PREFIX}${randomName()}`;
}

/**
 * Removes the temporary folders of processes that were killed.
 *
 * @throws the system's error when the parent cannot be read
 */
export async function removeDeadFolders(parent: string): Promise<void> {
  const names = (await readdir(parent)).filter((name) => NAME.test(name));
  await Promise.all(names.map((name) => removeIfDead(join(parent, name))));
}

/**
 * Removes a folder that no process has locked. It is renamed first. Another process may be about to lock it, and then finds
 * out that the folder has gone.
 */
async function removeIfDead(directory: string): Promise<void> {
  // In a folder that many users share, one of that name may be the bait of another.
  const found = await lstat(directory).catch(() => undefined);
  if (found?.isDirectory() !== true || found.uid !== process.geteuid?.()) return;
  const lock = await FolderLock.take(directory).catch(() => undefined);
  if (lock === undefined) return;
  const aside = join(dirname(directory), temporaryName());
  try {
    await rename(directory, aside);
    await rm(aside, { recursive: true, force: true });
  } catch {
    // The next start tries again.
  } finally {
    await lock.release();
  }
}
