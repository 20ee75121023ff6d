import assert from 'node:assert/strict';
import test from 'node:test';
import { ReadCache } from '../../src/storage/read-cache.ts';
import { releaseChunk } from '../../src/streams/chunk.ts';

/** Reads of ten bytes, and their buffers. */
function countReads() {
  const buffers: Uint8Array[] = [];
  const read = async () => {
    const bytes = new Uint8Array(10).fill(buffers.length + 1);
    buffers.push(bytes);
    return bytes;
  };
  return { buffers, read };
}

test('a chunk is read once for all readers, concurrent and later', async () => {
  const cache = new ReadCache(100);
  const { buffers, read } = countReads();
  const all = await Promise.all([cache.get('a 0', 10, read), cache.get('a 0', 10, read)]);
  const later = await cache.get('a 0', 10, read);
  assert.equal(buffers.length, 1);
  for (const chunk of [...all, later]) assert.deepEqual([...chunk], new Array(10).fill(1));
});

test('the memory of a chunk is freed when it has left the cache and all readers have released it', async () => {
  const cache = new ReadCache(10);
  const { buffers, read } = countReads();
  const [first, second] = [await cache.get('a 0', 10, read), await cache.get('a 0', 10, read)];
  releaseChunk(first);
  await cache.get('a 1', 10, read);
  assert.equal(buffers[0]?.byteLength, 10, 'a reader still holds it');
  releaseChunk(second);
  assert.equal(buffers[0]?.byteLength, 0);
});

test('a chunk stays in the cache after all readers have released it', async () => {
  const cache = new ReadCache(10);
  const { buffers, read } = countReads();
  releaseChunk(await cache.get('a 0', 10, read));
  assert.deepEqual([...(await cache.get('a 0', 10, read))], new Array(10).fill(1));
  assert.equal(buffers.length, 1);
});

test('a second release of a view does not free the chunk of another reader', async () => {
  const cache = new ReadCache(10);
  const { buffers, read } = countReads();
  const [first, second] = [await cache.get('a 0', 10, read), await cache.get('a 0', 10, read)];
  cache.forgetAll('a ');
  releaseChunk(first);
  releaseChunk(first);
  assert.equal(second.byteLength, 10);
  assert.equal(buffers[0]?.byteLength, 10);
});

test('chunks of a forgotten file are read again, those of other files are not', async () => {
  const cache = new ReadCache(100);
  const { buffers, read } = countReads();
  for (const key of ['a 0', 'ab 0']) await cache.get(key, 10, read);
  cache.forgetAll('a ');
  for (const key of ['a 0', 'ab 0']) await cache.get(key, 10, read);
  assert.equal(buffers.length, 3);
});

test('a failure reaches all readers that wait, and is not cached', async () => {
  const cache = new ReadCache(100);
  const { read } = countReads();
  const failing = () => Promise.reject(new Error('unreadable'));
  const both = [cache.get('a 0', 10, failing), cache.get('a 0', 10, read)];
  for (const one of both) await assert.rejects(one, /unreadable/);
  assert.equal((await cache.get('a 0', 10, read)).byteLength, 10);
});
