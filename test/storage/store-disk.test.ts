import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { readAll } from '../support/collect.ts';
import { testOnSmallDisk } from './folder.ts';
import { assertHolds, contentOf, openStoring } from './storing.ts';

const KIB = 1024;
const FULL = { code: 'NO_SPACE', message: 'Cannot write to the workspace: the disk is full' };

describe('on a full disk', () => {
  testOnSmallDisk('unused files make room, the least recently used first', [1024 * KIB], async (disk) => {
    await using storing = await openStoring({ directory: disk });
    for (const key of ['a', 'b', 'c']) await storing.sourceOf(key, 250 * KIB);
    const large = await storing.obtain('large', 600 * KIB);
    assert.deepEqual((await storing.onDisk('a', 'b', 'c', 'large')).prepared, ['c', 'large']);
    await assertHolds(large, contentOf('large', 600 * KIB));
    await assertHolds(await storing.stored('c'), contentOf('c', 250 * KIB));
    assert.equal(storing.store.bytes, await storing.bytesOnDisk());
  });

  testOnSmallDisk(
    'a production fails where all files are in use, and the store goes on',
    [1024 * KIB],
    async (disk) => {
      await using storing = await openStoring({ directory: disk });
      const held = await storing.obtain('held', 600 * KIB);
      await storing.sourceOf('idle', 100 * KIB);
      await assert.rejects(storing.obtain('large', 600 * KIB), FULL);
      assert.deepEqual(await storing.onDisk('held', 'idle', 'large'), { prepared: ['held'], incoming: 0 });
      assert.equal(await storing.openFiles(), 1);
      assert.equal(storing.store.bytes, await storing.bytesOnDisk());

      await assertHolds(await storing.obtain('small', 200 * KIB), contentOf('small', 200 * KIB));
      assert.ok((await readAll(held.read())).equals(contentOf('held', 600 * KIB)));
      held.release();
      await assertHolds(await storing.obtain('large', 600 * KIB), contentOf('large', 600 * KIB));
      assert.deepEqual(storing.damaged, []);
    },
  );

  testOnSmallDisk('concurrent productions share the room that can be made', [1024 * KIB], async (disk) => {
    await using storing = await openStoring({ directory: disk });
    for (const key of ['a', 'b', 'c', 'd', 'e']) await storing.sourceOf(key, 180 * KIB);
    const keys = ['f', 'g', 'h'];
    const files = await Promise.all(
      keys.map((key) =>
        storing.obtain(key, 0, async (draft) => {
          const content = contentOf(key, 300 * KIB);
          for (let at = 0; at < content.length; at += 10_000)
            await draft.write(content.subarray(at, at + 10_000));
          return {};
        }),
      ),
    );
    for (const [index, key] of keys.entries()) {
      const file = files[index];
      assert.ok(file);
      await assertHolds(file, contentOf(key, 300 * KIB));
    }
    const { prepared } = await storing.onDisk('a', 'b', 'c', 'd', 'e', ...keys);
    assert.deepEqual(prepared, keys);
  });

  testOnSmallDisk(
    'a probe fails where no file can make room, and evicts none',
    [1024 * KIB],
    async (disk) => {
      await using storing = await openStoring({ directory: disk });
      const held = await storing.obtain('a', 500 * KIB);
      const rest = join(disk, 'rest');
      await assert.rejects(writeFile(rest, Buffer.alloc(1024 * KIB)), { code: 'ENOSPC' });
      await assert.rejects(storing.store.probe(), FULL);
      held.release();
      await storing.store.probe();
      assert.equal(storing.store.has('a'), true);
      await writeFile(rest, '');
      await storing.store.probe();
    },
  );
});

test('a probe leaves nothing behind', async () => {
  await using storing = await openStoring();
  await storing.store.probe();
  assert.deepEqual(await storing.onDisk(), { prepared: [], incoming: 0 });
  assert.deepEqual([await storing.openFiles(), storing.store.bytes], [0, 0]);
});
