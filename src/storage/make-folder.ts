import { lstat, mkdir, mkdtemp, rmdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { systemErrorCode } from '../util/system-error.ts';

/** Stored images may be private: only the owner may look into the folders. */
const FOLDER_MODE = 0o700;

/**
 * Creates a folder, and its parents where they are missing. Does nothing where it exists.
 *
 * `mkdir` with `recursive: true` is not used: on ENOENT it creates the parent and tries again without a limit. Below `/proc`
 * the parent exists and the system still answers ENOENT, so that Node (26.10) never returns and uses one core.
 *
 * @throws the system's error
 */
export async function makeFolder(directory: string): Promise<void> {
  try {
    await makeOne(directory);
  } catch (error) {
    const parent = dirname(directory);
    if (systemErrorCode(error) !== 'ENOENT' || parent === directory) throw error;
    await makeFolder(parent);
    await makeOne(directory);
  }
}

async function makeOne(directory: string): Promise<void> {
  try {
    await mkdir(directory, { mode: FOLDER_MODE });
  } catch (error) {
    const isFolder = await stat(directory).then(
      (found) => found.isDirectory(),
      () => false,
    );
    if (!isFolder) throw error;
  }
}

/** Bits of a mode: others may write; group or others may write; only owners may remove and rename what is inside. */
const [OTHERS_WRITE, NOT_OWNER_WRITES, STICKY] = [0o002, 0o022, 0o1000];

/** The user ID of the system's administrator, who is trusted. */
export const ROOT = 0;

/**
 * The user ID that files of this process get in a folder. A network file system may map it, so it is tried.
 *
 * @throws the system's error
 */
export async function ownerIn(directory: string): Promise<number> {
  const tried = await mkdtemp(join(directory, '.owner-'));
  try {
    return (await stat(tried)).uid;
  } finally {
    await rmdir(tried);
  }
}

/**
 * Checks that no other user controls a folder of the configuration. It may belong to root, and then be writable by others: so are
 * the volumes of containers. What is inside is checked by {@link checkOwn}.
 *
 * @param owner see {@link ownerIn}
 * @throws Error with a reason in words
 */
export async function checkShared(directory: string, owner: number): Promise<void> {
  const [link, found] = [await lstat(directory), await stat(directory)];
  for (const { uid } of [link, found]) {
    if (uid !== owner && uid !== ROOT)
      throw new Error(`${belongsTo(uid)}; chown it to the user of the service`);
  }
  const isShared = (found.mode & OTHERS_WRITE) !== 0 && (found.mode & STICKY) === 0;
  // A volume of a container is a mount, and no other user is in the container.
  const isMount = (await stat(dirname(directory))).dev !== found.dev;
  if (isShared && found.uid === owner && !isMount)
    throw new Error(`other users can write to it (mode ${modeOf(found)}); chmod o-w it`);
}

/**
 * Checks that a folder was made by this process, or by an earlier one of the same user, and that no other user can write to it.
 *
 * @param owner see {@link ownerIn}
 * @throws Error with a reason in words
 */
export async function checkOwn(directory: string, owner: number): Promise<void> {
  const found = await lstat(directory);
  if (!found.isDirectory()) throw new Error('it is not a folder; remove it');
  if (found.uid !== owner && found.uid !== ROOT)
    throw new Error(`${belongsTo(found.uid)}; remove it, or chown it to the user of the service`);
  if ((found.mode & NOT_OWNER_WRITES) !== 0)
    throw new Error(`other users can write to it (mode ${modeOf(found)}); remove it, or chmod go-w it`);
}

function belongsTo(uid: number): string {
  return `it belongs to another user (uid ${uid})`;
}

function modeOf({ mode }: { readonly mode: number }): string {
  return (mode & 0o7777).toString(8);
}
