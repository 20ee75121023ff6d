import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { PassthroughError } from '../../src/errors.ts';
import type { ArchiveOrder } from '../../src/http/archive-order.ts';
import { ChecksumMemory, deliver, etagOf } from '../../src/http/delivery.ts';
import type { PulledArchive } from '../../src/pull/pull-archive.ts';
import { Workspace } from '../../src/storage/workspace.ts';
import { makeFolder, patternOf } from '../storage/folder.ts';
import { readAll } from '../support/collect.ts';
import { openFilesIn } from '../support/service.ts';

const BYTES = patternOf(3_000_000);
const STOPPED = new PassthroughError('REGISTRY_TIMEOUT', 'Cannot prepare the image: it took more than 1 s');

const FORMS: readonly Pick<ArchiveOrder, 'compression' | 'checksum'>[] = [
  { compression: 'gzip', checksum: undefined },
  { compression: 'gzip', checksum: 'sha256' },
  { compression: 'none', checksum: 'md5' },
];

function orderOf(form: (typeof FORMS)[number]): ArchiveOrder {
  return {
    images: [],
    platform: { os: 'linux', architecture: 'amd64' },
    isPlatformAsked: false,
    layout: 'docker',
    filename: 'app.tar',
    ...form,
  };
}

/** An archive of {@link BYTES}, and what became of it. */
function makeArchive(onPiece: (count: number) => void = () => undefined) {
  const seen = { pieces: 0, reads: 0, closed: 0 };
  const archive: PulledArchive = {
    entries: [],
    size: BYTES.length,
    etag: '"archive"',
    async *bytes({ start, end } = { start: 0, end: BYTES.length }) {
      seen.reads += 1;
      for (let at = start; at < end; at += 100_000) {
        seen.pieces += 1;
        onPiece(seen.pieces);
        yield BYTES.subarray(at, Math.min(end, at + 100_000));
      }
    },
    close: async () => {
      seen.closed += 1;
    },
  };
  return { archive, seen };
}

async function makeTools(signal = new AbortController().signal) {
  const folder = await makeFolder();
  const workspace = await Workspace.open(folder.path);
  return {
    tools: { workspace, checksums: new ChecksumMemory(), signal },
    openFiles: () => openFilesIn(folder.path),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

describe('a delivery', () => {
  for (const form of FORMS) {
    const what = `${form.compression}, ${form.checksum ?? 'whole'}`;

    test(`has the entity tag that was foretold, and its exact length (${what})`, async () => {
      await using made = await makeTools();
      const { archive } = makeArchive();
      const file = await deliver(archive, orderOf(form), made.tools);
      assert.equal(file.etag, etagOf(archive.etag, form));
      const bytes = await readAll(file.bytes());
      assert.equal(bytes.length, file.size);
      assert.deepEqual(await readAll(file.bytes({ start: 3, end: 9 })), bytes.subarray(3, 9));
      await file.close();
      assert.equal(await made.openFiles(), 0);
    });

    test(`that is stopped says why, and leaves nothing behind (${what})`, async () => {
      const stop = new AbortController();
      await using made = await makeTools(stop.signal);
      const { archive, seen } = makeArchive((count) => {
        if (count === 5) stop.abort(STOPPED);
      });
      await assert.rejects(deliver(archive, orderOf(form), made.tools), (error) => error === STOPPED);
      assert.ok(seen.pieces < 30, 'it did not go on to the end');
      assert.equal(seen.closed, 1);
      assert.equal(await made.openFiles(), 0);
    });

    test(`whose archive cannot be read throws what that does (${what})`, async () => {
      const failure = new PassthroughError('INTERNAL', 'Cannot read temporary file');
      await using made = await makeTools();
      const { archive, seen } = makeArchive((count) => {
        if (count === 5) throw failure;
      });
      await assert.rejects(deliver(archive, orderOf(form), made.tools), (error) => error === failure);
      assert.equal(seen.closed, 1);
      assert.equal(await made.openFiles(), 0);
    });
  }

  test('without compression is the archive itself, which is closed with it', async () => {
    await using made = await makeTools();
    const { archive, seen } = makeArchive();
    const file = await deliver(archive, orderOf({ compression: 'none', checksum: undefined }), made.tools);
    assert.equal(seen.reads, 0, 'nothing is read before it is sent');
    assert.deepEqual(
      [file.size, file.etag, file.contentType],
      [BYTES.length, archive.etag, 'application/x-tar'],
    );
    await file.close();
    assert.equal(seen.closed, 1);
  });

  test('with compression holds the compressed file alone', async () => {
    await using made = await makeTools();
    const { archive, seen } = makeArchive();
    const file = await deliver(archive, orderOf({ compression: 'gzip', checksum: undefined }), made.tools);
    assert.equal(seen.closed, 1);
    const bytes = await readAll(file.bytes());
    assert.ok(gunzipSync(bytes).equals(BYTES));
    assert.equal(file.sha256, createHash('sha256').update(bytes).digest('hex'));
    await file.close();
  });

  test('of a checksum that is known reads nothing', async () => {
    await using made = await makeTools();
    const order = orderOf({ compression: 'none', checksum: 'sha512' });
    const lines: string[] = [];
    for (const reads of [1, 0]) {
      const { archive, seen } = makeArchive();
      const file = await deliver(archive, order, made.tools);
      lines.push((await readAll(file.bytes())).toString());
      assert.equal(seen.reads, reads);
      assert.equal(seen.closed, 1);
    }
    assert.equal(lines[0], `${createHash('sha512').update(BYTES).digest('hex')}  app.tar\n`);
    assert.equal(lines[1], lines[0]);
  });
});

describe('the memory of checksums', () => {
  test('tells algorithms and files apart, and forgets the oldest of very many', () => {
    const memory = new ChecksumMemory();
    memory.keep('"a"', 'sha256', '1');
    memory.keep('"a"', 'md5', '2');
    assert.equal(memory.find('"a"', 'sha256'), '1');
    assert.equal(memory.find('"a"', 'md5'), '2');
    assert.equal(memory.find('"a"', 'sha512'), undefined);
    assert.equal(memory.find('"b"', 'sha256'), undefined);
    for (let number = 0; number < 999; number += 1) memory.keep(`"${number}"`, 'sha256', '3');
    assert.equal(memory.find('"a"', 'sha256'), undefined);
    assert.equal(memory.find('"a"', 'md5'), '2');
  });
});
