import assert from 'node:assert/strict';
import test from 'node:test';
import { ownChunk, releaseChunk } from '../../src/streams/chunk.ts';
import { rebatched } from '../../src/streams/rebatch.ts';
import { patternOf } from '../storage/folder.ts';

async function* piecesOf(bytes: Uint8Array, step: number, end?: Error) {
  for (let at = 0; at < bytes.length; at += step)
    yield ownChunk(Uint8Array.from(bytes.subarray(at, at + step)));
  if (end !== undefined) throw end;
}

test('passes the same bytes on, in pieces of at least so many', async () => {
  const bytes = patternOf(100_001);
  for (const step of [1, 999, 5_000, 12_000]) {
    const pieces: Buffer[] = [];
    for await (const piece of rebatched(piecesOf(bytes, step), 5_000)) pieces.push(Buffer.from(piece));
    assert.deepEqual(Buffer.concat(pieces), bytes);
    for (const piece of pieces.slice(0, -1)) assert.ok(piece.length >= 5_000 && piece.length < 5_000 + step);
  }
});

test('gives pieces that can be given back, and takes back what it copied', async () => {
  const source = [ownChunk(new Uint8Array(10)), ownChunk(new Uint8Array(10))];
  async function* all() {
    yield* source;
  }
  for await (const piece of rebatched(all(), 20)) {
    assert.equal(piece.byteLength, 20);
    releaseChunk(piece);
    assert.equal(piece.byteLength, 0);
  }
  assert.deepEqual(
    source.map(({ byteLength }) => byteLength),
    [0, 0],
  );
});

test('has nothing to give for nothing', async () => {
  for await (const piece of rebatched(piecesOf(new Uint8Array(), 1), 10))
    assert.fail(`${piece.byteLength} bytes`);
});

test('fails as its source fails', async () => {
  const failure = new Error('broke off');
  await assert.rejects(async () => {
    for await (const piece of rebatched(piecesOf(patternOf(30), 10, failure), 20))
      assert.equal(piece.length, 20);
  }, failure);
});
