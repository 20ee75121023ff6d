import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { hintsFor } from '../../src/config/hints.ts';
import { type ErrorDetails, PassthroughError } from '../../src/errors.ts';

const MB = 1e6;
const FULL = { folder: '/var/lib/x', disk: { freeBytes: 12 * MB, totalBytes: 500 * MB, freeFiles: 1000 } };

function systemError(code: string): Error {
  return Object.assign(new Error(code), { code });
}

describe('what to try about', () => {
  const table: readonly [
    what: string,
    code: 'NO_SPACE' | 'CANNOT_WRITE',
    details: ErrorDetails & { readonly cause?: unknown },
    service: readonly string[],
    commandLine: readonly string[],
  ][] = [
    [
      'a full disk of the cache',
      'NO_SPACE',
      { ...FULL, setting: 'cacheDirectory' },
      ['CACHE_DIR is "/var/lib/x": 12.0 MB of 500 MB are free'],
      ['--cache is "/var/lib/x": 12.0 MB of 500 MB are free'],
    ],
    [
      'a full disk of the workspace',
      'NO_SPACE',
      { ...FULL, setting: 'workspaceDirectory' },
      ['WORKSPACE_DIR is "/var/lib/x": 12.0 MB of 500 MB are free'],
      ['WORKSPACE_DIR is "/var/lib/x": 12.0 MB of 500 MB are free'],
    ],
    [
      'a disk without room for more files',
      'NO_SPACE',
      { ...FULL, disk: { ...FULL.disk, freeFiles: 0 }, setting: 'cacheDirectory' },
      ['CACHE_DIR is "/var/lib/x": 12.0 MB of 500 MB are free, and no more files can be created'],
      ['--cache is "/var/lib/x": 12.0 MB of 500 MB are free, and no more files can be created'],
    ],
    [
      'a disk that cannot be asked, with an odd name',
      'NO_SPACE',
      { folder: '/a\n\u001b[2J', setting: 'cacheDirectory' },
      ['CACHE_DIR is "/a\\n\\u001b[2J"'],
      ['--cache is "/a\\n\\u001b[2J"'],
    ],
    ['a full disk of the file', 'NO_SPACE', {}, [], ['Free some of it, or name a file on another disk']],
    ['a missing folder', 'CANNOT_WRITE', { cause: systemError('ENOENT') }, [], ['Create its folder first']],
    [
      'a missing right',
      'CANNOT_WRITE',
      { cause: systemError('EACCES') },
      [],
      ['Name a file that this user may write'],
    ],
    ['another reason', 'CANNOT_WRITE', { cause: systemError('EIO') }, [], []],
  ];
  for (const [what, code, details, service, commandLine] of table) {
    test(what, () => {
      const error = new PassthroughError(code, 'x', details);
      assert.deepEqual([hintsFor(error, 'service'), hintsFor(error, 'commandLine')], [service, commandLine]);
    });
  }
});
