/** Runs tests in a process group of their own, until the first failure or for a bounded time. */

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const RUNNER = fileURLToPath(new URL('first-failure.ts', import.meta.url));

/** How tests ended. */
export interface TestRun {
  readonly outcome: 'passed' | 'failed' | 'timeout';
  /** File and name of the test that failed. */
  readonly failure?: string;
  readonly seconds: number;
  /** Longest time without the end of a test, in seconds. */
  readonly longestGap: number;
}

/** Bounds of a run, in seconds. */
export interface Bounds {
  readonly total: number;
  /** Without the end of any test: a hang shows long before the total. */
  readonly gap: number;
}

/**
 * Runs test files one after another, and stops at the first test that fails.
 *
 * @param directory working directory; temporary files of the tests go below it, and are removed
 * @param signal ends the run and all its processes
 * @throws the signal's reason
 */
export async function runTests(
  directory: string,
  files: readonly string[],
  bounds: Bounds,
  signal: AbortSignal,
): Promise<TestRun> {
  signal.throwIfAborted();
  const temporary = mkdtempSync(join(directory, 'tmp-'));
  chmodSync(temporary, 0o755);
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const child = spawn(process.execPath, [RUNNER, ...files], {
    cwd: directory,
    env: { ...env, TMPDIR: temporary },
    // A group, so that processes which tests have started end with them.
    detached: true,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const kill = () => killGroup(child.pid);
  signal.addEventListener('abort', kill);
  const closed = once(child, 'close');

  const started = performance.now();
  const secondsSince = (time: number) => (performance.now() - time) / 1000;
  let last = started;
  let longestGap = 0;
  let failure: string | undefined;
  let isLate = false;
  const late = () => {
    isLate = true;
    kill();
  };
  const total = setTimeout(late, bounds.total * 1000);
  const gap = setTimeout(late, bounds.gap * 1000);
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      gap.refresh();
      longestGap = Math.max(longestGap, secondsSince(last));
      last = performance.now();
      if (!line.startsWith('not ok ')) continue;
      failure = line.slice('not ok '.length);
      break;
    }
    if (failure !== undefined) kill();
    const [code] = await closed;
    signal.throwIfAborted();
    const seconds = secondsSince(started);
    if (failure !== undefined) return { outcome: 'failed', failure, seconds, longestGap };
    if (isLate) return { outcome: 'timeout', seconds, longestGap };
    if (code !== 0) return { outcome: 'failed', failure: 'the test runner itself', seconds, longestGap };
    return { outcome: 'passed', seconds, longestGap };
  } finally {
    clearTimeout(total);
    clearTimeout(gap);
    signal.removeEventListener('abort', kill);
    // What a test left running in the background is in the group still.
    kill();
    removeFolder(temporary);
  }
}

/**
 * Removes a folder of tests that may have been killed: a disk that one of them has mounted in it is unmounted first. A folder
 * that stays is worth a line, not the results.
 */
export function removeFolder(path: string): void {
  try {
    for (const mount of mountsBelow(path)) execFileSync('umount', ['--lazy', mount]);
    rmSync(path, { recursive: true, force: true, maxRetries: 5 });
  } catch (error) {
    console.error(`Cannot remove ${path}:`, error);
  }
}

/** Mount points in a folder, as Linux lists them. */
function mountsBelow(path: string): string[] {
  const mounts = existsSync('/proc/self/mounts') ? readFileSync('/proc/self/mounts', 'utf8') : '';
  return mounts
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((mount) => mount.startsWith(`${path}/`));
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // The group has ended.
  }
}
