import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { ownChunk, releaseChunk } from '../../src/streams/chunk.ts';
import { decompressed } from '../../src/streams/decompress.ts';

test('a piece with a buffer of its own is given back, once; any other stays as it is', () => {
  const own = ownChunk(Buffer.allocUnsafeSlow(1000).subarray(0, 900));
  releaseChunk(own);
  assert.equal(own.byteLength, 0);
  releaseChunk(own);

  const shared = Buffer.from('shared');
  releaseChunk(shared);
  assert.equal(shared.toString(), 'shared');
});

test('what is unpacked is right although each piece is given back as soon as it is read', async () => {
  const bytes = Buffer.alloc(12_000_000);
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = (at * 31 + (at >> 9)) & 0xff;
  async function* packed() {
    yield gzipSync(bytes);
  }
  let position = 0;
  let given = 0;
  for await (const piece of decompressed(packed(), 'layer')) {
    const { byteLength } = piece;
    assert.ok(bytes.subarray(position, position + byteLength).equals(piece), `from ${position}`);
    position += byteLength;
    releaseChunk(piece);
    if (piece.byteLength === 0) given += 1;
  }
  assert.equal(position, bytes.length);
  assert.ok(given > 5, `${given} pieces were given back`);
});
