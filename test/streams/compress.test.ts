import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { compress, LEVELS } from '../../src/streams/compress.ts';
import { decompressed } from '../../src/streams/decompress.ts';
import { MemoryBudget } from '../../src/util/memory-budget.ts';

/** Compresses badly and is longer than one call of the encoder takes. */
const TEXT = Buffer.from(Array.from({ length: 100_000 }, (_, at) => `${(at * at) % 9973} `).join(''));

const OPTIONS = {
  memory: new MemoryBudget({ maxBytes: 2 ** 30, maxWaitMs: 1000 }),
  signal: new AbortController().signal,
};

async function* chunksOf(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 50_000) yield Uint8Array.from(bytes.subarray(at, at + 50_000));
}

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(stream, (chunk) => Buffer.from(chunk)));
}

for (const format of ['gzip', 'zstd'] as const) {
  describe(format, () => {
    test('is unpacked to the same bytes, and is the same each time', async () => {
      for (const level of [undefined, 1, LEVELS[format].max]) {
        const packed = await collect(compress(chunksOf(TEXT), format, level));
        assert.ok(packed.length < TEXT.length);
        assert.deepEqual(await collect(decompressed(chunksOf(packed), 'text', OPTIONS)), TEXT);
        assert.deepEqual(await collect(compress(chunksOf(TEXT), format, level)), packed);
      }
    });

    test('of nothing', async () => {
      const packed = await collect(compress(chunksOf(Buffer.alloc(0)), format));
      assert.equal((await collect(decompressed(chunksOf(packed), 'nothing', OPTIONS))).length, 0);
    });

    test('passes the error of its source on', async () => {
      const source = async function* () {
        yield TEXT;
        throw new Error('broken');
      };
      await assert.rejects(collect(compress(source(), format)), /broken/);
    });

    test('closes its source when the reader stops', async () => {
      let closed = false;
      const source = async function* () {
        try {
          for (;;) yield Uint8Array.from(TEXT);
        } finally {
          closed = true;
        }
      };
      for await (const _ of compress(source(), format)) break;
      assert.ok(closed);
    });
  });
}
