import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isPassthroughError } from '../../../src/errors.ts';
import { Listeners } from '../../../src/http/events/listeners.ts';

/** `MAX_LISTENERS` and `MAX_LISTENERS_PER_CLIENT`. */
const MAX_LISTENERS = 1000;
const MAX_LISTENERS_PER_CLIENT = 100;

/** Lets as many listeners in as are admitted; returns their number, and the message for the next one. */
function fill(listeners: Listeners, addressOf: (at: number) => string): readonly [number, string] {
  for (let at = 0; ; at += 1) {
    try {
      listeners.enter(addressOf(at));
    } catch (error) {
      assert.ok(isPassthroughError(error, 'BUSY'));
      assert.ok((error.details.retryAfterSeconds ?? 0) > 0);
      return [at, error.message];
    }
  }
}

describe('listeners', () => {
  const advice = 'ask without text/event-stream instead';

  test('are limited in total, to half of the connections at most', () => {
    const table: readonly [maxConnections: number, most: number][] = [
      [10_000, MAX_LISTENERS],
      [2000, MAX_LISTENERS],
      [100, 50],
      [1, 1],
    ];
    for (const [maxConnections, most] of table) {
      const listeners = new Listeners(maxConnections);
      const result = fill(listeners, (at) => `10.0.${at >> 8}.${at & 255}`);
      assert.deepEqual(result, [most, `Cannot send events: ${most} clients listen already; ${advice}`]);
      assert.equal(listeners.count, most);
    }
  });

  test('are limited for each client, which an IPv6 network is', () => {
    const listeners = new Listeners(10_000);
    const full = (client: string) =>
      `Cannot send events: "${client}" has ${MAX_LISTENERS_PER_CLIENT} listeners already; ${advice}`;
    const one = fill(listeners, () => '::ffff:10.0.0.7');
    assert.deepEqual(one, [MAX_LISTENERS_PER_CLIENT, full('10.0.0.7')]);
    const network = fill(listeners, (at) => `2001:db8:1:2::${at.toString(16)}`);
    assert.deepEqual(network, [MAX_LISTENERS_PER_CLIENT, full('2001:db8:1:2::/64')]);
    listeners.enter('10.0.0.8');
  });

  test('make room when they leave', () => {
    const listeners = new Listeners(2);
    const leave = listeners.enter('10.0.0.7');
    assert.throws(() => listeners.enter('10.0.0.8'), { code: 'BUSY' });
    leave();
    assert.equal(listeners.count, 0);
    listeners.enter('10.0.0.8');
  });
});
