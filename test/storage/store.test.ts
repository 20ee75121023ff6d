import assert from 'node:assert/strict';
import { readdir, rm } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { PassthroughError } from '../../src/errors.ts';
import { StoreFolder } from '../../src/storage/folder.ts';
import { Store } from '../../src/storage/store.ts';
import { readAll } from '../support/collect.ts';
import { within } from '../support/within.ts';
import { makeFolder } from './folder.ts';
import { assertHolds, byHand, contentOf, making, NEVER, openStoring, unasked } from './storing.ts';

const DENIED = new PassthroughError('REGISTRY_DENIED', 'Cannot get layer: denied');
const FAILED = new PassthroughError('REGISTRY_FAILED', 'Cannot get layer: it broke');

describe('a file is obtained', () => {
  test('by having it made, and its description with it', async () => {
    await using storing = await openStoring();
    const file = await storing.obtain('a', 1000);
    assert.deepEqual([file.source, file.size, file.description['kind']], ['made', 1000, 'test']);
    assert.deepEqual(await readAll(file.read({ start: 3, end: 900 })), contentOf('a').subarray(3, 900));
    await assertHolds(file, contentOf('a'));
    assert.deepEqual(await storing.onDisk('a'), { prepared: ['a'], incoming: 0 });
    assert.equal(storing.store.bytes, await storing.bytesOnDisk());
  });

  test('from one production by all who ask at once, each told how far it is', async () => {
    await using storing = await openStoring();
    const { store } = storing;
    const hand = byHand('content');
    const told: string[] = [];
    const ask = (produce = unasked) =>
      store.obtain('a', { signal: NEVER, produce, onReport: (report) => told.push(report) });
    const asked = [ask(hand.produce), ask(), ask()];
    await hand.begun;
    asked.push(ask());
    assert.deepEqual(told, ['written', 'written', 'written', 'written']);
    hand.goOn();
    const files = await Promise.all(asked);
    assert.deepEqual(
      files.map(({ source }) => source),
      ['made', 'shared', 'shared', 'shared'],
    );
    assert.equal(await storing.openFiles(), 1);
    for (const file of files) await assertHolds(file, 'content');
  });

  test('from the store by who comes later: while it is used, when it is not, and after a restart', async () => {
    await using storing = await openStoring();
    const first = await storing.obtain('a');
    const held = await storing.obtain('a', 0, unasked);
    await assertHolds(first, contentOf('a'));
    await assertHolds(held, contentOf('a'));
    const idle = await storing.obtain('a', 0, unasked);
    await assertHolds(idle, contentOf('a'));
    await storing.reopen();
    const kept = await storing.obtain('a', 0, unasked);
    assert.deepEqual([kept.description['kind'], kept.size], ['test', 1000]);
    await assertHolds(kept, contentOf('a'));
    assert.deepEqual(
      [held, idle, kept].map(({ source }) => source),
      ['cache', 'cache', 'cache'],
    );
    assert.equal(storing.store.bytes, await storing.bytesOnDisk());
    assert.deepEqual(storing.damaged, []);
  });

  test('of a key of any kind, each its own', async () => {
    await using storing = await openStoring();
    const keys = ['', 'a', 'A', 'a/../../b', `long ${'x'.repeat(5000)}`, 'nul \0', 'ä'];
    for (const key of keys) (await storing.obtain(key)).release();
    await storing.reopen();
    for (const key of keys) await assertHolds(await storing.obtain(key, 0, unasked), contentOf(key));
  });

  test('and given up once, however often that is said', async () => {
    await using storing = await openStoring({ maxBytes: 0 });
    const [one, other] = [await storing.obtain('a'), await storing.obtain('a')];
    one.release();
    one.release();
    assert.deepEqual(await storing.onDisk('a'), { prepared: ['a'], incoming: 0 });
    assert.ok((await readAll(other.read())).equals(contentOf('a')));
    other.release();
    assert.deepEqual(await storing.onDisk('a'), { prepared: [], incoming: 0 });
  });
});

describe('a production that fails', () => {
  test('fails all who wait, leaves nothing, and the next asker begins anew', async () => {
    await using storing = await openStoring();
    const hand = byHand('half of it');
    const asked = [storing.obtain('a', 0, hand.produce), storing.obtain('a', 0, unasked)];
    await hand.begun;
    assert.ok(storing.store.bytes > 0);
    hand.fail(FAILED);
    for (const one of await Promise.allSettled(asked))
      assert.equal(one.status === 'rejected' && one.reason, FAILED);
    assert.deepEqual(await storing.onDisk('a'), { prepared: [], incoming: 0 });
    assert.deepEqual([storing.store.bytes, await storing.openFiles()], [0, 0]);
    await assertHolds(await storing.obtain('a'), contentOf('a'));
  });

  test('because its asker was denied does not fail another one, who may have a right to it', async () => {
    await using storing = await openStoring();
    const hand = byHand('');
    const denied = storing.obtain('a', 0, hand.produce);
    const allowed = storing.obtain('a');
    const alsoAllowed = storing.obtain('a', 0, unasked);
    await hand.begun;
    hand.fail(DENIED);
    await assert.rejects(denied, DENIED);
    const files = await Promise.all([allowed, alsoAllowed]);
    assert.deepEqual(
      files.map(({ source }) => source),
      ['made', 'shared'],
    );
    for (const file of files) await assertHolds(file, contentOf('a'));
  });
});

describe('a production that nobody waits for any more', () => {
  for (const isHeedless of [false, true]) {
    test(`leaves nothing behind${isHeedless ? ', even if it goes on to its end' : ''}`, async () => {
      await using storing = await openStoring();
      const hand = byHand('content');
      const leaver = new AbortController();
      const asked = storing.store.obtain('a', { signal: leaver.signal, produce: hand.produce });
      const working = await hand.begun;
      assert.equal((await storing.onDisk()).incoming, 1);
      const reason = new Error('left');
      leaver.abort(reason);
      if (isHeedless) hand.goOn();
      else working.addEventListener('abort', () => hand.fail(working.reason));
      if (working.aborted && !isHeedless) hand.fail(working.reason);
      await assert.rejects(asked, reason);
      assert.equal(working.aborted, true);
      // Another one cannot tell that there was one.
      await assertHolds(await storing.obtain('b'), contentOf('b'));
      assert.deepEqual(await storing.onDisk('a', 'b'), { prepared: ['b'], incoming: 0 });
      assert.equal(storing.store.has('a'), false);
      assert.equal(storing.store.bytes, await storing.bytesOnDisk());
      assert.equal(await storing.openFiles(), 1);
    });
  }

  test('goes on while one still waits', async () => {
    await using storing = await openStoring();
    const hand = byHand('content');
    const leaver = new AbortController();
    const leaving = storing.store.obtain('a', { signal: leaver.signal, produce: hand.produce });
    const staying = storing.obtain('a', 0, unasked);
    const working = await hand.begun;
    leaver.abort(new Error('left'));
    await assert.rejects(leaving, /left/);
    assert.equal(working.aborted, false);
    hand.goOn();
    await assertHolds(await staying, 'content');
  });

  test('and the same file opened twice at once: none of the two stays open', async () => {
    await using storing = await openStoring();
    (await storing.obtain('a')).release();
    for (let round = 0; round < 5; round += 1) {
      await storing.reopen();
      const leaver = new AbortController();
      const leaving = storing.store.obtain('a', { signal: leaver.signal, produce: unasked });
      leaver.abort(new Error('left'));
      const staying = storing.obtain('a', 0, unasked);
      await assert.rejects(leaving, /left/);
      await assertHolds(await staying, contentOf('a'));
      assert.ok((await storing.openFiles()) <= 1);
    }
    await storing.reopen();
    assert.equal(await storing.openFiles(), 0);
  });
});

describe('a file is looked for', () => {
  test('and not made', async () => {
    await using storing = await openStoring();
    assert.equal(await storing.store.find('a', NEVER), undefined);
    assert.equal(storing.store.has('a'), false);
    assert.deepEqual(await storing.onDisk(), { prepared: [], incoming: 0 });
  });

  test('and found where it is, after a restart too', async () => {
    await using storing = await openStoring();
    (await storing.obtain('a')).release();
    for (let round = 0; round < 2; round += 1) {
      assert.equal(storing.store.has('a'), true);
      const file = await storing.store.find('a', NEVER);
      assert.ok(file);
      assert.equal(file.source, 'cache');
      await assertHolds(file, contentOf('a'));
      await storing.reopen();
    }
  });

  test('and had from who makes it just now', async () => {
    await using storing = await openStoring();
    const hand = byHand('content');
    const making = storing.obtain('a', 0, hand.produce);
    await hand.begun;
    const looking = storing.store.find('a', NEVER);
    hand.goOn();
    const file = await looking;
    assert.ok(file);
    assert.equal(file.source, 'shared');
    (await making).release();
    await assertHolds(file, 'content');
  });

  test('and not found where who makes it is denied', async () => {
    await using storing = await openStoring();
    const hand = byHand('content');
    const making = storing.obtain('a', 0, hand.produce);
    await hand.begun;
    const looking = storing.store.find('a', NEVER);
    hand.fail(DENIED);
    await assert.rejects(making, DENIED);
    assert.equal(await looking, undefined);
  });

  test('in vain, which says nothing to who has it made', async () => {
    await using storing = await openStoring();
    (await storing.obtain('a')).release();
    await storing.reopen();
    await rm(storing.pathOf('a'));
    const looking = storing.store.find('a', NEVER);
    const asked = storing.obtain('a', 0, making('anew'));
    assert.equal(await looking, undefined);
    await assertHolds(await asked, 'anew');
  });
});

describe('closing', () => {
  test('stops what is being made, and leaves what was there', async () => {
    await using storing = await openStoring();
    (await storing.obtain('a')).release();
    const begun = Promise.withResolvers<void>();
    const asked = storing.obtain('b', 0, async (draft, signal) => {
      await draft.write(Buffer.from('half'));
      const stopped = Promise.withResolvers<never>();
      signal.addEventListener('abort', () => stopped.reject(signal.reason));
      begun.resolve();
      return await stopped.promise;
    });
    const refused = assert.rejects(asked, { code: 'ABORTED' });
    await begun.promise;
    await within(storing.store.close(), 'the end of the store');
    await refused;
    assert.deepEqual(await storing.onDisk('a'), { prepared: ['a'], incoming: 0 });
    assert.equal(await storing.openFiles(), 0);
    await storing.reopen();
    await assertHolds(await storing.obtain('a', 0, unasked), contentOf('a'));
  });

  test('leaves a file with who has it until it is released, and closes it then', async () => {
    await using storing = await openStoring();
    const file = await storing.obtain('a');
    await storing.store.close();
    assert.equal(await storing.openFiles(), 1);
    await assertHolds(file, contentOf('a'));
    assert.equal(await storing.openFiles(), 0);
    await storing.reopen();
    await assertHolds(await storing.obtain('a', 0, unasked), contentOf('a'));
  });

  test('removes a temporary folder, files in use too', async () => {
    await using place = await makeFolder();
    const folder = await StoreFolder.makeTemporary(place.path);
    const store = await Store.open<string>({ folder, maxBytes: 1_000_000 });
    const file = await store.obtain('a', { signal: NEVER, produce: making('content') });
    await store.close();
    assert.deepEqual(await readdir(place.path), []);
    await assertHolds(file, 'content');
    await store.settled();
  });
});
