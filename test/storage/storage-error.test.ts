import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { describe, test } from 'node:test';
import { PassthroughError } from '../../src/errors.ts';
import { removedFolderError, storageError, unusableFolderError } from '../../src/storage/storage-error.ts';

describe('an error of the file system becomes', () => {
  const table: readonly [systemCode: string, code: string, message: string][] = [
    ['ENOSPC', 'NO_SPACE', 'Cannot write to the workspace: the disk is full'],
    ['EDQUOT', 'NO_SPACE', 'Cannot write to the workspace: the disk is full'],
    ['EFBIG', 'NO_SPACE', 'Cannot write to the workspace: the disk is full'],
    ['EMFILE', 'BUSY', 'Cannot open a temporary file: too many are open'],
    ['ENFILE', 'BUSY', 'Cannot open a temporary file: too many are open'],
    ['EIO', 'INTERNAL', 'Cannot use the workspace: EIO'],
    ['EACCES', 'INTERNAL', 'Cannot use the workspace: EACCES'],
  ];
  for (const [systemCode, code, message] of table) {
    test(`${code} for ${systemCode}, with the cause`, () => {
      const cause = Object.assign(new Error('it broke'), { code: systemCode });
      const error = storageError(cause);
      assert.deepEqual([error.code, error.message], [code, message]);
      assert.equal(error.cause, cause);
      assert.doesNotMatch(error.message, /it broke/, 'the system puts paths into its messages');
    });
  }

  test('INTERNAL where it has no code or is no error', () => {
    for (const odd of [new Error('odd'), 'odd']) {
      assert.equal(storageError(odd).message, 'Cannot use the workspace: the system gives no code');
    }
    assert.equal(storageError(undefined).code, 'INTERNAL');
  });

  test('the same error where it is a PassthroughError', () => {
    const error = new PassthroughError('IMAGE_TOO_LARGE', 'Cannot prepare image: it is large');
    assert.equal(storageError(error), error);
  });
});

/** An error as the system gives it. */
function systemError(code: keyof typeof constants.errno): Error {
  return Object.assign(new Error(`${code}: it broke, mkdir '/secret/x'`), {
    code,
    errno: -constants.errno[code],
  });
}

describe('a folder that was removed and cannot be created again', () => {
  const table = [
    ['ENOSPC', 'NO_SPACE', 'Cannot write to the workspace: the disk is full'],
    ['EMFILE', 'BUSY', 'Cannot open a temporary file: too many are open'],
    [
      'EACCES',
      'INTERNAL',
      /^Cannot use the workspace: its folder .* created again: permission denied \(EACCES\)$/,
    ],
  ] as const;
  for (const [systemCode, code, message] of table) {
    test(`is ${code} for ${systemCode}; its path is in the cause alone`, () => {
      const cause = systemError(systemCode);
      const error = removedFolderError('/secret', cause);
      assert.equal(error.code, code);
      if (typeof message === 'string') assert.equal(error.message, message);
      else assert.match(error.message, message);
      assert.doesNotMatch(error.message, /secret/);
      assert.ok(error.cause instanceof Error);
      assert.match(error.cause.message, /^Cannot create folder "\/secret" again: /);
      assert.equal(error.cause.cause, cause);
    });
  }
});

test('a folder that cannot be used is named with the reason in words', () => {
  const table = [
    [systemError('EROFS'), 'it is on a read-only file system (EROFS)'],
    [systemError('EIO'), 'i/o error (EIO)'],
    [Object.assign(new Error('it has a null byte'), { code: 'ERR_INVALID_ARG_VALUE' }), 'it has a null byte'],
    ['odd', 'odd'],
  ] as const;
  for (const [cause, reason] of table) {
    const error = unusableFolderError('/x', cause);
    assert.equal(error.message, `Cannot use folder "/x": ${reason}`);
    assert.deepEqual([error.code, error.details], ['INVALID_CONFIGURATION', { folder: '/x', reason }]);
    assert.equal(error.cause, cause);
  }
});
