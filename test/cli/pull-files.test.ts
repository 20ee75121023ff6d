/** The file that `pull` writes to. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { machinePlatform } from '../../src/cli/options/platform.ts';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.ts';
import { makeImage, makeLayer } from '../support/image.ts';
import { temporaryFolder } from './binary.ts';
import { run, start } from './command.ts';

describe('pull', { concurrency: 2 }, () => {
  let registry: FakeRegistry;
  before(async () => {
    registry = await startFakeRegistry();
    registry.push(
      'team/app',
      '1',
      makeImage({ platform: machinePlatform(), layers: [{ tar: makeLayer({ one: 'one' }) }] }),
    );
  });
  after(() => registry.close());

  const ref = (name: string) => `${registry.host}/${name}`;

  describe('a file that cannot be written is an error before the registry is asked:', () => {
    const table: readonly [path: string, code: number, says: RegExp][] = [
      ['none/a.tar', 1, /"none\/a\.tar": no such file or directory \(ENOENT\)\nCreate its folder first\n$/],
      ['file/a.tar', 1, /"file\/a\.tar": not a directory \(ENOTDIR\)\n$/],
      ['folder', 2, /"folder": it is a folder\nName a file in it\n$/],
      ['new/', 1, /"new\/": it is a folder\n$/],
      ['circle', 1, /"circle": too many symbolic links encountered \(ELOOP\)\n$/],
    ];
    for (const [path, code, says] of table) {
      test(path, async () => {
        await using folder = await temporaryFolder();
        await mkdir(join(folder.path, 'folder'));
        await writeFile(join(folder.path, 'file'), '');
        await symlink('circle', join(folder.path, 'circle'));
        const ended = await run(['pull', ref('team/never:1'), path], { cwd: folder.path });
        assert.equal(ended.code, code);
        assert.match(ended.stderr, says);
        assert.equal(ended.stderr.split('\n').length, code === 2 || path.startsWith('none') ? 3 : 2);
        assert.equal(registry.countRequests(/never/), 0);
        assert.deepEqual((await readdir(folder.path)).toSorted(), ['circle', 'file', 'folder']);
      });
    }
  });

  test('a pipe without a reader is waited for until SIGTERM', async () => {
    await using folder = await temporaryFolder();
    const pipe = join(folder.path, 'pipe');
    await promisify(execFile)('mkfifo', [pipe]);
    const { child, ended } = await start(['pull', ref('team/app:1'), pipe]);
    // The manifest is there, so the pipe is next.
    await once(child.stderr ?? assert.fail(), 'data');
    child.kill('SIGTERM');
    const { code, stderr } = await ended;
    assert.deepEqual([code, stderr.split('\n').at(-2)], [143, 'docker-http-passthrough: Stopped by SIGTERM']);
  });

  test('a pipe gets the archive', async () => {
    await using folder = await temporaryFolder();
    const pipe = join(folder.path, 'pipe');
    await promisify(execFile)('mkfifo', [pipe]);
    const [read, { code }, { stdout }] = await Promise.all([
      readFile(pipe),
      run(['pull', '-q', ref('team/app:1'), pipe]),
      run(['pull', '-q', ref('team/app:1'), '-']),
    ]);
    assert.deepEqual([code, read.equals(stdout)], [0, true]);
  });

  test('a file that is replaced keeps its mode', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'a.tar');
    await writeFile(path, 'old', { mode: 0o600 });
    assert.equal((await run(['pull', '-q', ref('team/app:1'), path])).code, 0);
    const { mode, size } = await stat(path);
    assert.deepEqual([mode & 0o777, size > 3], [0o600, true]);
  });

  test('a full disk is an error that names the file', async () => {
    const { code, stderr } = await run(['pull', '-q', ref('team/app:1'), '/dev/full']);
    assert.equal(code, 1);
    assert.match(stderr, /Cannot write "\/dev\/full": the disk is full\n/);
  });
});
