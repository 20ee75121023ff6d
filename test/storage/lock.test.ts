import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdir, readdir, readlink, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { FolderLock } from '../../src/storage/lock.ts';
import { START_LIMIT_MS, within } from '../support/within.ts';
import { makeFolder, startOther, withoutRoot } from './folder.ts';

/** Takes the lock of a folder and prints the result. */
const TAKE = `
  const { FolderLock } = await import('./storage/lock.ts');
  globalThis.lock = await FolderLock.take(process.argv[1]);
  console.log(lock === undefined ? 'refused' : 'taken');`;

async function take(directory: string): Promise<FolderLock> {
  const lock = await FolderLock.take(directory);
  assert.ok(lock, 'the lock is taken');
  return lock;
}

/** Leaves a lock in a folder as a killed process does. */
async function leaveDead(directory: string): Promise<void> {
  const lock = await take(directory);
  await rename(join(directory, 'lock'), join(directory, 'kept'));
  await lock.release();
  await rename(join(directory, 'kept'), join(directory, 'lock'));
}

/** How often this process has a folder open. */
async function opensOf(directory: string): Promise<number> {
  const descriptors = await readdir('/proc/self/fd');
  const paths = await Promise.all(
    descriptors.map((descriptor) => readlink(`/proc/self/fd/${descriptor}`).catch(() => '')),
  );
  return paths.filter((path) => path === directory).length;
}

describe('the lock of a folder', () => {
  test('is held by one owner in a process until its release', async () => {
    await using folder = await makeFolder();
    const lock = await take(folder.path);
    assert.equal(await FolderLock.take(folder.path), undefined);
    assert.equal(await opensOf(folder.path), 1);
    await lock.release();
    assert.deepEqual(await readdir(folder.path), []);
    assert.equal(await opensOf(folder.path), 0);
    await (await take(folder.path)).release();
  });

  for (const [what, leave, count, rounds] of [
    ['a free lock', async () => undefined, 4, 1],
    // Removing a dead lock must not remove that of a faster process: often enough that each order comes up.
    ['a dead lock', leaveDead, 2, 300],
  ] as const) {
    test(`is taken by one of ${count} that find ${what} at the same time`, async () => {
      for (let round = 0; round < rounds; round += 1) {
        await using folder = await makeFolder();
        await leave(folder.path);
        const locks = await Promise.all(Array.from({ length: count }, () => FolderLock.take(folder.path)));
        const taken = locks.filter((lock) => lock !== undefined);
        assert.equal(taken.length, 1, `in round ${round}`);
        assert.deepEqual(await readdir(folder.path), ['lock']);
        await taken[0]?.release();
      }
    });
  }

  test('is one for each folder', async () => {
    await using one = await makeFolder();
    await using other = await makeFolder();
    const locks = [await take(one.path), await take(other.path)];
    for (const lock of locks) await lock.release();
  });

  test('excludes other processes', async () => {
    await using folder = await makeFolder();
    const lock = await take(folder.path);
    await using refused = await startOther(TAKE, folder.path);
    assert.equal(refused.line, 'refused');
    await lock.release();
    await using owner = await startOther(TAKE, folder.path);
    assert.equal(owner.line, 'taken');
    assert.equal(await FolderLock.take(folder.path), undefined);
  });

  test('is free after its owner was killed', async () => {
    await using folder = await makeFolder();
    await using owner = await startOther(TAKE, folder.path);
    assert.equal(owner.line, 'taken');
    await owner.kill();
    assert.deepEqual(await readdir(folder.path), ['lock']);
    const lock = await take(folder.path);
    assert.equal(await FolderLock.take(folder.path), undefined);
    await lock.release();
    assert.deepEqual(await readdir(folder.path), []);
  });

  test('works in a folder whose path is longer than the address of a socket', async () => {
    await using folder = await makeFolder();
    const directory = join(folder.path, 'a'.repeat(100), 'b'.repeat(100));
    await mkdir(directory, { recursive: true });
    const lock = await take(directory);
    assert.deepEqual(await readdir(directory), ['lock']);
    assert.equal(await FolderLock.take(directory), undefined);
    await lock.release();
    await leaveDead(directory);
    await (await take(directory)).release();
  });

  test('cannot be taken in a missing folder', async () => {
    await using folder = await makeFolder();
    await assert.rejects(FolderLock.take(join(folder.path, 'missing')), { code: 'ENOENT' });
  });

  test('cannot be taken where another file has its name; that file stays, and nothing stays open', async () => {
    for (const make of [mkdir, (path: string) => writeFile(path, 'content')]) {
      await using folder = await makeFolder();
      await make(join(folder.path, 'lock'));
      await assert.rejects(FolderLock.take(folder.path), { message: 'its "lock" is not a socket' });
      assert.equal(await opensOf(folder.path), 0);
      assert.deepEqual(await readdir(folder.path), ['lock']);
    }
  });

  test('cannot be taken where the folder takes no socket; nothing stays open', async () => {
    await assert.rejects(FolderLock.take('/proc/self'), { syscall: 'listen' });
    assert.equal(await opensOf('/proc/self'), 0);
  });

  test('cannot be taken where its name is a dangling link', async () => {
    await using folder = await makeFolder();
    await symlink('missing', join(folder.path, 'lock'));
    await assert.rejects(FolderLock.take(folder.path), { message: 'its "lock" is not a socket' });
    assert.deepEqual(await readdir(folder.path), ['lock']);
  });

  test('counts as held where the error does not show that no process listens', async () => {
    await using folder = await makeFolder();
    // A link to itself: connecting fails with ELOOP.
    await symlink('lock', join(folder.path, 'lock'));
    assert.equal(await FolderLock.take(folder.path), undefined);
    assert.equal(await opensOf(folder.path), 0);
    assert.deepEqual(await readdir(folder.path), ['lock']);
  });

  test('counts as held by a process that does not let this one connect', async () => {
    await using folder = await makeFolder();
    const lock = await take(folder.path);
    await chmod(folder.path, 0o777);
    // Without the right to write the socket, a connection ends with EACCES. That does not show that the process is dead.
    await chmod(join(folder.path, 'lock'), 0o000);
    assert.equal(await withoutRoot(() => FolderLock.take(folder.path)), undefined);
    assert.equal(await lock.isHeld(), true);
    await lock.release();
  });

  for (const [what, remove] of [
    ['the lock', (folder: string) => rm(join(folder, 'lock'))],
    ['the folder', (folder: string) => rm(folder, { recursive: true })],
  ] as const) {
    test(`is lost when another program removes ${what}, and its release leaves the next lock`, async () => {
      await using place = await makeFolder();
      const folder = join(place.path, 'folder');
      await mkdir(folder);
      const lost = await take(folder);
      assert.equal(await lost.isHeld(), true);
      await remove(folder);
      assert.equal(await lost.isHeld(), false);
      await mkdir(folder, { recursive: true });
      const next = await take(folder);
      assert.deepEqual([await lost.isHeld(), await next.isHeld()], [false, true]);
      await lost.release();
      assert.equal(await next.isHeld(), true);
      assert.equal(await opensOf(folder), 1);
      await next.release();
      assert.deepEqual(await readdir(folder), []);
    });
  }

  test('does not keep a process from ending', async () => {
    await using folder = await makeFolder();
    const code = TAKE.replace('./storage', new URL('../../src/storage', import.meta.url).href);
    const running = promisify(execFile)(process.execPath, [
      '--input-type=module',
      '--eval',
      code,
      folder.path,
    ]);
    assert.equal((await within(running, 'the end', START_LIMIT_MS)).stdout.trim(), 'taken');
  });
});
