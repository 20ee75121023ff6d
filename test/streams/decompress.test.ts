import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { constants, gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { PassthroughError } from '../../src/errors.ts';
import { lendChunk, ownChunk } from '../../src/streams/chunk.ts';
import { decompressed, type StreamFacts } from '../../src/streams/decompress.ts';
import { MemoryBudget } from '../../src/util/memory-budget.ts';
import { patternOf } from '../storage/folder.ts';
import { readAll } from '../support/collect.ts';
import { makeLayer } from '../support/image.ts';
import { noise } from '../support/noise.ts';
import { within } from '../support/within.ts';
import { chunksOf, watched } from './chunks.ts';
import { zstdFrame } from './zstd-frame.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const WHAT = 'layer "x"';

/** Memory for any window, and no end. */
const options = (maxBytes = 256 * MIB) => ({
  memory: new MemoryBudget({ maxBytes, maxWaitMs: 1 }),
  signal: new AbortController().signal,
});

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

const decompress = (bytes: Uint8Array, length = 1000) =>
  readAll(decompressed(chunksOf(bytes, length), WHAT, options()));

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
    assert.ok((await readAll(decompressed(source, WHAT, options()))).equals(A));
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
        assert.ok((await readAll(decompressed(counted(), WHAT, options()))).equals(A));
        assert.equal(count, whole.length);
      });
    }
  }
});

describe('gzip is unpacked up to its end', () => {
  const gzip = gzipSync(noise('gzip', 300_000));
  const stream = Buffer.concat([gzip, Buffer.from('other bytes'), noise('behind', 300_000)]);
  for (const length of [997, 64 * KIB, MIB]) {
    test(`in chunks of ${length}, and counts as not plain`, async () => {
      const facts: StreamFacts[] = [];
      const onEnd = (found: StreamFacts) => facts.push(found);
      const source = chunksOf(stream, length);
      const unpacked = decompressed(source, WHAT, { ...options(), end: gzip.length, onEnd });
      assert.ok((await readAll(unpacked)).equals(noise('gzip', 300_000)));
      assert.deepEqual(facts, [{ compression: 'gzip', isPlainGzip: false }]);
    });
  }

  test('while others read the same chunks', async () => {
    const shared = ownChunk(Uint8Array.from(stream));
    let released = 0;
    async function* source(): AsyncGenerator<Uint8Array> {
      yield lendChunk(shared.subarray(), () => {
        released += 1;
      });
    }
    for (let count = 1; count <= 2; count += 1) {
      const unpacked = decompressed(source(), WHAT, { ...options(), end: gzip.length });
      assert.ok((await readAll(unpacked)).equals(noise('gzip', 300_000)));
      assert.equal(released, count);
    }
  });
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
      await assert.rejects(readAll(decompressed(source, WHAT, options())), { name: 'PassthroughError' });
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
        await assert.rejects(readAll(decompressed(source, WHAT, options())), (error) => error === failure);
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
      for await (const _ of decompressed(source, WHAT, options())) break;
      assert.equal(seen.isClosed, true);
    });
  }

  test('reads nothing of the source if it has read nothing', async () => {
    const { seen, source } = watched([TAR]);
    await decompressed(source, WHAT, options()).return();
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
      for await (const bytes of decompressed(source, WHAT, options())) {
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

describe('the window of zstd', () => {
  const zeros = (bytes: number) => Buffer.alloc(bytes);

  test('is reserved while its decoder works, and as large as the frame says', async () => {
    for (const [frame, most] of [
      [zstdFrame({ windowLog: 27, blocks: 3 }), 128 * MIB],
      [zstdFrame({ windowLog: 23, blocks: 3 }), 8 * MIB],
      [zstdFrame({ windowLog: 27, blocks: 3, contentBytes: 3 * 128 * KIB }), 384 * KIB],
      [zstdFrame({ blocks: 3, contentBytes: 3 * 128 * KIB }), 384 * KIB],
      [Buffer.concat([skippable(10), zstdFrame({ windowLog: 24, blocks: 3 })]), 16 * MIB],
    ] as const) {
      const { memory, signal } = options();
      let seen = 0;
      for await (const chunk of decompressed(chunksOf(frame, 7), WHAT, { memory, signal })) {
        assert.ok(chunk.every((byte) => byte === 0));
        seen = Math.max(seen, memory.used);
      }
      assert.equal(seen, most + MIB);
      assert.equal(memory.used, 0);
    }
  });

  test('of a later frame is reserved in the place of the first, wherever the chunks end', async () => {
    const frames = [10, 17, 12, 20, 20, 11].map((windowLog, index) =>
      zstdFrame({ windowLog, blocks: 2, blockBytes: 1000 + index }),
    );
    const stream = Buffer.concat([skippable(300), ...frames, skippable(3)]);
    for (const length of [1, 2, 3, 5, 17, 100, MIB]) {
      const { memory, signal } = options();
      const seen = new Set<number>();
      let bytes = 0;
      for await (const chunk of decompressed(chunksOf(stream, length), WHAT, { memory, signal })) {
        seen.add(memory.used - MIB);
        bytes += chunk.byteLength;
      }
      assert.equal(bytes, 2 * (6 * 1000 + 15));
      assert.deepEqual([...seen], [KIB, 128 * KIB, MIB], `chunks of ${length}`);
      assert.equal(memory.used, 0);
    }
  });

  test('waits until another one has ended, longer than other memory does', async () => {
    const { memory, signal } = options();
    const frame = zstdFrame({ windowLog: 27, blocks: 3 });
    const first = decompressed(chunksOf(frame, MIB), WHAT, { memory, signal });
    await first.next();
    const second = readAll(decompressed(chunksOf(frame, MIB), WHAT, { memory, signal }));
    await assert.rejects(memory.reserve(200 * MIB, 'a document', signal), { code: 'BUSY' });
    assert.equal(memory.used, 129 * MIB);
    await first.return();
    assert.ok((await within(second, 'the second stream')).equals(zeros(3 * 128 * KIB)));
    assert.equal(memory.used, 0);
  });

  test('does not wait beyond its signal', async () => {
    const { memory } = options();
    const lease = await memory.reserve(200 * MIB, 'a document', new AbortController().signal);
    const leaver = new AbortController();
    const { seen, source } = watched([zstdFrame({ windowLog: 27, blocks: 3 })]);
    const reading = readAll(decompressed(source, WHAT, { memory, signal: leaver.signal }));
    leaver.abort(new Error('left'));
    await assert.rejects(within(reading, 'the end'), /left/);
    assert.equal(seen.isClosed, true);
    assert.equal(memory.used, lease.bytes);
  });

  const refused: readonly [what: string, frame: Buffer, window: number, most: number, maxBytes?: number][] = [
    ['of 144 MiB', zstdFrame({ windowLog: 27, mantissa: 1, blocks: 1 }), 144 * MIB, 128 * MIB],
    ['of 2 GiB', zstdFrame({ windowLog: 31, blocks: 1 }), 2 ** 31, 128 * MIB],
    [
      'of 1.9 TiB, the largest',
      zstdFrame({ windowLog: 41, mantissa: 7, blocks: 1 }),
      15 * 2 ** 38,
      128 * MIB,
    ],
    ['of 10 GB of content', zstdFrame({ blocks: 1, contentBytes: 10e9 }), 10e9, 128 * MIB],
    ['of 8 MiB with 5 MiB of memory', zstdFrame({ windowLog: 23, blocks: 1 }), 8 * MIB, 4 * MIB, 5 * MIB],
    [
      'of the second frame',
      Buffer.concat([zstdCompressSync(A), zstdFrame({ windowLog: 28, blocks: 1 })]),
      2 ** 28,
      128 * MIB,
    ],
  ];
  for (const [what, frame, window, most, maxBytes] of refused) {
    test(`is refused by name: one ${what}`, async () => {
      for (const length of [1, MIB]) {
        await assert.rejects(readAll(decompressed(chunksOf(frame, length), WHAT, options(maxBytes))), {
          code: 'UNSUPPORTED_IMAGE',
          message: `Cannot unpack ${WHAT}: its zstd window of ${window} bytes is larger than ${most}`,
        });
      }
    });
  }

  test('needs no memory for bytes behind the last frame that are no frame', async () => {
    const { memory, signal } = options(9 * MIB);
    for (const rest of [
      zeros(600),
      Buffer.from('garbage'),
      zstdFrame({ windowLog: 27, blocks: 1 }).subarray(1),
    ]) {
      const stream = Buffer.concat([zstdCompressSync(A), rest]);
      const read = readAll(decompressed(chunksOf(stream, 100), WHAT, { memory, signal }));
      // As without the windows: what the decoder makes of such bytes is its own.
      const plain = await read.catch((error: unknown) => {
        assert.ok(error instanceof PassthroughError && error.code === 'VERIFICATION_FAILED');
        return A;
      });
      assert.ok(plain.equals(A));
      assert.equal(memory.used, 0);
    }
  });

  test('of real streams is found: any level, content and chunk length', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.tuple(
            fc.uint8Array({ maxLength: 400 }),
            fc.integer({ min: 1, max: 600 }),
            fc.integer({ min: 1, max: 19 }),
          ),
          {
            minLength: 1,
            maxLength: 5,
          },
        ),
        fc.integer({ min: 1, max: 5000 }),
        async (parts, length) => {
          const contents = parts.map(([bytes, times]) => Buffer.concat(Array<Uint8Array>(times).fill(bytes)));
          const stream = contents.map((content, index) =>
            zstdCompressSync(content, {
              params: {
                [constants.ZSTD_c_compressionLevel]: parts[index]?.[2] ?? 3,
                [constants.ZSTD_c_checksumFlag]: index % 2,
                [constants.ZSTD_c_contentSizeFlag]: index % 3 === 0 ? 0 : 1,
              },
            }),
          );
          const { memory, signal } = options();
          const read = await readAll(
            decompressed(chunksOf(Buffer.concat(stream), length), WHAT, { memory, signal }),
          );
          assert.ok(read.equals(Buffer.concat(contents)));
          assert.equal(memory.used, 0);
        },
      ),
      { numRuns: 60 },
    );
  });
});
