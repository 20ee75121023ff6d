import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_SMALL_BYTES } from '../../src/util/content.ts';
import { Spool, type SpoolFile } from '../../src/util/spool.ts';
import { readAll } from '../support/collect.ts';
import { noise } from '../support/noise.ts';

/** A spool whose file is a list of what was written. */
function startSpool() {
  const state = { writes: [] as Buffer[], opened: 0, isAbandoned: false };
  const openFile = async (): Promise<SpoolFile> => {
    state.opened += 1;
    return {
      write: async (bytes) => void state.writes.push(Buffer.from(bytes)),
      abandon: async () => {
        state.isAbandoned = true;
      },
      finish: async () => {
        const whole = Buffer.concat(state.writes);
        const read = async function* () {
          yield whole;
        };
        return { size: whole.length, read, readWhole: async () => whole, release: () => undefined };
      },
    };
  };
  return { state, spool: new Spool(openFile) };
}

/** @param step length of a piece */
async function fill(spool: Spool, bytes: Buffer, step: number): Promise<void> {
  for (let at = 0; at < bytes.length; at += step) await spool.write(bytes.subarray(at, at + step));
}

for (const [size, step] of [
  [0, 1],
  [1, 1],
  [5000, 7],
  [MAX_SMALL_BYTES, 1000],
  [MAX_SMALL_BYTES, MAX_SMALL_BYTES],
] as const) {
  test(`${size} bytes in steps of ${step} stay in memory, and take no more of it`, async () => {
    const { state, spool } = startSpool();
    const bytes = noise('small', size);
    await fill(spool, bytes, step);
    const content = await spool.finish();
    assert.deepEqual(content.bytes, bytes);
    assert.equal(content.bytes?.buffer.byteLength, size, 'the buffer has no room to spare');
    assert.equal(state.opened, 0);
  });
}

for (const step of [1, 999, MAX_SMALL_BYTES, 300_000]) {
  test(`more bytes go to a file, in steps of ${step}, and are written in few pieces`, async () => {
    const { state, spool } = startSpool();
    const bytes = noise('large', 2 * MAX_SMALL_BYTES + 5000);
    await fill(spool, bytes, step);
    const content = await spool.finish();
    assert.deepEqual([content.size, content.bytes], [bytes.length, undefined]);
    assert.deepEqual(await readAll(content.read()), bytes);
    assert.deepEqual([state.opened, state.writes.length], [1, 3]);
  });
}

test('a spool that is abandoned removes its file', async () => {
  const { state, spool } = startSpool();
  await spool.write(Buffer.alloc(MAX_SMALL_BYTES + 1));
  await spool.abandon();
  assert.ok(state.isAbandoned);
  await startSpool().spool.abandon();
});
