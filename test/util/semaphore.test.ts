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
  const acquire = (signal = NEVER) => within(semaphore.acquire(signal), 'a permit');
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
      await within(next ?? acquire(), 'the permit');
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

describe('a semaphore whose callers belong to groups', () => {
  const a = { key: 'a', permits: 2 };
  const b = { key: 'b', permits: 2 };
  const x = { key: 'x', permits: 1 };

  /** A semaphore, and callers that write their names down when they get a permit, and their refusals. */
  function openGroups(options: SemaphoreOptions) {
    const semaphore = new Semaphore(options);
    const admitted: string[] = [];
    const refused: string[] = [];
    const releases = new Map<string, () => void>();
    const ask = (name: string, ...shares: { readonly key: string; readonly permits: number }[]) => {
      semaphore.acquire(NEVER, shares).then(
        (release) => {
          admitted.push(name);
          releases.set(name, release);
        },
        (error: unknown) => {
          isBusy(error);
          refused.push(name);
        },
      );
    };
    const release = async (name: string) => {
      releases.get(name)?.();
      await turn();
    };
    return { semaphore, admitted, refused, ask, release };
  }

  test('gives a group no more than its share, and the rest to others', async () => {
    const { admitted, ask, release } = openGroups({ permits: 3 });
    for (const name of ['a1', 'a2', 'a3', 'a4']) ask(name, a);
    ask('b1', b);
    ask('b2', b);
    await turn();
    assert.deepEqual(admitted, ['a1', 'a2', 'b1']);
    await release('a1');
    assert.deepEqual(admitted.slice(3), ['a3'], 'both hold one then, and the first that came is served');
  });

  test('serves the group with the fewest permits first, then the one that was served longest ago', async () => {
    const { admitted, ask, release } = openGroups({ permits: 2 });
    for (const name of ['a1', 'a2', 'a3', 'a4']) ask(name, { key: 'a', permits: 9 });
    ask('b1', b);
    ask('c1', { key: 'c', permits: 9 });
    await turn();
    assert.deepEqual(admitted, ['a1', 'a2']);
    await release('a1');
    await release('a2');
    assert.deepEqual(admitted.slice(2), ['b1', 'c1']);
    await release('b1');
    await release('c1');
    assert.deepEqual(admitted.slice(4), ['a3', 'a4']);
  });

  test('counts a caller in each of its groups', async () => {
    const { admitted, ask, release } = openGroups({ permits: 9 });
    ask('a1', a, x);
    ask('b1', b, x);
    ask('a2', a, { key: 'y', permits: 1 });
    await turn();
    assert.deepEqual(admitted, ['a1', 'a2']);
    await release('a2');
    assert.deepEqual(admitted, ['a1', 'a2']);
    await release('a1');
    assert.deepEqual(admitted, ['a1', 'a2', 'b1']);
  });

  test('makes room in a full queue for a group with fewer waiters, at the cost of the last of the largest', async () => {
    const { refused, ask } = openGroups({ permits: 1, maxWaiters: 3 });
    for (const name of ['a1', 'a2', 'a3', 'a4']) ask(name, a);
    await turn();
    assert.deepEqual(refused, []);
    ask('b1', b);
    await turn();
    assert.deepEqual(refused, ['a4']);
    // Two of one group and one of another wait: no group has more than its part.
    ask('b2', b);
    ask('a5', a);
    await turn();
    assert.deepEqual(refused, ['a4', 'b2', 'a5']);
  });

  test('keeps nothing of a group without holders and waiters', async () => {
    const { semaphore, admitted, ask, release } = openGroups({ permits: 1, maxWaiters: 1 });
    ask('a1', a);
    ask('a2', a);
    await turn();
    await release('a1');
    await release('a2');
    assert.equal(semaphore.isIdle, true);
    ask('a3', x);
    await turn();
    assert.deepEqual(admitted, ['a1', 'a2', 'a3']);
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

  for (const [permits, ofOnePart] of [
    [1, 1],
    [2, 2],
    [3, 3],
    [4, 3],
    [8, 6],
    [64, 48],
  ] as const) {
    test(`lets one part of a key have ${ofOnePart} of ${permits} permits, and other parts the rest`, async () => {
      const semaphore = new KeyedSemaphore(permits);
      const ends: (() => void)[] = [];
      const begun = { one: 0, other: 0 };
      const run = (part: 'one' | 'other') =>
        semaphore.run(
          'key',
          NEVER,
          () => {
            begun[part] += 1;
            const { promise, resolve } = Promise.withResolvers<void>();
            ends.push(resolve);
            return promise;
          },
          part,
        );
      const all = Array.from({ length: permits + 1 }, () => run('one'));
      await turn();
      assert.deepEqual(begun, { one: ofOnePart, other: 0 });
      all.push(...Array.from({ length: permits + 1 }, () => run('other')));
      await turn();
      assert.deepEqual(begun, { one: ofOnePart, other: permits - ofOnePart });
      for (let turns = 0; turns < all.length; turns += 1) {
        for (const end of ends) end();
        await turn();
      }
      await within(Promise.all(all), 'all work');
    });
  }
});
