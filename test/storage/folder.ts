/** Folders that are removed with their test, disks of their own, and other processes. */

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { ownProcess } from '../support/leave-nothing.ts';
import { START_LIMIT_MS, within } from '../support/within.ts';

/** A folder, for `await using`. */
export interface TemporaryFolder extends AsyncDisposable {
  readonly path: string;
}

/** Makes an empty folder. */
export async function makeFolder(): Promise<TemporaryFolder> {
  const path = await mkdtemp(join(tmpdir(), 'storage-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/**
 * Makes a folder on a disk of its own.
 *
 * @param bytes how much the disk holds
 * @param files how many files and folders it holds, including itself; 0 for any number
 * @returns `undefined` where this user may not mount a disk
 */
export async function makeSmallDisk(bytes: number, files = 0): Promise<TemporaryFolder | undefined> {
  const folder = await makeFolder();
  const run = promisify(execFile);
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${bytes},nr_inodes=${files}`, 'tmpfs', folder.path]);
  } catch {
    await folder[Symbol.asyncDispose]();
    return undefined;
  }
  return {
    path: folder.path,
    async [Symbol.asyncDispose]() {
      // Lazily, because a test that failed may have left files open.
      await run('umount', ['-l', folder.path]);
      await folder[Symbol.asyncDispose]();
    },
  };
}

/**
 * Runs a test on a disk of its own, where one can be mounted.
 *
 * @param size as for {@link makeSmallDisk}
 */
export function testOnSmallDisk(
  name: string,
  size: Parameters<typeof makeSmallDisk>,
  run: (path: string) => Promise<void>,
): void {
  test(name, async (t) => {
    await using disk = await makeSmallDisk(...size);
    if (disk === undefined) t.diagnostic('no disk could be mounted: not tested');
    else await run(disk.path);
  });
}

/** A user without rights: no folder is closed to root. */
const NOBODY = 65_534;

/** Runs an action without the rights of root. */
export async function withoutRoot<T>(run: () => Promise<T>): Promise<T> {
  const user = process.geteuid?.();
  if (user === 0) process.seteuid?.(NOBODY);
  try {
    return await run();
  } finally {
    if (user === 0) process.seteuid?.(user);
  }
}

/** Bytes without a period of a power of two, so that a chunk in the wrong place is noticed. */
export function patternOf(length: number): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, at) => (at % 251) ^ (at >> 16)));
}

/** Changes one byte of a file. */
export async function damage(path: string, at: number, by = 0xff): Promise<void> {
  await using handle = await open(path, 'r+');
  const byte = Buffer.alloc(1);
  await handle.read(byte, 0, 1, at);
  byte[0] = (byte[0] ?? 0) ^ by;
  await handle.write(byte, 0, 1, at);
}

/** Another process, for `await using`. */
export interface OtherProcess extends AsyncDisposable {
  /** The first line of its output. */
  readonly line: string;
  /** Kills it as `kill -9` does, and waits for its end. */
  kill(): Promise<void>;
}

/**
 * Starts a process that runs a module and stays until it is killed.
 *
 * @param source JavaScript that imports from `src` by `import('./storage/…')` and prints one line
 * @param values its `process.argv`, from index 1
 */
export async function startOther(source: string, ...values: readonly string[]): Promise<OtherProcess> {
  const src = new URL('../../src/', import.meta.url).href;
  const code = `process.stdin.resume();\n${source.replaceAll(`import('./`, `import('${src}`)}`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', code, ...values], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  ownProcess(child);
  const ended = once(child, 'exit');
  const [said] = await within(
    Promise.race([once(child.stdout, 'data'), ended]),
    'the other process',
    START_LIMIT_MS,
  );
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await ended;
  };
  return { line: String(said).trim(), kill, [Symbol.asyncDispose]: kill };
}
