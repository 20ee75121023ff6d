import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { describe, test } from 'node:test';
import { isPassthroughError } from '../../src/errors.ts';
import { KeyedSemaphore, Semaphore, type SemaphoreOptions } from '../../src/util/semaphore.ts';
import { within } from '../support/within.ts';

const NEVER = new AbortController().signal;

const LONG_MS = 60_000;

function isBusy(error: unknown): true {
  assert.ok(isPassthroughError(error, 'BUSY'));
  assert.ok((error.details.retryAfterSeconds ?? 0) > 0);
  return true;
}

/** Waits for everything that depends on promises alone. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A semaphore whose permits are taken, and callers of it. */
async function openScene(options: Partial<SemaphoreOptions> = {}) {
  const all = { permits: 1, maxWaiters: 3, maxWaitMs: LONG_MS, ...options };
  const semaphore = new Semaphore(all);
  const acquire = (signal = NEVER) => within(semaphore.acquire(signal), 'a permit', 1_000);
  const releases: (() => void)[] = [];
  for (let count = 0; count < all.permits; count += 1) releases.push(await acquire());
  const [release = assert.fail()] = releases;
  /** A caller that waits. */
  const wait = () => {
    const leaver = new AbortController();
    const permit = semaphore.acquire(leaver.signal);
    const waiter = { permit, hasPermit: false, leave: () => leaver.abort(new Error('left')) };
    permit.then(
      () => {
        waiter.hasPermit = true;
      },
      () => undefined,
    );
    return waiter;
  };
  return { semaphore, acquire, release, wait };
}

describe('a semaphore', () => {
  test('gives its permits and refuses further callers, until a release', async () => {
    const { semaphore, acquire, release } = await openScene({ permits: 2, maxWaiters: 0 });
    await assert.rejects(acquire(), isBusy);
    release();
    await acquire();
    // A second release frees no second permit.
    release();
    await assert.rejects(acquire(), isBusy);
    assert.equal(semaphore.isIdle, false);
  });

  test('is idle without a holder', async () => {
    const { semaphore, release, wait } = await openScene();
    const waiter = wait();
    release();
    assert.equal(semaphore.isIdle, false);
    (await waiter.permit)();
    assert.equal(semaphore.isIdle, true);
  });

  test('serves waiters first come, first served', async () => {
    const { release, wait } = await openScene();
    const waiters = [wait(), wait(), wait()];
    const states = async () => {
      await turn();
      return waiters.map(({ hasPermit }) => hasPermit);
    };
    assert.deepEqual(await states(), [false, false, false]);
    release();
    assert.deepEqual(await states(), [true, false, false]);
    (await waiters[0]?.permit)?.();
    assert.deepEqual(await states(), [true, true, false]);
    (await waiters[1]?.permit)?.();
    assert.deepEqual(await states(), [true, true, true]);
  });

  test('refuses a caller at once while the queue is full; a waiter that leaves makes room', async () => {
    const { acquire, release, wait } = await openScene({ maxWaiters: 1 });
    const waiter = wait();
    await assert.rejects(acquire(), isBusy);
    waiter.leave();
    await assert.rejects(waiter.permit, /left/);
    const next = wait();
    release();
    await within(next.permit, 'the permit');
  });

  test('refuses a waiter after the longest wait, and serves others', async () => {
    const { acquire, release, wait } = await openScene({ maxWaitMs: 20 });
    await assert.rejects(acquire(), (error) => {
      assert.match((error as Error).message, /0\.02 s/);
      return isBusy(error);
    });
    const next = wait();
    release();
    await within(next.permit, 'the permit');
  });

  for (const hasNext of [true, false]) {
    test(`passes a permit ${hasNext ? 'to the next waiter' : 'back'} when its waiter leaves at that moment`, async () => {
      const { acquire, release, wait } = await openScene({ maxWaiters: 2 });
      const gone = wait();
      const next = hasNext ? wait().permit : undefined;
      gone.leave();
      release();
      await assert.rejects(gone.permit, /left/);
      await within(next ?? acquire(), 'the permit', 1_000);
    });
  }

  test('leaves no timer after a wait', async () => {
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    const { release, wait } = await openScene();
    const before = timers();
    const [gone, next] = [wait(), wait()];
    assert.equal(timers(), before + 2);
    gone.leave();
    await assert.rejects(gone.permit, /left/);
    release();
    await next.permit;
    assert.equal(timers(), before);
  });

  test('leaves no listener at the signal after a wait', async () => {
    const semaphore = new Semaphore({ permits: 1 });
    const release = await semaphore.acquire(NEVER);
    const { signal } = new AbortController();
    const waiting = semaphore.acquire(signal);
    assert.equal(getEventListeners(signal, 'abort').length, 1);
    release();
    await waiting;
    assert.equal(getEventListeners(signal, 'abort').length, 0);
  });

  test('gives no permit to a caller that has left', async () => {
    const { acquire, release } = await openScene({ maxWaiters: 0 });
    release();
    await assert.rejects(acquire(AbortSignal.abort(new Error('left'))), /left/);
    await acquire();
  });
});

describe('a semaphore for each key', () => {
  /** Work that ends by hand. */
  function openKeyed(permits: number) {
    const semaphore = new KeyedSemaphore(permits);
    const ends: (() => void)[] = [];
    const run = (key: string, signal = NEVER) =>
      semaphore.run(key, signal, () => {
        const { promise, resolve } = Promise.withResolvers<void>();
        ends.push(resolve);
        return promise;
      });
    return { semaphore, ends, run };
  }

  test('limits the work of a key, and not that of another', async () => {
    const { ends, run } = openKeyed(2);
    const all = [run('a'), run('a'), run('a'), run('b')];
    await turn();
    assert.equal(ends.length, 3);
    ends[0]?.();
    await all[0];
    await turn();
    assert.equal(ends.length, 4);
    for (const end of ends) end();
    await within(Promise.all(all), 'all work');
  });

  test('frees the permit of work that fails', async () => {
    const { semaphore } = openKeyed(1);
    const failure = new Error('failed');
    await assert.rejects(
      semaphore.run('a', NEVER, () => Promise.reject(failure)),
      failure,
    );
    const next = semaphore.run('a', NEVER, async () => 1);
    assert.equal(await within(next, 'the next'), 1);
  });

  test('does not start the work of a waiter that has left', async () => {
    const { ends, run } = openKeyed(1);
    const first = run('a');
    const leaver = new AbortController();
    const waiting = run('a', leaver.signal);
    leaver.abort(new Error('left'));
    await assert.rejects(waiting, /left/);
    ends[0]?.();
    await first;
    assert.equal(ends.length, 1);
  });
});
