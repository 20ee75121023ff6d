import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import test from 'node:test';
import { VERSION } from '../src/version.ts';

test('the version is equal to that of package.json', async () => {
  const text = await readFile(new URL('../package.json', import.meta.url), 'utf8');
  assert.equal(VERSION, JSON.parse(text).version);
});
