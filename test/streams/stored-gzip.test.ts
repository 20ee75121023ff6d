import assert from 'node:assert/strict';
import { randomFillSync } from 'node:crypto';
import { describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import {
  storedMembers,
  storedMembersAtOnce,
  storedMembersToEnd,
  storedSize,
} from '../../src/streams/stored-gzip.ts';

const MEMBER = 16 * 65_535;

/** Random bytes, and a way to open them in chunks of a size. */
function sourceOf(length: number, chunk = 100_000) {
  const bytes = randomFillSync(Buffer.alloc(length));
  const opened: { readonly start: number; readonly end: number }[] = [];
  return {
    bytes,
    opened,
    open: async function* (range: { readonly start: number; readonly end: number }) {
      opened.push(range);
      for (let at = range.start; at < range.end; at += chunk)
        yield Buffer.from(bytes.subarray(at, Math.min(at + chunk, range.end)));
    },
  };
}

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(chunks, (chunk) => Buffer.from(chunk)));
}

describe('stored members', () => {
  for (const length of [1, 512, 65_535, 65_536, MEMBER - 1, MEMBER, MEMBER + 1, 3 * MEMBER + 7]) {
    test(`give ${length} bytes back, and have the length that was told`, async () => {
      const { bytes, open } = sourceOf(length);
      const members = await collect(storedMembers(length, open));
      assert.equal(members.length, storedSize(length));
      assert.ok(gunzipSync(members).equals(bytes));
    });
  }

  for (const length of [0, 1, 65_535, 65_536, MEMBER - 1, MEMBER, MEMBER + 1, 2 * MEMBER, 3 * MEMBER + 7]) {
    test(`are the same for ${length} bytes whose number is not known`, async () => {
      for (const chunk of [1_000, 65_535, 100_000, MEMBER + 5]) {
        const { open } = sourceOf(length, chunk);
        const source = await collect(open({ start: 0, end: length }));
        const told = await collect(
          storedMembers(length, async function* ({ start, end }) {
            yield Buffer.from(source.subarray(start, end));
          }),
        );
        const untold = storedMembersToEnd(open({ start: 0, end: length }));
        assert.ok((await collect(untold)).equals(told), `chunks of ${chunk}`);
      }
    });
  }

  test('whose number is not known are passed on but for the last block', async () => {
    const more = Promise.withResolvers<void>();
    const source = async function* () {
      yield Buffer.alloc(65_536);
      await more.promise;
    };
    const members = storedMembersToEnd(source());
    const { value } = await members.next();
    assert.equal(value?.byteLength, 10 + 5 + 65_535);
    more.resolve();
    const last = await members.next();
    assert.equal(last.value?.byteLength, 5 + 1 + 8);
  });

  test('of no bytes are none', async () => {
    const { open } = sourceOf(0);
    assert.equal(storedSize(0), 0);
    assert.equal((await collect(storedMembers(0, open))).length, 0);
  });

  test('are the same for chunks of any size', async () => {
    const length = MEMBER + 70_000;
    const { bytes, open } = sourceOf(length);
    const whole = await collect(storedMembers(length, open));
    for (const chunk of [1_000, 65_535, length]) {
      const other = sourceOf(length, chunk);
      bytes.copy(other.bytes);
      const atOnce = storedMembersAtOnce(length, other.open({ start: 0, end: length }));
      assert.ok((await collect(atOnce)).equals(whole), `chunks of ${chunk}, at once`);
      assert.ok((await collect(storedMembers(length, other.open))).equals(whole), `chunks of ${chunk}`);
    }
  });

  const length = 2 * MEMBER + 1_000;
  const size = storedSize(length);
  const ends = [
    0,
    1,
    10,
    15,
    16,
    65_560,
    65_561,
    storedSize(MEMBER) - 1,
    storedSize(MEMBER),
    size - 8,
    size - 1,
    size,
  ];
  for (const [index, start] of ends.entries()) {
    test(`are read from byte ${start} to any other`, async () => {
      const { open, opened } = sourceOf(length);
      const whole = await collect(storedMembers(length, open));
      for (const end of ends.slice(index)) {
        opened.length = 0;
        assert.ok(
          (await collect(storedMembers(length, open, { start, end }))).equals(whole.subarray(start, end)),
        );
        const read = opened.reduce((sum, range) => sum + range.end - range.start, 0);
        assert.ok(read <= end - start + 2 * MEMBER, `${read} bytes are read for ${end - start}`);
      }
    });
  }

  for (const [what, told] of [
    ['fewer', 999],
    ['more', 1001],
  ] as const) {
    test(`fail when there are not as many bytes as were told: ${told} of 1000 told`, async () => {
      const { bytes } = sourceOf(1000);
      const members = storedMembers(told, async function* () {
        yield Buffer.from(bytes);
      });
      await assert.rejects(collect(members), { name: 'RangeError' }, what);
    });
  }

  test('are passed on as far as their source has come', async () => {
    const { bytes } = sourceOf(1000);
    let given = 0;
    const source = async function* () {
      for (const start of [0, 400]) {
        given += 1;
        yield Buffer.from(bytes.subarray(start, start === 0 ? 400 : 1000));
      }
    };
    const members = storedMembersAtOnce(1000, source());
    const first = await members.next();
    assert.equal(given, 1);
    assert.ok(Buffer.from(first.value ?? []).includes(bytes.subarray(0, 400)));
    const rest = await collect(members);
    assert.ok(gunzipSync(Buffer.concat([first.value ?? Buffer.alloc(0), rest])).equals(bytes));
  });
});
