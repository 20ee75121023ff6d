import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isPassthroughError } from '../../src/errors.ts';
import { Semaphore } from '../../src/util/semaphore.ts';
import { NEVER } from '../pull/pulling.ts';
import { within } from '../support/within.ts';

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
    entered: admission.enter(signal).then((leave) => {
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
    const admission = new Semaphore({ places: 2, queue: 0, waitMs: LONG_MS });
    const leave = await within(admission.enter(NEVER), 'the first place');
    await within(admission.enter(NEVER), 'the second place');
    await assert.rejects(admission.enter(NEVER), isBusy);
    leave();
    await within(admission.enter(NEVER), 'the place that was left');
    await assert.rejects(admission.enter(NEVER), isBusy);
  });

  test('gives places in the order of arrival', async () => {
    const admission = new Semaphore({ places: 1, queue: 3, waitMs: LONG_MS });
    const leave = await admission.enter(NEVER);
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
    const admission = new Semaphore({ places: 1, queue: 1, waitMs: LONG_MS });
    await admission.enter(NEVER);
    const client = new AbortController();
    const waiting = ask(admission, client.signal);
    await assert.rejects(within(admission.enter(NEVER), 'the refusal', 1_000), isBusy);
    client.abort(new Error('gone'));
    await assert.rejects(waiting.entered, /gone/);
  });

  test('turns away whoever has waited too long, and serves the others', async () => {
    const admission = new Semaphore({ places: 1, queue: 2, waitMs: 20 });
    const leave = await admission.enter(NEVER);
    await assert.rejects(within(admission.enter(NEVER), 'the refusal'), (error) => {
      assert.match((error as Error).message, /0\.02 s/);
      return isBusy(error);
    });
    const next = ask(admission);
    leave();
    await within(next.entered, 'the place');
  });

  test('who leaves the queue makes room in it, and is told the reason', async () => {
    const admission = new Semaphore({ places: 1, queue: 1, waitMs: LONG_MS });
    const leave = await admission.enter(NEVER);
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
    const admission = new Semaphore({ places: 1, queue: 2, waitMs: LONG_MS });
    const leave = await admission.enter(NEVER);
    const client = new AbortController();
    const gone = ask(admission, client.signal);
    const next = ask(admission);
    client.abort(new Error('gone'));
    leave();
    await assert.rejects(gone.entered, /gone/);
    await within(next.entered, 'the place', 1_000);
  });

  test('a place that comes free as the last in the queue leaves stays free', async () => {
    const admission = new Semaphore({ places: 1, queue: 1, waitMs: LONG_MS });
    const leave = await admission.enter(NEVER);
    const client = new AbortController();
    const gone = ask(admission, client.signal);
    client.abort(new Error('gone'));
    leave();
    await assert.rejects(gone.entered, /gone/);
    await within(admission.enter(NEVER), 'the place', 1_000);
  });

  test('who has come in, or given up, leaves no timer behind', async () => {
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    const admission = new Semaphore({ places: 1, queue: 2, waitMs: LONG_MS });
    const leave = await admission.enter(NEVER);
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
    const admission = new Semaphore({ places: 2, queue: 0, waitMs: LONG_MS });
    const leave = await admission.enter(NEVER);
    await admission.enter(NEVER);
    leave();
    leave();
    await admission.enter(NEVER);
    await assert.rejects(admission.enter(NEVER), isBusy);
  });

  test('nobody comes in with a signal that is aborted already', async () => {
    const admission = new Semaphore({ places: 1, queue: 0, waitMs: LONG_MS });
    await assert.rejects(admission.enter(AbortSignal.abort(new Error('gone'))), /gone/);
    await within(admission.enter(NEVER), 'the place');
  });
});
