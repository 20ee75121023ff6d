import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, readdir, readlink, rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { FolderLock } from '../../src/storage/folder-lock.ts';
import { within } from '../support/within.ts';
import { makeFolder, startOther } from './folder.ts';

/** Takes the lock of a folder, and says whether it got it. */
const TAKE = `
  const { FolderLock } = await import('./storage/folder-lock.ts');
  globalThis.lock = await FolderLock.take(process.argv[1]);
  console.log(lock === undefined ? 'refused' : 'taken');`;

async function take(directory: string): Promise<FolderLock> {
  const lock = await FolderLock.take(directory);
  assert.ok(lock, 'the lock was not given');
  return lock;
}

/** Leaves the lock in a folder that a dead process would. */
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
  test('is had by one in a process, until that gives it up', async () => {
    await using folder = await makeFolder();
    const lock = await take(folder.path);
    assert.equal(await FolderLock.take(folder.path), undefined);
    assert.equal(await opensOf(folder.path), 1);
    await lock.release();
    assert.deepEqual(await readdir(folder.path), []);
    assert.equal(await opensOf(folder.path), 0);
    await (await take(folder.path)).release();
  });

  test('is had by one of several that ask for it at once', async () => {
    await using folder = await makeFolder();
    const asked = await Promise.all([1, 2, 3, 4].map(() => FolderLock.take(folder.path)));
    const taken = asked.filter((lock) => lock !== undefined);
    assert.equal(taken.length, 1);
    await taken[0]?.release();
  });

  test('is one for each folder', async () => {
    await using one = await makeFolder();
    await using other = await makeFolder();
    const locks = [await take(one.path), await take(other.path)];
    for (const lock of locks) await lock.release();
  });

  test('is refused to another process, and to this one where the other has it', async () => {
    await using folder = await makeFolder();
    const lock = await take(folder.path);
    await using refused = await startOther(TAKE, folder.path);
    assert.equal(refused.line, 'refused');
    await lock.release();
    await using owner = await startOther(TAKE, folder.path);
    assert.equal(owner.line, 'taken');
    assert.equal(await FolderLock.take(folder.path), undefined);
  });

  test('is free again after the owner was killed', async () => {
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

  test('that a dead process left is had by one of two that find it at once', async () => {
    // Removing the dead one's must not remove that of whoever was quicker: often enough that each order comes up.
    for (let round = 0; round < 300; round += 1) {
      await using folder = await makeFolder();
      await leaveDead(folder.path);
      const asked = await Promise.all([FolderLock.take(folder.path), FolderLock.take(folder.path)]);
      const taken = asked.filter((lock) => lock !== undefined);
      assert.equal(taken.length, 1, `in round ${round}`);
      assert.deepEqual(await readdir(folder.path), ['lock']);
      await taken[0]?.release();
    }
  });

  test('is there for folders whose path is longer than the address of a socket', async () => {
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

  test('cannot be taken where the folder is missing', async () => {
    await using folder = await makeFolder();
    await assert.rejects(FolderLock.take(join(folder.path, 'missing')), { code: 'ENOENT' });
  });

  test('cannot be taken where the folder takes no socket; nothing stays open', async () => {
    await assert.rejects(FolderLock.take('/proc/self'), { syscall: 'listen' });
    assert.equal(await opensOf('/proc/self'), 0);
  });

  test("cannot be taken where somebody else's file has its name; that stays, and nothing stays open", async () => {
    for (const make of [mkdir, (path: string) => writeFile(path, 'content')]) {
      await using folder = await makeFolder();
      await make(join(folder.path, 'lock'));
      await assert.rejects(FolderLock.take(folder.path), { message: 'its "lock" is not a socket' });
      assert.equal(await opensOf(folder.path), 0);
      assert.deepEqual(await readdir(folder.path), ['lock']);
    }
  });

  test('cannot be taken where its name is a link to nowhere: nothing listens there', async () => {
    await using folder = await makeFolder();
    await symlink('missing', join(folder.path, 'lock'));
    await assert.rejects(FolderLock.take(folder.path), { message: 'its "lock" is not a socket' });
    assert.deepEqual(await readdir(folder.path), ['lock']);
  });

  test('is refused where an error other than a refusal leaves open whether a process listens', async () => {
    await using folder = await makeFolder();
    // A link to itself: connecting to it fails with ELOOP.
    await symlink('lock', join(folder.path, 'lock'));
    assert.equal(await FolderLock.take(folder.path), undefined);
    assert.equal(await opensOf(folder.path), 0);
    assert.deepEqual(await readdir(folder.path), ['lock']);
  });

  test('keeps no process from ending', async () => {
    await using folder = await makeFolder();
    const url = new URL('../../src/storage/folder-lock.ts', import.meta.url).href;
    const code = `const { FolderLock } = await import('${url}');
      globalThis.lock = await FolderLock.take(process.argv[1]);
      console.log(lock === undefined ? 'refused' : 'taken');`;
    const run = promisify(execFile);
    const running = run(process.execPath, ['--input-type=module', '--eval', code, folder.path]);
    assert.equal((await within(running, 'the end')).stdout.trim(), 'taken');
  });
});
