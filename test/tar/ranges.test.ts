import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type ByteRange, encodeTar, type TarSource, tarSize } from '../../src/tar/encoder.ts';
import { bytesOf, file, type Sample, samples } from './samples.ts';

const collect = async (archive: AsyncIterable<Uint8Array>) => Buffer.concat(await Array.fromAsync(archive));
const internal = (message: string) => ({ name: 'PassthroughError', code: 'INTERNAL', message });

/** The entry with content that is opened in pieces of `step` bytes. Records the requested ranges. */
function opened(entry: Sample, step: number, log: (readonly [name: string, range?: ByteRange])[]): TarSource {
  return {
    ...entry,
    content: async function* (range) {
      log.push(range === undefined ? [entry.name] : [entry.name, range]);
      const bytes = range === undefined ? entry.content : entry.content.subarray(range.start, range.end);
      for (let at = 0; at < bytes.length; at += step) yield bytes.subarray(at, at + step);
    },
  };
}

/** Two positions in an archive of this size, often near each other or near the end of a block. */
const rangeIn = (size: number) => {
  const position = fc.oneof(
    fc.nat(size),
    fc.nat(size / 512).map((block) => block * 512),
    fc.nat(size / 512 - 1).map((block) => block * 512 + 1),
  );
  return fc.tuple(position, position).map(([a, b]) => ({ start: Math.min(a, b), end: Math.max(a, b) }));
};

describe('a range of an archive', () => {
  test('is that part of the archive, in pieces that are not empty', async () => {
    const cases = samples(8).chain((entries) =>
      fc.tuple(fc.constant(entries), rangeIn(tarSize(entries)), fc.integer({ min: 1, max: 700 })),
    );
    await fc.assert(
      fc.asyncProperty(cases, async ([entries, range, step]) => {
        const expected = (await collect(encodeTar(entries))).subarray(range.start, range.end);
        const held = await Array.fromAsync(encodeTar(entries, range));
        assert.ok(held.every((piece) => piece.length > 0));
        assert.ok(Buffer.concat(held).equals(expected));

        const log: (readonly [string, ByteRange?])[] = [];
        const sources = entries.map((entry) => opened(entry, step, log));
        assert.ok((await collect(encodeTar(sources, range))).equals(expected));
        for (const [name, part] of log) {
          const { size = 0 } = entries.find((entry) => entry.name === name) ?? {};
          if (part !== undefined) assert.ok(part.start < part.end && part.end - part.start < size, name);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('and the others, joined, are the archive', async () => {
    const entries = [file('a', 700), file('b'), file('é', 512), file('large', 100_000)];
    const size = tarSize(entries);
    const cuts = [0, 1, 511, 512, 1_000, 2_048, 2_560, 50_000, 50_000, size - 1_024, size - 1, size];
    const parts = cuts
      .slice(1)
      .map((end, index) => collect(encodeTar(entries, { start: cuts[index] ?? 0, end })));
    assert.ok(Buffer.concat(await Promise.all(parts)).equals(await collect(encodeTar(entries))));
  });

  test('of all bytes opens the contents without a range', async () => {
    const log: (readonly [string, ByteRange?])[] = [];
    const entries = [opened(file('a', 700), 100, log), opened(file('b'), 100, log)];
    const size = tarSize(entries);
    const whole = await collect(encodeTar(entries));
    assert.ok((await collect(encodeTar(entries, { start: 0, end: size }))).equals(whole));
    assert.deepEqual(log, [['a'], ['b'], ['a'], ['b']]);
  });

  // Headers at 0, 1536, 2560 and 3072; contents at 512, 2048 and 3584; the two zero blocks from 4096 on.
  const cases: readonly [
    what: string,
    range: ByteRange,
    asked: readonly (readonly [string, ByteRange?])[],
  ][] = [
    ['a header', { start: 0, end: 512 }, []],
    ['the first byte of a content', { start: 0, end: 513 }, [['a', { start: 0, end: 1 }]]],
    ['the last byte of a content', { start: 1_211, end: 1_536 }, [['a', { start: 699, end: 700 }]]],
    ['padding', { start: 1_212, end: 2_048 }, []],
    ['a whole content', { start: 2_048, end: 2_560 }, [['b']]],
    [
      'the end of one and the start of another',
      { start: 1_000, end: 2_100 },
      [
        ['a', { start: 488, end: 700 }],
        ['b', { start: 0, end: 52 }],
      ],
    ],
    ['the place of an empty content', { start: 3_072, end: 3_073 }, [['empty']]],
    ['what ends at the place of an empty content', { start: 2_560, end: 3_072 }, []],
    ['the zero blocks at the end', { start: 4_096, end: 5_120 }, []],
    ['nothing', { start: 600, end: 600 }, []],
  ];
  for (const [what, range, asked] of cases) {
    test(`that is ${what} opens ${asked.length === 0 ? 'no content' : 'no other content'}`, async () => {
      const log: (readonly [string, ByteRange?])[] = [];
      const entries = [file('a', 700), file('b', 512), file('empty'), file('c', 1)];
      const sources = entries.map((entry) => opened(entry, 300, log));
      const whole = await collect(encodeTar(entries));
      assert.equal(whole.length, 5_120);
      assert.ok((await collect(encodeTar(sources, range))).equals(whole.subarray(range.start, range.end)));
      assert.deepEqual(log, asked);
    });
  }

  test('may be in an archive that is larger than the memory', async () => {
    const size = 20 * 1024 ** 4;
    const huge: TarSource = {
      name: 'huge',
      type: 'file',
      size,
      content: async function* (range) {
        assert.deepEqual(range, { start: size - 3, end: size });
        yield bytesOf(3);
      },
    };
    const entries = [huge, file('last', 1)];
    assert.deepEqual(
      await collect(encodeTar(entries, { start: 512 + size - 3, end: 512 + size })),
      Buffer.from(bytesOf(3)),
    );
  });

  const lengths: readonly [chunks: number[], passed: number, message: string][] = [
    [[4], 4, 'has 4 bytes instead of 5'],
    [[5, 1], 5, 'has more than 5 bytes'],
    [[10], 0, 'has more than 5 bytes'],
  ];
  for (const [chunks, passed, message] of lengths) {
    test(`whose content has ${JSON.stringify(chunks)} bytes instead of 5 is an error`, async () => {
      const content = async function* () {
        yield* chunks.map(bytesOf);
      };
      let received = 0;
      const consume = async () => {
        const archive = encodeTar([{ ...file('a', 10), content }], { start: 514, end: 519 });
        for await (const piece of archive) received += piece.length;
      };
      await assert.rejects(consume, internal(`Cannot archive "a": content from byte 2 to 7 ${message}`));
      assert.equal(received, passed);
    });
  }

  for (const [start, end] of [
    [-1, 5],
    [5, 3],
    [0, 1_537],
    [0.5, 5],
    [0, Number.NaN],
  ] as const) {
    test(`from ${start} to ${end} of 1536 bytes is refused at once`, () => {
      assert.throws(
        () => encodeTar([file('a')], { start, end }),
        internal(`Cannot archive bytes ${start} to ${end}: it is no range of 1536 bytes`),
      );
    });
  }
});
