import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { PartialFile } from '../../../src/pull/direct/partial-file.ts';

async function makeFolder() {
  const path = await mkdtemp(join(tmpdir(), 'partial-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

describe('a file that is written', () => {
  test('has its name only when it is finished, and replaces an older one only then', async () => {
    await using folder = await makeFolder();
    const path = join(folder.path, 'a.tar');
    await writeFile(path, 'older');
    await using file = await PartialFile.create(path);
    await file.write(Buffer.from('world'), 6);
    await file.write(Buffer.from('hello '), 0);
    assert.equal(await readFile(path, 'utf8'), 'older');
    assert.equal((await readdir(folder.path)).length, 2);
    await file.finish();
    assert.equal(await readFile(path, 'utf8'), 'hello world');
    assert.deepEqual(await readdir(folder.path), ['a.tar']);
  });

  test('is removed unless it is finished', async () => {
    await using folder = await makeFolder();
    const path = join(folder.path, 'a.tar');
    {
      await using file = await PartialFile.create(path);
      await file.write(Buffer.from('x'));
    }
    assert.deepEqual(await readdir(folder.path), []);
  });

  test('keeps a symbolic link, and replaces its target', async () => {
    await using folder = await makeFolder();
    const [link, target] = [join(folder.path, 'link'), join(folder.path, 'deep', 'target')];
    await mkdir(join(folder.path, 'deep'));
    await writeFile(target, 'older');
    await symlink('deep/target', link);
    await using file = await PartialFile.create(link);
    await file.write(Buffer.from('newer'));
    await file.finish();
    assert.deepEqual([await readlink(link), await readFile(target, 'utf8')], ['deep/target', 'newer']);
    assert.deepEqual(await readdir(join(folder.path, 'deep')), ['target']);
  });

  test('is written directly into a pipe or a device, which stays', async () => {
    await using folder = await makeFolder();
    const path = join(folder.path, 'pipe');
    await promisify(execFile)('mkfifo', [path]);
    const [, read] = await Promise.all([
      (async () => {
        await using file = await PartialFile.create(path);
        assert.equal(file.isSeekable, false);
        await file.write(Buffer.from('in '));
        await file.write(Buffer.from('order'));
        await file.finish();
      })(),
      readFile(path, 'utf8'),
    ]);
    assert.equal(read, 'in order');
    assert.ok((await stat(path)).isFIFO());
    await using file = await PartialFile.create('/dev/null');
    await file.write(Buffer.from('x'));
    await file.finish();
    assert.ok((await stat('/dev/null')).isCharacterDevice());
  });
});

describe('a file that cannot be written', () => {
  test('is named, with the reason', async () => {
    await using folder = await makeFolder();
    const reject = async (name: string, reason: string) => {
      const path = join(folder.path, name);
      await assert.rejects(PartialFile.create(path), {
        code: 'CANNOT_WRITE',
        message: `Cannot write "${path}": ${reason}`,
      });
    };
    await reject('', 'it is a folder');
    await reject('none/a.tar', 'no such file or directory (ENOENT)');
    await writeFile(join(folder.path, 'file'), '');
    await reject('file/a.tar', 'not a directory (ENOTDIR)');
    assert.deepEqual(await readdir(folder.path), ['file']);
  });

  test('because the disk is full is told so', async () => {
    await using file = await PartialFile.create('/dev/full');
    await assert.rejects(file.write(Buffer.from('x')), {
      code: 'NO_SPACE',
      message: 'Cannot write "/dev/full": the disk is full',
    });
  });
});
