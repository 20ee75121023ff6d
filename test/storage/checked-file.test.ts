import assert from 'node:assert/strict';
import { type FileHandle, open, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { CheckedFile, CheckedFileWriter, type MakeRoom } from '../../src/storage/checked-file.ts';
import { releaseChunk } from '../../src/streams/chunk.ts';
import { readAll } from '../support/collect.ts';
import { makeFolder, makeSmallDisk, patternOf } from './folder.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const BLOCK_BYTES = 64 * KIB;
const TRAILER_BYTES = 32;

/** Sizes around one block, and one of several reads. */
const SIZES = [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * MIB + 17];

/** Bytes of which no two blocks are the same. */
const LONG = patternOf(3 * MIB + 17);

const NO_ROOM: MakeRoom = async () => false;
const DAMAGED = { name: 'PassthroughError', code: 'DAMAGED', message: /^Cannot use a prepared file: / };
const FULL = { code: 'NO_SPACE', message: 'Cannot write to the workspace: the disk is full' };

/** Opens a new file for writing, in a folder of its own. */
async function begin(makeRoom = NO_ROOM) {
  const folder = await makeFolder();
  const path = join(folder.path, 'file');
  const handle = await open(path, 'wx+');
  return { folder, path, handle, writer: new CheckedFileWriter(handle, makeRoom) };
}

/** A file that holds some bytes, and its path; for `await using`. */
async function made(bytes: Uint8Array, description: Readonly<Record<string, string | number>> = { n: 1 }) {
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

/** Opens a file, and fails where it is not whole. */
async function reopen(path: string): Promise<CheckedFile> {
  const file = await CheckedFile.open(path);
  assert.ok(file, 'the file cannot be opened');
  return file;
}

/** Changes one byte of a file. */
async function damage(path: string, at: number, by = 0xff): Promise<void> {
  const handle = await open(path, 'r+');
  try {
    const byte = Buffer.alloc(1);
    await handle.read(byte, 0, 1, at);
    byte[0] = (byte[0] ?? 0) ^ by;
    await handle.write(byte, 0, 1, at);
  } finally {
    await handle.close();
  }
}

/** A place in a file: anywhere, or at and around the ends of blocks and reads. */
function placeIn(size: number): fc.Arbitrary<number> {
  const borders = [0, 1, BLOCK_BYTES, 2 * BLOCK_BYTES, MIB, 2 * MIB, size].flatMap((at) => [
    at - 1,
    at,
    at + 1,
  ]);
  const places = borders.filter((at) => at >= 0 && at <= size);
  return fc.oneof(fc.nat(size), fc.constantFrom(...places));
}

function rangeIn(size: number): fc.Arbitrary<{ start: number; end: number }> {
  return fc
    .tuple(placeIn(size), placeIn(size))
    .map(([one, other]) => ({ start: Math.min(one, other), end: Math.max(one, other) }));
}

describe('a file gives what was written', () => {
  for (const size of SIZES) {
    test(`${size} bytes, in whatever pieces they came, at once and when it is opened again`, async () => {
      const bytes = LONG.subarray(0, size);
      await fc.assert(
        fc.asyncProperty(fc.array(placeIn(size), { maxLength: 9 }), async (places) => {
          const { folder, path, writer } = await begin();
          await using _ = folder;
          const cuts = [0, ...places.toSorted((one, other) => one - other), size];
          for (const [index, cut] of cuts.entries()) await writer.write(bytes.subarray(cut, cuts[index + 1]));
          assert.equal(writer.size, size);
          const description = { name: 'ä', count: 7 };
          const written = await writer.finish(description);
          const opened = await reopen(path);
          try {
            for (const file of [written, opened]) {
              assert.equal(file.size, size);
              assert.deepEqual(file.description, description);
              assert.equal(file.bytesOnDisk, (await stat(path)).size);
              assert.ok((await readAll(file.read())).equals(bytes));
            }
            assert.ok((await readFile(path)).subarray(0, size).equals(bytes), 'the content stands first');
          } finally {
            await Promise.all([written.close(), opened.close()]);
          }
        }),
        { numRuns: size > MIB ? 5 : 15 },
      );
    });

    test(`${size} bytes, in any part`, async () => {
      await using opened = await made(LONG.subarray(0, size));
      await fc.assert(
        fc.asyncProperty(rangeIn(size), async ({ start, end }) => {
          const part = await readAll(opened.file.read({ start, end }));
          assert.ok(part.equals(LONG.subarray(start, end)), `from ${start} to ${end}`);
        }),
        { numRuns: 60 },
      );
    });
  }

  test('to several who read at once, each another part at a pace of its own', async () => {
    await using opened = await made(LONG);
    const reader = fc.record({ range: rangeIn(LONG.length), isKeeping: fc.boolean() });
    const turns = fc.array(fc.nat(7), { maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(fc.array(reader, { minLength: 2, maxLength: 8 }), turns, async (readers, order) => {
        const readings = readers.map(({ range, isKeeping }) => ({
          range,
          isKeeping,
          source: opened.file.read(range),
          pieces: [] as Uint8Array[],
        }));
        const step = async ({ source, pieces, isKeeping }: (typeof readings)[number]) => {
          const { value } = await source.next();
          if (value === undefined) return false;
          // Who gives a piece back has no use of it afterwards; who keeps it may look at it at any time.
          pieces.push(isKeeping ? value : Buffer.from(value));
          if (!isKeeping) releaseChunk(value);
          return true;
        };
        for (const turn of order) {
          const reading = readings[turn % readings.length];
          if (reading !== undefined) await step(reading);
        }
        await Promise.all(
          readings.map(async (reading) => {
            while (await step(reading));
          }),
        );
        for (const { range, pieces } of readings) {
          const expected = LONG.subarray(range.start, range.end);
          assert.ok(Buffer.concat(pieces).equals(expected), `from ${range.start} to ${range.end}`);
        }
      }),
      { numRuns: 40 },
    );
  });

  test('to who reads it after another has left early', async () => {
    await using opened = await made(LONG);
    for await (const _ of opened.file.read()) break;
    assert.ok((await readAll(opened.file.read())).equals(LONG));
  });

  test('in pieces whose memory can be given back', async () => {
    await using opened = await made(LONG);
    let count = 0;
    for await (const piece of opened.file.read({ start: 5, end: LONG.length })) {
      assert.notEqual(piece.byteLength, 0);
      releaseChunk(piece);
      assert.equal(piece.byteLength, 0);
      count += 1;
    }
    assert.ok(count > 1, `${count} pieces`);
    assert.ok((await readAll(opened.file.read())).equals(LONG));
  });

  test('as it was when it was written, where the bytes are changed afterwards', async () => {
    const { folder, writer } = await begin();
    await using _ = folder;
    const bytes = Buffer.from('before');
    await writer.write(bytes);
    bytes.fill('x');
    const file = await writer.finish({});
    assert.equal((await readAll(file.read())).toString(), 'before');
    await file.close();
  });
});

describe('damage is noticed', () => {
  const bytes = LONG.subarray(0, 3 * BLOCK_BYTES + 100);
  const blocks = [0, 1, 2, 3].map((block) => block * BLOCK_BYTES);

  for (const block of blocks) {
    const end = Math.min(block + BLOCK_BYTES, bytes.length);
    for (const at of [block, block + 50, end - 1]) {
      for (const isOpen of [true, false]) {
        test(`at ${at} of the content, ${isOpen ? 'while the file is open' : 'before it is opened'}`, async () => {
          await using written = await made(bytes);
          const opened = isOpen ? written.file : undefined;
          await damage(written.path, at, 1);
          const file = opened ?? (await reopen(written.path));
          // From byte to byte, and from where the block begins: nothing of it must be given out.
          for (const range of [
            { start: 0, end: bytes.length },
            { start: block, end: block + 1 },
            { start: Math.max(0, block - 1), end },
            { start: end - 1, end },
          ]) {
            const given: Uint8Array[] = [];
            const reading = (async () => {
              for await (const piece of file.read(range)) given.push(piece);
            })();
            await assert.rejects(reading, DAMAGED);
            const expected = bytes.subarray(range.start, Math.max(range.start, block));
            assert.ok(expected.subarray(0, Buffer.concat(given).length).equals(Buffer.concat(given)));
            assert.ok(Buffer.concat(given).length <= expected.length, 'bytes of the block were given out');
          }
          // The other blocks are as good as before.
          for (const other of blocks.filter((start) => start !== block)) {
            const range = { start: other, end: Math.min(other + BLOCK_BYTES, bytes.length) };
            assert.ok((await readAll(file.read(range))).equals(bytes.subarray(range.start, range.end)));
          }
          if (file !== written.file) await file.close();
        });
      }
    }
  }

  test('by all who read at once', async () => {
    await using written = await made(LONG);
    await damage(written.path, 2 * MIB + 5);
    const readings = [1, 2, 3].map(() => readAll(written.file.read()));
    for (const reading of await Promise.allSettled(readings)) {
      assert.equal(reading.status === 'rejected' && reading.reason.code, 'DAMAGED');
    }
  });

  test('at each byte behind the content: the file is none', async () => {
    await using written = await made(bytes, { media: 'tar', size: 12 });
    const { size } = await stat(written.path);
    assert.ok(size - bytes.length > 4 * 4 + TRAILER_BYTES);
    for (let at = bytes.length; at < size; at += 1) {
      for (const by of [0x01, 0x80, 0xff]) {
        await damage(written.path, at, by);
        assert.equal(await CheckedFile.open(written.path), undefined, `byte ${at} changed by ${by}`);
        await damage(written.path, at, by);
      }
    }
    const whole = await reopen(written.path);
    assert.ok((await readAll(whole.read())).equals(bytes));
    await whole.close();
  });

  test('of a file that was cut or has grown: it is none', async () => {
    await using written = await made(bytes);
    const whole = await readFile(written.path);
    const lengths = [0, 1, 31, 32, 33, BLOCK_BYTES, bytes.length];
    for (let length = whole.length - 1; length > bytes.length; length -= 1) lengths.push(length);
    for (const length of lengths) {
      await truncate(written.path, length);
      assert.equal(await CheckedFile.open(written.path), undefined, `cut to ${length}`);
      await writeFile(written.path, whole);
    }
    for (const added of [
      Buffer.alloc(1),
      Buffer.alloc(4096),
      whole.subarray(-TRAILER_BYTES),
      Buffer.from('x'),
    ]) {
      await writeFile(written.path, Buffer.concat([whole, added]));
      assert.equal(await CheckedFile.open(written.path), undefined, `${added.length} bytes added`);
    }
  });

  test('of a file that is cut while it is open', async () => {
    await using written = await made(bytes);
    await truncate(written.path, BLOCK_BYTES + 10);
    assert.ok((await readAll(written.file.read({ start: 0, end: 10 }))).equals(bytes.subarray(0, 10)));
    await assert.rejects(readAll(written.file.read({ start: 2 * BLOCK_BYTES, end: 2 * BLOCK_BYTES + 1 })), {
      ...DAMAGED,
      cause: new Error(`the file ends at ${2 * BLOCK_BYTES}`),
    });
  });

  test('where there is no file, or another kind of one', async () => {
    await using folder = await makeFolder();
    assert.equal(await CheckedFile.open(join(folder.path, 'missing')), undefined);
    assert.equal(await CheckedFile.open(folder.path), undefined);
    const path = join(folder.path, 'text');
    await writeFile(path, 'x'.repeat(1000));
    assert.equal(await CheckedFile.open(path), undefined);
  });
});

describe('writing', () => {
  type Write = (
    bytes: Uint8Array,
    done: number,
    left: number,
    at: number,
  ) => Promise<{ bytesWritten: number }>;

  /** Puts another `write` in the place of a handle's; it is given the handle's own. */
  function writeThrough(handle: FileHandle, make: (write: Write) => Write): void {
    Object.defineProperty(handle, 'write', { value: make(handle.write.bind(handle) as Write) });
  }

  const systemError = (code: string) => Object.assign(new Error('it broke'), { code });

  test('goes on where the system took a part only', async () => {
    const { folder, path, handle, writer } = await begin();
    await using _ = folder;
    writeThrough(
      handle,
      (write) => (bytes, done, left, at) => write(bytes, done, Math.min(left, 30_000), at),
    );
    await writer.write(LONG.subarray(0, 200_000));
    const file = await writer.finish({});
    assert.ok((await readAll(file.read())).equals(LONG.subarray(0, 200_000)));
    await file.close();
    await (await reopen(path)).close();
  });

  test('goes on, on a full disk, as often as room is made', async () => {
    let isFull = true;
    let asked = 0;
    const makeRoom: MakeRoom = async () => {
      asked += 1;
      isFull = asked < 3;
      return true;
    };
    const { folder, handle, writer } = await begin(makeRoom);
    await using _ = folder;
    let count = 0;
    writeThrough(handle, (write) => async (bytes, done, left, at) => {
      count += 1;
      if (count === 2 || (count > 2 && isFull)) throw systemError('ENOSPC');
      return await write(bytes, done, Math.min(left, 70_000), at);
    });
    await writer.write(LONG.subarray(0, 200_000));
    const file = await writer.finish({});
    assert.ok((await readAll(file.read())).equals(LONG.subarray(0, 200_000)));
    assert.equal(asked, 3);
    await file.close();
  });

  test('fails on a full disk where no more room can be made', async () => {
    let asked = 0;
    const makeRoom: MakeRoom = async () => {
      asked += 1;
      return asked < 3;
    };
    const writer = new CheckedFileWriter(await open('/dev/full', 'r+'), makeRoom);
    await assert.rejects(writer.write(Buffer.from('x')), FULL);
    assert.equal(asked, 3);
    await writer.close();
  });

  test('fails with any other error at once: room is no help', async () => {
    let asked = 0;
    const { folder, handle, writer } = await begin(async () => {
      asked += 1;
      return true;
    });
    await using _ = folder;
    writeThrough(handle, () => () => Promise.reject(systemError('EIO')));
    await assert.rejects(writer.write(Buffer.from('x')), {
      code: 'INTERNAL',
      message: 'Cannot use the workspace: EIO',
    });
    await assert.rejects(writer.finish({}), { code: 'INTERNAL' });
    assert.equal(asked, 0);
    await writer.close();
    assert.equal(handle.fd, -1);
  });

  test('a small disk: what is removed makes room, and without it the write fails', async (t) => {
    await using disk = await makeSmallDisk(MIB);
    if (disk === undefined) {
      t.diagnostic('no disk could be mounted: the tests above stand in for it');
      return;
    }
    const [filler, path] = [join(disk.path, 'filler'), join(disk.path, 'file')];
    await writeFile(filler, Buffer.alloc(MIB / 2));
    let asked = 0;
    const writer = new CheckedFileWriter(await open(path, 'wx+'), async () => {
      asked += 1;
      if (asked > 1) return false;
      await rm(filler);
      return true;
    });
    const bytes = LONG.subarray(0, MIB - 64 * KIB);
    await writer.write(bytes);
    assert.equal(asked, 1);
    await assert.rejects(writer.write(bytes), FULL);
    assert.equal(asked, 2);
    await writer.close();
  });
});
