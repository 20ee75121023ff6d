import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { MAX_QUOTE_LENGTH, printable, quoted } from '../../src/util/printable.ts';

/** What no terminal may get: controls, bidirectional marks, zero-width characters, separators, lone surrogates. */
const UNSEEN: readonly [character: string, shown: string][] = [
  ['\0', '\\u0000'],
  ['\u0007', '\\u0007'],
  ['\b', '\\b'],
  ['\t', '\\t'],
  ['\n', '\\n'],
  ['\f', '\\f'],
  ['\r', '\\r'],
  ['\u001b', '\\u001b'],
  ['\u007f', '\\u007f'],
  ['\u0080', '\\u0080'],
  ['\u009b', '\\u009b'],
  ['\u009f', '\\u009f'],
  ['\u00ad', '\\u00ad'],
  ['\u061c', '\\u061c'],
  ['\u115f', '\\u115f'],
  ['\u200b', '\\u200b'],
  ['\u200e', '\\u200e'],
  ['\u200f', '\\u200f'],
  ['\u2028', '\\u2028'],
  ['\u2029', '\\u2029'],
  ['\u202a', '\\u202a'],
  ['\u202e', '\\u202e'],
  ['\u2066', '\\u2066'],
  ['\u2069', '\\u2069'],
  ['\ufeff', '\\ufeff'],
  ['\ud800', '\\ud800'],
  ['\udc00', '\\udc00'],
  ['\u{e0041}', '\\udb40\\udc41'],
];

describe('foreign text', () => {
  for (const [character, shown] of UNSEEN) {
    test(`shows ${shown}`, () => {
      assert.equal(printable(`a${character}b`), `a${shown}b`);
      assert.equal(quoted(`a${character}b`), `"a${shown}b"`);
    });
  }

  test('stays as it is if all of it can be seen', () => {
    for (const text of ['', 'nginx:1.25', 'größe 画像 😀', String.raw`C:\x "y"`, 'a'.repeat(200)]) {
      assert.equal(printable(text), text);
    }
  });

  test('is quoted as JSON quotes it', () => {
    for (const text of ['', 'nginx:1.25', 'größe 画像 😀', String.raw`C:\x "y"`, 'a\n\u001b']) {
      assert.equal(quoted(text), JSON.stringify(text));
    }
  });

  test('is cut between characters and escapes', () => {
    assert.equal(printable('x'.repeat(201)), `${'x'.repeat(200)}…`);
    assert.equal(printable('ab\u009b', 7), 'ab…');
    assert.equal(printable('ab\u009b', 8), 'ab\\u009b');
    assert.equal(printable('ab😀', 3), 'ab…');
    assert.equal(quoted('ab"c', 3), '"ab…"');
    assert.equal(quoted('abcd', 3), '"abc…"');
  });

  test('is never longer than asked, and has nothing that a reader cannot see', () => {
    const unseen = /[\p{C}\p{Zl}\p{Zp}]/u;
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (text) => {
        for (const shown of [printable(text), quoted(text).slice(1, -1)]) {
          assert.ok(shown.length <= MAX_QUOTE_LENGTH + 1, shown);
          // Unassigned and private characters are no control characters, and fonts show a box for them.
          assert.doesNotMatch(shown.replaceAll(/[\p{Cn}\p{Co}]/gu, ''), unseen);
        }
        assert.equal(printable(printable(text)), printable(text));
      }),
    );
  });
});
