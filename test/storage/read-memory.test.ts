import assert from 'node:assert/strict';
import { mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { isPassthroughError } from '../../src/errors.ts';
import { type CheckedFile, CheckedFileWriter } from '../../src/storage/checked-file.ts';
import { ReadMemory } from '../../src/storage/read-memory.ts';
import { readAll } from '../support/collect.ts';
import { openFilesIn } from '../support/service.ts';
import { makeFolder, patternOf } from './folder.ts';

/** Ten complete files of one folder, of which three stay open. */
async function makeTen() {
  const folder = await makeFolder();
  const memory = new ReadMemory(3);
  await mkdir(join(folder.path, 'prepared'));
  const files: { file: CheckedFile; path: string; content: Buffer }[] = [];
  for (let index = 0; index < 10; index += 1) {
    const path = join(folder.path, 'prepared', `${index}`);
    const content = patternOf(200_000 + index);
    const writer = new CheckedFileWriter(await open(path, 'wx+'), async () => false, memory);
    await writer.write(content);
    files.push({ file: await writer.finish({}), path, content });
  }
  /** Number of files that are open, once those that are being closed are. */
  const openFiles = async (expected: number) => {
    for (let looks = 0; looks < 100 && (await openFilesIn(folder.path)) > expected; looks += 1);
    return await openFilesIn(folder.path);
  };
  const keepAll = () => {
    for (const { file, path } of files) file.movedTo(path);
  };
  return {
    files,
    openFiles,
    keepAll,
    async [Symbol.asyncDispose]() {
      await Promise.all(files.map(({ file }) => file.close()));
      assert.equal(await openFilesIn(folder.path), 0);
      await folder[Symbol.asyncDispose]();
    },
  };
}

describe('the files that stay open', () => {
  test('are a few, and all can be read', async () => {
    await using ten = await makeTen();
    ten.keepAll();
    assert.equal(await ten.openFiles(3), 3);
    for (const { file, content } of ten.files) assert.ok((await readAll(file.read())).equals(content));
    assert.equal(await ten.openFiles(3), 3);
  });

  test('are more while more are read, by any number of readers', async () => {
    await using ten = await makeTen();
    ten.keepAll();
    const reads = [...ten.files, ...ten.files, ...ten.files].map(async ({ file, content }) =>
      assert.ok(
        (await readAll(file.read({ start: 70_000, end: 150_000 }))).equals(content.subarray(70_000, 150_000)),
      ),
    );
    await Promise.all(reads);
    assert.equal(await ten.openFiles(3), 3);
  });

  test('do not include that of a reader which waits for its client', async () => {
    await using ten = await makeTen();
    ten.keepAll();
    const readers = ten.files.map(({ file }) => file.read());
    const first = await Promise.all(readers.map((reader) => reader.next()));
    assert.equal(await ten.openFiles(3), 3);
    for (const [index, reader] of readers.entries()) {
      const rest = await readAll(reader);
      const { content } = ten.files[index] ?? assert.fail();
      assert.ok(Buffer.concat([first[index]?.value ?? assert.fail(), rest]).equals(content));
    }
  });

  test('include all without a place from which they could be opened again', async () => {
    await using ten = await makeTen();
    assert.equal(await ten.openFiles(10), 10);
    for (const { path } of ten.files) await rm(path);
    for (const { file, content } of ten.files) assert.ok((await readAll(file.read())).equals(content));
  });
});

test('a file that another program has removed, and that is not open, counts as damaged', async () => {
  await using ten = await makeTen();
  ten.keepAll();
  assert.equal(await ten.openFiles(3), 3);
  const { file, path } = ten.files[0] ?? assert.fail();
  await rm(path);
  let isDamaged = false;
  const onDamage = () => {
    isDamaged = true;
  };
  await assert.rejects(readAll(file.read(undefined, onDamage)), (error) =>
    isPassthroughError(error, 'DAMAGED'),
  );
  assert.ok(isDamaged);
});
