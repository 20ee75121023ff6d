import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { mapConcurrently } from '../../src/util/map-concurrently.ts';
import { within } from '../support/within.ts';

/** Waits for everything that depends on promises alone. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A run over items, whose tasks end by hand. */
function start(items: readonly number[], limit: number, signal = new AbortController().signal) {
  const gates = new Map<number, PromiseWithResolvers<void>>();
  const started: number[] = [];
  const ended: number[] = [];
  const aborted: number[] = [];
  let most = 0;
  const results = mapConcurrently(items, limit, signal, async (item, either) => {
    const gate = Promise.withResolvers<void>();
    gates.set(item, gate);
    most = Math.max(most, gates.size);
    started.push(item);
    either.addEventListener('abort', () => aborted.push(item));
    try {
      await gate.promise;
      return `result ${item}`;
    } finally {
      gates.delete(item);
      ended.push(item);
    }
  });
  let isSettled = false;
  results
    .catch(() => undefined)
    .finally(() => {
      isSettled = true;
    });
  return {
    results: within(results, 'the results'),
    started,
    ended,
    aborted,
    get most() {
      return most;
    },
    get isSettled() {
      return isSettled;
    },
    end: (item: number) => gates.get(item)?.resolve(),
    fail: (item: number, error: Error) => gates.get(item)?.reject(error),
  };
}

describe('mapConcurrently', () => {
  test('returns the results in the order of the items, in whatever order the tasks end', async () => {
    const run = start([1, 2, 3], 3);
    for (const item of [3, 1, 2]) run.end(item);
    assert.deepEqual(await run.results, ['result 1', 'result 2', 'result 3']);
    assert.deepEqual(run.ended, [3, 1, 2]);
  });

  test('runs as many tasks as the limit allows', async () => {
    const items = [0, 1, 2, 3, 4, 5, 6];
    const run = start(items, 3);
    for (const item of items) {
      await turn();
      assert.deepEqual(run.started, items.slice(0, item + 3));
      run.end(item);
    }
    await run.results;
    assert.equal(run.most, 3);
  });

  test('runs nothing for no items', async () => {
    assert.deepEqual(await start([], 3).results, []);
  });

  test('aborts the other tasks after a failure, starts no more, and throws it when the last has ended', async () => {
    const run = start([1, 2, 3, 4, 5], 3);
    const failure = new Error('the first');
    const rejected = assert.rejects(run.results, failure);
    run.fail(2, failure);
    await turn();
    assert.deepEqual(run.aborted, [1, 2, 3]);
    run.fail(1, new Error('a later one'));
    await turn();
    assert.equal(run.isSettled, false, 'task 3 still runs');
    run.end(3);
    await rejected;
    assert.deepEqual(run.started, [1, 2, 3]);
  });

  test('aborts all tasks by the signal, and throws its reason', async () => {
    const stop = new AbortController();
    const run = start([1, 2, 3], 2, stop.signal);
    const reason = new Error('enough');
    const rejected = assert.rejects(run.results, reason);
    stop.abort(reason);
    assert.deepEqual(run.aborted, [1, 2]);
    for (const item of [1, 2]) run.end(item);
    await rejected;
    assert.deepEqual(run.started, [1, 2]);
  });

  test('starts nothing with an aborted signal', async () => {
    const reason = new Error('too late');
    const run = start([1], 1, AbortSignal.abort(reason));
    await assert.rejects(run.results, reason);
    assert.deepEqual(run.started, []);
  });
});
