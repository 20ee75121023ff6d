import assert from 'node:assert/strict';
import { readdir, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { isPassthroughError } from '../../src/errors.ts';
import { FolderLock } from '../../src/storage/lock.ts';
import { makeFolder } from './folder.ts';
import { assertHolds, byHand, contentOf, making, NEVER, openStoring } from './storing.ts';

/** Removes what is in a folder, as `rm -rf folder/*` does. */
async function empty(folder: string): Promise<void> {
  for (const name of await readdir(folder)) await rm(join(folder, name), { recursive: true });
}

/** Ways in which a cleaner removes folders of a store that runs. */
const REMOVALS: Readonly<Record<string, (folder: string) => Promise<void>>> = {
  'the empty folder for partial files': (folder) => rmdir(join(folder, 'incoming')),
  'the folder of complete files': (folder) => rm(join(folder, 'prepared'), { recursive: true }),
  'all that is in the folder': empty,
  'the folder': (folder) => rm(folder, { recursive: true }),
  'the folder and its parent': (folder) => rm(dirname(folder), { recursive: true }),
  'the lock alone': (folder) => rm(join(folder, 'lock')),
};

/** A store in a folder below another one, with a file that is held and one that is not; for `await using`. */
async function openScene(isTemporary: boolean) {
  const stack = new AsyncDisposableStack();
  const place = stack.use(await makeFolder());
  const directory = join(place.path, 'parent', ...(isTemporary ? [] : ['folder']));
  const storing = stack.use(await openStoring({ directory, isTemporary }));
  const held = await storing.obtain('held');
  (await storing.obtain('idle')).release();
  return { storing, held, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

for (const isTemporary of [false, true]) {
  describe(`a ${isTemporary ? 'temporary' : 'kept'} folder of which another program removes`, () => {
    for (const [what, remove] of Object.entries(REMOVALS)) {
      test(`${what} takes files again, and an open file can be read on`, async () => {
        await using scene = await openScene(isTemporary);
        const { storing, held } = scene;
        await remove(storing.path);
        await storing.store.probe();
        const keys = ['held', 'idle', 'new'];
        await assertHolds(await storing.obtain('new'), contentOf('new'));
        await storing.store.settled();
        await assertHolds(await storing.obtain('idle'), contentOf('idle'));
        await assertHolds(held, contentOf('held'));
        const { prepared, incoming } = await storing.onDisk(...keys);
        assert.deepEqual([prepared.includes('idle'), prepared.includes('new'), incoming], [true, true, 0]);
        assert.equal(storing.store.bytes, await storing.bytesOnDisk());
        assert.equal(await FolderLock.take(storing.path), undefined, 'another process could take the folder');
        for (const name of ['', 'incoming', 'prepared'])
          assert.equal((await stat(join(storing.path, name))).mode & 0o777, 0o700, name);

        await storing.folder.writeNote('note', 'text');
        assert.equal(await storing.folder.readNote('note'), 'text');
        await storing.store.close();
        assert.deepEqual(
          await readdir(dirname(storing.path)),
          isTemporary ? [] : ['folder'],
          'closing removes a temporary folder alone',
        );
      });
    }
  });
}

describe('after the folder was removed', () => {
  test('files that are gone count no more, and are not found', async () => {
    await using storing = await openStoring();
    for (const key of ['a', 'b', 'c']) (await storing.obtain(key)).release();
    await empty(storing.path);
    await storing.store.probe();
    await storing.store.settled();
    assert.deepEqual([storing.store.bytes, storing.store.has('a'), await storing.openFiles()], [0, false, 0]);
    assert.equal(await storing.store.find('b', NEVER), undefined);
    assert.equal(await storing.sourceOf('c'), 'made');
    assert.deepEqual(storing.damaged, []);
  });

  test('a file that is stored again while missing ones are looked up stays', async () => {
    await using storing = await openStoring();
    for (const key of ['a', 'b']) await storing.sourceOf(key);
    await storing.reopen();
    const { folder, store } = storing;
    const [looked, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const names = folder.names.bind(folder);
    folder.names = async () => {
      const found = await names();
      looked.resolve();
      await gate.promise;
      return found;
    };
    await empty(storing.path);
    await store.probe();
    await looked.promise;
    const file = await storing.obtain('a');
    gate.resolve();
    await store.settled();
    file.release();
    assert.deepEqual([file.source, store.has('a'), store.has('b')], ['made', true, false]);
    assert.equal(store.bytes, await storing.bytesOnDisk());
  });

  test('closing ends what creates it again: a temporary folder does not come back', async () => {
    for (let round = 0; round < 20; round += 1) {
      await using storing = await openStoring({ isTemporary: true });
      await rm(storing.path, { recursive: true });
      const probe = storing.store.probe().catch(() => undefined);
      if (round % 2 === 0) await new Promise(setImmediate);
      await storing.store.close();
      await probe;
      await assert.rejects(storing.store.probe(), { code: 'INTERNAL' });
      assert.deepEqual(await storing.inParent(), []);
    }
  });

  test('a note can be written, and is missing before', async () => {
    await using storing = await openStoring();
    await storing.folder.writeNote('note', 'before');
    await rm(storing.path, { recursive: true });
    assert.equal(await storing.folder.readNote('note'), undefined);
    await storing.folder.writeNote('note', 'after');
    assert.equal(await storing.folder.readNote('note'), 'after');
  });

  test('several files that are begun at once are all stored', async () => {
    for (let round = 0; round < 20; round += 1) {
      await using storing = await openStoring();
      await rm(storing.path, { recursive: true });
      const keys = ['a', 'b', 'c', 'd'];
      const files = await Promise.all(keys.map((key) => storing.obtain(key)));
      for (const file of files) file.release();
      assert.deepEqual(await storing.onDisk(...keys), { prepared: keys, incoming: 0 });
      assert.equal(await FolderLock.take(storing.path), undefined);
    }
  });

  test('a file that was being written is complete for its callers, and is not stored', async () => {
    await using storing = await openStoring();
    const hand = byHand('content');
    const obtained = storing.obtain('a', 0, hand.produce);
    await hand.begun;
    await rm(storing.path, { recursive: true });
    hand.goOn();
    await assertHolds(await obtained, 'content');
    assert.deepEqual(await storing.onDisk('a'), { prepared: [], incoming: 0 });
    assert.deepEqual([storing.store.bytes, await storing.openFiles(), storing.store.has('a')], [0, 0, false]);
    assert.equal(await storing.sourceOf('a'), 'made');
  });

  test('files are stored although a cleaner goes on removing', async () => {
    await using storing = await openStoring();
    let isCleaning = true;
    const cleaning = (async () => {
      while (isCleaning) await rm(storing.path, { recursive: true, force: true }).catch(() => undefined);
    })();
    for (let count = 0; count < 100; count += 1) {
      const outcome = await storing.obtain(`${count}`).catch((error: unknown) => error);
      if (!isPassthroughError(outcome, 'INTERNAL')) (outcome as { release(): void }).release();
    }
    isCleaning = false;
    await cleaning;
    await assertHolds(await storing.obtain('a'), contentOf('a'));
    assert.equal(await FolderLock.take(storing.path), undefined);
  });

  test('a folder that cannot be created again is named to the log, and not to clients', async () => {
    await using place = await makeFolder();
    const parent = join(place.path, 'parent');
    const directory = join(parent, 'folder');
    await using storing = await openStoring({ directory });
    await rm(parent, { recursive: true });
    await writeFile(parent, '');
    const message =
      'Cannot use the workspace: its folder was removed and cannot be created again: a part of its path is not a folder (ENOTDIR)';
    for (const use of [
      () => storing.store.probe(),
      () => storing.obtain('a', 0, making('content')),
      () => storing.folder.writeNote('note', 'text'),
    ]) {
      await assert.rejects(use, (error: unknown) => {
        assert.ok(isPassthroughError(error, 'INTERNAL'), String(error));
        assert.equal(error.message, message);
        assert.ok(error.cause instanceof Error && error.cause.message.includes(JSON.stringify(directory)));
        return true;
      });
    }
    await rm(parent);
    await assertHolds(await storing.obtain('a', 0, making('content')), 'content');
  });

  test('a folder that another process has taken meanwhile is not used', async () => {
    await using storing = await openStoring();
    await empty(storing.path);
    const other = await FolderLock.take(storing.path);
    assert.ok(other);
    await assert.rejects(storing.store.probe(), {
      code: 'INTERNAL',
      message: /^Cannot use the workspace: .*: another process uses it$/,
    });
    assert.equal(await other.isHeld(), true, "the other process's lock is gone");
    await other.release();
    await storing.store.probe();
    assert.equal(await FolderLock.take(storing.path), undefined);
  });
});
