import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { PassthroughError } from '../../src/errors.ts';
import { gzipInto } from '../../src/streams/gzip.ts';
import { patternOf } from '../storage/folder.ts';
import { chunksOf, watched } from './chunks.ts';

const BYTES = patternOf(1_500_000);
const NEVER = new AbortController().signal;

/** Compresses into memory. */
async function compress(source: AsyncIterable<Uint8Array>, signal = NEVER) {
  const written: Buffer[] = [];
  const write = async (bytes: Uint8Array) => {
    written.push(Buffer.from(bytes));
  };
  const hex = await gzipInto({ write }, source, signal);
  return { hex, file: Buffer.concat(written) };
}

/** A source that is longer than any test reads. */
function* endlessly(): Generator<Uint8Array> {
  for (let count = 0; count < 1_000; count += 1) yield BYTES;
}

describe('a compressed stream', () => {
  for (const [what, bytes] of [
    ['nothing', Buffer.alloc(0)],
    ['one byte', Buffer.from('x')],
    ['several chunks', BYTES],
    ['bytes that get much smaller', Buffer.alloc(3_000_000)],
  ] as const) {
    test(`holds ${what}, and its digest is returned`, async () => {
      const { hex, file } = await compress(chunksOf(bytes, 64 * 1024));
      assert.ok(gunzipSync(file).equals(bytes));
      assert.equal(hex, createHash('sha256').update(file).digest('hex'));
    });
  }

  test('is the same for chunks of any length: one member without name and time', async () => {
    const [first = assert.fail(), ...others] = await Promise.all(
      [1_000, 64 * 1024, 700_001].map(async (length) => (await compress(chunksOf(BYTES, length))).file),
    );
    for (const file of others) assert.ok(file.equals(first));
    // RFC 1952: magic, deflate, no flags, no time.
    assert.deepEqual([...first.subarray(0, 8)], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
  });
});

describe('compression ends', () => {
  test('with the error of its source', async () => {
    const failure = new PassthroughError('INTERNAL', 'Cannot read temporary file');
    await assert.rejects(compress(chunksOf(BYTES, BYTES.length, failure)), (error) => error === failure);
  });

  test('with the error of the file, and closes its source', async () => {
    const failure = new PassthroughError('NO_SPACE', 'Cannot write to the workspace: the disk is full');
    const { seen, source } = watched(endlessly());
    const file = { write: () => Promise.reject(failure) };
    await assert.rejects(gzipInto(file, source, NEVER), (error) => error === failure);
    assert.equal(seen.isClosed, true);
  });

  for (const stopAt of [0, 3]) {
    test(`when it is aborted at chunk ${stopAt}, and reads no further`, async () => {
      const stop = new AbortController();
      const abort = () => stop.abort(new PassthroughError('ABORTED', 'Stopped: the client has left'));
      const { seen, source } = watched(endlessly(), (count) => count === stopAt && abort());
      if (stopAt === 0) abort();
      await assert.rejects(compress(source, stop.signal), (error) => error === stop.signal.reason);
      assert.ok(seen.chunks < 10, `${seen.chunks} chunks were read`);
    });
  }
});
