import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { PassthroughError } from '../../src/errors.ts';
import type { ArchiveFile } from '../../src/pull/archive-file.ts';
import { ArchiveFiles, sharedFiles } from '../../src/pull/archive-files.ts';
import { Places } from '../../src/pull/limits.ts';
import type { ArchiveRequest } from '../../src/pull/request.ts';
import { readAll } from '../support/collect.ts';
import { makeImage, makeLayer } from '../support/image.ts';
import { noise } from '../support/noise.ts';
import { within } from '../support/within.ts';
import { NEVER, startPulling } from './pulling.ts';

/** An image with one layer of many chunks. */
const IMAGE = makeImage({
  layers: [{ tar: makeLayer({ large: Buffer.concat(Array(20).fill(noise('large', 500_000))) }) }],
});

const STOPPED = new PassthroughError('REGISTRY_TIMEOUT', 'Cannot prepare the image: it took more than 1 s');

type Form = Pick<ArchiveRequest, 'compression' | 'checksum'>;

const PLAIN: Form = { compression: 'none', checksum: undefined };
const GZIP: Form = { compression: 'gzip', checksum: undefined };
const FORMS: readonly Form[] = [
  GZIP,
  { compression: 'gzip', checksum: 'sha256' },
  { compression: 'none', checksum: 'md5' },
];

/**
 * A registry with the image, and its archive files: one place for preparations, without a queue.
 *
 * @param onChunk receives the number of each chunk of the layer that is read
 */
async function start(onChunk: (count: number) => void = () => undefined) {
  const seen = { chunks: 0 };
  const pulling = await startPulling(IMAGE, {
    gzip: 'whole',
    tamper: (file, key) =>
      key.startsWith('uncompressed')
        ? {
            ...file,
            read: async function* (range) {
              for await (const chunk of file.read(range)) {
                seen.chunks += 1;
                onChunk(seen.chunks);
                yield chunk;
              }
            },
          }
        : file,
  });
  const { store, puller, policy, layers } = pulling;
  const places = new Places({ permits: 1, maxWaiters: 0 });
  const files = new ArchiveFiles({
    store,
    puller,
    layers,
    places,
    policy,
    inFlight: sharedFiles(),
  });
  const resolve = (form: Form) => pulling.resolve({ ...form, filename: 'app.tar' });
  return {
    fake: pulling.fake,
    seen,
    resolve,
    open: async (form: Form, limit = NEVER): Promise<ArchiveFile> =>
      await within(files.open(await resolve(form), { signal: NEVER, limit }), 'a file'),
    openFiles: () => pulling.openFiles(),
    assertNothingHeld: async () => {
      await pulling.assertIdle();
      assert.ok(places.isIdle);
    },
    [Symbol.asyncDispose]: () => pulling[Symbol.asyncDispose](),
  };
}

describe('the file of a request', () => {
  for (const form of FORMS) {
    const what = `${form.compression}, ${form.checksum ?? 'whole'}`;

    test(`has the entity tag of the resolved archive, and its exact length (${what})`, async () => {
      await using started = await start();
      const file = await started.open(form);
      assert.equal(file.etag, (await started.resolve(form)).etag);
      const bytes = await readAll(file.bytes());
      assert.equal(bytes.length, file.size);
      assert.deepEqual(await readAll(file.bytes({ start: 3, end: 9 })), bytes.subarray(3, 9));
      file.close();
      await started.assertNothingHeld();
    });

    test(`is made once for two concurrent callers, and held until both have closed it (${what})`, async () => {
      await using single = await start();
      (await single.open(form)).close();
      await using started = await start();
      const [one, other] = await Promise.all([started.open(form), started.open(form)]);
      assert.equal(started.seen.chunks, single.seen.chunks, 'each chunk is read once');
      assert.equal(started.fake.countRequests(/blobs/), 2, 'config and layer are fetched once');
      assert.equal(one.sha256, other.sha256);
      one.close();
      one.close();
      assert.equal((await readAll(other.bytes())).length, other.size);
      other.close();
      await started.assertNothingHeld();
    });

    test(`ends with the reason of its limit, and frees everything (${what})`, async () => {
      const stop = new AbortController();
      await using started = await start((count) => {
        if (count === 3) stop.abort(STOPPED);
      });
      await assert.rejects(started.open(form, stop.signal), (error) => error === STOPPED);
      assert.ok(started.seen.chunks < 10, `it went on to chunk ${started.seen.chunks}`);
      await started.assertNothingHeld();
    });

    test(`fails with the error of a layer that cannot be read (${what})`, async () => {
      const failure = new PassthroughError('INTERNAL', 'Cannot read temporary file');
      await using started = await start((count) => {
        if (count === 3) throw failure;
      });
      await assert.rejects(started.open(form), (error) => error === failure);
      await started.assertNothingHeld();
    });
  }

  test('without compression is read from the layers, which are held until it is closed', async () => {
    await using started = await start();
    const file = await started.open(PLAIN);
    assert.equal(started.seen.chunks, 0, 'nothing is read yet');
    assert.deepEqual(
      [file.etag, file.contentType, file.sha256],
      [(await started.resolve(PLAIN)).archiveEtag, 'application/x-tar', undefined],
    );
    assert.equal(await started.openFiles(), 1);
    file.close();
    file.close();
    await started.assertNothingHeld();
  });

  test('with compression holds only the compressed file', async () => {
    await using started = await start();
    const plain = await started.open(PLAIN);
    const whole = await readAll(plain.bytes());
    plain.close();
    const file = await started.open(GZIP);
    assert.equal(await started.openFiles(), 1);
    const bytes = await readAll(file.bytes());
    assert.ok(gunzipSync(bytes).equals(whole));
    assert.equal(file.sha256, createHash('sha256').update(bytes).digest('hex'));
    file.close();
    await started.assertNothingHeld();
  });

  test('with a known checksum fetches and reads nothing', async () => {
    await using started = await start();
    const plain = await started.open(PLAIN);
    const hex = createHash('sha512')
      .update(await readAll(plain.bytes()))
      .digest('hex');
    plain.close();
    for (const blobs of [2, 0]) {
      const earlier = { blobs: started.fake.countRequests(/blobs/), chunks: started.seen.chunks };
      const file = await started.open({ compression: 'none', checksum: 'sha512' });
      assert.equal((await readAll(file.bytes())).toString(), `${hex}  app.tar\n`);
      assert.equal(started.fake.countRequests(/blobs/) - earlier.blobs, blobs);
      assert.equal(started.seen.chunks > earlier.chunks, blobs > 0);
      await started.assertNothingHeld();
    }
  });

  test('knows its SHA-256 once another file has computed it', async () => {
    await using started = await start();
    const plain = await started.open(PLAIN);
    assert.equal(plain.sha256, undefined);
    const line = await started.open({ compression: 'none', checksum: 'sha256' });
    assert.equal(`${plain.sha256}  app.tar\n`, (await readAll(line.bytes())).toString());
    plain.close();
    await started.assertNothingHeld();
  });
});

describe('checksums', () => {
  const table: readonly Form[] = [
    { compression: 'none', checksum: 'sha256' },
    { compression: 'none', checksum: 'md5' },
    { compression: 'gzip', checksum: 'sha256' },
  ];
  test('are kept by algorithm and file', async () => {
    await using started = await start();
    const expected = new Map<Form, string>();
    for (const form of table) {
      const whole = await started.open({ ...form, checksum: undefined });
      const hash = createHash(form.checksum ?? 'sha256').update(await readAll(whole.bytes()));
      expected.set(form, `${hash.digest('hex')}  app.tar\n`);
      whole.close();
    }
    for (const round of ['computed', 'kept']) {
      for (const form of table) {
        const line = await started.open(form);
        assert.equal((await readAll(line.bytes())).toString(), expected.get(form), round);
      }
    }
  });
});
