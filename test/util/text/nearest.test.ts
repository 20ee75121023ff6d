import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { editDistance, nearest } from '../../../src/util/text/nearest.ts';

test('the distance counts what is inserted, removed, replaced and swapped', () => {
  const table: readonly [one: string, other: string, distance: number][] = [
    ['', '', 0],
    ['a', '', 1],
    ['platform', 'platform', 0],
    ['platfrom', 'platform', 1],
    ['platfor', 'platform', 1],
    ['platforms', 'platform', 1],
    ['pletform', 'platform', 1],
    ['dokcer', 'docker', 1],
    ['bundel', 'bundle', 1],
    ['kitten', 'sitting', 3],
    ['ab', 'ba', 1],
    ['abc', 'ca', 3],
  ];
  for (const [one, other, distance] of table) {
    assert.equal(editDistance(one, other), distance, `${one} ${other}`);
    assert.equal(editDistance(other, one), distance, `${other} ${one}`);
  }
  assert.equal(editDistance('a'.repeat(65), 'a'), Number.POSITIVE_INFINITY);
});

test('one edit is a distance of one at most, and different words are not at distance zero', () => {
  const word = fc.string({ minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(word, fc.nat(19), (text, at) => {
      const without = text.slice(0, at) + text.slice(at + 1);
      assert.ok(editDistance(text, without) <= 1);
    }),
  );
  fc.assert(
    fc.property(word, word, (one, other) => assert.equal(editDistance(one, other) === 0, one === other)),
  );
});

test('a bound changes no distance within it, and the nearest word is that of all distances', () => {
  const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 12 });
  fc.assert(
    fc.property(word, word, fc.nat(6), (one, other, most) => {
      const [distance, bounded] = [editDistance(one, other), editDistance(one, other, most)];
      if (distance <= most) assert.equal(bounded, distance);
      else assert.ok(bounded > most);
    }),
  );
  fc.assert(
    fc.property(word, fc.array(word), fc.nat(6), (one, words, most) => {
      const distances = words.map((candidate) => editDistance(one, candidate));
      const least = Math.min(...distances);
      const expected = least <= most ? words[distances.indexOf(least)] : undefined;
      assert.equal(
        nearest(one, words, () => most),
        expected,
      );
    }),
  );
});

test('the nearest word is the first of those with the least distance', () => {
  const names = ['platform', 'arch', 'layout'];
  assert.equal(
    nearest('platfrom', names, () => 2),
    'platform',
  );
  assert.equal(
    nearest('arhc', names, () => 2),
    'arch',
  );
  assert.equal(
    nearest('zzz', names, () => 2),
    undefined,
  );
  assert.equal(
    nearest('x', ['a', 'b'], () => 1),
    'a',
  );
  assert.equal(
    nearest('plat', names, ({ length }) => length / 4),
    undefined,
  );
});
