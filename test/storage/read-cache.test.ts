import assert from 'node:assert/strict';
import test from 'node:test';
import { ReadCache } from '../../src/storage/read-cache.ts';
import { releaseChunk } from '../../src/streams/chunk.ts';

/** Reads that are counted, each of ten bytes. */
function counting() {
  const made: Uint8Array[] = [];
  const read = async () => {
    const bytes = new Uint8Array(10).fill(made.length + 1);
    made.push(bytes);
    return bytes;
  };
  return { made, read };
}

test('what one has read serves the others, whether it is read already or just now', async () => {
  const pieces = new ReadCache(100);
  const { made, read } = counting();
  const all = await Promise.all([pieces.get('a 0', 10, read), pieces.get('a 0', 10, read)]);
  const later = await pieces.get('a 0', 10, read);
  assert.equal(made.length, 1);
  for (const piece of [...all, later]) assert.deepEqual([...piece], new Array(10).fill(1));
});

test('its memory goes once it is not kept and all have given it back', async () => {
  const pieces = new ReadCache(10);
  const { made, read } = counting();
  const [first, second] = [await pieces.get('a 0', 10, read), await pieces.get('a 0', 10, read)];
  releaseChunk(first);
  await pieces.get('a 1', 10, read);
  assert.equal(made[0]?.byteLength, 10, 'somebody still has it');
  releaseChunk(second);
  assert.equal(made[0]?.byteLength, 0);
});

test('it stays while it is kept, though all have given it back', async () => {
  const pieces = new ReadCache(10);
  const { made, read } = counting();
  releaseChunk(await pieces.get('a 0', 10, read));
  assert.deepEqual([...(await pieces.get('a 0', 10, read))], new Array(10).fill(1));
  assert.equal(made.length, 1);
});

test('giving one view back twice takes it from nobody else', async () => {
  const pieces = new ReadCache(10);
  const { made, read } = counting();
  const [first, second] = [await pieces.get('a 0', 10, read), await pieces.get('a 0', 10, read)];
  pieces.forgetAll('a ');
  releaseChunk(first);
  releaseChunk(first);
  assert.equal(second.byteLength, 10);
  assert.equal(made[0]?.byteLength, 10);
});

test('what is forgotten is read again, that of other files is not', async () => {
  const pieces = new ReadCache(100);
  const { made, read } = counting();
  for (const key of ['a 0', 'ab 0']) await pieces.get(key, 10, read);
  pieces.forgetAll('a ');
  for (const key of ['a 0', 'ab 0']) await pieces.get(key, 10, read);
  assert.equal(made.length, 3);
});

test('a failure reaches all who wait and is not kept', async () => {
  const pieces = new ReadCache(100);
  const { read } = counting();
  const failing = () => Promise.reject(new Error('unreadable'));
  const both = [pieces.get('a 0', 10, failing), pieces.get('a 0', 10, read)];
  for (const one of both) await assert.rejects(one, /unreadable/);
  assert.equal((await pieces.get('a 0', 10, read)).byteLength, 10);
});
