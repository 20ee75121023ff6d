import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isPassthroughError } from '../../src/errors.ts';
import { KeyedSemaphore, Semaphore } from '../../src/util/semaphore.ts';
import { within } from '../support/within.ts';

const NEVER = new AbortController().signal;

const LONG_MS = 60_000;

function isBusy(error: unknown): true {
  assert.ok(isPassthroughError(error, 'BUSY'));
  assert.ok((error.details.retryAfterSeconds ?? 0) > 0);
  return true;
}

/** Somebody who asks for a place, and whether it has been given. */
function ask(admission: Semaphore, signal = NEVER): { readonly entered: Promise<() => void>; isIn: boolean } {
  const asked = {
    isIn: false,
    entered: admission.acquire(signal).then((leave) => {
      asked.isIn = true;
      return leave;
    }),
  };
  // Whoever awaits it is told all the same.
  asked.entered.catch(() => undefined);
  return asked;
}

/** A turn of the event loop: whatever was to follow from what has happened has followed. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

describe('admission', () => {
  test('lets as many in as there are places', async () => {
    const admission = new Semaphore({ permits: 2, maxWaiters: 0, maxWaitMs: LONG_MS });
    const leave = await within(admission.acquire(NEVER), 'the first place');
    await within(admission.acquire(NEVER), 'the second place');
    await assert.rejects(admission.acquire(NEVER), isBusy);
    leave();
    await within(admission.acquire(NEVER), 'the place that was left');
    await assert.rejects(admission.acquire(NEVER), isBusy);
  });

  test('gives places in the order of arrival', async () => {
    const admission = new Semaphore({ permits: 1, maxWaiters: 3, maxWaitMs: LONG_MS });
    const leave = await admission.acquire(NEVER);
    const waiting = [ask(admission), ask(admission), ask(admission)];
    const isIn = () => waiting.map((one) => one.isIn);
    await turn();
    assert.deepEqual(isIn(), [false, false, false]);

    leave();
    const [first, second, third] = waiting;
    const leaveFirst = await within(first?.entered ?? assert.fail(), 'the first in the queue');
    await turn();
    assert.deepEqual(isIn(), [true, false, false]);
    leaveFirst();
    const leaveSecond = await within(second?.entered ?? assert.fail(), 'the second in the queue');
    await turn();
    assert.deepEqual(isIn(), [true, true, false]);
    leaveSecond();
    await within(third?.entered ?? assert.fail(), 'the third in the queue');
  });

  test('turns away at once whoever meets a full queue', async () => {
    const admission = new Semaphore({ permits: 1, maxWaiters: 1, maxWaitMs: LONG_MS });
    await admission.acquire(NEVER);
    const client = new AbortController();
    const waiting = ask(admission, client.signal);
    await assert.rejects(within(admission.acquire(NEVER), 'the refusal', 1_000), isBusy);
    client.abort(new Error('gone'));
    await assert.rejects(waiting.entered, /gone/);
  });

  test('turns away whoever has waited too long, and serves the others', async () => {
    const admission = new Semaphore({ permits: 1, maxWaiters: 2, maxWaitMs: 20 });
    const leave = await admission.acquire(NEVER);
    await assert.rejects(within(admission.acquire(NEVER), 'the refusal'), (error) => {
      assert.match((error as Error).message, /0\.02 s/);
      return isBusy(error);
    });
    const next = ask(admission);
    leave();
    await within(next.entered, 'the place');
  });

  test('who leaves the queue makes room in it, and is told the reason', async () => {
    const admission = new Semaphore({ permits: 1, maxWaiters: 1, maxWaitMs: LONG_MS });
    const leave = await admission.acquire(NEVER);
    const client = new AbortController();
    const reason = new Error('gone');
    const gone = ask(admission, client.signal);
    client.abort(reason);
    await assert.rejects(gone.entered, reason);

    const next = ask(admission);
    leave();
    await within(next.entered, 'the place');
  });

  test('a place that comes free as its heir leaves goes to the next', async () => {
    const admission = new Semaphore({ permits: 1, maxWaiters: 2, maxWaitMs: LONG_MS });
    const leave = await admission.acquire(NEVER);
    const client = new AbortController();
    const gone = ask(admission, client.signal);
    const next = ask(admission);
    client.abort(new Error('gone'));
    leave();
    await assert.rejects(gone.entered, /gone/);
    await within(next.entered, 'the place', 1_000);
  });

  test('a place that comes free as the last in the queue leaves stays free', async () => {
    const admission = new Semaphore({ permits: 1, maxWaiters: 1, maxWaitMs: LONG_MS });
    const leave = await admission.acquire(NEVER);
    const client = new AbortController();
    const gone = ask(admission, client.signal);
    client.abort(new Error('gone'));
    leave();
    await assert.rejects(gone.entered, /gone/);
    await within(admission.acquire(NEVER), 'the place', 1_000);
  });

  test('who has come in, or given up, leaves no timer behind', async () => {
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    const admission = new Semaphore({ permits: 1, maxWaiters: 2, maxWaitMs: LONG_MS });
    const leave = await admission.acquire(NEVER);
    const others = timers();
    const client = new AbortController();
    const gone = ask(admission, client.signal);
    const next = ask(admission);
    assert.equal(timers(), others + 2);
    client.abort(new Error('gone'));
    await assert.rejects(gone.entered, /gone/);
    leave();
    await next.entered;
    assert.equal(timers(), others);
  });

  test('leaving twice frees one place', async () => {
    const admission = new Semaphore({ permits: 2, maxWaiters: 0, maxWaitMs: LONG_MS });
    const leave = await admission.acquire(NEVER);
    await admission.acquire(NEVER);
    leave();
    leave();
    await admission.acquire(NEVER);
    await assert.rejects(admission.acquire(NEVER), isBusy);
  });

  test('nobody comes in with a signal that is aborted already', async () => {
    const admission = new Semaphore({ permits: 1, maxWaiters: 0, maxWaitMs: LONG_MS });
    await assert.rejects(admission.acquire(AbortSignal.abort(new Error('gone'))), /gone/);
    await within(admission.acquire(NEVER), 'the place');
  });
});

/** Work that is ended by hand, and how much of it is under way. */
function byHand() {
  const running: (() => void)[] = [];
  const work = () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    running.push(resolve);
    return promise;
  };
  return { running, work };
}

test('so many at once at one registry, the others in their order, and other registries on their own', async () => {
  const slots = new KeyedSemaphore(2);
  const { running, work } = byHand();
  const at = (origin: string) => slots.run(origin, NEVER, work);
  const all = [at('https://a'), at('https://a'), at('https://a'), at('https://b')];
  await new Promise(setImmediate);
  assert.equal(running.length, 3);
  running[0]?.();
  await all[0];
  await new Promise(setImmediate);
  assert.equal(running.length, 4);
  for (const end of running) end();
  await within(Promise.all(all), 'all work');
});

test('a failure frees its place', async () => {
  const slots = new KeyedSemaphore(1);
  const failure = new Error('failed');
  await assert.rejects(
    slots.run('https://a', NEVER, () => Promise.reject(failure)),
    failure,
  );
  assert.equal(
    await within(
      slots.run('https://a', NEVER, async () => 1),
      'the next',
    ),
    1,
  );
});

test('who leaves while waiting is not begun', async () => {
  const slots = new KeyedSemaphore(1);
  const { running, work } = byHand();
  const first = slots.run('https://a', NEVER, work);
  const client = new AbortController();
  const waiting = slots.run('https://a', client.signal, work);
  client.abort(new Error('left'));
  await assert.rejects(waiting, /left/);
  running[0]?.();
  await first;
  assert.equal(running.length, 1);
});
