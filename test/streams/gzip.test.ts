import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { PassthroughError } from '../../src/errors.ts';
import { gzipInto } from '../../src/streams/gzip.ts';
import { patternOf } from '../storage/folder.ts';

const BYTES = patternOf(1_500_000);
const NEVER = new AbortController().signal;

async function* inPieces(bytes: Uint8Array, length = 64 * 1024): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}

/** A draft that keeps what is written to it. */
function makeDraft() {
  const pieces: Buffer[] = [];
  const write = async (bytes: Uint8Array) => {
    pieces.push(Buffer.from(bytes));
  };
  return { draft: { write }, written: () => Buffer.concat(pieces) };
}

describe('a stream is compressed', () => {
  for (const [what, bytes] of [
    ['nothing', Buffer.alloc(0)],
    ['one byte', Buffer.from('x')],
    ['more than one piece', BYTES],
    ['what gets much smaller', Buffer.alloc(3_000_000)],
  ] as const) {
    test(`into a file that holds it: ${what}`, async () => {
      const { draft, written } = makeDraft();
      const hex = await gzipInto(draft, inPieces(bytes), NEVER);
      assert.ok(gunzipSync(written()).equals(bytes));
      assert.equal(hex, createHash('sha256').update(written()).digest('hex'));
    });
  }

  test('to the same bytes, however it comes in pieces, as one member without name and time', async () => {
    const files: Buffer[] = [];
    for (const length of [1_000, 64 * 1024, 700_001]) {
      const { draft, written } = makeDraft();
      await gzipInto(draft, inPieces(BYTES, length), NEVER);
      files.push(written());
    }
    const [first = Buffer.alloc(0)] = files;
    for (const file of files) assert.ok(file.equals(first));
    // RFC 1952: magic, deflate, no flags, no time.
    assert.deepEqual([...first.subarray(0, 8)], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
  });
});

describe('compression ends', () => {
  test('with what its source throws', async () => {
    const failure = new PassthroughError('INTERNAL', 'Cannot read temporary file');
    async function* source(): AsyncGenerator<Uint8Array> {
      yield BYTES;
      throw failure;
    }
    await assert.rejects(gzipInto(makeDraft().draft, source(), NEVER), (error) => error === failure);
  });

  test('with what the file throws, and closes its source', async () => {
    const failure = new PassthroughError('NO_SPACE', 'Cannot write to the workspace: the disk is full');
    let isClosed = false;
    async function* source(): AsyncGenerator<Uint8Array> {
      try {
        for (let count = 0; count < 1_000; count += 1) yield BYTES;
      } finally {
        isClosed = true;
      }
    }
    const draft = { write: () => Promise.reject(failure) };
    await assert.rejects(gzipInto(draft, source(), NEVER), (error) => error === failure);
    assert.equal(isClosed, true);
  });

  test('when it is stopped, before or on the way, and closes its source', async () => {
    for (const stopAt of [0, 3]) {
      const stop = new AbortController();
      const reason = new PassthroughError('ABORTED', 'Stopped: the client has left');
      let pieces = 0;
      async function* source(): AsyncGenerator<Uint8Array> {
        for (; pieces < 1_000; pieces += 1) {
          if (pieces === stopAt) stop.abort(reason);
          yield BYTES;
        }
      }
      if (stopAt === 0) stop.abort(reason);
      await assert.rejects(gzipInto(makeDraft().draft, source(), stop.signal));
      assert.ok(pieces < 10, `${pieces} pieces were taken`);
    }
  });
});
