/** Checked files, as tests write and open them. */

import assert from 'node:assert/strict';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import {
  CheckedFile,
  CheckedFileWriter,
  type Description,
  type MakeRoom,
} from '../../src/storage/checked-file.ts';
import { makeFolder, patternOf } from './folder.ts';

export const KIB = 1024;
export const MIB = 1024 * KIB;

/** Bytes without two equal blocks. */
export const LONG = patternOf(3 * MIB + 17);

const NO_ROOM: MakeRoom = async () => false;

/** Creates a file to be written, in a folder of its own. */
export async function begin(makeRoom = NO_ROOM) {
  const folder = await makeFolder();
  const path = join(folder.path, 'file');
  const handle = await open(path, 'wx+');
  return { folder, path, handle, writer: new CheckedFileWriter(handle, makeRoom) };
}

/** Writes a complete file; for `await using`. */
export async function makeFile(bytes: Uint8Array, description: Description = { n: 1 }) {
  const { folder, path, writer } = await begin();
  await writer.write(bytes);
  const file = await writer.finish(description);
  return {
    file,
    path,
    async [Symbol.asyncDispose]() {
      await file.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** Opens a file that must be complete. */
export async function reopen(path: string): Promise<CheckedFile> {
  const file = await CheckedFile.open(path);
  assert.ok(file, 'the file cannot be opened');
  return file;
}
