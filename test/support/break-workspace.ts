import { rm, writeFile } from 'node:fs/promises';

/**
 * Makes a folder unusable for good: a file stands in its place, so it cannot be made again. Permissions would not do, since the
 * tests may run as root.
 */
export async function breakWorkspace(directory: string): Promise<void> {
  await rm(directory, { recursive: true });
  await writeFile(directory, '');
}
