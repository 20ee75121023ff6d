import assert from 'node:assert/strict';
import { randomFillSync } from 'node:crypto';
import { describe, test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { SplicedArchive } from '../../../src/pull/gzip/spliced-archive.ts';
import { encodeTar, type TarSource } from '../../../src/tar/encoder.ts';

/** An entry whose content is stored as gzip, or not. */
interface TestEntry {
  readonly name: string;
  readonly type: 'file';
  readonly size: number;
  readonly content: Buffer;
  readonly gzip: Buffer | undefined;
}

function entry(name: string, content: Buffer, isPacked: boolean): TestEntry {
  return {
    name,
    type: 'file',
    size: content.length,
    content,
    gzip: isPacked ? gzipSync(content) : undefined,
  };
}

const noise = (size: number) => randomFillSync(Buffer.alloc(size));
const LONG_NAME = `${'folder/'.repeat(40)}layer.tar`;

const ARCHIVES: Readonly<Record<string, readonly TestEntry[]>> = {
  nothing: [],
  'one packed content': [entry('a', noise(100_000), true)],
  'contents of whole blocks': [entry('a', noise(1024), true), entry('b', noise(512), true)],
  'small files around packed contents': [
    entry('a', Buffer.from('a'), false),
    entry('b', noise(3_000_000), true),
    entry('c', Buffer.from('c'), false),
    entry('d', noise(7), true),
    entry('e', Buffer.from('e'), false),
  ],
  'packed contents only': [
    entry('a', noise(1), true),
    entry(LONG_NAME, noise(2000), true),
    entry('c', noise(600), true),
  ],
  'an empty content': [entry('a', Buffer.alloc(0), true), entry('b', noise(10), true)],
  'no packed content': [entry('a', noise(2_500_000), false), entry('b', noise(5), false)],
};

function splice(entries: readonly TestEntry[]) {
  const archive = new SplicedArchive(entries, ({ gzip }) => gzip?.length);
  const opened: string[] = [];
  const read = async (range?: { readonly start: number; readonly end: number }) => {
    const bytes = archive.bytes(range, {
      readPacked: async function* ({ name, gzip = assert.fail() }, { start, end }) {
        opened.push(name);
        yield Buffer.from(gzip.subarray(start, end));
      },
      sourceOf: ({ name, type, size, content }): TarSource => ({ name, type, size, content }),
    });
    return Buffer.concat(await Array.fromAsync(bytes, (chunk) => Buffer.from(chunk)));
  };
  return { archive, opened, read };
}

async function tarOf(entries: readonly TestEntry[]): Promise<Buffer> {
  const plain = entries.map(({ name, type, size, content }): TarSource => ({ name, type, size, content }));
  return Buffer.concat(await Array.fromAsync(encodeTar(plain)));
}

describe('a spliced archive of', () => {
  for (const [what, entries] of Object.entries(ARCHIVES)) {
    test(`${what} unpacks to the archive, and has the length that it tells`, async () => {
      const { archive, read } = splice(entries);
      const bytes = await read();
      assert.equal(bytes.length, archive.size);
      assert.ok(gunzipSync(bytes).equals(await tarOf(entries)));
    });

    test(`${what} is read in any part`, async () => {
      const { archive, read } = splice(entries);
      const whole = await read();
      const step = Math.ceil(archive.size / 9);
      for (let start = 0; start < archive.size; start += step)
        for (const end of [start + 1, start + step + 5, archive.size].map((at) => Math.min(at, archive.size)))
          assert.ok((await read({ start, end })).equals(whole.subarray(start, end)), `${start} to ${end}`);
    });
  }

  test('packed contents has their bytes in it, and opens only those of a range', async () => {
    const entries = ARCHIVES['small files around packed contents'] ?? assert.fail();
    const { archive, read, opened } = splice(entries);
    const bytes = await read();
    for (const { gzip } of entries) if (gzip !== undefined) assert.ok(bytes.includes(gzip));
    opened.length = 0;
    await read({ start: archive.size - 10, end: archive.size });
    assert.deepEqual(opened, []);
  });

  test('thousands of packed contents is planned in a moment of each', () => {
    const count = 20_000;
    const gzip = gzipSync('x');
    const names = Array.from(
      { length: count },
      (_, index): TestEntry => ({
        ...{ name: `${index}`, type: 'file', size: 1, content: Buffer.from('x'), gzip },
      }),
    );
    let asked = 0;
    new SplicedArchive(names, () => {
      asked += 1;
      return gzip.length;
    });
    assert.ok(asked <= 2 * count, `${asked} questions for ${count} entries`);
  });
});
