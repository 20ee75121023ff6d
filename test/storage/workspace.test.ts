import assert from 'node:assert/strict';
import { once } from 'node:events';
import { rmSync, watch } from 'node:fs';
import { chmod, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Workspace } from '../../src/storage/workspace.ts';
import { readAll } from '../support/collect.ts';
import { makeFolder, patternOf } from './folder.ts';

/** A user without rights, where the tests run as root: no folder is closed to root. */
const NOBODY = 65_534;

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

/** The name that a workspace gives to a file, while the file has one. */
async function nameOfFile(directory: string): Promise<string> {
  const workspace = await Workspace.open(directory);
  const watcher = watch(directory);
  try {
    const changed = once(watcher, 'change');
    await (await workspace.createFile()).close();
    const [, name] = await changed;
    assert.equal(typeof name, 'string');
    return String(name);
  } finally {
    watcher.close();
  }
}

describe('a file of a workspace', () => {
  test('is gone from the folder at once, its bytes readable until it is closed', async () => {
    await using folder = await makeFolder();
    const workspace = await Workspace.open(folder.path);
    const file = await workspace.createFile();
    assert.deepEqual(await readdir(folder.path), []);
    const bytes = patternOf(100_000);
    await file.write(bytes);
    assert.deepEqual(await readdir(folder.path), []);
    assert.ok((await readAll(file.read())).equals(bytes));
    await file.close();
  });

  test('may be removed by another process that starts, before its own does', async () => {
    await using folder = await makeFolder();
    const workspace = await Workspace.open(folder.path);
    // Another process tidies the folder at the first sight of a name in it.
    let removed = 0;
    const watcher = watch(folder.path, (_, name) => {
      try {
        rmSync(join(folder.path, String(name)));
        removed += 1;
      } catch {
        // It was gone.
      }
    });
    try {
      for (let count = 0; count < 20; count += 1) {
        const file = await workspace.createFile();
        await file.write(Buffer.from('mine'));
        assert.equal((await readAll(file.read())).toString(), 'mine');
        await file.close();
      }
    } finally {
      watcher.close();
    }
    assert.ok(removed > 0, 'the other process was never the first');
  });

  test('outlives its folder', async () => {
    await using folder = await makeFolder();
    const file = await (await Workspace.open(folder.path)).createFile();
    await rm(folder.path, { recursive: true });
    await file.write(Buffer.from('still here'));
    assert.equal((await readAll(file.read())).toString(), 'still here');
    await file.close();
  });

  test('has nothing in common with those that are made at the same time', async () => {
    await using folder = await makeFolder();
    const workspace = await Workspace.open(folder.path);
    const files = await Promise.all(
      Array.from({ length: 60 }, async (_, index) => {
        const file = await workspace.createFile();
        for (let part = 0; part < 5; part += 1) await file.write(Buffer.from(`${index}.${part} `));
        return file;
      }),
    );
    for (const [index, file] of files.entries()) {
      const expected = Array.from({ length: 5 }, (_, part) => `${index}.${part} `).join('');
      assert.equal((await readAll(file.read())).toString(), expected);
    }
    await Promise.all(files.map((file) => file.close()));
    assert.deepEqual(await readdir(folder.path), []);
  });
});

describe('opening a workspace', () => {
  test('makes the folder, and those above it, for its owner alone', async () => {
    await using folder = await makeFolder();
    const directory = join(folder.path, 'a', 'b');
    const workspace = await Workspace.open(directory);
    assert.equal(workspace.directory, directory);
    assert.equal((await stat(directory)).mode & 0o777, 0o700);
    assert.deepEqual(await readdir(directory), []);
  });

  test('removes what a killed process left, and nothing else', async () => {
    await using folder = await makeFolder();
    const left = await nameOfFile(folder.path);
    const foreign = [
      'notes.txt',
      'docker-http-passthrough',
      'docker-http-passthrough-1.0.tgz',
      `${left}.tar`,
      `${left}0`,
      left.slice(0, -1),
      left.toUpperCase(),
      left.replace(/.$/, 'g'),
      `x${left}`,
    ];
    for (const name of [left, ...foreign]) await writeFile(join(folder.path, name), name);
    await mkdir(join(folder.path, 'docker-http-passthrough-folder'));
    await writeFile(join(folder.path, 'docker-http-passthrough-folder', left), 'inside');

    await Workspace.open(folder.path);
    assert.deepEqual(
      (await readdir(folder.path)).toSorted(),
      [...foreign, 'docker-http-passthrough-folder'].toSorted(),
    );
    for (const name of foreign) assert.equal(await readFile(join(folder.path, name), 'utf8'), name);
    assert.deepEqual(await readdir(join(folder.path, 'docker-http-passthrough-folder')), [left]);
  });

  test('does not disturb another one in the same folder', async () => {
    await using folder = await makeFolder();
    const one = await Workspace.open(folder.path);
    const file = await one.createFile();
    await file.write(Buffer.from('first '));
    const two = await Workspace.open(folder.path);
    const other = await two.createFile();
    await other.write(Buffer.from('other'));
    await file.write(Buffer.from('second'));
    assert.equal((await readAll(file.read())).toString(), 'first second');
    assert.equal((await readAll(other.read())).toString(), 'other');
    await Promise.all([file.close(), other.close()]);
  });

  test('does not fail another one that makes files meanwhile', async () => {
    await using folder = await makeFolder();
    const busy = await Workspace.open(folder.path);
    const makeFiles = async () => {
      for (let count = 0; count < 40; count += 1) {
        const file = await busy.createFile();
        await file.write(Buffer.from('x'));
        assert.equal((await readAll(file.read())).toString(), 'x');
        await file.close();
      }
    };
    const openAgain = async () => {
      for (let count = 0; count < 40; count += 1) await Workspace.open(folder.path);
    };
    await Promise.all([makeFiles(), makeFiles(), openAgain(), openAgain()]);
    assert.deepEqual(await readdir(folder.path), []);
  });

  test('fails where the folder cannot be made, naming it and the reason', async () => {
    await using folder = await makeFolder();
    const file = join(folder.path, 'file');
    await writeFile(file, '');
    for (const directory of [file, join(file, 'below')]) {
      await assert.rejects(Workspace.open(directory), (error: Error & { code?: string }) => {
        assert.equal(error.code, 'INVALID_CONFIGURATION');
        assert.ok(
          error.message.startsWith(`Cannot use workspace ${JSON.stringify(directory)}: E`),
          error.message,
        );
        assert.ok(error.cause instanceof Error);
        return true;
      });
    }
  });

  test('fails where the folder cannot be written', async () => {
    await using folder = await makeFolder();
    await chmod(folder.path, 0o555);
    await assert.rejects(
      withoutRoot(() => Workspace.open(folder.path)),
      (error: Error & { code?: string }) => {
        assert.equal(error.code, 'INVALID_CONFIGURATION');
        assert.ok(error.message.startsWith(`Cannot use workspace ${JSON.stringify(folder.path)}: `));
        assert.match(error.message, /EACCES/);
        return true;
      },
    );
  });
});

describe('probing a workspace', () => {
  test('leaves nothing behind', async () => {
    await using folder = await makeFolder();
    const workspace = await Workspace.open(folder.path);
    await workspace.probe();
    assert.deepEqual(await readdir(folder.path), []);
  });

  test('fails once the folder is gone, and works again once it is back', async () => {
    await using folder = await makeFolder();
    const workspace = await Workspace.open(folder.path);
    await rm(folder.path, { recursive: true });
    await assert.rejects(workspace.probe(), {
      code: 'INTERNAL',
      message: /^Cannot use the workspace: ENOENT/,
    });
    await mkdir(folder.path);
    await workspace.probe();
  });
});
