import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PassthroughError } from '../../src/errors.ts';
import { storageError } from '../../src/storage/storage-error.ts';

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
      assert.doesNotMatch(error.message, /it broke/, 'the words of the system may hold a path');
    });
  }

  test('INTERNAL where it has no code, or is no error', () => {
    for (const odd of [new Error('odd'), 'odd']) {
      assert.equal(storageError(odd).message, 'Cannot use the workspace: the system gives no code');
    }
    assert.equal(storageError(undefined).code, 'INTERNAL');
  });

  test('what it was, where it is one of ours', () => {
    const error = new PassthroughError('IMAGE_TOO_LARGE', 'Cannot prepare image: it is large');
    assert.equal(storageError(error), error);
  });
});
