/** Folders that other users control, or could. */

import assert from 'node:assert/strict';
import { chmod, chown, lchown, mkdir, readdir, rename, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { StoreFolder } from '../../src/storage/folder.ts';
import { Store } from '../../src/storage/store.ts';
import { readAll } from '../support/collect.ts';
import { makeFolder, makeSmallDisk, withoutRoot } from './folder.ts';

/** A user of whom this machine knows nothing. */
const STRANGER = 4321;

const NEVER = new AbortController().signal;

function isRoot(t: TestContext): boolean {
  if (process.geteuid?.() === 0) return true;
  t.diagnostic('only root may give folders to other users: not tested');
  return false;
}

async function refused(opening: 'openKept' | 'makeTemporary', folder: string, reason: string): Promise<void> {
  await assert.rejects(StoreFolder[opening](folder), {
    code: 'INVALID_CONFIGURATION',
    message: `Cannot use folder ${JSON.stringify(folder)}: ${reason}`,
  });
}

for (const opening of ['openKept', 'makeTemporary'] as const) {
  describe(`StoreFolder.${opening}`, () => {
    test('refuses a folder of another user, by a link too, and says what to do', async (t) => {
      if (!isRoot(t)) return;
      await using place = await makeFolder();
      const [folder, link] = [join(place.path, 'folder'), join(place.path, 'link')];
      await mkdir(folder);
      await chown(folder, STRANGER, STRANGER);
      await symlink('folder', link);
      const reason = `it belongs to another user (uid ${STRANGER}); chown it to the user of the service`;
      for (const path of [folder, link]) await refused(opening, path, reason);
      assert.deepEqual(await readdir(folder), []);
      await chown(folder, 0, 0);
      await lchown(link, STRANGER, STRANGER);
      await refused(opening, link, reason);
      await lchown(link, 0, 0);
      await (await StoreFolder[opening](link)).close();
    });

    test('refuses a folder that every user can write to, but not where it has the sticky bit', async () => {
      await using place = await makeFolder();
      for (const [mode, isRefused] of [
        [0o777, true],
        [0o702, true],
        [0o1777, false],
        [0o775, false],
        [0o755, false],
      ] as const) {
        await chmod(place.path, mode);
        const reason = `other users can write to it (mode ${mode.toString(8)}); chmod o-w it`;
        if (isRefused) await refused(opening, place.path, reason);
        else await (await StoreFolder[opening](place.path)).close();
      }
    });

    test('takes the volume of a container: a mount of root that every user can write to', async (t) => {
      await using disk = await makeSmallDisk(1024 ** 2);
      if (disk === undefined) {
        t.diagnostic('no disk could be mounted: not tested');
        return;
      }
      for (const mode of [0o777, 0o2777]) {
        await chmod(disk.path, mode);
        const folder = await withoutRoot(() => StoreFolder[opening](disk.path));
        await withoutRoot(() => folder.close());
      }
    });
  });
}

describe('StoreFolder.openKept refuses', () => {
  for (const [what, spoil, reason] of [
    [
      'complete files of another user',
      (path: string) => chown(path, STRANGER, STRANGER),
      `it belongs to another user (uid ${STRANGER}); remove it, or chown it to the user of the service`,
    ],
    [
      'complete files that its group can exchange',
      (path: string) => chmod(path, 0o770),
      'other users can write to it (mode 770); remove it, or chmod go-w it',
    ],
    [
      'a link in the place of the complete files',
      async (path: string) => {
        await rename(path, `${path}-aside`);
        await symlink(`${path}-aside`, path);
      },
      'it is not a folder; remove it',
    ],
  ] as const) {
    test(what, async (t) => {
      if (!isRoot(t)) return;
      await using place = await makeFolder();
      await (await StoreFolder.openKept(place.path)).close();
      await spoil(join(place.path, 'prepared'));
      await refused('openKept', place.path, `cannot use "prepared" in it: ${reason}`);
    });
  }
});

test('the rest of another user with the name of a temporary folder is left alone', async (t) => {
  if (!isRoot(t)) return;
  await using place = await makeFolder();
  await chmod(place.path, 0o1777);
  const names = ['a', 'b'].map((letter) => `docker-http-passthrough-${letter.repeat(32)}`);
  const [foreign = '', link = ''] = names;
  await mkdir(join(place.path, foreign), { mode: 0o777 });
  await chown(join(place.path, foreign), STRANGER, STRANGER);
  await symlink('/nowhere', join(place.path, link));
  await (await StoreFolder.makeTemporary(place.path)).close();
  assert.deepEqual((await readdir(place.path)).toSorted(), names);
});

test('a file that another user has put in the place of a stored one is not served', async (t) => {
  if (!isRoot(t)) return;
  await using place = await makeFolder();
  const damaged: string[] = [];
  const open = async () =>
    await Store.open({
      folder: await StoreFolder.openKept(place.path),
      maxBytes: 1e9,
      onDamage: (name) => damaged.push(name),
    });
  const obtain = (store: Store, text: string) =>
    store.obtain('key', {
      signal: NEVER,
      produce: async (draft) => {
        await draft.write(Buffer.from(text));
        return {};
      },
    });
  const first = await open();
  (await obtain(first, 'forged')).release();
  await first.close();
  const [name = ''] = await readdir(join(place.path, 'prepared'));
  await chown(join(place.path, 'prepared', name), STRANGER, STRANGER);
  const second = await open();
  const file = await obtain(second, 'right');
  assert.equal((await readAll(file.read())).toString(), 'right');
  assert.deepEqual(damaged, [name]);
  file.release();
  await second.close();
});
