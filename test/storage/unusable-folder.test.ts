import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { isPassthroughError } from '../../src/errors.ts';
import { StoreFolder } from '../../src/storage/folder.ts';
import { START_LIMIT_MS } from '../support/within.ts';
import { makeFolder, withoutRoot } from './folder.ts';

const OPENINGS = ['openKept', 'makeTemporary'] as const;

const IN_THE_WAY = /^cannot create it: a file or a dangling symbolic link is in the way \(EEXIST\)$/;
const TOO_LONG = /^cannot create it: name too long \(ENAMETOOLONG\)$/;

/** Folders that cannot be used, below a place with a file and two symbolic links, and the reasons. */
const UNUSABLE: readonly {
  readonly what: string;
  readonly path: string;
  /** Mode of the place. */
  readonly mode?: number;
  readonly reason: RegExp;
}[] = [
  { what: 'is a file', path: 'file', reason: IN_THE_WAY },
  {
    what: 'is below a file',
    path: 'file/below/it',
    reason: /^cannot create it: a part of its path is not a folder \(ENOTDIR\)$/,
  },
  { what: 'is a symbolic link without a target', path: 'dangling', reason: IN_THE_WAY },
  { what: 'is below a symbolic link without a target', path: 'dangling/below', reason: IN_THE_WAY },
  {
    what: 'is below a circle of symbolic links',
    path: 'circle/below',
    reason: /^cannot create it: too many symbolic links encountered \(ELOOP\)$/,
  },
  { what: 'has a name that is too long', path: 'x'.repeat(256), reason: TOO_LONG },
  { what: 'has a path that is too long', path: 'x/'.repeat(2100), reason: TOO_LONG },
  {
    what: 'is in a folder that this user may not write',
    path: 'missing',
    mode: 0o555,
    reason: /^cannot create it: permission denied \(EACCES\)$/,
  },
  {
    what: 'this user may not write',
    path: '',
    mode: 0o555,
    reason: /^cannot (?:lock it|create a folder in it): permission denied \(EACCES\)$/,
  },
  {
    what: 'this user may not read',
    path: '',
    mode: 0o333,
    reason: /^cannot (?:lock|read) it: permission denied \(EACCES\)$/,
  },
];

for (const opening of OPENINGS) {
  describe(`StoreFolder.${opening} refuses a folder that`, () => {
    for (const { what, path, mode = 0o777, reason: expected } of UNUSABLE) {
      test(what, async () => {
        await using place = await makeFolder();
        await writeFile(join(place.path, 'file'), '');
        await symlink(join(place.path, 'nowhere'), join(place.path, 'dangling'));
        await symlink('circle', join(place.path, 'circle'));
        await chmod(place.path, mode);
        const folder = join(place.path, path);
        await assert.rejects(
          withoutRoot(() => StoreFolder[opening](folder)),
          (error: unknown) => {
            assert.ok(isPassthroughError(error, 'INVALID_CONFIGURATION'), String(error));
            const { reason = '' } = error.details;
            assert.match(reason, expected);
            assert.deepEqual(error.details, { folder, reason });
            assert.equal(error.message, `Cannot use folder ${JSON.stringify(folder)}: ${reason}`);
            assert.ok(
              error.cause instanceof Error && 'errno' in error.cause,
              'the cause is not that of the system',
            );
            return true;
          },
        );
        await chmod(place.path, 0o777);
        assert.deepEqual(await readdir(place.path), ['circle', 'dangling', 'file'], 'something was left');
      });
    }

    test('the system does not allow, as below /proc, without trying for ever', async () => {
      // In a process of its own, which can be ended where it does not return.
      const code = `
        const { StoreFolder } = await import('${new URL('../../src/storage/folder.ts', import.meta.url).href}');
        for (const path of process.argv.slice(1))
          await StoreFolder.${opening}(path).catch(({ code, message }) => console.log(code, message));`;
      const paths = ['/proc/x', '/proc/x/y', '/proc/self/x'];
      const { stdout } = await promisify(execFile)(
        process.execPath,
        ['--input-type=module', '--eval', code, ...paths],
        { timeout: START_LIMIT_MS, killSignal: 'SIGKILL' },
      );
      const expected = paths.map(
        (path) =>
          `INVALID_CONFIGURATION Cannot use folder "${path}": cannot create it: the system does not allow it there (ENOENT)\n`,
      );
      assert.equal(stdout, expected.join(''));
    });
  });
}

describe('StoreFolder.openKept gives a folder up after it was locked', () => {
  const obstacles = [
    [
      'where a file is in the way',
      (path: string) => writeFile(path, ''),
      /: cannot create folders in it: a file or a dangling symbolic link is in the way \(EEXIST\)$/,
    ],
    [
      'where this user may not read the complete files',
      (path: string) => mkdir(path, { mode: 0 }),
      /: cannot read "prepared" in it: permission denied \(EACCES\)$/,
    ],
  ] as const;
  for (const [what, make, message] of obstacles) {
    test(what, async () => {
      await using place = await makeFolder();
      await chmod(place.path, 0o777);
      const prepared = join(place.path, 'prepared');
      await make(prepared);
      const opened = withoutRoot(() => StoreFolder.openKept(place.path));
      await assert.rejects(opened, { code: 'INVALID_CONFIGURATION', message });
      await rm(prepared, { recursive: true });
      await chmod(place.path, 0o700);
      await (await StoreFolder.openKept(place.path)).close();
    });
  }
});
