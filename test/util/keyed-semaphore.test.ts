import assert from 'node:assert/strict';
import test from 'node:test';
import { KeyedSemaphore } from '../../src/util/keyed-semaphore.ts';
import { within } from '../support/within.ts';

const NEVER = new AbortController().signal;

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
