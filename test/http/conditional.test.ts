import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  evaluateConditions,
  isMatched,
  mayBePartial,
  parseRange,
  rangeStart,
} from '../../src/http/conditional.ts';

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

describe('conditions', () => {
  const table: readonly [ifMatch: string | undefined, ifNoneMatch: string | undefined, result: string][] = [
    [undefined, undefined, 'met'],
    ['*', undefined, 'met'],
    [' * ', undefined, 'met'],
    ['"a"', undefined, 'met'],
    ['"x", "a"', undefined, 'met'],
    ['"x",W/"y" ,"a"', undefined, 'met'],
    ['"b"', undefined, 'failed'],
    // The comparison is strong.
    ['W/"a"', undefined, 'failed'],
    ['W/"a", "b"', undefined, 'failed'],
    ['', undefined, 'failed'],
    ['a', undefined, 'failed'],
    ['"A"', undefined, 'failed'],
    ['"x, a"', undefined, 'failed'],
    [undefined, '"a"', 'not modified'],
    [undefined, '"b"', 'met'],
    // If-Match decides first.
    ['"b"', '"a"', 'failed'],
    ['"a"', '"a"', 'not modified'],
    ['"a"', '"b"', 'met'],
    ['*', '*', 'not modified'],
  ];
  for (const [ifMatch, ifNoneMatch, result] of table) {
    test(`If-Match: ${ifMatch}, If-None-Match: ${ifNoneMatch} are ${result}`, () => {
      const headers = {
        ...(ifMatch !== undefined && { 'if-match': ifMatch }),
        ...(ifNoneMatch !== undefined && { 'if-none-match': ifNoneMatch }),
      };
      for (const method of ['GET', 'HEAD']) {
        assert.equal(evaluateConditions({ method, headers }, '"a"'), result, method);
      }
      const ofPost = result === 'not modified' ? 'failed' : result;
      assert.equal(evaluateConditions({ method: 'POST', headers }, '"a"'), ofPost, 'POST');
    });
  }
});

test('a range behind the file begins where it says', () => {
  assert.equal(rangeStart('bytes=100-'), 100);
  assert.equal(rangeStart('bytes = 100 - 200'), 100);
  assert.equal(rangeStart('bytes=-100'), Number.NaN);
});

test('a range is honoured without If-Range, or if its tag is the same strong tag', () => {
  const others = ['W/"a"', '"b"', 'a', 'Sat, 21 Nov 2026 03:00:00 GMT', '', '*'];
  for (const header of [undefined, '"a"', ' "a" '])
    assert.equal(mayBePartial(header, '"a"'), true, `${header}`);
  for (const header of others) assert.equal(mayBePartial(header, '"a"'), false, `${header}`);
});
