import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { mapConcurrently } from '../../src/util/map-concurrently.ts';
import { NEVER } from '../pull/pulling.ts';
import { Conditions } from '../support/conditions.ts';
import { within } from '../support/within.ts';

/** Tasks that begin by themselves and end when they are told to. */
class Tasks {
  readonly begun: number[] = [];
  readonly ended: number[] = [];
  readonly aborted: number[] = [];
  readonly #gates = new Map<number, PromiseWithResolvers<void>>();
  readonly #events = new Conditions();
  mostAtOnce = 0;

  readonly run = async (item: number, signal: AbortSignal): Promise<string> => {
    const gate = Promise.withResolvers<void>();
    this.#gates.set(item, gate);
    this.begun.push(item);
    this.mostAtOnce = Math.max(this.mostAtOnce, this.#gates.size);
    signal.addEventListener('abort', () => this.aborted.push(item));
    this.#events.changed();
    try {
      await gate.promise;
      return `done ${item}`;
    } finally {
      this.#gates.delete(item);
      this.ended.push(item);
      this.#events.changed();
    }
  };

  async untilBegun(count: number): Promise<void> {
    const begun = this.#events.when(() => (this.begun.length >= count ? true : undefined));
    await within(begun, `${count} tasks`);
  }

  async untilEnded(count: number): Promise<void> {
    const ended = this.#events.when(() => (this.ended.length >= count ? true : undefined));
    await within(ended, `the end of ${count} tasks`);
  }

  end(item: number): void {
    this.#gates.get(item)?.resolve();
  }

  fail(item: number, error: Error): void {
    this.#gates.get(item)?.reject(error);
  }
}

describe('mapConcurrently', () => {
  test('gives the results in the order of the items, whichever ends first', async () => {
    const tasks = new Tasks();
    const all = mapConcurrently([1, 2, 3], 3, NEVER, tasks.run);
    await tasks.untilBegun(3);
    for (const item of [3, 1, 2]) tasks.end(item);
    assert.deepEqual(await within(all, 'all'), ['done 1', 'done 2', 'done 3']);
    assert.deepEqual(tasks.ended, [3, 1, 2]);
  });

  test('begins the next one only when a place is free, and uses all places', async () => {
    const tasks = new Tasks();
    const items = Array.from({ length: 7 }, (_, index) => index);
    const all = mapConcurrently(items, 3, NEVER, tasks.run);
    for (const item of items) {
      await tasks.untilBegun(Math.min(items.length, item + 3));
      assert.deepEqual(tasks.begun, items.slice(0, item + 3));
      tasks.end(item);
      await tasks.untilEnded(item + 1);
    }
    await within(all, 'all');
    assert.equal(tasks.mostAtOnce, 3);
  });

  test('has nothing to do for no items', async () => {
    assert.deepEqual(await mapConcurrently([], 3, NEVER, () => assert.fail('no item, no task')), []);
  });

  test('a failure aborts the others, begins none any more, and is reported when the last has ended', async () => {
    const tasks = new Tasks();
    const failure = new Error('the first');
    let isSettled = false;
    const all = mapConcurrently([1, 2, 3, 4, 5], 3, NEVER, tasks.run).finally(() => {
      isSettled = true;
    });
    const rejected = assert.rejects(all, failure);
    await tasks.untilBegun(3);
    tasks.fail(2, failure);
    await tasks.untilEnded(1);
    assert.deepEqual(tasks.aborted, [1, 2, 3]);

    tasks.fail(1, new Error('a later one'));
    await tasks.untilEnded(2);
    // A turn of the event loop: whatever was to follow from what has happened has followed.
    await new Promise(setImmediate);
    assert.equal(isSettled, false, 'task 3 is still at work');
    tasks.end(3);
    await within(rejected, 'the failure');
    assert.deepEqual(tasks.begun, [1, 2, 3]);
  });

  test('the signal aborts all, with its own reason', async () => {
    const tasks = new Tasks();
    const stop = new AbortController();
    const reason = new Error('enough');
    const all = mapConcurrently([1, 2, 3], 2, stop.signal, tasks.run);
    const rejected = assert.rejects(all, reason);
    await tasks.untilBegun(2);
    stop.abort(reason);
    assert.deepEqual(tasks.aborted, [1, 2]);
    for (const item of [1, 2]) tasks.end(item);
    await within(rejected, 'the abort');
    assert.deepEqual(tasks.begun, [1, 2]);
  });

  test('begins nothing under a signal that is aborted already', async () => {
    const reason = new Error('too late');
    await assert.rejects(
      mapConcurrently([1], 1, AbortSignal.abort(reason), () => assert.fail('aborted before it began')),
      reason,
    );
  });
});
