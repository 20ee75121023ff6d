import assert from 'node:assert/strict';
import { rename, rm, truncate } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { readAll } from '../support/collect.ts';
import { damage } from './folder.ts';
import { assertHolds, contentOf, making, mustNotProduce, NEVER, nameOf, openStoring } from './storing.ts';

const BLOCK_BYTES = 64 * 1024;
const DAMAGED = { code: 'DAMAGED' };

describe('a file that is damaged on the disk', () => {
  test('is found by its reader, removed and reported; the next caller produces it again', async () => {
    await using storing = await openStoring();
    await storing.sourceOf('a');
    await damage(storing.pathOf('a'), 500);
    const file = await storing.stored('a');
    await assert.rejects(readAll(file.read()), DAMAGED);
    assert.deepEqual(storing.damaged, [nameOf('a')]);
    assert.equal(storing.store.has('a'), false);
    file.release();
    assert.deepEqual([await storing.openFiles(), storing.store.bytes], [0, 0]);

    const again = await storing.obtain('a');
    assert.equal(again.source, 'made');
    await assertHolds(again, contentOf('a'));
    assert.deepEqual(await storing.onDisk('a'), { prepared: ['a'], incoming: 0 });
    assert.deepEqual(storing.damaged, [nameOf('a')]);
  });

  test('can be read on by its holders, while others get a new one, which stays', async () => {
    await using storing = await openStoring();
    const content = contentOf('a', 3 * BLOCK_BYTES);
    const old = await storing.obtain('a', 3 * BLOCK_BYTES);
    const alsoOld = await storing.stored('a');
    await damage(storing.pathOf('a'), BLOCK_BYTES + 5);
    await assert.rejects(readAll(old.read()), DAMAGED);

    const again = await storing.obtain('a', 3 * BLOCK_BYTES);
    assert.equal(again.source, 'made');
    // The sound part of the old one can be read, and its damage is reported once.
    const sound = { start: 0, end: BLOCK_BYTES };
    assert.ok((await readAll(alsoOld.read(sound))).equals(content.subarray(0, BLOCK_BYTES)));
    await assert.rejects(readAll(alsoOld.read()), DAMAGED);
    assert.deepEqual(storing.damaged, [nameOf('a')]);
    assert.equal(await storing.openFiles(), 2);

    for (const file of [old, alsoOld]) file.release();
    assert.equal(await storing.openFiles(), 1);
    await assertHolds(again, content);
    await assertHolds(await storing.stored('a'), content);
    await storing.reopen();
    await assertHolds(await storing.stored('a'), content);
    assert.equal(storing.store.bytes, await storing.bytesOnDisk());
  });

  test('can be read in its other parts', async () => {
    await using storing = await openStoring();
    await storing.sourceOf('a', 3 * BLOCK_BYTES);
    await damage(storing.pathOf('a'), 0);
    const file = await storing.stored('a');
    const range = { start: BLOCK_BYTES, end: 3 * BLOCK_BYTES };
    const expected = contentOf('a', 3 * BLOCK_BYTES).subarray(BLOCK_BYTES);
    assert.ok((await readAll(file.read(range))).equals(expected));
    assert.deepEqual(storing.damaged, []);
    file.release();
  });
});

describe('a file that cannot be used when it is opened is produced again', () => {
  const harms: Readonly<Record<string, (path: string) => Promise<void>>> = {
    'because it is missing': (path) => rm(path),
    'because it was cut': (path) => truncate(path, 600),
    'because its end is damaged': (path) => damage(path, 1001),
    'because it is empty': (path) => truncate(path, 0),
  };
  for (const [why, harm] of Object.entries(harms)) {
    test(why, async () => {
      await using storing = await openStoring();
      await storing.sourceOf('a');
      await storing.sourceOf('b');
      await storing.reopen();
      await harm(storing.pathOf('a'));
      const file = await storing.obtain('a', 0, making('again'));
      assert.equal(file.source, 'made');
      assert.deepEqual(storing.damaged, [nameOf('a')]);
      await assertHolds(file, 'again');
      assert.deepEqual(await storing.onDisk('a', 'b'), { prepared: ['a', 'b'], incoming: 0 });
      assert.equal(storing.store.bytes, await storing.bytesOnDisk());
      await assertHolds(await storing.stored('b'), contentOf('b'));
    });
  }

  test('because it is the file of another key', async () => {
    await using storing = await openStoring();
    await storing.sourceOf('a');
    await storing.store.close();
    await rename(storing.pathOf('a'), storing.pathOf('b'));
    await storing.reopen();
    assert.equal(storing.store.has('b'), true);
    const file = await storing.obtain('b');
    assert.equal(file.source, 'made');
    assert.deepEqual(storing.damaged, [nameOf('b')]);
    await assertHolds(file, contentOf('b'));
    assert.equal(await storing.openFiles(), 1);
    assert.equal(storing.store.bytes, await storing.bytesOnDisk());
  });

  test('and is missed by a lookup', async () => {
    await using storing = await openStoring();
    await storing.sourceOf('a');
    await storing.reopen();
    await truncate(storing.pathOf('a'), 600);
    assert.equal(await storing.store.find('a', NEVER), undefined);
    assert.deepEqual(storing.damaged, [nameOf('a')]);
    assert.deepEqual(await storing.onDisk('a'), { prepared: [], incoming: 0 });
  });

  test('but not because its description names another key: the store sets the key', async () => {
    await using storing = await openStoring();
    const file = await storing.obtain('a', 0, async () => ({ key: 'b', kind: 'test' }));
    assert.equal(file.description['key'], 'a');
    file.release();
    await storing.reopen();
    assert.equal(await storing.sourceOf('a', 0, mustNotProduce), 'cache');
  });
});
