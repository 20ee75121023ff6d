import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isMatched, mayBePartial, parseRange } from '../../src/http/conditional.ts';

describe('a range of 100 bytes', () => {
  const table: readonly [header: string | undefined, answer: ReturnType<typeof parseRange>][] = [
    [undefined, undefined],
    ['bytes=0-0', { start: 0, end: 1 }],
    ['bytes=0-99', { start: 0, end: 100 }],
    ['bytes=0-', { start: 0, end: 100 }],
    ['bytes=99-', { start: 99, end: 100 }],
    ['bytes=10-19', { start: 10, end: 20 }],
    ['bytes=10-1000', { start: 10, end: 100 }],
    ['Bytes = 10 - 19 ', { start: 10, end: 20 }],
    ['bytes=-1', { start: 99, end: 100 }],
    ['bytes=-100', { start: 0, end: 100 }],
    ['bytes=-1000', { start: 0, end: 100 }],
    ['bytes=-0', 'unsatisfiable'],
    ['bytes=100-', 'unsatisfiable'],
    ['bytes=100-200', 'unsatisfiable'],
    ['bytes=99999999999999999999-', 'unsatisfiable'],
    ['bytes=20-10', undefined],
    ['bytes=0-1,5-6', undefined],
    ['bytes=', undefined],
    ['bytes=-', undefined],
    ['bytes=a-b', undefined],
    ['bytes=1.5-2', undefined],
    ['lines=0-1', undefined],
    ['0-1', undefined],
  ];
  for (const [header, answer] of table) {
    test(String(header), () => assert.deepEqual(parseRange(header, 100), answer));
  }

  test('is empty of none', () => {
    assert.equal(parseRange('bytes=0-', 0), 'unsatisfiable');
    assert.equal(parseRange('bytes=-5', 0), 'unsatisfiable');
  });
});

test('If-None-Match matches by any of its tags, weak ones too', () => {
  const matching = ['*', ' * ', '"a"', 'W/"a"', '"x", "a"', '"x",W/"a" , "y"'];
  const others = [undefined, '', '"b"', 'a', '"A"', '"ab"', '"x, a"'];
  for (const header of matching) assert.equal(isMatched(header, '"a"'), true, String(header));
  for (const header of others) assert.equal(isMatched(header, '"a"'), false, String(header));
});

test('a part may be sent where If-Range names the very bytes, or is not there', () => {
  for (const header of [undefined, '"a"', ' "a" '])
    assert.equal(mayBePartial(header, '"a"'), true, String(header));
  for (const header of ['W/"a"', '"b"', 'a', 'Sat, 21 Nov 2026 03:00:00 GMT', '']) {
    assert.equal(mayBePartial(header, '"a"'), false, String(header));
  }
});
