import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { encodeTar, headerBlocks, type TarSource, tarSize } from '../../src/tar/encoder.ts';
import type { TarEntry } from '../../src/tar/header.ts';
import { decodeHeader } from './readers.ts';
import { bytesOf, directory, file, samples } from './samples.ts';

const collect = async (archive: AsyncIterable<Uint8Array>) => Buffer.concat(await Array.fromAsync(archive));
const internal = (message: string) => ({ name: 'PassthroughError', code: 'INTERNAL', message });

test('an archive has the computed length for all kinds of content', async () => {
  const property = fc.asyncProperty(samples(20), fc.integer({ min: 1, max: 700 }), async (entries, step) => {
    const opened = entries.map((entry) => ({ ...entry, content: () => inPieces(entry.content, step) }));
    const bytes = await collect(encodeTar(entries));
    assert.equal(bytes.length, tarSize(entries));
    assert.equal(bytes.length % 512, 0);
    assert.ok(bytes.equals(await collect(encodeTar(opened))));
    assert.ok(bytes.equals(await collect(encodeTar(structuredClone(entries)))));
  });
  await fc.assert(property, { numRuns: 50 });
});

test('an archive is headers, contents, zeros up to the block, and two zero blocks', async () => {
  const [a, b, c] = [file('a', 513), directory('b'), file('c', 512)] as const;
  const expected = [
    headerBlocks(a),
    a.content,
    Buffer.alloc(511),
    headerBlocks(b),
    headerBlocks(c),
    c.content,
  ];
  assert.deepEqual(await collect(encodeTar([a, b, c])), Buffer.concat([...expected, Buffer.alloc(1_024)]));
  assert.deepEqual(await collect(encodeTar([])), Buffer.alloc(1_024));
});

test('header blocks are a pax header, if needed, and the ustar header', () => {
  const typeflags = (entry: TarEntry) => {
    const blocks = headerBlocks(entry);
    return [0, blocks.length - 512].map((at) => decodeHeader(blocks.subarray(at, at + 512)).typeflag);
  };
  assert.equal(headerBlocks(file('a')).length, 512);
  assert.equal(headerBlocks(file('é')).length, 1_536);
  assert.deepEqual(typeflags(file('é')), ['x', '0']);
  assert.deepEqual(typeflags(directory('n'.repeat(100))), ['x', '5']);
});

test('small pieces are joined; opened and large contents are not copied', async () => {
  const small = [file('a', 10), directory('b'), file('é', 10)];
  assert.equal((await Array.fromAsync(encodeTar(small))).length, 1);

  const large = file('large', 100_000);
  const chunks = [bytesOf(7), bytesOf(0), bytesOf(3)];
  const opened: TarSource = { ...file('opened', 10), content: () => iterate(chunks) };
  const pieces = await Array.fromAsync(encodeTar([large, opened]));
  assert.equal(pieces[1], large.content);
  assert.equal(pieces[3], chunks[0]);
  assert.equal(pieces[4], chunks[2]);
  assert.equal(pieces.length, 6);
});

test('pieces of many small entries have a limited length', async () => {
  const entries = Array.from({ length: 1_000 }, (_, index) => file(`${index}`, 1_000));
  const pieces = await Array.fromAsync(encodeTar(entries));
  assert.ok(pieces.length > 10 && pieces.length < 50);
  assert.ok(pieces.every((piece) => piece.length < 2 * 65_536));
});

test('contents are opened and read only when the reader needs them', async () => {
  const log: string[] = [];
  const content = (name: string) =>
    async function* () {
      for (const part of [1, 2]) {
        log.push(`${name}${part}`);
        yield bytesOf(512);
      }
    };
  const entry = (name: string): TarSource => ({ ...file(name, 1_024), content: content(name) });
  const archive = encodeTar([entry('a'), entry('b')]);
  const seen: number[] = [];
  for await (const _ of archive) seen.push(log.length);
  assert.deepEqual(seen, [0, 1, 2, 2, 3, 4, 4]);
  assert.deepEqual(log, ['a1', 'a2', 'b1', 'b2']);
});

test('content of the wrong length is an error, and surplus bytes are not passed on', async () => {
  const cases: [chunks: number[], passed: number, message: string][] = [
    [[4], 4, 'content has 4 bytes instead of 10'],
    [[], 0, 'content has 0 bytes instead of 10'],
    [[10, 1], 10, 'content has more than 10 bytes'],
    [[4, 7], 4, 'content has more than 10 bytes'],
    [[11], 0, 'content has more than 10 bytes'],
  ];
  for (const [lengths, passed, message] of cases) {
    let isClosed = false;
    const content = async function* () {
      try {
        yield* lengths.map(bytesOf);
      } finally {
        isClosed = true;
      }
    };
    let received = 0;
    const consume = async () => {
      for await (const piece of encodeTar([{ ...file('a', 10), content }])) received += piece.length;
    };
    await assert.rejects(consume, internal(`Cannot archive "a": ${message}`));
    assert.deepEqual([received, isClosed], [512 + passed, true]);
  }
});

test('content of size 0 is opened too, to check that it is empty', async () => {
  const entry = (length: number): TarSource => ({ ...file('a'), content: () => iterate([bytesOf(length)]) });
  assert.equal((await collect(encodeTar([entry(0)]))).length, 1_536);
  await assert.rejects(
    collect(encodeTar([entry(1)])),
    internal('Cannot archive "a": content has more than 0 bytes'),
  );
});

test('invalid entries are errors before the first byte', () => {
  const cases: [entries: TarSource[], message: string][] = [
    [[{ ...file('a'), size: 3, content: bytesOf(2) }], '"a": content has 2 bytes instead of 3'],
    [[{ ...file('a'), size: 1, content: bytesOf(2) }], '"a": content has 2 bytes instead of 1'],
    [[{ name: 'a', type: 'file', size: 1 }], '"a": content has 0 bytes instead of 1'],
    [[{ ...directory('a'), content: bytesOf(1) }], '"a": content has 1 bytes instead of 0'],
    [[file('a'), file('b'), file('a')], '"a": another entry has the same name'],
    [[directory('a'), file('a')], '"a": another entry has the same name'],
    [[directory('a'), directory('a/')], '"a/": another entry has the same name'],
    [[file('')], '"": name is empty'],
  ];
  for (const [entries, message] of cases) {
    assert.throws(() => encodeTar(entries), internal(`Cannot archive ${message}`));
  }
});

test('a length beyond the safe integers is refused', () => {
  const entry = (name: string): TarEntry => ({ name, type: 'file', size: 2 ** 52 });
  assert.equal(tarSize([entry('a')]), 2 ** 52 + 1_536);
  const message = 'Cannot archive "b": the archive grows beyond 9007199254740991 bytes';
  assert.throws(() => tarSize([entry('a'), entry('b')]), internal(message));
});

test('an error of the content is passed on unchanged', async () => {
  const failure = new Error('disk');
  const content = async function* () {
    yield bytesOf(5);
    throw failure;
  };
  const failsLate = collect(encodeTar([{ ...file('a', 10), content }]));
  await assert.rejects(failsLate, (error) => error === failure);
  const failsToOpen = () => {
    throw failure;
  };
  await assert.rejects(
    collect(encodeTar([{ ...file('a', 10), content: failsToOpen }])),
    (error) => error === failure,
  );
});

test('a reader that stops early closes the open content, and opens no other', async () => {
  const log: string[] = [];
  const entry = (name: string): TarSource => ({
    ...file(name, 1_024),
    content: async function* () {
      log.push(`open ${name}`);
      try {
        yield bytesOf(512);
        yield bytesOf(512);
      } finally {
        log.push(`close ${name}`);
      }
    },
  });
  for await (const _ of encodeTar([entry('a'), entry('b')])) {
    if (log.length > 0) break;
  }
  assert.deepEqual(log.splice(0), ['open a', 'close a']);

  const failure = new Error('socket');
  const failing = async () => {
    for await (const _ of encodeTar([entry('a'), entry('b')])) {
      if (log.includes('open b')) throw failure;
    }
  };
  await assert.rejects(failing, (error) => error === failure);
  assert.deepEqual(log.splice(0), ['open a', 'close a', 'open b', 'close b']);

  const archive = encodeTar([entry('a')]);
  await archive.next();
  await archive.return(undefined);
  assert.deepEqual(await archive.next(), { done: true, value: undefined });
  assert.deepEqual(log, []);
});

async function* iterate(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

function inPieces(bytes: Uint8Array, step: number): AsyncGenerator<Uint8Array> {
  const starts = Array.from({ length: Math.ceil(bytes.length / step) }, (_, index) => index * step);
  return iterate(starts.map((start) => bytes.subarray(start, start + step)));
}
