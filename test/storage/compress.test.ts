import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { PassthroughError } from '../../src/errors.ts';
import { compressInto } from '../../src/storage/compress.ts';
import type { TemporaryFile } from '../../src/storage/temporary-file.ts';
import { Workspace } from '../../src/storage/workspace.ts';
import { readAll } from '../support/collect.ts';
import { makeFolder, patternOf } from './folder.ts';

const BYTES = patternOf(1_500_000);
const NEVER = new AbortController().signal;

async function* inPieces(bytes: Uint8Array, length = 64 * 1024): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}

/** An empty file in a folder of its own. */
async function openFile(): Promise<AsyncDisposable & { readonly file: TemporaryFile }> {
  const folder = await makeFolder();
  const file = await (await Workspace.open(folder.path)).createFile();
  return {
    file,
    async [Symbol.asyncDispose]() {
      await file.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

describe('a stream is compressed', () => {
  for (const [what, bytes] of [
    ['nothing', Buffer.alloc(0)],
    ['one byte', Buffer.from('x')],
    ['more than one piece', BYTES],
    ['what gets much smaller', Buffer.alloc(3_000_000)],
  ] as const) {
    test(`into a file that holds it: ${what}`, async () => {
      await using opened = await openFile();
      const hex = await compressInto(opened.file, inPieces(bytes), NEVER);
      const written = await readAll(opened.file.read());
      assert.ok(gunzipSync(written).equals(bytes));
      assert.equal(hex, createHash('sha256').update(written).digest('hex'));
    });
  }

  test('to the same bytes, however it comes in pieces, as one member without name and time', async () => {
    const files: Buffer[] = [];
    for (const length of [1_000, 64 * 1024, 700_001]) {
      await using opened = await openFile();
      await compressInto(opened.file, inPieces(BYTES, length), NEVER);
      files.push(await readAll(opened.file.read()));
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
    await using opened = await openFile();
    await assert.rejects(compressInto(opened.file, source(), NEVER), (error) => error === failure);
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
    await using opened = await openFile();
    Object.defineProperty(opened.file, 'write', { value: () => Promise.reject(failure) });
    await assert.rejects(compressInto(opened.file, source(), NEVER), (error) => error === failure);
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
      await using opened = await openFile();
      await assert.rejects(compressInto(opened.file, source(), stop.signal));
      assert.ok(pieces < 10, `${pieces} pieces were taken`);
    }
  });
});
