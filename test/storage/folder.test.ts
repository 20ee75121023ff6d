import assert from 'node:assert/strict';
import { chmod, mkdir, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { StoreFolder } from '../../src/storage/folder.ts';
import { readAll } from '../support/collect.ts';
import { openFilesIn } from '../support/service.ts';
import { makeFolder, makeSmallDisk, startOther } from './folder.ts';

/** Opens a folder in another process, and begins a file in it. */
const HOLD = `
  const { StoreFolder } = await import('./storage/folder.ts');
  const [, how, path] = process.argv;
  globalThis.folder = await StoreFolder[how](path);
  globalThis.incoming = await folder.create(async () => false);
  await incoming.writer.write(Buffer.from('left behind'));
  console.log('open');`;

/** A user without rights, where the tests run as root: no folder is closed to root. */
const NOBODY = 65_534;

const NO_ROOM = async () => false;

/** Names that files of a store have. */
const [A, B, C] = ['a', 'b', 'c'].map((letter) => letter.repeat(64)) as [string, string, string];

/** Runs something without the rights of root. */
async function withoutRoot<T>(run: () => Promise<T>): Promise<T> {
  const user = process.geteuid?.();
  if (user === 0) process.seteuid?.(NOBODY);
  try {
    return await run();
  } finally {
    if (user === 0) process.seteuid?.(user);
  }
}

/** Puts a file into a folder. */
async function put(folder: StoreFolder, name: string, text = 'content'): Promise<void> {
  const incoming = await folder.create(NO_ROOM);
  await incoming.writer.write(Buffer.from(text));
  const file = await incoming.writer.finish({ name });
  await folder.keep(incoming, name);
  await file.close();
}

async function modeOf(path: string): Promise<string> {
  return ((await stat(path)).mode & 0o777).toString(8);
}

/** The names that a folder lists, in its order. */
async function namesIn(folder: StoreFolder): Promise<string[]> {
  return (await folder.list()).map(({ name }) => name);
}

describe('a file of a folder', () => {
  test('is seen under its name when it is kept, whole, with its bytes on the disk', async () => {
    await using place = await makeFolder();
    const folder = await StoreFolder.openKept(place.path);
    const incoming = await folder.create(NO_ROOM);
    await incoming.writer.write(Buffer.from('content'));
    const file = await incoming.writer.finish({});
    assert.deepEqual(await namesIn(folder), []);
    assert.equal(await folder.open(A), undefined);
    await folder.keep(incoming, A);
    assert.deepEqual(await readdir(join(place.path, 'incoming')), []);
    const { size } = await stat(join(place.path, 'prepared', A));
    assert.deepEqual(
      (await folder.list()).map(({ name, bytes }) => ({ name, bytes })),
      [{ name: A, bytes: size }],
    );
    await file.close();
    const opened = await folder.open(A);
    assert.ok(opened);
    assert.equal((await readAll(opened.read())).toString(), 'content');
    await opened.close();
    await folder.close();
  });

  test('is gone when it is given up, and its descriptor too', async () => {
    await using place = await makeFolder();
    const folder = await StoreFolder.openKept(place.path);
    const incoming = await folder.create(NO_ROOM);
    await incoming.writer.write(Buffer.from('content'));
    assert.equal(await openFilesIn(place.path), 1);
    await folder.abandon(incoming);
    assert.deepEqual(await readdir(join(place.path, 'incoming')), []);
    assert.equal(await openFilesIn(place.path), 0);
    await folder.close();
  });

  test('stays with who has it open when it is removed; removing it twice does nothing', async () => {
    await using place = await makeFolder();
    const folder = await StoreFolder.openKept(place.path);
    await put(folder, A);
    const file = await folder.open(A);
    assert.ok(file);
    await folder.remove(A);
    await folder.remove(A);
    assert.deepEqual(await namesIn(folder), []);
    assert.equal((await readAll(file.read())).toString(), 'content');
    await file.close();
    await folder.close();
  });

  test('fails to be kept once the folder is gone', async () => {
    await using place = await makeFolder();
    const folder = await StoreFolder.openKept(place.path);
    const incoming = await folder.create(NO_ROOM);
    await rm(join(place.path, 'prepared'), { recursive: true });
    await assert.rejects(folder.keep(incoming, A), {
      code: 'INTERNAL',
      message: 'Cannot use the workspace: ENOENT',
    });
    await rm(join(place.path, 'incoming'), { recursive: true });
    await assert.rejects(folder.create(NO_ROOM), { code: 'INTERNAL' });
    await folder.abandon(incoming);
    await folder.close();
  });

  test('is begun on a full disk where room can be made, and not where it cannot', async (t) => {
    // The disk, its incoming/ and prepared/, the lock, and one file.
    await using disk = await makeSmallDisk(1024 ** 2, 5);
    if (disk === undefined) {
      t.diagnostic('no disk could be mounted: not tested');
      return;
    }
    const folder = await StoreFolder.openKept(disk.path);
    await put(folder, A);
    await assert.rejects(folder.create(NO_ROOM), { code: 'NO_SPACE' });
    const incoming = await folder.create(async () => {
      await folder.remove(A);
      return true;
    });
    await folder.abandon(incoming);
    await folder.close();
  });
});

describe('files are listed in the order of their use', () => {
  test('by their times, and a use is a time', async () => {
    await using place = await makeFolder();
    const folder = await StoreFolder.openKept(place.path);
    for (const [name, seconds] of [
      [A, 3000],
      [B, 1000],
      [C, 2000],
    ] as const) {
      await put(folder, name);
      await utimes(join(place.path, 'prepared', name), seconds, seconds);
    }
    assert.deepEqual(await namesIn(folder), [B, C, A]);
    await folder.touch(B);
    assert.deepEqual(await namesIn(folder), [C, A, B]);
    await folder.touch('d'.repeat(64));
    assert.deepEqual(await namesIn(folder), [C, A, B]);
    await folder.close();
  });
});

describe('a folder that is kept', () => {
  test('is made, and those above it, for its owner alone', async () => {
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
    for (const name of ['', 'incoming', 'prepared'])
      assert.equal(await modeOf(join(directory, name)), '700', name);
    for (const name of ['note', `prepared/${A}`])
      assert.equal(await modeOf(join(directory, name)), '600', name);
  });

  test('is repaired after a kill: what was being written goes, the rest stays', async () => {
    await using place = await makeFolder();
    const before = await StoreFolder.openKept(place.path);
    await put(before, A, 'of before');
    await before.writeNote('note', 'text');
    await before.close();
    const foreign = [
      'README',
      'prepared/README',
      `prepared/${A}0`,
      `prepared/${A.toUpperCase()}`,
      'prepared/aa',
    ];
    for (const name of foreign) await writeFile(join(place.path, name), name);

    await using killed = await startOther(HOLD, 'openKept', place.path);
    await killed.kill();
    assert.equal((await readdir(join(place.path, 'incoming'))).length, 1);

    const folder = await StoreFolder.openKept(place.path);
    assert.deepEqual(await readdir(join(place.path, 'incoming')), []);
    assert.deepEqual(await namesIn(folder), [A]);
    const file = await folder.open(A);
    assert.ok(file);
    assert.equal((await readAll(file.read())).toString(), 'of before');
    assert.equal(await folder.readNote('note'), 'text');
    for (const name of foreign) assert.equal(await readFile(join(place.path, name), 'utf8'), name);
    await file.close();
    await folder.close();
    assert.deepEqual(await namesIn(folder), [A]);
  });

  test('is refused where another process has it, and not disturbed', async () => {
    await using place = await makeFolder();
    await using owner = await startOther(HOLD, 'openKept', place.path);
    assert.equal(owner.line, 'open');
    await assert.rejects(StoreFolder.openKept(place.path), {
      name: 'PassthroughError',
      code: 'INVALID_CONFIGURATION',
      message: `Cannot use CACHE_DIR=${JSON.stringify(place.path)}: another process uses it; each needs a folder of its own`,
    });
    assert.equal((await readdir(join(place.path, 'incoming'))).length, 1);
  });

  test('is refused where it cannot be made or written, with the reason', async () => {
    await using place = await makeFolder();
    const file = join(place.path, 'file');
    await writeFile(file, '');
    for (const directory of [file, join(file, 'below')]) {
      await assert.rejects(StoreFolder.openKept(directory), (error: Error & { code?: string }) => {
        assert.equal(error.code, 'INVALID_CONFIGURATION');
        const start = `Cannot use CACHE_DIR=${JSON.stringify(directory)}: E`;
        assert.ok(error.message.startsWith(start), error.message);
        assert.ok(error.cause instanceof Error);
        return true;
      });
    }
    await chmod(place.path, 0o555);
    await assert.rejects(
      withoutRoot(() => StoreFolder.openKept(place.path)),
      { code: 'INVALID_CONFIGURATION', message: /^Cannot use CACHE_DIR=.*EACCES/ },
    );
  });

  test('is given up where it cannot be opened after all', async () => {
    await using place = await makeFolder();
    const obstacle = join(place.path, 'prepared');
    await writeFile(obstacle, '');
    await assert.rejects(StoreFolder.openKept(place.path), {
      code: 'INVALID_CONFIGURATION',
      message: /EEXIST/,
    });
    await rm(obstacle);
    await (await StoreFolder.openKept(place.path)).close();
  });

  test('says how large its disk is', async (t) => {
    await using disk = await makeSmallDisk(1024 ** 2);
    if (disk === undefined) {
      t.diagnostic('no disk could be mounted: not tested');
      return;
    }
    const folder = await StoreFolder.openKept(disk.path);
    assert.equal(await folder.capacity(), 1024 ** 2);
    await folder.close();
  });
});

describe('a temporary folder', () => {
  const PREFIX = 'docker-http-passthrough-';

  test('is made, for its owner alone, and removed with all that is in it', async () => {
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

  test('of a process that was killed goes with the next one, that of a running one stays', async () => {
    await using place = await makeFolder();
    await using killed = await startOther(HOLD, 'makeTemporary', place.path);
    const [dead = ''] = await readdir(place.path);
    await using running = await startOther(HOLD, 'makeTemporary', place.path);
    const living = (await readdir(place.path)).filter((name) => name !== dead);
    assert.equal(living.length, 1, 'the second process removed the folder of the first');
    await killed.kill();

    const foreign = [
      'docker-http-passthrough',
      `${PREFIX}1.0`,
      `${PREFIX}${'a'.repeat(31)}`,
      `${PREFIX}${'a'.repeat(33)}`,
      `${PREFIX}${'g'.repeat(32)}`,
      `x${PREFIX}${'a'.repeat(32)}`,
      `${PREFIX}${'A'.repeat(32)}`,
    ];
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

  test('is had by each of several that start at once, beside one that is left', async () => {
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

  test('is refused where it cannot be made, with the reason', async () => {
    await using place = await makeFolder();
    const file = join(place.path, 'file');
    await writeFile(file, '');
    await assert.rejects(StoreFolder.makeTemporary(file), (error: Error & { code?: string }) => {
      assert.equal(error.code, 'INVALID_CONFIGURATION');
      assert.ok(
        error.message.startsWith(`Cannot use WORKSPACE_DIR=${JSON.stringify(file)}: E`),
        error.message,
      );
      return true;
    });
  });
});

describe('a note', () => {
  test('is read as it was written last; there may be none', async () => {
    await using place = await makeFolder();
    const folder = await StoreFolder.openKept(place.path);
    assert.equal(await folder.readNote('note'), undefined);
    await folder.writeNote('note', 'first');
    await folder.writeNote('note', 'second, ä');
    assert.equal(await folder.readNote('note'), 'second, ä');
    await folder.close();
  });

  test('is never seen in part', async () => {
    await using place = await makeFolder();
    const folder = await StoreFolder.openKept(place.path);
    const texts = [...'abcdefgh'].map((letter) => letter.repeat(300_000));
    await folder.writeNote('note', texts[0] ?? '');
    let isWriting = true;
    const readOn = async () => {
      let count = 0;
      for (; isWriting; count += 1) {
        const text = (await folder.readNote('note')) ?? 'none';
        assert.ok(texts.includes(text), `${text.length} characters were read`);
      }
      return count;
    };
    const reading = readOn();
    for (const text of texts) await folder.writeNote('note', text);
    isWriting = false;
    assert.ok((await reading) > 0);
    assert.deepEqual(await readdir(join(place.path, 'incoming')), []);
    await folder.close();
  });

  test('that cannot be put in its place leaves nothing', async () => {
    await using place = await makeFolder();
    const folder = await StoreFolder.openKept(place.path);
    await mkdir(join(place.path, 'note'));
    await assert.rejects(folder.writeNote('note', 'text'), { code: 'INTERNAL' });
    assert.deepEqual(await readdir(join(place.path, 'incoming')), []);
    await folder.close();
  });
});
