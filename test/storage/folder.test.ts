import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { StoreFolder } from '../../src/storage/folder.ts';
import { readAll } from '../support/collect.ts';
import { openFilesIn } from '../support/service.ts';
import { makeFolder, startOther, testOnSmallDisk } from './folder.ts';

/** Opens a folder in another process, and begins a file in it. */
const HOLD = `
  const { StoreFolder } = await import('./storage/folder.ts');
  const [, how, path] = process.argv;
  globalThis.folder = await StoreFolder[how](path);
  globalThis.incoming = await folder.create(async () => false);
  await incoming.writer.write(Buffer.from('left behind'));
  console.log('open');`;

const NO_ROOM = async () => false;

/** Names that files of a store have. */
const [A, B, C] = ['a', 'b', 'c'].map((letter) => letter.repeat(64)) as [string, string, string];

/** A kept folder, open, in an empty place; for `await using`. */
async function openScene() {
  const place = await makeFolder();
  const folder = await StoreFolder.openKept(place.path);
  return {
    folder,
    path: place.path,
    incoming: () => readdir(join(place.path, 'incoming')),
    async [Symbol.asyncDispose]() {
      await folder.close();
      await place[Symbol.asyncDispose]();
    },
  };
}

/** Begins a file. */
async function begin(folder: StoreFolder, text = 'content') {
  const incoming = await folder.create(NO_ROOM);
  await incoming.writer.write(Buffer.from(text));
  return incoming;
}

/** Puts a complete file into a folder. */
async function put(folder: StoreFolder, name: string, text?: string): Promise<void> {
  const incoming = await begin(folder, text);
  const file = await incoming.writer.finish({ name });
  assert.equal(await folder.keep(incoming, name), true);
  await file.close();
}

/** Opens a file, checks its content, and closes it. */
async function assertHolds(folder: StoreFolder, name: string, text: string): Promise<void> {
  const file = await folder.open(name);
  assert.ok(file, 'the file is missing');
  assert.equal((await readAll(file.read())).toString(), text);
  await file.close();
}

const modeOf = async (path: string) => ((await stat(path)).mode & 0o777).toString(8);

const namesIn = async (folder: StoreFolder) => (await folder.list()).map(({ name }) => name);

describe('a file of a folder', () => {
  test('has its name when it is kept, with its bytes on the disk', async () => {
    await using scene = await openScene();
    const { folder, path } = scene;
    const incoming = await begin(folder);
    const file = await incoming.writer.finish({});
    assert.deepEqual(await namesIn(folder), []);
    assert.equal(await folder.open(A), undefined);
    await folder.keep(incoming, A);
    assert.deepEqual(await scene.incoming(), []);
    const { size } = await stat(join(path, 'prepared', A));
    assert.deepEqual(
      (await folder.list()).map(({ name, bytes }) => ({ name, bytes })),
      [{ name: A, bytes: size }],
    );
    await file.close();
    await assertHolds(folder, A, 'content');
  });

  test('is removed and closed when it is abandoned', async () => {
    await using scene = await openScene();
    const incoming = await begin(scene.folder);
    assert.equal(await openFilesIn(scene.path), 1);
    await scene.folder.abandon(incoming);
    assert.deepEqual([await scene.incoming(), await openFilesIn(scene.path)], [[], 0]);
  });

  test('can be read on after its removal; a second removal does nothing', async () => {
    await using scene = await openScene();
    const { folder } = scene;
    await put(folder, A);
    const file = await folder.open(A);
    assert.ok(file);
    await folder.remove(A);
    await folder.remove(A);
    assert.deepEqual(await namesIn(folder), []);
    assert.equal((await readAll(file.read())).toString(), 'content');
    await file.close();
  });

  // The disk has room for itself, incoming/, prepared/, the lock, and one file.
  testOnSmallDisk(
    'is created on a full disk where room can be made, and not otherwise',
    [1024 ** 2, 5],
    async (disk) => {
      const folder = await StoreFolder.openKept(disk);
      await put(folder, A);
      await assert.rejects(folder.create(NO_ROOM), { code: 'NO_SPACE' });
      const incoming = await folder.create(async () => {
        await folder.remove(A);
        return true;
      });
      await folder.abandon(incoming);
      await folder.close();
    },
  );

  test('is listed by the time of its last use', async () => {
    await using scene = await openScene();
    const { folder } = scene;
    for (const [name, seconds] of [
      [A, 3000],
      [B, 1000],
      [C, 2000],
    ] as const) {
      await put(folder, name);
      await utimes(join(scene.path, 'prepared', name), seconds, seconds);
    }
    assert.deepEqual(await namesIn(folder), [B, C, A]);
    // A name without a file, as of one that is removed at the same time.
    await symlink('nowhere', join(scene.path, 'prepared', 'e'.repeat(64)));
    for (const used of [B, 'd'.repeat(64)]) {
      await folder.touch(used);
      assert.deepEqual(await namesIn(folder), [C, A, B]);
    }
  });
});

describe('a kept folder', () => {
  test('is created with its parents, for its owner alone', async () => {
    await using place = await makeFolder();
    const directory = join(place.path, 'a', 'b');
    const mask = process.umask(0);
    try {
      const folder = await StoreFolder.openKept(directory);
      await put(folder, A);
      await folder.writeNote('note', 'text');
      await folder.close();
    } finally {
      process.umask(mask);
    }
    const modes = {
      '..': '700',
      '': '700',
      incoming: '700',
      prepared: '700',
      note: '600',
      [`prepared/${A}`]: '600',
    };
    for (const [name, mode] of Object.entries(modes))
      assert.equal(await modeOf(join(directory, name)), mode, name);
  });

  test('loses the partial files of a killed process, and nothing else', async () => {
    await using place = await makeFolder();
    const before = await StoreFolder.openKept(place.path);
    await put(before, A, 'of before');
    await before.writeNote('note', 'text');
    await before.close();
    const foreign = [
      'README',
      ...['README', `${A}0`, A.toUpperCase(), 'aa'].map((name) => `prepared/${name}`),
    ];
    for (const name of foreign) await writeFile(join(place.path, name), name);
    const incoming = () => readdir(join(place.path, 'incoming'));

    await using killed = await startOther(HOLD, 'openKept', place.path);
    await killed.kill();
    assert.equal((await incoming()).length, 1);

    const folder = await StoreFolder.openKept(place.path);
    assert.deepEqual(await incoming(), []);
    assert.deepEqual(await namesIn(folder), [A]);
    await assertHolds(folder, A, 'of before');
    assert.equal(await folder.readNote('note'), 'text');
    for (const name of foreign) assert.equal(await readFile(join(place.path, name), 'utf8'), name);
    await folder.close();
    assert.deepEqual(await namesIn(folder), [A]);
  });

  test('is refused while another process uses it, and not changed', async () => {
    await using place = await makeFolder();
    await using owner = await startOther(HOLD, 'openKept', place.path);
    assert.equal(owner.line, 'open');
    await assert.rejects(StoreFolder.openKept(place.path), {
      name: 'PassthroughError',
      code: 'INVALID_CONFIGURATION',
      message: `Cannot use folder ${JSON.stringify(place.path)}: another process uses it; each needs a folder of its own`,
    });
    assert.equal((await readdir(join(place.path, 'incoming'))).length, 1);
  });

  testOnSmallDisk('knows the size of its disk', [1024 ** 2], async (disk) => {
    const folder = await StoreFolder.openKept(disk);
    assert.equal(await folder.capacity(), 1024 ** 2);
    await folder.close();
  });
});

describe('a temporary folder', () => {
  const PREFIX = 'docker-http-passthrough-';

  test('is created for its owner alone, and removed with its content', async () => {
    await using place = await makeFolder();
    const parent = join(place.path, 'a', 'b');
    const folder = await StoreFolder.makeTemporary(parent);
    const [name = ''] = await readdir(parent);
    assert.match(name, /^docker-http-passthrough-[0-9a-f]{32}$/);
    assert.deepEqual([await modeOf(parent), await modeOf(join(parent, name))], ['700', '700']);
    await put(folder, A);
    await folder.close();
    assert.deepEqual(await readdir(parent), []);
  });

  test('of a killed process is removed by the next start, that of a running one is not', async () => {
    await using place = await makeFolder();
    await using killed = await startOther(HOLD, 'makeTemporary', place.path);
    const [dead = ''] = await readdir(place.path);
    await using running = await startOther(HOLD, 'makeTemporary', place.path);
    const living = (await readdir(place.path)).filter((name) => name !== dead);
    assert.equal(living.length, 1, 'the second process removed the folder of the first');
    await killed.kill();

    const endings = [
      '',
      '-1.0',
      ...['a'.repeat(31), 'a'.repeat(33), 'g'.repeat(32), 'A'.repeat(32)].map((end) => `-${end}`),
    ];
    const foreign = endings
      .map((end) => `${PREFIX.slice(0, -1)}${end}`)
      .concat(`x${PREFIX}${'a'.repeat(32)}`);
    for (const name of foreign) await mkdir(join(place.path, name));
    const folder = await StoreFolder.makeTemporary(place.path);
    const names = await readdir(place.path);
    assert.ok(!names.includes(dead), 'the folder of the dead process is still there');
    for (const name of [...living, ...foreign]) assert.ok(names.includes(name), `${name} is gone`);
    assert.equal(names.length, living.length + foreign.length + 1);
    assert.equal((await readdir(join(place.path, living[0] ?? '', 'incoming'))).length, 1);
    await folder.close();
    assert.equal(running.line, 'open');
  });

  test('is created by each of several processes that start at once beside a dead one', async () => {
    for (let round = 0; round < 60; round += 1) {
      await using place = await makeFolder();
      const dead = join(place.path, `${PREFIX}${'0'.repeat(32)}`);
      await mkdir(join(dead, 'incoming'), { recursive: true });
      const folders = await Promise.all([1, 2, 3].map(() => StoreFolder.makeTemporary(place.path)));
      for (const folder of folders) await put(folder, A);
      assert.equal((await readdir(place.path)).length, 3);
      await Promise.all(folders.map((folder) => folder.close()));
      assert.deepEqual(await readdir(place.path), []);
    }
  });
});

describe('a note', () => {
  test('is read as it was last written, and may be missing', async () => {
    await using scene = await openScene();
    assert.equal(await scene.folder.readNote('note'), undefined);
    for (const text of ['first', 'second, ä']) {
      await scene.folder.writeNote('note', text);
      assert.equal(await scene.folder.readNote('note'), text);
    }
  });

  test('is never read in part', async () => {
    await using scene = await openScene();
    const { folder } = scene;
    const texts = [...'abcdefgh'].map((letter) => letter.repeat(300_000));
    await folder.writeNote('note', texts[0] ?? '');
    let isWriting = true;
    const reading = (async () => {
      let count = 0;
      for (; isWriting; count += 1) {
        const text = (await folder.readNote('note')) ?? 'none';
        assert.ok(texts.includes(text), `${text.length} characters were read`);
      }
      return count;
    })();
    for (const text of texts) await folder.writeNote('note', text);
    isWriting = false;
    assert.ok((await reading) > 0);
    assert.deepEqual(await scene.incoming(), []);
  });

  test('that cannot get its name leaves nothing', async () => {
    await using scene = await openScene();
    await mkdir(join(scene.path, 'note'));
    await assert.rejects(scene.folder.writeNote('note', 'text'), { code: 'INTERNAL' });
    assert.deepEqual(await scene.incoming(), []);
  });
});
