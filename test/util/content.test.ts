import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Content, type ContentFile, contentOfBytes, contentOfFile } from '../../src/util/content.ts';
import { readAll } from '../support/collect.ts';

const BYTES = Buffer.from('0123456789');

function fileOf(bytes: Buffer): ContentFile & { releases: number } {
  const file = {
    size: bytes.length,
    releases: 0,
    readWhole: async () => bytes,
    release: () => {
      file.releases += 1;
    },
    async *read({ start, end } = { start: 0, end: bytes.length }) {
      yield bytes.subarray(start, end);
    },
  };
  return file;
}

const kinds: readonly [what: string, make: () => Content, bytes: Buffer | undefined][] = [
  ['in memory', () => contentOfBytes(BYTES), BYTES],
  ['in a file', () => contentOfFile(fileOf(BYTES)), undefined],
];
for (const [what, make, bytes] of kinds) {
  test(`content ${what} is read as a whole, in part, and at once`, async () => {
    const content = make();
    assert.deepEqual([content.size, content.bytes], [10, bytes]);
    assert.deepEqual(await readAll(content.read()), BYTES);
    assert.equal(String(await readAll(content.read({ start: 2, end: 5 }))), '234');
    assert.equal((await readAll(content.read({ start: 5, end: 5 }))).length, 0);
    assert.deepEqual(await content.readWhole(), BYTES);
    assert.deepEqual(await readAll(content.retain().read()), BYTES);
  });
}

describe('a file', () => {
  test('is released with the last hold, once', () => {
    const file = fileOf(BYTES);
    const first = contentOfFile(file);
    const second = first.retain();
    const third = second.retain();
    first.release();
    first.release();
    third.release();
    assert.equal(file.releases, 0);
    second.release();
    assert.equal(file.releases, 1);
    second.release();
    assert.equal(file.releases, 1);
  });
});
