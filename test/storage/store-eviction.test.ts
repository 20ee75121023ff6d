import assert from 'node:assert/strict';
import { access, readdir, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { StoreFolder } from '../../src/storage/folder.ts';
import { Store } from '../../src/storage/store.ts';
import { nameOf as nameOfKey, type StoreKey } from '../../src/storage/store-key.ts';
import { readAll } from '../support/collect.ts';
import { makeFolder } from './folder.ts';
import { assertHolds, contentOf, making, mustNotProduce, NEVER, nameOf, openStoring } from './storing.ts';

/** Bytes of content, and room for so many such files. What follows the content is less than a tenth of it. */
const BYTES = 10_000;
const roomFor = (files: number) => files * BYTES * 1.1;

describe('a full store evicts', () => {
  test('the least recently used file', async () => {
    await using storing = await openStoring({ maxBytes: roomFor(3) });
    for (const key of ['a', 'b', 'c']) await storing.sourceOf(key, BYTES);
    assert.deepEqual(await storing.onDisk('a', 'b', 'c'), { prepared: ['a', 'b', 'c'], incoming: 0 });
    // A lookup counts as a use, too.
    await storing.sourceOf('a', 0, mustNotProduce);
    (await storing.store.find('b', NEVER))?.release();
    await storing.sourceOf('d', BYTES);
    assert.deepEqual(await storing.onDisk('a', 'b', 'c', 'd'), { prepared: ['a', 'b', 'd'], incoming: 0 });
    assert.deepEqual([storing.store.has('c'), storing.store.has('a')], [false, true]);
    assert.equal(storing.store.bytes, await storing.bytesOnDisk());
    assert.equal(await storing.openFiles(), 3);
    await storing.sourceOf('e', BYTES);
    assert.deepEqual((await storing.onDisk('a', 'b', 'd', 'e')).prepared, ['b', 'd', 'e']);
  });

  test('as many files as a large one needs', async () => {
    await using storing = await openStoring({ maxBytes: roomFor(4) });
    for (const key of ['a', 'b', 'c', 'd']) await storing.sourceOf(key, BYTES);
    await assertHolds(await storing.obtain('large', 3 * BYTES), contentOf('large', 3 * BYTES));
    assert.deepEqual((await storing.onDisk('a', 'b', 'c', 'd', 'large')).prepared, ['d', 'large']);
  });

  test('no file in use, even above its limit, until its release', async () => {
    await using storing = await openStoring({ maxBytes: roomFor(1) });
    const [a, b] = [await storing.obtain('a', BYTES), await storing.obtain('b', BYTES)];
    const alsoA = await storing.stored('a');
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

  test('while a file is being written, as soon as it needs the space', async () => {
    await using storing = await openStoring({ maxBytes: roomFor(3) });
    for (const key of ['a', 'b']) await storing.sourceOf(key, BYTES);
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

  test('and produces an evicted file again', async () => {
    await using storing = await openStoring({ maxBytes: roomFor(1) });
    for (const key of ['a', 'b', 'a', 'b']) {
      const file = await storing.obtain(key, BYTES);
      assert.equal(file.source, 'made');
      await assertHolds(file, contentOf(key, BYTES));
    }
    assert.deepEqual(storing.damaged, []);
  });

  test('in the order of use when it is opened with a lower limit', async () => {
    await using storing = await openStoring();
    // Further apart than the clock of a file system tells.
    for (const [index, key] of ['a', 'b', 'c'].entries()) {
      await storing.sourceOf(key, BYTES);
      await utimes(storing.pathOf(key), 1000 + index, 1000 + index);
    }
    // The time of use is stored on the disk at most once a minute, and at the first use after a start.
    await storing.reopen();
    await storing.sourceOf('a', 0, mustNotProduce);
    await storing.reopen(roomFor(2));
    assert.deepEqual((await storing.onDisk('a', 'b', 'c')).prepared, ['a', 'c']);
    assert.equal(storing.store.bytes, await storing.bytesOnDisk());
  });
});

describe('a file that can be made again', () => {
  const HOUR_MS = 3_600_000;
  const [BLOB, OTHER]: readonly StoreKey[] = ['blob', 'other'];
  const INFLATED: StoreKey = { key: 'inflated', from: 'blob' };
  const NAMES = new Map([BLOB, OTHER, INFLATED].map((key = '') => [nameOfKey(key), key] as const));

  /** Stores files that were last used so long ago, and returns those that are left in a store with room for all but one. */
  async function leftOf(files: readonly (readonly [key: StoreKey | undefined, hours: number])[]) {
    await using storing = await openStoring();
    for (const [key = '', hours] of files) {
      const produce = making(contentOf('content', BYTES));
      (await storing.store.obtain(key, { signal: NEVER, produce })).release();
      const usedAt = (Date.now() - hours * HOUR_MS) / 1000;
      await utimes(join(storing.path, 'prepared', nameOfKey(key)), usedAt, usedAt);
    }
    await storing.reopen(roomFor(files.length - 1));
    await storing.store.settled();
    return (await readdir(join(storing.path, 'prepared'))).map((name) => NAMES.get(name)).sort();
  }

  const rows: readonly [what: string, files: Parameters<typeof leftOf>[0], gone: StoreKey | undefined][] = [
    [
      'goes before its source that was last used with it',
      [
        [BLOB, 1],
        [INFLATED, 1],
      ],
      INFLATED,
    ],
    [
      'goes before its source that was last used long before',
      [
        [BLOB, 15],
        [INFLATED, 1],
      ],
      INFLATED,
    ],
    [
      'stays if its source was not used for 16 times as long',
      [
        [BLOB, 17],
        [INFLATED, 1],
      ],
      BLOB,
    ],
    [
      'goes before another file that was last used long before',
      [
        [OTHER, 15],
        [BLOB, 1],
        [INFLATED, 1],
      ],
      INFLATED,
    ],
    [
      'ages as any other file when its source is gone',
      [
        [OTHER, 2],
        [INFLATED, 1],
      ],
      OTHER,
    ],
  ];
  for (const [what, files, gone] of rows) {
    test(what, async () => {
      const expected = files.flatMap(([key]) => (key === gone ? [] : key));
      assert.deepEqual(await leftOf(files), expected.sort());
    });
  }

  test('stays while it is used, and its source goes', async () => {
    await using storing = await openStoring({ maxBytes: roomFor(1) });
    const obtain = (key: StoreKey) =>
      storing.store.obtain(key, { signal: NEVER, produce: making(contentOf('content', BYTES)) });
    const inflated = await obtain(INFLATED);
    (await obtain('blob')).release();
    await storing.store.settled();
    assert.deepEqual([storing.store.has('blob'), storing.store.has(INFLATED)], [false, true]);
    await assertHolds(inflated, contentOf('content', BYTES));
  });
});

describe('a store with a limit of 0', () => {
  test('keeps neither a file nor its descriptor after the release', async () => {
    await using storing = await openStoring({ maxBytes: 0 });
    const file = await storing.obtain('a');
    assert.deepEqual((await storing.onDisk('a')).prepared, ['a']);
    const shared = await storing.stored('a');
    await assertHolds(file, contentOf('a'));
    await access(storing.pathOf('a'));
    await assertHolds(shared, contentOf('a'));
    assert.deepEqual(await storing.onDisk('a'), { prepared: [], incoming: 0 });
    assert.deepEqual([await storing.openFiles(), storing.store.bytes, storing.store.has('a')], [0, 0, false]);
    assert.equal((await storing.obtain('a')).source, 'made');
  });

  test('stores a file again only after the old one was removed', async () => {
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
    // The removal is under way, and must not remove the next file of that name.
    const made = Promise.withResolvers<void>();
    const call = store.obtain('a', {
      signal: NEVER,
      produce: async (...given) => {
        const description = await produce(...given);
        made.resolve();
        return description;
      },
    });
    await made.promise;
    // In this time another file gets its name.
    (await store.obtain('b', { signal: NEVER, produce })).release();
    gate.resolve();
    const file = await call;
    await store.settled();
    assert.deepEqual(await readdir(join(place.path, 'prepared')), [nameOf('a')]);
    await assertHolds(file, 'content');
    await store.close();
  });
});

test('the time of a use is stored at most once a minute', async () => {
  await using storing = await openStoring();
  await storing.sourceOf('a');
  await storing.reopen();
  const uses: boolean[] = [];
  for (let use = 0; use < 2; use += 1) {
    await utimes(storing.pathOf('a'), 1000, 1000);
    await storing.sourceOf('a', 0, mustNotProduce);
    await storing.store.settled();
    uses.push((await stat(storing.pathOf('a'))).mtimeMs !== 1_000_000);
  }
  assert.deepEqual(uses, [true, false]);
});

test('at most 128 unused files stay open', async () => {
  await using storing = await openStoring();
  for (let count = 0; count < 140; count += 1) await storing.sourceOf(`file ${count}`, 10);
  assert.equal(await storing.openFiles(), 128);
  // A closed file is opened again.
  await assertHolds(await storing.stored('file 0'), contentOf('file 0', 10));
  assert.equal(await storing.openFiles(), 128);
});
