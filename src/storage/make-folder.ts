import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
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
