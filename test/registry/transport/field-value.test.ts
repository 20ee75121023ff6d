import assert from 'node:assert/strict';
import test from 'node:test';
import { FieldReader, LIST_GAP, TOKEN, WHITESPACE } from '../../../src/registry/transport/field-value.ts';

const BARE = /[^\s,;"]*/y;

test('what stands here is taken and passed, and nothing else is', () => {
  const reader = new FieldReader('abc  ,, def');
  assert.equal(reader.take(WHITESPACE), '');
  assert.equal(reader.take(/b/y), undefined);
  assert.equal(reader.take(TOKEN), 'abc');
  assert.equal(reader.take(TOKEN), undefined);
  assert.equal(reader.take(LIST_GAP), '  ,, ');
  assert.equal(reader.take(TOKEN), 'def');
  assert.equal(reader.take(TOKEN), undefined);
});

test('two readers do not disturb each other', () => {
  const [one, other] = [new FieldReader('abc def'), new FieldReader('gh')];
  assert.deepEqual([one.take(TOKEN), other.take(TOKEN), one.take(WHITESPACE)], ['abc', 'gh', ' ']);
  assert.equal(one.take(TOKEN), 'def');
});

test('a value is a quoted string without its quotes, or the text that stands there', () => {
  const table: [text: string, value: string, rest: string | undefined][] = [
    ['"a, b; c" d', 'a, b; c', ' d'],
    ['"a \\"b\\" \\\\"', 'a "b" \\', ''],
    ['""', '', ''],
    ['"no end', 'no end', ''],
    ['a/b:c,d', 'a/b:c', ',d'],
    ['', '', ''],
    [',', '', ','],
  ];
  for (const [text, value, rest] of table) {
    const reader = new FieldReader(text);
    assert.equal(reader.takeValue(BARE), value, text);
    assert.equal(reader.take(/.*/y), rest, text);
  }
});
