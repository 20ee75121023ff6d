import assert from 'node:assert/strict';
import { type FileHandle, open, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { CheckedFileWriter } from '../../src/storage/checked-file.ts';
import { readAll } from '../support/collect.ts';
import { begin, KIB, LONG, MIB, reopen } from './checking.ts';
import { testOnSmallDisk } from './folder.ts';

const FULL = { code: 'NO_SPACE', message: 'Cannot write to the workspace: the disk is full' };

describe('writing', () => {
  type Write = (
    bytes: Uint8Array,
    done: number,
    left: number,
    at: number,
  ) => Promise<{ bytesWritten: number }>;

  /** Replaces the `write` of a handle. The replacement gets the original. */
  function writeThrough(handle: FileHandle, make: (write: Write) => Write): void {
    Object.defineProperty(handle, 'write', { value: make(handle.write.bind(handle) as Write) });
  }

  const systemError = (code: string) => Object.assign(new Error('it broke'), { code });

  /** Writes 200 000 bytes, and checks that the file holds them. */
  async function assertWrites({ path, writer }: Awaited<ReturnType<typeof begin>>): Promise<void> {
    await writer.write(LONG.subarray(0, 200_000));
    await (await writer.finish({})).close();
    const file = await reopen(path);
    assert.ok((await readAll(file.read())).equals(LONG.subarray(0, 200_000)));
    await file.close();
  }

  /** Makes room so many times, and counts how often it was called. */
  function room(times: number, make: () => unknown = () => undefined) {
    const calls = {
      count: 0,
      makeRoom: async () => {
        calls.count += 1;
        if (calls.count <= times) await make();
        return calls.count <= times;
      },
    };
    return calls;
  }

  test('goes on where the system wrote only a part', async () => {
    const begun = await begin();
    await using _ = begun.folder;
    writeThrough(
      begun.handle,
      (write) => (bytes, done, left, at) => write(bytes, done, Math.min(left, 30_000), at),
    );
    await assertWrites(begun);
  });

  test('goes on where the disk is full, as often as room is made', async () => {
    const calls = room(3);
    const begun = await begin(calls.makeRoom);
    await using _ = begun.folder;
    let count = 0;
    writeThrough(begun.handle, (write) => async (bytes, done, left, at) => {
      count += 1;
      if (count > 1 && calls.count < 3) throw systemError('ENOSPC');
      return await write(bytes, done, Math.min(left, 70_000), at);
    });
    await assertWrites(begun);
    assert.equal(calls.count, 3);
  });

  test('fails where the disk is full and no more room can be made', async () => {
    const calls = room(2);
    const writer = new CheckedFileWriter(await open('/dev/full', 'r+'), calls.makeRoom);
    await assert.rejects(writer.write(Buffer.from('x')), FULL);
    assert.equal(calls.count, 3);
    await writer.close();
  });

  test('fails with any other error without making room', async () => {
    const calls = room(1);
    const { folder, handle, writer } = await begin(calls.makeRoom);
    await using _ = folder;
    writeThrough(handle, () => () => Promise.reject(systemError('EIO')));
    const failure = { code: 'INTERNAL', message: 'Cannot use the workspace: EIO' };
    await assert.rejects(writer.write(Buffer.from('x')), failure);
    await assert.rejects(writer.finish({}), failure);
    assert.equal(calls.count, 0);
    await writer.close();
    assert.equal(handle.fd, -1);
  });

  testOnSmallDisk('uses the room of a removed file, and fails without it', [MIB], async (disk) => {
    const filler = join(disk, 'filler');
    await writeFile(filler, Buffer.alloc(MIB / 2));
    const calls = room(1, () => rm(filler));
    const writer = new CheckedFileWriter(await open(join(disk, 'file'), 'wx+'), calls.makeRoom);
    const bytes = LONG.subarray(0, MIB - 64 * KIB);
    await writer.write(bytes);
    assert.equal(calls.count, 1);
    await assert.rejects(writer.write(bytes), FULL);
    assert.equal(calls.count, 2);
    await writer.close();
  });
});
