import assert from 'node:assert/strict';
import test from 'node:test';
import { ownChunk, releaseChunk } from '../../src/streams/chunk.ts';
import { rebatched } from '../../src/streams/rebatch.ts';
import { patternOf } from '../storage/folder.ts';
import { chunksOf } from './chunks.ts';

/** Chunks that own their memory. */
async function* ownedChunksOf(bytes: Uint8Array, length: number, failure?: Error) {
  for await (const chunk of chunksOf(bytes, length, failure)) yield ownChunk(Uint8Array.from(chunk));
}

test('joins chunks to larger ones, with the same bytes', async () => {
  const bytes = patternOf(100_001);
  for (const step of [1, 999, 5_000, 12_000]) {
    const chunks: Buffer[] = [];
    for await (const chunk of rebatched(ownedChunksOf(bytes, step), 5_000)) chunks.push(Buffer.from(chunk));
    assert.deepEqual(Buffer.concat(chunks), bytes);
    for (const { length } of chunks.slice(0, -1)) assert.ok(length >= 5_000 && length < 5_000 + step);
  }
});

test('returns chunks that can be released, and releases what it has copied', async () => {
  const source = [ownChunk(new Uint8Array(10)), ownChunk(new Uint8Array(10))];
  async function* all() {
    yield* source;
  }
  for await (const chunk of rebatched(all(), 20)) {
    assert.equal(chunk.byteLength, 20);
    releaseChunk(chunk);
    assert.equal(chunk.byteLength, 0);
  }
  assert.deepEqual(
    source.map(({ byteLength }) => byteLength),
    [0, 0],
  );
});

test('returns nothing for an empty stream', async () => {
  for await (const { byteLength } of rebatched(ownedChunksOf(new Uint8Array(), 1), 10))
    assert.fail(`${byteLength} bytes`);
});

test('fails as its source fails', async () => {
  const failure = new Error('broke off');
  await assert.rejects(async () => {
    for await (const { length } of rebatched(ownedChunksOf(patternOf(30), 10, failure), 20))
      assert.equal(length, 20);
  }, failure);
});
