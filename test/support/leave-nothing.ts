/**
 * What a process of tests or measurements started and made, to be ended and removed with it, however it ends.
 */

import type { ChildProcess } from 'node:child_process';
import { rmSync } from 'node:fs';

const children = new Set<ChildProcess>();
const folders = new Set<string>();
let isWatched = false;

/** Ends a process with this one, unless it has ended before. */
export function ownProcess(child: ChildProcess): void {
  watch();
  children.add(child);
  child.once('exit', () => children.delete(child));
}

/** Removes a folder with the end of this process. */
export function ownFolder(folder: string): void {
  watch();
  folders.add(folder);
}

/** Forgets a folder that has been removed. */
export function disownFolder(folder: string): void {
  folders.delete(folder);
}

/** Also when a signal ends this process: a service would outlive the reader of its log. */
function watch(): void {
  if (isWatched) return;
  isWatched = true;
  process.once('exit', () => {
    for (const child of children) child.kill('SIGKILL');
    // A service that is being killed may still create a file.
    for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
}
