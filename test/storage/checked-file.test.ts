import assert from 'node:assert/strict';
import { readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { CheckedFile } from '../../src/storage/checked-file.ts';
import { releaseChunk } from '../../src/streams/chunk.ts';
import { readAll } from '../support/collect.ts';
import { begin, KIB, LONG, MIB, makeFile, reopen } from './checking.ts';
import { damage, makeFolder } from './folder.ts';

const BLOCK_BYTES = 64 * KIB;
const TRAILER_BYTES = 32;

/** Sizes around one block, and one of several reads. */
const SIZES = [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * MIB + 17];

const DAMAGED = { name: 'PassthroughError', code: 'DAMAGED', message: /^Cannot use a prepared file: / };

/** A position in a file: any, or one around the ends of blocks and reads. */
function positionIn(size: number): fc.Arbitrary<number> {
  const borders = [0, 1, BLOCK_BYTES, 2 * BLOCK_BYTES, MIB, 2 * MIB, size].flatMap((at) => [
    at - 1,
    at,
    at + 1,
  ]);
  const edges = borders.filter((at) => at >= 0 && at <= size);
  return fc.oneof(fc.nat(size), fc.constantFrom(...edges));
}

function rangeIn(size: number): fc.Arbitrary<{ start: number; end: number }> {
  return fc
    .tuple(positionIn(size), positionIn(size))
    .map(([one, other]) => ({ start: Math.min(one, other), end: Math.max(one, other) }));
}

describe('a file returns what was written', () => {
  for (const size of SIZES) {
    test(`${size} bytes, written in chunks of any length, before and after it is opened again`, async () => {
      const bytes = LONG.subarray(0, size);
      await fc.assert(
        fc.asyncProperty(fc.array(positionIn(size), { maxLength: 9 }), async (positions) => {
          const { folder, path, writer } = await begin();
          await using _ = folder;
          const cuts = [0, ...positions.toSorted((one, other) => one - other), size];
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

    test(`any part of ${size} bytes`, async () => {
      await using opened = await makeFile(LONG.subarray(0, size));
      await fc.assert(
        fc.asyncProperty(rangeIn(size), async ({ start, end }) => {
          const part = await readAll(opened.file.read({ start, end }));
          assert.ok(part.equals(LONG.subarray(start, end)), `from ${start} to ${end}`);
        }),
        { numRuns: 60 },
      );
    });
  }

  test('to concurrent readers of different parts at different speeds', async () => {
    await using opened = await makeFile(LONG);
    const reader = fc.record({ range: rangeIn(LONG.length), isKeeping: fc.boolean() });
    const turns = fc.array(fc.nat(7), { maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(fc.array(reader, { minLength: 2, maxLength: 8 }), turns, async (readers, order) => {
        const readings = readers.map(({ range, isKeeping }) => ({
          range,
          isKeeping,
          source: opened.file.read(range),
          chunks: [] as Uint8Array[],
        }));
        const step = async ({ source, chunks, isKeeping }: (typeof readings)[number]) => {
          const { value } = await source.next();
          if (value === undefined) return false;
          // A released chunk has no bytes afterwards. A chunk that is kept must stay as it is.
          chunks.push(isKeeping ? value : Buffer.from(value));
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
        for (const { range, chunks } of readings) {
          const expected = LONG.subarray(range.start, range.end);
          assert.ok(Buffer.concat(chunks).equals(expected), `from ${range.start} to ${range.end}`);
        }
      }),
      { numRuns: 40 },
    );
  });

  test('to a reader after another one that stopped early', async () => {
    await using opened = await makeFile(LONG);
    for await (const _ of opened.file.read()) break;
    assert.ok((await readAll(opened.file.read())).equals(LONG));
  });

  test('in chunks that can be released', async () => {
    await using opened = await makeFile(LONG);
    let count = 0;
    for await (const chunk of opened.file.read({ start: 5, end: LONG.length })) {
      assert.notEqual(chunk.byteLength, 0);
      releaseChunk(chunk);
      assert.equal(chunk.byteLength, 0);
      count += 1;
    }
    assert.ok(count > 1, `${count} chunks`);
    assert.ok((await readAll(opened.file.read())).equals(LONG));
  });

  test('also where the caller changes the bytes after the write', async () => {
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

describe('damage is found', () => {
  const bytes = LONG.subarray(0, 3 * BLOCK_BYTES + 100);
  const blocks = [0, 1, 2, 3].map((block) => block * BLOCK_BYTES);

  for (const block of blocks) {
    const end = Math.min(block + BLOCK_BYTES, bytes.length);
    for (const at of [block, block + 50, end - 1]) {
      for (const isOpen of [true, false]) {
        test(`at ${at} of the content, ${isOpen ? 'while the file is open' : 'before it is opened'}`, async () => {
          await using written = await makeFile(bytes);
          const opened = isOpen ? written.file : undefined;
          await damage(written.path, at, 1);
          const file = opened ?? (await reopen(written.path));
          // No byte of the damaged block may be returned, wherever the range begins.
          for (const range of [
            { start: 0, end: bytes.length },
            { start: block, end: block + 1 },
            { start: Math.max(0, block - 1), end },
            { start: end - 1, end },
          ]) {
            const returned: Uint8Array[] = [];
            const reading = (async () => {
              for await (const chunk of file.read(range)) returned.push(chunk);
            })();
            await assert.rejects(reading, DAMAGED);
            const expected = bytes.subarray(range.start, Math.max(range.start, block));
            const bytesReturned = Buffer.concat(returned);
            assert.ok(bytesReturned.length <= expected.length, 'bytes of the block were returned');
            assert.ok(expected.subarray(0, bytesReturned.length).equals(bytesReturned));
          }
          // The other blocks can be read.
          for (const other of blocks.filter((start) => start !== block)) {
            const range = { start: other, end: Math.min(other + BLOCK_BYTES, bytes.length) };
            assert.ok((await readAll(file.read(range))).equals(bytes.subarray(range.start, range.end)));
          }
          if (file !== written.file) await file.close();
        });
      }
    }
  }

  test('by all concurrent readers', async () => {
    await using written = await makeFile(LONG);
    await damage(written.path, 2 * MIB + 5);
    const readings = [1, 2, 3].map(() => readAll(written.file.read()));
    for (const reading of await Promise.allSettled(readings)) {
      assert.equal(reading.status === 'rejected' && reading.reason.code, 'DAMAGED');
    }
  });

  test('at each byte after the content, when the file is opened', async () => {
    await using written = await makeFile(bytes, { media: 'tar', size: 12 });
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

  test('in a file that was cut or has grown', async () => {
    await using written = await makeFile(bytes);
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

  test('in a file that is cut while it is open', async () => {
    await using written = await makeFile(bytes);
    await truncate(written.path, BLOCK_BYTES + 10);
    assert.ok((await readAll(written.file.read({ start: 0, end: 10 }))).equals(bytes.subarray(0, 10)));
    await assert.rejects(readAll(written.file.read({ start: 2 * BLOCK_BYTES, end: 2 * BLOCK_BYTES + 1 })), {
      ...DAMAGED,
      cause: new Error(`the file ends at ${2 * BLOCK_BYTES}`),
    });
  });

  test('where the file is missing or has another format', async () => {
    await using folder = await makeFolder();
    assert.equal(await CheckedFile.open(join(folder.path, 'missing')), undefined);
    assert.equal(await CheckedFile.open(folder.path), undefined);
    const path = join(folder.path, 'text');
    await writeFile(path, 'x'.repeat(1000));
    assert.equal(await CheckedFile.open(path), undefined);
  });
});
