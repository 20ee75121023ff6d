import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  chmod,
  chown,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { ReplacedFile } from '../../src/util/replaced-file.ts';
import { makeFolder, startOther } from '../storage/folder.ts';

const NOBODY = 65_534;

async function replace(path: string, text = 'newer'): Promise<void> {
  await using file = await ReplacedFile.create(path);
  await file.write(Buffer.from(text));
  await file.finish();
}

/**
 * Tells the codes with which a target is refused. The process gives up the rights of root, to whom all is open; `access` asks for
 * the real user, so that it cannot be this process.
 */
const WITHOUT_ROOT = `
  const { findTarget, ReplacedFile } = await import('./util/replaced-file.ts');
  if (process.getuid() === 0) process.setuid(${NOBODY});
  const codeOf = (work) => work(process.argv[1]).then(() => 'none', ({ code }) => code);
  console.log(JSON.stringify([await codeOf(findTarget), await codeOf((path) => ReplacedFile.create(path))]));
`;

const modeOf = async (path: string) => (await stat(path)).mode & 0o7777;

describe('the mode of a file', () => {
  test('is that of the file that it replaces, from its first byte', async () => {
    for (const mode of [0o600, 0o640, 0o664, 0o777]) {
      await using folder = await makeFolder();
      const path = join(folder.path, 'a.tar');
      await writeFile(path, 'older');
      await chmod(path, mode);
      await using file = await ReplacedFile.create(path);
      const [partial = assert.fail()] = (await readdir(folder.path)).filter((name) => name !== 'a.tar');
      assert.equal(await modeOf(join(folder.path, partial)), mode);
      await file.finish();
      assert.equal(await modeOf(path), mode);
    }
  });

  test('follows the umask for a new one', async () => {
    await using folder = await makeFolder();
    for (const umask of [0o022, 0o077, 0o002]) {
      const before = process.umask(umask);
      try {
        const path = join(folder.path, String(umask));
        await replace(path);
        assert.equal(await modeOf(path), 0o666 & ~umask);
      } finally {
        process.umask(before);
      }
    }
  });

  test('does not pass on setuid', async () => {
    await using folder = await makeFolder();
    const path = join(folder.path, 'a.tar');
    await writeFile(path, 'older');
    await chmod(path, 0o4755);
    await replace(path);
    assert.equal(await modeOf(path), 0o755);
  });
});

test('root leaves a file to its owner', async (t) => {
  if (process.geteuid?.() !== 0) return t.skip('this user is not root');
  await using folder = await makeFolder();
  const path = join(folder.path, 'a.tar');
  await writeFile(path, 'older');
  await chown(path, NOBODY, NOBODY);
  await replace(path);
  const { uid, gid } = await stat(path);
  assert.deepEqual([uid, gid, await readFile(path, 'utf8')], [NOBODY, NOBODY, 'newer']);
});

describe('a symbolic link stays, and', () => {
  const table: readonly [what: string, links: Readonly<Record<string, string>>, target: string][] = [
    ['its target is replaced', { 'a.tar': 'deep/old' }, 'deep/old'],
    ['a missing target is created, as by curl and the shell', { 'a.tar': 'deep/new' }, 'deep/new'],
    ['so does one that it leads to', { 'a.tar': 'b.tar', 'b.tar': './deep/new' }, 'deep/new'],
    ['".." counts from where a folder really is', { 'a.tar': 'in/../new', in: 'deep/deeper' }, 'deep/new'],
  ];
  for (const [what, links, target] of table) {
    test(what, async () => {
      await using folder = await makeFolder();
      await mkdir(join(folder.path, 'deep/deeper'), { recursive: true });
      await writeFile(join(folder.path, 'deep/old'), 'older');
      for (const [name, to] of Object.entries(links)) await symlink(to, join(folder.path, name));
      await replace(join(folder.path, 'a.tar'));
      assert.equal(await readlink(join(folder.path, 'a.tar')), links['a.tar']);
      assert.ok((await lstat(join(folder.path, target))).isFile());
      assert.equal(await readFile(join(folder.path, target), 'utf8'), 'newer');
      assert.deepEqual(await readdir(folder.path), ['deep', ...Object.keys(links)].toSorted());
    });
  }
});

describe('a target that cannot be written is found out, and nothing is changed:', () => {
  const table: readonly [what: string, path: string, code: string][] = [
    ['a folder', 'folder', 'EISDIR'],
    ['a name that ends in a slash', 'new/', 'EISDIR'],
    ['a missing folder', 'none/a.tar', 'ENOENT'],
    ['a file as a folder', 'file/a.tar', 'ENOTDIR'],
    ['a link into a missing folder', 'dangling', 'ENOENT'],
    ['a link to itself', 'circle', 'ELOOP'],
    ['a folder without the right to write', 'closed/a.tar', 'EACCES'],
    ['a file without the right to write', 'readonly', 'EACCES'],
    ['a name that is too long', 'x'.repeat(300), 'ENAMETOOLONG'],
  ];
  for (const [what, path, code] of table) {
    test(what, async () => {
      await using folder = await makeFolder();
      const at = (name: string) => join(folder.path, name);
      await mkdir(at('folder'));
      await mkdir(at('closed'), { mode: 0o555 });
      await writeFile(at('file'), '');
      await writeFile(at('readonly'), 'older', { mode: 0o444 });
      await symlink('none/a.tar', at('dangling'));
      await symlink('circle', at('circle'));
      await chmod(folder.path, 0o777);
      const before = await readdir(folder.path, { recursive: true });
      await using other = await startOther(WITHOUT_ROOT, `${folder.path}/${path}`);
      assert.deepEqual(JSON.parse(other.line), [code, code]);
      assert.deepEqual(await readdir(folder.path, { recursive: true }), before);
    });
  }
});

describe('a pipe', () => {
  async function makePipe() {
    const folder = await makeFolder();
    const path = join(folder.path, 'pipe');
    await promisify(execFile)('mkfifo', [path]);
    return { path, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
  }

  test('gets everything in order once it has a reader', async () => {
    await using pipe = await makePipe();
    const content = Buffer.alloc(3_000_000, 'abcdefg');
    const writing = (async () => {
      await using file = await ReplacedFile.create(pipe.path);
      assert.equal(file.isSeekable, false);
      for (let at = 0; at < content.length; at += 100_000) {
        await file.write(content.subarray(at, at + 100_000));
      }
      await file.finish();
    })();
    const [read] = await Promise.all([readFile(pipe.path), writing]);
    assert.ok(read.equals(content));
    assert.ok((await stat(pipe.path)).isFIFO());
  });

  test('without a reader is waited for until the signal', async () => {
    await using pipe = await makePipe();
    const stop = new AbortController();
    const reason = new Error('enough');
    const creating = ReplacedFile.create(pipe.path, stop.signal);
    stop.abort(reason);
    await assert.rejects(creating, reason);
  });

  test('whose reader stands still is left at the signal', async () => {
    await using pipe = await makePipe();
    // A reader that is also a writer opens at once.
    await using _reader = await open(pipe.path, 'r+');
    const stop = new AbortController();
    const reason = new Error('enough');
    await using file = await ReplacedFile.create(pipe.path, stop.signal);
    const writing = file.write(Buffer.alloc(1_000_000));
    stop.abort(reason);
    await assert.rejects(writing, reason);
  });

  test('whose reader has gone is an error', async () => {
    await using pipe = await makePipe();
    const reader = await open(pipe.path, 'r+');
    await using file = await ReplacedFile.create(pipe.path);
    await file.write(Buffer.from('x'));
    await reader.close();
    await assert.rejects(file.write(Buffer.alloc(1_000_000)), { code: 'EPIPE' });
  });
});

test('a device is written as it is', async () => {
  await replace('/dev/null');
  assert.ok((await stat('/dev/null')).isCharacterDevice());
  await assert.rejects(replace('/dev/full'), { code: 'ENOSPC' });
});
