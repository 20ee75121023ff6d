import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { PassthroughError } from '../../src/errors.ts';
import { decompressed } from '../../src/streams/decompress.ts';
import { patternOf } from '../storage/folder.ts';
import { readAll } from '../support/collect.ts';
import { makeLayer } from '../support/image.ts';
import { chunksOf, watched } from './chunks.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const WHAT = 'layer "x"';

const A = patternOf(3000);
const B = Buffer.from('b'.repeat(40_000));
const TAR = makeLayer({ 'etc/file': 'content' });

/** A skippable frame of zstd: RFC 8878, section 3.1.2. */
function skippable(length: number, low = 0): Buffer {
  const frame = Buffer.alloc(8 + length, 0xaa);
  frame.writeUInt32LE(0x184d2a50 + low, 0);
  frame.writeUInt32LE(length, 4);
  return frame;
}

const decompress = (bytes: Uint8Array, length = 1000) => readAll(decompressed(chunksOf(bytes, length), WHAT));

describe('a stream is decompressed by its format', () => {
  const streams: Readonly<Record<string, readonly [compressed: Buffer, plain: Buffer]>> = {
    'a plain tar': [TAR, TAR],
    'an empty stream': [Buffer.alloc(0), Buffer.alloc(0)],
    'too few bytes for any format': [Buffer.from([0x1f]), Buffer.from([0x1f])],
    "the first two of gzip's three bytes": [Buffer.from([0x1f, 0x8b]), Buffer.from([0x1f, 0x8b])],
    "the first three of zstd's four bytes": [
      Buffer.from([0x28, 0xb5, 0x2f]),
      Buffer.from([0x28, 0xb5, 0x2f]),
    ],
    'a tar that begins like bzip2': [makeLayer({ BZhello: '' }), makeLayer({ BZhello: '' })],
    gzip: [gzipSync(A), A],
    'gzip of nothing': [gzipSync(Buffer.alloc(0)), Buffer.alloc(0)],
    'gzip that was stored': [gzipSync(A, { level: 0 }), A],
    'two members of gzip': [Buffer.concat([gzipSync(A), gzipSync(B)]), Buffer.concat([A, B])],
    'an empty member of gzip between two': [
      Buffer.concat([gzipSync(A), gzipSync(Buffer.alloc(0)), gzipSync(B)]),
      Buffer.concat([A, B]),
    ],
    'gzip with a little padding': [Buffer.concat([gzipSync(A), Buffer.alloc(600)]), A],
    zstd: [zstdCompressSync(A), A],
    'zstd of nothing': [zstdCompressSync(Buffer.alloc(0)), Buffer.alloc(0)],
    'two frames of zstd': [Buffer.concat([zstdCompressSync(A), zstdCompressSync(B)]), Buffer.concat([A, B])],
    'zstd behind a skippable frame': [Buffer.concat([skippable(9), zstdCompressSync(A)]), A],
    'zstd behind the last kind of skippable frame': [
      Buffer.concat([skippable(0, 15), zstdCompressSync(A)]),
      A,
    ],
    'zstd around a skippable frame': [
      Buffer.concat([zstdCompressSync(A), skippable(500, 7), zstdCompressSync(B)]),
      Buffer.concat([A, B]),
    ],
    'zstd before a skippable frame': [Buffer.concat([zstdCompressSync(A), skippable(2000)]), A],
    'zstd of a skippable frame only': [skippable(100), Buffer.alloc(0)],
    'gzip inside gzip, once': [gzipSync(gzipSync(A)), gzipSync(A)],
  };
  for (const [name, [compressed, plain]] of Object.entries(streams)) {
    test(name, async () => {
      for (const length of [1, 7, 64, 1000, MIB]) {
        assert.ok((await decompress(compressed, length)).equals(plain), `in chunks of ${length}`);
      }
    });
  }

  test('for each kind of skippable frame', async () => {
    for (let low = 0; low < 16; low += 1) {
      const compressed = Buffer.concat([skippable(3, low), zstdCompressSync(A)]);
      assert.ok((await decompress(compressed)).equals(A), `0x5${low.toString(16)}`);
    }
  });

  test('in any composition, and in chunks of any length', async () => {
    const part = fc.record({ bytes: fc.uint8Array({ maxLength: 3000 }), skip: fc.option(fc.nat(20)) });
    const format = fc.constantFrom('gzip', 'zstd');
    await fc.assert(
      fc.asyncProperty(
        fc.array(part, { minLength: 1, maxLength: 4 }),
        format,
        fc.integer({ min: 1, max: 700 }),
        async (parts, format, length) => {
          const compressed = parts.flatMap(({ bytes, skip }) =>
            format === 'gzip'
              ? [gzipSync(bytes)]
              : [...(skip === null ? [] : [skippable(skip)]), zstdCompressSync(bytes)],
          );
          const plain = Buffer.concat(parts.map(({ bytes }) => bytes));
          assert.ok((await decompress(Buffer.concat(compressed), length)).equals(plain));
        },
      ),
      { numRuns: 80 },
    );
  });

  test('with empty chunks before and inside it', async () => {
    const compressed = gzipSync(A);
    const nothing = new Uint8Array();
    const { source } = watched([
      nothing,
      compressed.subarray(0, 2),
      nothing,
      compressed.subarray(2),
      nothing,
    ]);
    assert.ok((await readAll(decompressed(source, WHAT))).equals(A));
  });
});

describe('a stream is read to its end', () => {
  // Long enough that the decoder ends before most of it has come.
  const padding = Buffer.alloc(400 * KIB);
  for (const [format, compressed] of [
    ['gzip', gzipSync(A)],
    ['zstd', zstdCompressSync(A)],
  ] as const) {
    for (const length of [997, 64 * KIB, MIB]) {
      test(`also after the end of ${format}, in chunks of ${length}`, async () => {
        const whole = Buffer.concat([compressed, padding]);
        let count = 0;
        async function* counted(): AsyncGenerator<Uint8Array> {
          for await (const bytes of chunksOf(whole, length)) {
            count += bytes.length;
            yield bytes;
          }
        }
        assert.ok((await readAll(decompressed(counted(), WHAT))).equals(A));
        assert.equal(count, whole.length);
      });
    }
  }
});

describe('a stream is refused', () => {
  const damaged = (compressed: Buffer, at: number) => {
    const copy = Buffer.from(compressed);
    copy[at] = (copy[at] ?? 0) ^ 0xff;
    return copy;
  };
  const gzip = gzipSync(A);
  const zstd = zstdCompressSync(A);
  const broken: readonly [name: string, format: string, bytes: Buffer][] = [
    ['cut in its trailer', 'gzip', gzip.subarray(0, -1)],
    ['cut in its middle', 'gzip', gzip.subarray(0, gzip.length / 2)],
    ['cut in its header', 'gzip', gzip.subarray(0, 5)],
    ['cut after its magic', 'gzip', gzip.subarray(0, 3)],
    ['cut in its second member', 'gzip', Buffer.concat([gzip, gzip.subarray(0, 20)])],
    ['with a wrong checksum', 'gzip', damaged(gzip, gzip.length - 8)],
    ['with a wrong length', 'gzip', damaged(gzip, gzip.length - 1)],
    ['with other bytes after it', 'gzip', Buffer.concat([gzip, Buffer.from('garbage')])],
    ['cut in its last block', 'zstd', zstd.subarray(0, -1)],
    ['cut in its middle', 'zstd', zstd.subarray(0, zstd.length / 2)],
    ['cut after its magic', 'zstd', zstd.subarray(0, 4)],
    ['cut in its second frame', 'zstd', Buffer.concat([zstd, zstd.subarray(0, 20)])],
    ['cut in a skippable frame', 'zstd', skippable(500).subarray(0, 100)],
    ['with a reserved bit set', 'zstd', damaged(zstd, 4)],
  ];
  for (const [name, format, bytes] of broken) {
    test(`of ${format} ${name}`, async () => {
      for (const length of [1, 100, MIB]) {
        await assert.rejects(decompress(bytes, length), (error: unknown) => {
          assert.ok(error instanceof PassthroughError);
          assert.equal(error.code, 'VERIFICATION_FAILED');
          const start = `Cannot unpack ${WHAT}: its ${format} stream is damaged: `;
          assert.ok(error.message.startsWith(start) && error.message.length > start.length, error.message);
          assert.ok(error.cause instanceof Error);
          return true;
        });
      }
    });
  }

  // The first bytes of real files: https://github.com/dsnet/compress/blob/master/doc/bzip2-format.pdf and
  // https://tukaani.org/xz/xz-file-format.txt
  const others: Readonly<Record<string, readonly Buffer[]>> = {
    bzip2: ['1', '9'].map((level) =>
      Buffer.from(`425a68${Buffer.from(level).toString('hex')}314159265359abcdef`, 'hex'),
    ),
    xz: [Buffer.from('fd377a585a000004e6d6b446', 'hex')],
  };
  for (const [format, streams] of Object.entries(others)) {
    test(`that is ${format}, and the message names it`, async () => {
      for (const bytes of streams) {
        for (const length of [1, MIB]) {
          await assert.rejects(decompress(bytes, length), {
            name: 'PassthroughError',
            code: 'UNSUPPORTED_IMAGE',
            message: `Cannot unpack ${WHAT}: it is compressed with ${format}`,
          });
        }
      }
    });
  }

  test('and closes its source', async () => {
    const streams = [Buffer.from('fd377a585a000004e6d6b446', 'hex'), gzip.subarray(0, 50), damaged(zstd, 4)];
    for (const bytes of streams) {
      const { seen, source } = watched([bytes]);
      await assert.rejects(readAll(decompressed(source, WHAT)), { name: 'PassthroughError' });
      assert.equal(seen.isClosed, true);
    }
  });
});

describe('an error of the source passes unchanged', () => {
  const compressed: Readonly<Record<string, Buffer>> = {
    plain: TAR,
    gzip: gzipSync(patternOf(100_000)),
    zstd: zstdCompressSync(patternOf(100_000)),
  };
  for (const [format, bytes] of Object.entries(compressed)) {
    for (const after of [0, 5, 200]) {
      test(`${after} bytes into ${format}`, async () => {
        const failure = new PassthroughError('REGISTRY_UNREACHABLE', 'Cannot read blob: cut off');
        const source = chunksOf(bytes.subarray(0, after), MIB, failure);
        await assert.rejects(readAll(decompressed(source, WHAT)), (error) => error === failure);
      });
    }
  }
});

describe('a reader that stops early', () => {
  const sources: Readonly<Record<string, Uint8Array>> = {
    plain: patternOf(MIB),
    gzip: gzipSync(patternOf(MIB), { level: 0 }),
    zstd: zstdCompressSync(patternOf(MIB)),
  };
  for (const [format, bytes] of Object.entries(sources)) {
    test(`closes a source of ${format}`, async () => {
      const { seen, source } = watched([bytes.subarray(0, 2000), bytes.subarray(2000)]);
      for await (const _ of decompressed(source, WHAT)) break;
      assert.equal(seen.isClosed, true);
    });
  }

  test('reads nothing of the source if it has read nothing', async () => {
    const { seen, source } = watched([TAR]);
    await decompressed(source, WHAT).return();
    assert.equal(seen.chunks, 0);
  });

  function* endlessly(chunk: Uint8Array): Generator<Uint8Array> {
    for (;;) yield chunk;
  }
  const zeros = Buffer.alloc(MIB);
  for (const [format, chunk] of [
    ['gzip', gzipSync(zeros)],
    ['zstd', Buffer.concat([zstdCompressSync(zeros), skippable(1000)])],
  ] as const) {
    test(`stops an endless bomb of ${format}, whose chunks have a bounded size`, async () => {
      const { seen, source } = watched(endlessly(chunk));
      const wanted = 32 * MIB;
      let read = 0;
      for await (const bytes of decompressed(source, WHAT)) {
        assert.ok(bytes.length <= MIB, `a chunk of ${bytes.length} bytes`);
        read += bytes.length;
        if (read >= wanted) break;
      }
      assert.equal(seen.isClosed, true);
      // Each chunk holds 1 MiB. Besides, up to 256 KiB wait in the decoder, and as many before it, in compressed form.
      const most = wanted / MIB + (2 * 256 * KIB) / chunk.length + 16;
      assert.ok(seen.chunks <= most, `${seen.chunks} chunks were read, more than ${most}`);
    });
  }
});
