import assert from 'node:assert/strict';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { TemporaryFile } from '../../src/storage/temporary-file.ts';
import { readAll } from '../support/collect.ts';
import { makeFolder, patternOf } from './folder.ts';

const KIB = 1024;

/** A file, the handle under it, and what closes both. */
async function openFile(): Promise<AsyncDisposable & { file: TemporaryFile; handle: FileHandle }> {
  const folder = await makeFolder();
  const handle = await open(join(folder.path, 'file'), 'w+');
  const file = new TemporaryFile(handle);
  return {
    file,
    handle,
    async [Symbol.asyncDispose]() {
      await file.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

describe('a temporary file', () => {
  // Around one read and several, which take 512 KiB each.
  for (const size of [0, 1, 512 * KIB - 1, 512 * KIB, 512 * KIB + 1, 1024 * KIB, 1300 * KIB + 7]) {
    test(`of ${size} bytes gives what was written`, async () => {
      await using opened = await openFile();
      const bytes = patternOf(size);
      await opened.file.write(bytes);
      assert.equal(opened.file.size, size);
      assert.ok((await readAll(opened.file.read())).equals(bytes));
    });
  }

  test('gives the writes in their order, whatever their lengths', async () => {
    await using opened = await openFile();
    const { file } = opened;
    let expected = Buffer.alloc(0);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 }), async (pieces) => {
        for (const piece of pieces) await file.write(piece);
        expected = Buffer.concat([expected, ...pieces]);
        assert.equal(file.size, expected.length);
        assert.ok((await readAll(file.read())).equals(expected));
      }),
      { numRuns: 30 },
    );
  });

  test('takes a view into a larger buffer as what it shows', async () => {
    await using opened = await openFile();
    const whole = patternOf(100);
    await opened.file.write(new Uint8Array(whole.buffer, whole.byteOffset + 10, 20));
    assert.deepEqual(await readAll(opened.file.read()), whole.subarray(10, 30));
  });

  test('has several readers at once, each from the start and at its own pace', async () => {
    await using opened = await openFile();
    const bytes = patternOf(1100 * KIB);
    await opened.file.write(bytes);
    const slow = opened.file.read();
    const first = await slow.next();
    const others = await Promise.all(Array.from({ length: 5 }, () => readAll(opened.file.read())));
    for (const other of others) assert.ok(other.equals(bytes));
    assert.ok(Buffer.concat([first.value ?? Buffer.alloc(0), await readAll(slow)]).equals(bytes));
  });

  test('gives pieces that may be kept and changed', async () => {
    await using opened = await openFile();
    const bytes = patternOf(1100 * KIB);
    await opened.file.write(bytes);
    const kept: Uint8Array[] = [];
    for await (const piece of opened.file.read()) kept.push(piece);
    assert.ok(kept.length > 1);
    assert.ok(Buffer.concat(kept).equals(bytes));
    for (const piece of kept) piece.fill(0);
    assert.ok((await readAll(opened.file.read())).equals(bytes));
  });

  test('may be left before its end and be read again', async () => {
    await using opened = await openFile();
    const bytes = patternOf(600 * KIB);
    await opened.file.write(bytes);
    for await (const _ of opened.file.read()) break;
    assert.ok((await readAll(opened.file.read())).equals(bytes));
  });

  test('is closed once, however often that is asked for', async () => {
    await using opened = await openFile();
    await Promise.all([opened.file.close(), opened.file.close()]);
    await opened.file.close();
    assert.equal(opened.handle.fd, -1);
  });

  test('fails to be written or read once it is closed', async () => {
    await using opened = await openFile();
    await opened.file.write(Buffer.from('x'));
    await opened.file.close();
    await assert.rejects(opened.file.write(Buffer.from('y')), { code: 'INTERNAL' });
    await assert.rejects(readAll(opened.file.read()), { code: 'INTERNAL' });
  });

  test('that lost its end says so rather than give less', async () => {
    await using opened = await openFile();
    await opened.file.write(patternOf(1000));
    await opened.handle.truncate(400);
    await assert.rejects(readAll(opened.file.read()), {
      code: 'INTERNAL',
      message: 'Cannot read temporary file: it ends at 400 of 1000 bytes',
    });
  });
});
