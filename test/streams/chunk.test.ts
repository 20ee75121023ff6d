import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { ownChunk, releaseChunk } from '../../src/streams/chunk.ts';
import { decompressed } from '../../src/streams/decompress.ts';
import { MemoryBudget } from '../../src/util/memory-budget.ts';
import { chunksOf } from './chunks.ts';

const OPTIONS = {
  memory: new MemoryBudget({ maxBytes: 1, maxWaitMs: 1 }),
  signal: new AbortController().signal,
};

test('a chunk that owns its buffer is released, once; any other stays as it is', () => {
  const own = ownChunk(Buffer.allocUnsafeSlow(1000).subarray(0, 900));
  releaseChunk(own);
  assert.equal(own.byteLength, 0);
  releaseChunk(own);

  const shared = Buffer.from('shared');
  releaseChunk(shared);
  assert.equal(shared.toString(), 'shared');
});

test('decompressed bytes are right although each chunk is released as soon as it was read', async () => {
  const bytes = Buffer.alloc(12_000_000);
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = (at * 31 + (at >> 9)) & 0xff;
  // Not compressed, and in chunks that do not fill the output of the decoder: it goes on in the buffer of the chunk before.
  const compressed = () => chunksOf(gzipSync(bytes, { level: 0 }), 200_000);
  let position = 0;
  let released = 0;
  for await (const chunk of decompressed(compressed(), 'layer', OPTIONS)) {
    const { byteLength } = chunk;
    assert.ok(bytes.subarray(position, position + byteLength).equals(chunk), `from ${position}`);
    position += byteLength;
    releaseChunk(chunk);
    if (chunk.byteLength === 0) released += 1;
  }
  assert.equal(position, bytes.length);
  assert.ok(released > 5, `${released} chunks were released`);
});
