import '../../support/own-temporary-folder.ts';

import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  blobSource,
  bytesSource,
  fileSource,
  RandomCursor,
  type RandomSource,
  readRange,
} from '../../../src/tarball/source/random-source.ts';
import { spool } from '../../../src/tarball/source/spool.ts';

/** Longer than two reads of a range and many of headers. */
const BYTES = Buffer.from(Uint8Array.from({ length: 2_500_000 }, (_, at) => at % 251));

async function* chunks(): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < BYTES.length; at += 300_000) yield Uint8Array.from(BYTES.subarray(at, at + 300_000));
}

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(stream, (chunk) => Buffer.from(chunk)));
}

describe('bytes at any position', () => {
  let folder = '';
  let sources: readonly (readonly [name: string, source: RandomSource])[] = [];
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'random-'));
    await writeFile(join(folder, 'file'), BYTES);
    sources = [
      ['a file', await fileSource(join(folder, 'file'))],
      ['memory', bytesSource(BYTES)],
      ['a blob', blobSource(new Blob([Uint8Array.from(BYTES)]))],
      ['a spool', await spool(chunks())],
    ];
  });
  after(async () => {
    for (const [, source] of sources) await source.close();
    await rm(folder, { recursive: true });
  });

  const ranges = [
    [0, BYTES.length],
    [0, 0],
    [5, 6],
    [1_048_570, 1_048_590],
    [2_499_999, 2_500_000],
  ] as const;

  test('are read in ranges', async () => {
    for (const [name, source] of sources) {
      assert.equal(source.size, BYTES.length, name);
      for (const [start, end] of ranges) {
        assert.ok(
          (await collect(readRange(source, { start, end }))).equals(BYTES.subarray(start, end)),
          name,
        );
      }
    }
  });

  test('a range beyond the end is refused', async () => {
    for (const [, source] of sources) {
      const range = { start: BYTES.length - 1, end: BYTES.length + 1 };
      await assert.rejects(collect(readRange(source, range)), { code: 'INVALID_ARCHIVE' });
    }
  });

  test('a read that fails while the chunk before is in use fails the next step', async () => {
    const source: RandomSource = {
      size: BYTES.length,
      open: async () => ({
        readAt: async (position, length) => {
          if (position > 0) throw new Error('broken');
          return BYTES.subarray(0, length);
        },
        [Symbol.asyncDispose]: async () => undefined,
      }),
      close: async () => undefined,
    };
    const chunks = readRange(source, { start: 0, end: BYTES.length });
    assert.equal((await chunks.next()).done, false);
    // Node reports an unhandled rejection, which fails the test, before this.
    await new Promise((resolve) => setImmediate(resolve));
    await assert.rejects(chunks.next(), /broken/);
  });

  test('are taken, skipped and read in order', async () => {
    for (const [name, source] of sources) {
      await using reader = await source.open();
      const cursor = new RandomCursor(reader, source.size);
      let at = 0;
      const take = async (length: number) => {
        const end = Math.min(at + length, BYTES.length);
        assert.ok(Buffer.from(await cursor.take(length)).equals(BYTES.subarray(at, end)), `${name} at ${at}`);
        at = end;
        assert.equal(cursor.position, at);
      };
      await take(512);
      await take(512);
      await take(100_000);
      assert.equal(await cursor.skip(1_000_000), 1_000_000);
      at += 1_000_000;
      await take(3);
      assert.ok((await collect(cursor.chunks(200_000))).equals(BYTES.subarray(at, at + 200_000)));
      at += 200_000;
      await take(512);
      assert.equal(await cursor.skip(9_000_000), BYTES.length - at);
      at = BYTES.length;
      await take(512);
    }
  });
});

describe('a spool', () => {
  test('leaves no file, also when its source fails', async () => {
    const files = () => readdir(tmpdir());
    const before = await files();
    const watched = async function* () {
      yield* chunks();
      assert.deepEqual(await files(), before);
    };
    const spooled = await spool(watched());
    assert.deepEqual(await files(), before);
    await spooled.close();
    await spooled.close();
    const failing = async function* () {
      yield BYTES;
      throw new Error('broken');
    };
    await assert.rejects(spool(failing()), /broken/);
    assert.deepEqual(await files(), before);
  });

  test('that is closed cannot be read', async () => {
    const spooled = await spool(chunks());
    await spooled.close();
    await assert.rejects(collect(readRange(spooled, { start: 0, end: 1 })), /it is closed$/);
  });
});
