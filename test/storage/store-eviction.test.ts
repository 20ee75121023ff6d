import assert from 'node:assert/strict';
import { access, readdir, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { StoreFolder } from '../../src/storage/folder.ts';
import { Store } from '../../src/storage/store.ts';
import { readAll } from '../support/collect.ts';
import { makeFolder } from './folder.ts';
import { assertHolds, contentOf, making, NEVER, nameOf, openStoring, unasked } from './storing.ts';

/** Bytes of content, and room for so many such files with all that stands behind the content: less than a tenth of it. */
const BYTES = 10_000;
const roomFor = (files: number) => files * BYTES * 1.1;

describe('a store that is full evicts', () => {
  test('what was used longest ago', async () => {
    await using storing = await openStoring({ maxBytes: roomFor(3) });
    for (const key of ['a', 'b', 'c']) (await storing.obtain(key, BYTES)).release();
    assert.deepEqual(await storing.onDisk('a', 'b', 'c'), { prepared: ['a', 'b', 'c'], incoming: 0 });
    // Used again, by looking for it too.
    (await storing.obtain('a', 0, unasked)).release();
    (await storing.store.find('b', NEVER))?.release();
    (await storing.obtain('d', BYTES)).release();
    assert.deepEqual(await storing.onDisk('a', 'b', 'c', 'd'), { prepared: ['a', 'b', 'd'], incoming: 0 });
    assert.deepEqual([storing.store.has('c'), storing.store.has('a')], [false, true]);
    assert.equal(storing.store.bytes, await storing.bytesOnDisk());
    assert.equal(await storing.openFiles(), 3);
    (await storing.obtain('e', BYTES)).release();
    assert.deepEqual((await storing.onDisk('a', 'b', 'd', 'e')).prepared, ['b', 'd', 'e']);
  });

  test('as many as have to go for a large one', async () => {
    await using storing = await openStoring({ maxBytes: roomFor(4) });
    for (const key of ['a', 'b', 'c', 'd']) (await storing.obtain(key, BYTES)).release();
    await assertHolds(await storing.obtain('large', 3 * BYTES), contentOf('large', 3 * BYTES));
    assert.deepEqual((await storing.onDisk('a', 'b', 'c', 'd', 'large')).prepared, ['d', 'large']);
  });

  test('nothing that is in use, also over its limit, until it is released', async () => {
    await using storing = await openStoring({ maxBytes: roomFor(1) });
    const [a, b] = [await storing.obtain('a', BYTES), await storing.obtain('b', BYTES)];
    const alsoA = await storing.obtain('a', 0, unasked);
    assert.deepEqual((await storing.onDisk('a', 'b')).prepared, ['a', 'b']);
    assert.ok(storing.store.bytes > roomFor(1));
    assert.ok((await readAll(a.read())).equals(contentOf('a', BYTES)));
    assert.ok((await readAll(b.read())).equals(contentOf('b', BYTES)));
    a.release();
    assert.deepEqual((await storing.onDisk('a', 'b')).prepared, ['a', 'b']);
    alsoA.release();
    assert.deepEqual((await storing.onDisk('a', 'b')).prepared, ['b']);
    b.release();
    assert.deepEqual((await storing.onDisk('a', 'b')).prepared, ['b']);
    assert.equal(storing.store.bytes, await storing.bytesOnDisk());
  });

  test('while a file is being written, as soon as it needs the room', async () => {
    await using storing = await openStoring({ maxBytes: roomFor(3) });
    for (const key of ['a', 'b']) (await storing.obtain(key, BYTES)).release();
    const here: string[] = [];
    const file = await storing.obtain('c', 0, async (draft) => {
      for (let part = 0; part < 3; part += 1) {
        await draft.write(contentOf('c', BYTES));
        here.push(['a', 'b'].filter((key) => storing.store.has(key)).join());
        assert.ok(storing.store.bytes <= roomFor(3));
      }
      return {};
    });
    assert.deepEqual(here, ['a,b', 'b', '']);
    assert.deepEqual(await storing.onDisk('a', 'b', 'c'), { prepared: ['c'], incoming: 0 });
    assert.equal(file.size, 3 * BYTES);
    file.release();
    assert.equal(storing.store.bytes, await storing.bytesOnDisk());
  });

  test('and makes anew what is asked for again', async () => {
    await using storing = await openStoring({ maxBytes: roomFor(1) });
    for (const key of ['a', 'b', 'a', 'b']) {
      const file = await storing.obtain(key, BYTES);
      assert.equal(file.source, 'made');
      await assertHolds(file, contentOf(key, BYTES));
    }
    assert.deepEqual(storing.damaged, []);
  });

  test('when it is opened with less room than it had, in the order in which files were used', async () => {
    await using storing = await openStoring();
    // Further apart than the clock of a file system tells.
    for (const [index, key] of ['a', 'b', 'c'].entries()) {
      (await storing.obtain(key, BYTES)).release();
      await utimes(storing.pathOf(key), 1000 + index, 1000 + index);
    }
    // A use is noted on the disk once a minute: the first one after a start is.
    await storing.reopen();
    (await storing.obtain('a', 0, unasked)).release();
    await storing.reopen(roomFor(2));
    assert.deepEqual((await storing.onDisk('a', 'b', 'c')).prepared, ['a', 'c']);
    assert.equal(storing.store.bytes, await storing.bytesOnDisk());
  });
});

describe('a store without room', () => {
  test('keeps nothing once it is released: neither the file nor its descriptor', async () => {
    await using storing = await openStoring({ maxBytes: 0 });
    const file = await storing.obtain('a');
    assert.deepEqual((await storing.onDisk('a')).prepared, ['a']);
    const shared = await storing.obtain('a', 0, unasked);
    await assertHolds(file, contentOf('a'));
    await access(storing.pathOf('a'));
    await assertHolds(shared, contentOf('a'));
    assert.deepEqual(await storing.onDisk('a'), { prepared: [], incoming: 0 });
    assert.deepEqual([await storing.openFiles(), storing.store.bytes, storing.store.has('a')], [0, 0, false]);
    assert.equal((await storing.obtain('a')).source, 'made');
  });

  test('puts a file that is asked for again in its place after the old one is gone', async () => {
    await using place = await makeFolder();
    const folder = await StoreFolder.openKept(place.path);
    const gate = Promise.withResolvers<void>();
    const remove = folder.remove.bind(folder);
    folder.remove = async (name) => {
      await gate.promise;
      await remove(name);
    };
    const store = await Store.open<string>({ folder, maxBytes: 0 });
    const produce = making('content');
    (await store.obtain('a', { signal: NEVER, produce })).release();
    // The removal is under way: what is made now must not go with it.
    const made = Promise.withResolvers<void>();
    const asked = store.obtain('a', {
      signal: NEVER,
      produce: async (...given) => {
        const description = await produce(...given);
        made.resolve();
        return description;
      },
    });
    await made.promise;
    // As long as it takes to put another file into its place.
    (await store.obtain('b', { signal: NEVER, produce })).release();
    gate.resolve();
    const file = await asked;
    await store.settled();
    assert.deepEqual(await readdir(join(place.path, 'prepared')), [nameOf('a')]);
    await assertHolds(file, 'content');
    await store.close();
  });
});

test('no more than 128 files are held open that nobody uses', async () => {
  await using storing = await openStoring();
  for (let count = 0; count < 140; count += 1) (await storing.obtain(`file ${count}`, 10)).release();
  assert.equal(await storing.openFiles(), 128);
  // What was closed is opened again.
  await assertHolds(await storing.obtain('file 0', 0, unasked), contentOf('file 0', 10));
  assert.equal(await storing.openFiles(), 128);
});
