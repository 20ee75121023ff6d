/** A folder on a read-only disk ends the start with its path and the reason. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { StoreFolder } from '../../src/storage/folder.ts';
import { makeSmallDisk } from '../storage/folder.ts';
import { refuse, requireRoot } from './parts.ts';

test('a folder on a read-only disk is refused', async (t) => {
  if (!requireRoot(t)) return;
  await using disk = await makeSmallDisk(1024 ** 2);
  if (disk === undefined) {
    refuse(t, 'a tmpfs cannot be mounted');
    return;
  }
  await promisify(execFile)('mount', ['-o', 'remount,ro', disk.path]);
  for (const [opening, name, step] of [
    ['openKept', '', 'lock it'],
    ['openKept', 'below', 'create it'],
    ['makeTemporary', '', 'create a folder in it'],
    ['makeTemporary', 'below', 'create it'],
  ] as const) {
    const folder = join(disk.path, name);
    await assert.rejects(StoreFolder[opening](folder), {
      code: 'INVALID_CONFIGURATION',
      message: `Cannot use folder ${JSON.stringify(folder)}: cannot ${step}: it is on a read-only file system (EROFS)`,
    });
  }
});
