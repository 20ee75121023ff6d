import assert from 'node:assert/strict';
import test from 'node:test';
import { BoundedMap } from '../../src/util/bounded-map.ts';

/** @returns the keys, from the least to the most recently used */
function keysOf<Key, Value>(map: BoundedMap<Key, Value>): Key[] {
  return Array.from(map.entries(), ([key]) => key);
}

test('a bounded map evicts the entry that was used least recently', () => {
  const map = new BoundedMap<string, number>({ maxCost: 2 });
  map.set('a', 1);
  map.set('b', 2);
  assert.equal(map.get('a'), 1);
  map.set('c', 3);
  assert.deepEqual(keysOf(map), ['a', 'c']);
  assert.deepEqual([map.get('b'), map.size], [undefined, 2]);
});

test('a value that is set again counts once, and as used', () => {
  const map = new BoundedMap<string, number>({ maxCost: 2 }, [
    ['a', 1],
    ['b', 2],
  ]);
  map.set('a', 3);
  map.set('c', 4);
  assert.deepEqual(
    [...map.entries()],
    [
      ['a', 3],
      ['c', 4],
    ],
  );
});

test('costs bound the sum, and a value that costs more than all of it is not kept', () => {
  const map = new BoundedMap<string, string>({ maxCost: 5, costOf: ({ length }) => length });
  map.set('a', 'xx');
  map.set('b', 'xx');
  map.set('large', 'xxxxxx');
  assert.deepEqual(keysOf(map), ['a', 'b']);
  map.set('c', 'xxxxx');
  assert.deepEqual(keysOf(map), ['c']);
  map.delete('c');
  map.delete('c');
  map.set('d', 'xxxxx');
  assert.deepEqual(keysOf(map), ['d']);
});

test('a bound of 0 keeps nothing, and a smaller bound evicts from the initial content', () => {
  const entries = [
    ['a', 1],
    ['b', 2],
  ] as const;
  assert.deepEqual(keysOf(new BoundedMap({ maxCost: 0 }, entries)), []);
  assert.deepEqual(keysOf(new BoundedMap({ maxCost: 1 }, entries)), ['b']);
});
