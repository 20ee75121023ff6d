import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { PassthroughError } from '../../src/errors.ts';
import { readAll } from '../support/collect.ts';
import { within } from '../support/within.ts';
import { assertHolds, byHand, contentOf, making, mustNotProduce, NEVER, openStoring } from './storing.ts';

const DENIED = new PassthroughError('REGISTRY_DENIED', 'Cannot get layer: denied');
const FAILED = new PassthroughError('REGISTRY_FAILED', 'Cannot get layer: it broke');

const sourcesOf = (files: readonly { readonly source: string }[]) => files.map(({ source }) => source);

describe('Store.obtain', () => {
  test('produces a missing file, and stores its description', async () => {
    await using storing = await openStoring();
    const file = await storing.obtain('a', 1000);
    assert.deepEqual([file.source, file.size, file.description['kind']], ['made', 1000, 'test']);
    assert.deepEqual(await readAll(file.read({ start: 3, end: 900 })), contentOf('a').subarray(3, 900));
    await assertHolds(file, contentOf('a'));
    assert.deepEqual(await storing.onDisk('a'), { prepared: ['a'], incoming: 0 });
    assert.equal(storing.store.bytes, await storing.bytesOnDisk());
  });

  test('produces a file once for all concurrent callers, and reports to each', async () => {
    await using storing = await openStoring();
    const hand = byHand('content');
    const reports: string[] = [];
    const obtain = (produce = mustNotProduce) =>
      storing.store.obtain('a', { signal: NEVER, produce, onReport: (report) => reports.push(report) });
    const calls = [obtain(hand.produce), obtain(), obtain()];
    await hand.begun;
    calls.push(obtain());
    assert.deepEqual(reports, ['written', 'written', 'written', 'written']);
    hand.goOn();
    const files = await Promise.all(calls);
    assert.deepEqual(sourcesOf(files), ['made', 'shared', 'shared', 'shared']);
    assert.equal(await storing.openFiles(), 1);
    for (const file of files) await assertHolds(file, 'content');
  });

  test('returns a stored file: in use, unused, and after a restart', async () => {
    await using storing = await openStoring();
    const first = await storing.obtain('a');
    const held = await storing.stored('a');
    for (const file of [first, held]) await assertHolds(file, contentOf('a'));
    const idle = await storing.stored('a');
    await assertHolds(idle, contentOf('a'));
    await storing.reopen();
    const kept = await storing.stored('a');
    assert.deepEqual([kept.description['kind'], kept.size], ['test', 1000]);
    await assertHolds(kept, contentOf('a'));
    assert.deepEqual(sourcesOf([held, idle, kept]), ['cache', 'cache', 'cache']);
    assert.equal(storing.store.bytes, await storing.bytesOnDisk());
    assert.deepEqual(storing.damaged, []);
  });

  test('takes any key', async () => {
    await using storing = await openStoring();
    const keys = ['', 'a', 'A', 'a/../../b', `long ${'x'.repeat(5000)}`, 'nul \0', 'ä'];
    for (const key of keys) await storing.sourceOf(key);
    await storing.reopen();
    for (const key of keys) await assertHolds(await storing.stored(key), contentOf(key));
  });

  test('returns a lease that ends once, however often it is released', async () => {
    await using storing = await openStoring({ maxBytes: 0 });
    const [one, other] = [await storing.obtain('a'), await storing.obtain('a')];
    one.release();
    one.release();
    assert.deepEqual(await storing.onDisk('a'), { prepared: ['a'], incoming: 0 });
    await assertHolds(other, contentOf('a'));
    assert.deepEqual(await storing.onDisk('a'), { prepared: [], incoming: 0 });
  });
});

describe('a production that fails', () => {
  test('fails for all callers and leaves nothing; the next caller produces the file', async () => {
    await using storing = await openStoring();
    const hand = byHand('half');
    const calls = [storing.obtain('a', 0, hand.produce), storing.stored('a')];
    await hand.begun;
    assert.ok(storing.store.bytes > 0);
    hand.fail(FAILED);
    for (const call of await Promise.allSettled(calls))
      assert.equal(call.status === 'rejected' && call.reason, FAILED);
    assert.deepEqual(await storing.onDisk('a'), { prepared: [], incoming: 0 });
    assert.deepEqual([storing.store.bytes, await storing.openFiles()], [0, 0]);
    await assertHolds(await storing.obtain('a'), contentOf('a'));
  });

  test('because its caller was denied does not fail for another caller', async () => {
    await using storing = await openStoring();
    const hand = byHand('');
    const denied = storing.obtain('a', 0, hand.produce);
    const allowed = [storing.obtain('a'), storing.stored('a')];
    await hand.begun;
    hand.fail(DENIED);
    await assert.rejects(denied, DENIED);
    const files = await Promise.all(allowed);
    assert.deepEqual(sourcesOf(files), ['made', 'shared']);
    for (const file of files) await assertHolds(file, contentOf('a'));
  });
});

describe('a caller that leaves', () => {
  for (const isIgnored of [false, true]) {
    test(`leaves nothing as the last${isIgnored ? ', even if the production ignores its abort' : ''}`, async () => {
      await using storing = await openStoring();
      const hand = byHand('content');
      const leaver = new AbortController();
      const call = storing.store.obtain('a', { signal: leaver.signal, produce: hand.produce });
      const working = await hand.begun;
      assert.equal((await storing.onDisk()).incoming, 1);
      const reason = new Error('left');
      leaver.abort(reason);
      if (isIgnored) hand.goOn();
      else if (working.aborted) hand.fail(working.reason);
      else working.addEventListener('abort', () => hand.fail(working.reason));
      await assert.rejects(call, reason);
      assert.equal(working.aborted, true);
      await assertHolds(await storing.obtain('b'), contentOf('b'));
      assert.deepEqual(await storing.onDisk('a', 'b'), { prepared: ['b'], incoming: 0 });
      assert.equal(storing.store.has('a'), false);
      assert.equal(storing.store.bytes, await storing.bytesOnDisk());
      assert.equal(await storing.openFiles(), 1);
    });
  }

  test('does not stop the production while another caller waits', async () => {
    await using storing = await openStoring();
    const hand = byHand('content');
    const leaver = new AbortController();
    const leaving = storing.store.obtain('a', { signal: leaver.signal, produce: hand.produce });
    const staying = storing.stored('a');
    const working = await hand.begun;
    leaver.abort(new Error('left'));
    await assert.rejects(leaving, /left/);
    assert.equal(working.aborted, false);
    hand.goOn();
    await assertHolds(await staying, 'content');
  });

  test('while a stored file is opened leaves no file open', async () => {
    await using storing = await openStoring();
    await storing.sourceOf('a');
    for (let round = 0; round < 5; round += 1) {
      await storing.reopen();
      const leaver = new AbortController();
      const leaving = storing.store.obtain('a', { signal: leaver.signal, produce: mustNotProduce });
      leaver.abort(new Error('left'));
      const staying = storing.stored('a');
      await assert.rejects(leaving, /left/);
      await assertHolds(await staying, contentOf('a'));
      assert.ok((await storing.openFiles()) <= 1);
    }
    await storing.reopen();
    assert.equal(await storing.openFiles(), 0);
  });
});

describe('Store.find', () => {
  test('does not produce a missing file', async () => {
    await using storing = await openStoring();
    assert.equal(await storing.store.find('a', NEVER), undefined);
    assert.equal(storing.store.has('a'), false);
    assert.deepEqual(await storing.onDisk(), { prepared: [], incoming: 0 });
  });

  test('returns a stored file, also after a restart', async () => {
    await using storing = await openStoring();
    await storing.sourceOf('a');
    for (let round = 0; round < 2; round += 1) {
      assert.equal(storing.store.has('a'), true);
      const file = await storing.store.find('a', NEVER);
      assert.equal(file?.source, 'cache');
      await assertHolds(file, contentOf('a'));
      await storing.reopen();
    }
  });

  for (const isDenied of [false, true]) {
    test(`waits for a file that is being produced${isDenied ? ', and misses where its caller is denied' : ''}`, async () => {
      await using storing = await openStoring();
      const hand = byHand('content');
      const producing = storing.obtain('a', 0, hand.produce);
      await hand.begun;
      const finding = storing.store.find('a', NEVER);
      if (isDenied) {
        hand.fail(DENIED);
        await assert.rejects(producing, DENIED);
        assert.equal(await finding, undefined);
        return;
      }
      hand.goOn();
      const file = await finding;
      assert.equal(file?.source, 'shared');
      (await producing).release();
      await assertHolds(file, 'content');
    });
  }

  test('that misses does not fail a caller that can produce the file', async () => {
    await using storing = await openStoring();
    await storing.sourceOf('a');
    await storing.reopen();
    await rm(storing.pathOf('a'));
    const finding = storing.store.find('a', NEVER);
    const call = storing.obtain('a', 0, making('again'));
    assert.equal(await finding, undefined);
    await assertHolds(await call, 'again');
  });
});

describe('Store.close', () => {
  test('stops productions and keeps stored files', async () => {
    await using storing = await openStoring();
    await storing.sourceOf('a');
    const begun = Promise.withResolvers<void>();
    const call = storing.obtain('b', 0, async (draft, signal) => {
      await draft.write(Buffer.from('half'));
      const stopped = Promise.withResolvers<never>();
      signal.addEventListener('abort', () => stopped.reject(signal.reason));
      begun.resolve();
      return await stopped.promise;
    });
    const refused = assert.rejects(call, { code: 'ABORTED' });
    await begun.promise;
    await within(storing.store.close(), 'the end of the store');
    await refused;
    assert.deepEqual(await storing.onDisk('a'), { prepared: ['a'], incoming: 0 });
    assert.equal(await storing.openFiles(), 0);
    await storing.reopen();
    await assertHolds(await storing.stored('a'), contentOf('a'));
  });

  for (const isTemporary of [false, true]) {
    test(`leaves a file of a ${isTemporary ? 'temporary' : 'kept'} folder readable until its release`, async () => {
      await using storing = await openStoring({ isTemporary });
      const file = await storing.obtain('a');
      await storing.store.close();
      assert.equal(await storing.openFiles(), 1);
      await assertHolds(file, contentOf('a'));
      assert.equal(await storing.openFiles(), 0);
      if (isTemporary) {
        assert.deepEqual(await storing.inParent(), []);
        return;
      }
      await storing.reopen();
      await assertHolds(await storing.stored('a'), contentOf('a'));
    });
  }
});
