import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { PassthroughError } from '../../src/errors.ts';
import type { ArchiveOrder } from '../../src/http/routing/archive-request.ts';
import { ChecksumCache, type Delivery, etagOf } from '../../src/pull/archive-file.ts';
import { type Asker, obtainDelivery, type PreparationTools } from '../../src/pull/archive-files.ts';
import type { Progress } from '../../src/pull/progress.ts';
import { resolveArchive } from '../../src/pull/pull-archive.ts';
import { Semaphore } from '../../src/util/semaphore.ts';
import { type Lease, SingleFlight } from '../../src/util/single-flight.ts';
import { readAll } from '../support/collect.ts';
import { makeImage, makeLayer } from '../support/image.ts';
import { within } from '../support/within.ts';
import { NEVER, noise, REPOSITORY, startPulling, TAG } from './pulling.ts';

/** One layer, as large as many pieces of a file that is read. */
const IMAGE = makeImage({
  layers: [{ tar: makeLayer({ large: Buffer.concat(Array(40).fill(noise(500_000, 'large'))) }) }],
});

const STOPPED = new PassthroughError('REGISTRY_TIMEOUT', 'Cannot prepare the image: it took more than 1 s');

type Form = Pick<ArchiveOrder, 'compression' | 'checksum'>;

const PLAIN: Form = { compression: 'none', checksum: undefined };
const GZIP: Form = { compression: 'gzip', checksum: undefined };
const FORMS: readonly Form[] = [
  GZIP,
  { compression: 'gzip', checksum: 'sha256' },
  { compression: 'none', checksum: 'md5' },
];

/** A registry with the image, and what deliveries of it are prepared with: one at a time, and none waits. */
async function start(onPiece: (count: number) => void = () => undefined) {
  const pulling = await startPulling(IMAGE);
  const seen = { pieces: 0 };
  const { store } = pulling.tools;
  const obtain = store.obtain.bind(store);
  store.obtain = async (key, options) => {
    const file = await obtain(key, options);
    if (!key.startsWith('unpacked')) return file;
    return {
      ...file,
      read: async function* (range) {
        for await (const piece of file.read(range)) {
          seen.pieces += 1;
          onPiece(seen.pieces);
          yield piece;
        }
      },
    };
  };
  const tools: PreparationTools = {
    admission: new Semaphore({ permits: 1, maxWaiters: 0 }),
    checksums: new ChecksumCache(),
    deliveries: new SingleFlight<string, Delivery, Progress>((delivery) => delivery.release()),
    hashes: new SingleFlight(),
  };
  const reference = { registryName: pulling.fake.host, repository: REPOSITORY, tag: TAG };
  const { registry, repository } = pulling;
  const platform = { os: 'linux', architecture: 'amd64' };
  const image = { reference, name: reference, platform, isPlatformAsked: false, registry, repository };
  const request = { images: [image], layout: 'docker', fetchesForeignLayers: false } as const;
  const asker = async (form: Form, signal: AbortSignal): Promise<Asker> => {
    const pull = { ...pulling.tools, limits: pulling.limits, signal };
    return {
      archive: await resolveArchive(request, pull),
      order: { ...form, filename: 'app.tar' },
      pull,
    };
  };
  return {
    pulling,
    tools,
    seen,
    /** Obtains a delivery of the image. */
    obtain: async (form: Form, signal = NEVER) => {
      const one = await asker(form, signal);
      const share = await within(obtainDelivery(one, tools), 'a delivery');
      return { ...share, reader: { archive: one.archive, tools: one.pull } };
    },
    assertNothingHeld: async () => {
      assert.equal(await pulling.openFiles(), 0);
      assert.ok(tools.admission.isIdle);
      await pulling.untilQuiet();
    },
    [Symbol.asyncDispose]: () => pulling[Symbol.asyncDispose](),
  };
}

type Started = Awaited<ReturnType<typeof start>>;

function bytesOf(
  { value, reader }: Lease<Delivery> & Pick<Awaited<ReturnType<Started['obtain']>>, 'reader'>,
  range?: { readonly start: number; readonly end: number },
): Promise<Buffer> {
  return readAll(value.bytes(range, reader));
}

describe('a delivery', () => {
  for (const form of FORMS) {
    const what = `${form.compression}, ${form.checksum ?? 'whole'}`;

    test(`has the entity tag that was foretold, and its exact length (${what})`, async () => {
      await using started = await start();
      const file = await started.obtain(form);
      const { archive } = file.reader;
      assert.equal(file.value.etag, etagOf(archive.etag, form));
      const bytes = await bytesOf(file);
      assert.equal(bytes.length, file.value.size);
      assert.deepEqual(await bytesOf(file, { start: 3, end: 9 }), bytes.subarray(3, 9));
      file.release();
      await started.assertNothingHeld();
    });

    test(`that is stopped says why, and leaves nothing behind (${what})`, async () => {
      const stop = new AbortController();
      await using started = await start((count) => {
        if (count === 3) stop.abort(STOPPED);
      });
      await assert.rejects(started.obtain(form, stop.signal), (error) => error === STOPPED);
      assert.ok(started.seen.pieces < 10, `it went on to piece ${started.seen.pieces}`);
      await started.assertNothingHeld();
    });

    test(`whose archive cannot be read throws what that does (${what})`, async () => {
      const failure = new PassthroughError('INTERNAL', 'Cannot read temporary file');
      await using started = await start((count) => {
        if (count === 3) throw failure;
      });
      await assert.rejects(started.obtain(form), (error) => error === failure);
      await started.assertNothingHeld();
    });
  }

  test('without compression is the archive itself, whose files are held until it is released', async () => {
    await using started = await start();
    const file = await started.obtain(PLAIN);
    assert.equal(started.seen.pieces, 0, 'nothing is read before it is sent');
    assert.deepEqual(
      [file.value.etag, file.value.contentType, file.value.sha256],
      [file.reader.archive.etag, 'application/x-tar', undefined],
    );
    assert.equal(await started.pulling.openFiles(), 1);
    file.release();
    file.release();
    await started.assertNothingHeld();
  });

  test('with compression holds the compressed file alone', async () => {
    await using started = await start();
    const plain = await started.obtain(PLAIN);
    const whole = await bytesOf(plain);
    plain.release();
    const file = await started.obtain(GZIP);
    assert.equal(await started.pulling.openFiles(), 1);
    const bytes = await bytesOf(file);
    assert.ok(gunzipSync(bytes).equals(whole));
    assert.equal(file.value.sha256, createHash('sha256').update(bytes).digest('hex'));
    file.release();
    await started.assertNothingHeld();
  });

  test('of a checksum that is known prepares and reads nothing', async () => {
    await using started = await start();
    const plain = await started.obtain(PLAIN);
    const hex = createHash('sha512')
      .update(await bytesOf(plain))
      .digest('hex');
    plain.release();
    for (const blobs of [2, 0]) {
      const earlier = { blobs: started.pulling.fake.countRequests(/blobs/), pieces: started.seen.pieces };
      const file = await started.obtain({ compression: 'none', checksum: 'sha512' });
      assert.equal((await bytesOf(file)).toString(), `${hex}  app.tar\n`);
      assert.equal(started.pulling.fake.countRequests(/blobs/) - earlier.blobs, blobs);
      assert.equal(started.seen.pieces > earlier.pieces, blobs > 0);
      await started.assertNothingHeld();
    }
  });

  test('that was hashed once knows its checksum from then on, also where it was there before', async () => {
    await using started = await start();
    const plain = await started.obtain(PLAIN);
    assert.equal(plain.value.sha256, undefined);
    const line = await started.obtain({ compression: 'none', checksum: 'sha256' });
    assert.equal(`${plain.value.sha256}  app.tar\n`, (await bytesOf(line)).toString());
    plain.release();
    await started.assertNothingHeld();
  });

  test('that two ask for is prepared in one place, and held until both have released it', async () => {
    await using started = await start();
    const [one, other] = await Promise.all([started.obtain(GZIP), started.obtain(GZIP)]);
    assert.equal(one.value, other.value);
    one.release();
    one.release();
    assert.equal((await bytesOf(other)).length, other.value.size);
    other.release();
    await started.assertNothingHeld();
  });
});

describe('the memory of checksums', () => {
  test('tells algorithms and files apart, and forgets the oldest of very many', () => {
    const memory = new ChecksumCache();
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
