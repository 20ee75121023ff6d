/**
 * `npm run docs:api`: the reference of the package's exports by TypeDoc, in `docs/api/`. Warnings are errors: an export without a
 * comment, a type that an export refers to and that has no name outside, a link that leads nowhere.
 *
 * TypeDoc uses the compiler as a library, which TypeScript 7 is not. So it has a folder of its own with an older compiler, which is
 * installed at the first run and after each change of the lock file.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';

const FOLDER = import.meta.dirname;

/** Runs a command in the folder. @throws Error when it fails */
async function run(command: string, ...args: readonly string[]): Promise<void> {
  const child = spawn(command, args, { cwd: FOLDER, stdio: 'inherit' });
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`Cannot write the reference: ${command} has ended with ${code}`);
}

/** Whether the installed packages are those of the lock file. */
async function isInstalled(): Promise<boolean> {
  const changed = async (path: string) => (await stat(join(FOLDER, path)).catch(() => undefined))?.mtimeMs;
  const [locked = 0, installed = -1] = [
    await changed('package-lock.json'),
    await changed('node_modules/.package-lock.json'),
  ];
  return installed >= locked;
}

try {
  if (!(await isInstalled())) await run('npm', 'ci', '--ignore-scripts', '--no-audit', '--no-fund');
  await run(process.execPath, join('node_modules', 'typedoc', 'bin', 'typedoc'), ...process.argv.slice(2));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
