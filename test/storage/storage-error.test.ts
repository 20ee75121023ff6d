import assert from 'node:assert/strict';
import { open } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { PassthroughError } from '../../src/errors.ts';
import { storageError } from '../../src/storage/storage-error.ts';
import { TemporaryFile } from '../../src/storage/temporary-file.ts';
import { Workspace } from '../../src/storage/workspace.ts';
import { readAll } from '../support/collect.ts';
import { makeSmallDisk, patternOf } from './folder.ts';

const MIB = 1024 ** 2;
const FULL = {
  name: 'PassthroughError',
  code: 'NO_SPACE',
  message: 'Cannot write to the workspace: the disk is full',
};

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

describe('a disk that is full', () => {
  test('fails a write by its name', async () => {
    const file = new TemporaryFile(await open('/dev/full', 'r+'));
    try {
      await assert.rejects(file.write(Buffer.from('x')), FULL);
      assert.equal(file.size, 0);
    } finally {
      await file.close();
    }
  });

  test('takes files again once others are closed', async (t) => {
    await using disk = await makeSmallDisk(MIB);
    if (disk === undefined) {
      // Without the right to mount a disk there is one full device, and it never gets empty.
      t.diagnostic('no disk could be mounted: /dev/full stands in for it');
      const file = new TemporaryFile(await open('/dev/full', 'r+'));
      await assert.rejects(file.write(patternOf(2 * MIB)), FULL);
      await file.close();
      return;
    }
    const workspace = await Workspace.open(disk.path);
    const first = await workspace.createFile();
    await assert.rejects(first.write(patternOf(2 * MIB)), FULL);
    assert.ok(first.size > 0 && first.size <= MIB, `${first.size} bytes were written`);
    const second = await workspace.createFile();
    await assert.rejects(second.write(Buffer.from('x')), FULL);
    await assert.rejects(workspace.probe(), FULL);
    await assert.rejects(Workspace.open(disk.path), {
      code: 'INVALID_CONFIGURATION',
      message: /disk is full$/,
    });

    await first.close();
    await workspace.probe();
    const bytes = patternOf(MIB / 2);
    await second.write(bytes);
    assert.ok((await readAll(second.read())).equals(bytes));
    await second.close();
  });
});
