import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SeenTexts } from '../../../src/util/text/seen-texts.ts';

test('a text is new once, among many', () => {
  const seen = new SeenTexts();
  const texts = Array.from({ length: 5000 }, (_, index) => `v${index}`);
  for (const text of ['', ...texts]) assert.equal(seen.add(text), true, text);
  for (const text of [...texts, '']) assert.equal(seen.add(text), false, text);
  assert.equal(seen.size, 5001);
});
