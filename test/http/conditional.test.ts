import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isMatched, mayBePartial, parseRange } from '../../src/http/conditional.ts';

describe('parseRange', () => {
  const table: readonly [header: string | undefined, size: number, range: ReturnType<typeof parseRange>][] = [
    [undefined, 100, undefined],
    ['bytes=0-0', 100, { start: 0, end: 1 }],
    ['bytes=0-99', 100, { start: 0, end: 100 }],
    ['bytes=0-', 100, { start: 0, end: 100 }],
    ['bytes=99-', 100, { start: 99, end: 100 }],
    ['bytes=10-19', 100, { start: 10, end: 20 }],
    ['bytes=10-1000', 100, { start: 10, end: 100 }],
    ['Bytes = 10 - 19 ', 100, { start: 10, end: 20 }],
    ['bytes=-1', 100, { start: 99, end: 100 }],
    ['bytes=-100', 100, { start: 0, end: 100 }],
    ['bytes=-1000', 100, { start: 0, end: 100 }],
    ['bytes=-0', 100, 'unsatisfiable'],
    ['bytes=100-', 100, 'unsatisfiable'],
    ['bytes=100-200', 100, 'unsatisfiable'],
    ['bytes=99999999999999999999-', 100, 'unsatisfiable'],
    ['bytes=0-', 0, 'unsatisfiable'],
    ['bytes=-5', 0, 'unsatisfiable'],
    ['bytes=20-10', 100, undefined],
    ['bytes=0-1,5-6', 100, undefined],
    ['bytes=', 100, undefined],
    ['bytes=-', 100, undefined],
    ['bytes=a-b', 100, undefined],
    ['bytes=1.5-2', 100, undefined],
    ['lines=0-1', 100, undefined],
    ['0-1', 100, undefined],
  ];
  for (const [header, size, range] of table) {
    test(`${header} of ${size} bytes`, () => assert.deepEqual(parseRange(header, size), range));
  }
});

test('If-None-Match matches if one of its tags does, also a weak one', () => {
  const matching = ['*', ' * ', '"a"', 'W/"a"', '"x", "a"', '"x",W/"a" , "y"'];
  const others = [undefined, '', '"b"', 'a', '"A"', '"ab"', '"x, a"'];
  for (const header of matching) assert.equal(isMatched(header, '"a"'), true, `${header}`);
  for (const header of others) assert.equal(isMatched(header, '"a"'), false, `${header}`);
});

test('a range is honoured without If-Range, or if its tag is the same strong tag', () => {
  const others = ['W/"a"', '"b"', 'a', 'Sat, 21 Nov 2026 03:00:00 GMT', '', '*'];
  for (const header of [undefined, '"a"', ' "a" '])
    assert.equal(mayBePartial(header, '"a"'), true, `${header}`);
  for (const header of others) assert.equal(mayBePartial(header, '"a"'), false, `${header}`);
});
