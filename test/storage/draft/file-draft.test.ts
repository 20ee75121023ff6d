import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readAll } from '../../support/collect.ts';
import { NEVER, openStoring } from '../storing.ts';

test('a temporary file is read by its holder, counts while it is held, and leaves nothing', async () => {
  await using storing = await openStoring();
  const draft = await storing.store.createTemporary();
  await draft.write(Buffer.from('some '));
  await draft.write(Buffer.from('content'));
  assert.equal(storing.store.bytes, 12);
  const file = await draft.finishTemporary();
  assert.equal(file.size, 12);
  assert.equal(String(await readAll(file.read())), 'some content');
  assert.equal(String(await readAll(file.read({ start: 5, end: 7 }))), 'co');
  assert.equal(storing.store.bytes, 12);
  file.release();
  file.release();
  await storing.store.settled();
  assert.deepEqual([storing.store.bytes, await storing.openFiles()], [0, 0]);
  assert.deepEqual(await storing.bytesOnDisk(), 0);
});

test('an abandoned draft leaves nothing', async () => {
  await using storing = await openStoring();
  const draft = await storing.store.createTemporary();
  await draft.write(Buffer.from('some content'));
  await draft.abandon();
  assert.deepEqual([storing.store.bytes, await storing.openFiles()], [0, 0]);
  assert.deepEqual(await storing.bytesOnDisk(), 0);
});

test('a draft that begins again has the new bytes alone, and counts them alone', async () => {
  await using storing = await openStoring();
  const produced = await storing.store.obtain('key', {
    signal: NEVER,
    produce: async (draft) => {
      await draft.write(Buffer.from('wrong bytes, more of them'));
      await draft.restart?.();
      assert.equal(storing.store.bytes, 0);
      await draft.write(Buffer.from('right'));
      assert.equal(storing.store.bytes, 5);
      return {};
    },
  });
  assert.equal(String(await readAll(produced.read())), 'right');
  produced.release();
  await storing.store.settled();
  // The store keeps the file; that with the wrong bytes is closed.
  assert.equal(await storing.openFiles(), 1);
});

test('a draft that begins again and is abandoned leaves nothing', async () => {
  await using storing = await openStoring();
  const draft = await storing.store.createTemporary();
  await draft.write(Buffer.from('some content'));
  await draft.restart();
  await draft.write(Buffer.from('some'));
  await draft.abandon();
  assert.deepEqual([storing.store.bytes, await storing.openFiles()], [0, 0]);
  assert.deepEqual(await storing.bytesOnDisk(), 0);
});
