import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isPassthroughError, PassthroughError } from '../../src/errors.ts';
import { DiskTurns } from '../../src/pull/limits.ts';
import { mockTimers } from '../support/mock-timers.ts';
import { within } from '../support/within.ts';

const NEVER = new AbortController().signal;

/** A disk of so many bytes, and work that takes some of it. */
function openDisk(bytes: number, waits = { preparingMs: 60_000, sendingMs: 60_000 }) {
  const turns = new DiskTurns(waits);
  let free = bytes;
  const attempts: string[] = [];
  /** Takes a first half, then the second, and fails where that is too much. */
  const store = (name: string, size: number, signal = NEVER) =>
    turns.run(signal, async (leave) => {
      attempts.push(name);
      let taken = 0;
      for (const part of [size / 2, size / 2]) {
        if (part > free) {
          free += taken;
          throw new PassthroughError('NO_SPACE', 'full');
        }
        free -= part;
        taken += part;
        await new Promise((resolve) => setImmediate(resolve));
      }
      const release = () => {
        free += size;
        leave();
      };
      return release;
    });
  return { store, attempts };
}

const isFull = (error: unknown) => isPassthroughError(error, 'NO_SPACE');

describe('work that meets a full disk', () => {
  test('fails at once where nothing else uses the disk', async () => {
    const { store, attempts } = openDisk(10);
    await assert.rejects(within(store('large', 12), 'the end'), isFull);
    assert.deepEqual(attempts, ['large']);
  });

  for (const count of [2, 3, 5]) {
    test(`succeeds one after the other, if each of ${count} fits alone`, async () => {
      const { store } = openDisk(10);
      const works = Array.from({ length: count }, async (_, index) => {
        (await store(`${index}`, 8))();
      });
      await within(Promise.all(works), 'all');
    });
  }

  test('waits until files of others are no longer in use', async () => {
    const { store, attempts } = openDisk(10);
    const release = await store('first', 8);
    const second = store('second', 8);
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(attempts, ['first', 'second']);
    release();
    (await within(second, 'the second'))();
    assert.deepEqual(attempts, ['first', 'second', 'second']);
  });

  test('fails when it waits too long, with the error of the disk', async () => {
    const { store } = openDisk(10, { preparingMs: 60_000, sendingMs: 5 });
    await store('first', 8);
    await assert.rejects(within(store('second', 8), 'the end'), isFull);
  });

  test('waits longer for work under way than for files that are only in use', async (t) => {
    const timers = mockTimers(t);
    const turns = new DiskTurns({ preparingMs: 60_000, sendingMs: 5 });
    const { promise, resolve } = Promise.withResolvers<void>();
    const slow = turns.run(NEVER, () => promise);
    let attempts = 0;
    const waiting = turns.run(NEVER, async () => {
      attempts += 1;
      throw new PassthroughError('NO_SPACE', 'full');
    });
    let isWaiting = true;
    waiting.catch(() => {
      isWaiting = false;
    });
    const turn = () => new Promise((elapsed) => setImmediate(elapsed));
    await turn();
    // Ten times as long as for files that are in use.
    timers.tick(50);
    await turn();
    assert.deepEqual([attempts, isWaiting], [1, true]);
    resolve();
    await slow;
    await turn();
    timers.tick(5);
    await assert.rejects(within(waiting, 'the end'), isFull);
  });

  test('does not wait beyond its signal, nor does it stop the next', async () => {
    const { store } = openDisk(10);
    const release = await store('first', 8);
    const leaver = new AbortController();
    const second = store('second', 8, leaver.signal);
    const third = store('third', 8);
    await new Promise((resolve) => setImmediate(resolve));
    leaver.abort(new Error('left'));
    await assert.rejects(within(second, 'the end'), /left/);
    release();
    (await within(third, 'the third'))();
  });

  test('is not repeated without end', async () => {
    const { store, attempts } = openDisk(10);
    const releases = await Promise.all([store('a', 2), store('b', 2), store('c', 2), store('d', 2)]);
    const large = store('large', 12);
    large.catch(() => undefined);
    for (const release of releases) {
      await new Promise((resolve) => setImmediate(resolve));
      release();
    }
    await assert.rejects(within(large, 'the end'), isFull);
    assert.ok(attempts.filter((name) => name === 'large').length <= 3);
  });
});
