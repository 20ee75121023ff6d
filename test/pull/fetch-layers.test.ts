import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { PassthroughError } from '../../src/errors.ts';
import type { Digest } from '../../src/image/digest.ts';
import { Budget } from '../../src/pull/budget.ts';
import { type PreparedLayer, prepareLayers } from '../../src/pull/fetch-layers.ts';
import type { Draft } from '../../src/storage/store.ts';
import { readAll, sha256 } from '../support/collect.ts';
import type { Defects } from '../support/defects.ts';
import {
  type BlobLayer,
  type BuiltImage,
  compress,
  type LayerSpec,
  makeGzipBombLayer,
  makeImage,
  makeLayer,
} from '../support/image.ts';
import { startScriptedServer } from '../support/scripted-server.ts';
import { within } from '../support/within.ts';
import {
  descriptors,
  diffIdsOf,
  layerAt,
  NEVER,
  noise,
  type Pulling,
  type PullingOptions,
  refusal,
  startPulling,
} from './pulling.ts';

const BLOB = /^GET .*\/blobs\//;

/** Three layers, large enough for several pieces each, one of each compression. */
const IMAGE = makeImage({
  layers: [
    { tar: makeLayer({ one: noise(300_000, 'one') }), compression: 'gzip' },
    { tar: makeLayer({ two: noise(300_000, 'two') }), compression: 'zstd' },
    { tar: makeLayer({ three: noise(300_000, 'three') }), compression: 'none' },
  ],
});

interface PrepareOptions {
  readonly diffIds?: Promise<readonly Digest[]>;
  readonly signal?: AbortSignal;
  readonly tools?: Pulling['tools'];
}

function prepare(
  pulling: Pulling,
  image: BuiltImage,
  options: PrepareOptions = {},
): Promise<readonly PreparedLayer[]> {
  const { registry, repository, tools, limits } = pulling;
  return within(
    prepareLayers({
      layers: descriptors(image),
      diffIds: Promise.resolve(diffIdsOf(image)),
      source: {
        repository,
        open: (layer, signal) => registry.openLayer(layer, signal),
        check: (layer, signal) => registry.checkLayer(layer, signal),
      },
      form: 'unpacked',
      budget: new Budget(limits),
      known: new Map(),
      tools,
      concurrency: limits.concurrentLayers,
      signal: NEVER,
      ...options,
    }),
    'the layers',
  );
}

/** What a layer's file holds. */
function content(layer: PreparedLayer | undefined): Promise<Buffer> {
  return readAll(layer?.file.read() ?? assert.fail('no such layer'));
}

async function close(layers: readonly PreparedLayer[]): Promise<void> {
  for (const { file } of layers) file.release();
}

/** Tools whose store does something else with the bytes that are to be written to a file. */
function writing(
  tools: Pulling['tools'],
  write: (draft: Draft, bytes: Uint8Array) => Promise<void>,
): Pulling['tools'] {
  const store: typeof tools.store = Object.create(tools.store);
  store.obtain = (key, options) =>
    tools.store.obtain(key, {
      ...options,
      produce: (draft, ...rest) => options.produce({ write: (bytes) => write(draft, bytes) }, ...rest),
    });
  return { ...tools, store };
}

/** Prepares an image that cannot be prepared: says why, and leaves neither traffic nor files behind. */
async function failing(
  image: BuiltImage,
  options: PullingOptions,
  code: Parameters<typeof refusal>[1],
): Promise<PassthroughError> {
  await using pulling = await startPulling(image, options);
  const error = await refusal(prepare(pulling, image), code);
  await pulling.untilQuiet();
  assert.equal(await pulling.openFiles(), 0);
  return error;
}

function oneLayer(layer: LayerSpec | BlobLayer): BuiltImage {
  return makeImage({ layers: [layer] });
}

describe('prepareLayers', () => {
  test('gives the uncompressed layers in their order, each in a file', async () => {
    await using pulling = await startPulling(IMAGE);
    const layers = await prepare(pulling, IMAGE);
    assert.deepEqual(
      layers.map(({ descriptor: { digest }, diffId, file: { size } }) => ({ digest, diffId, size })),
      IMAGE.layers.map(({ digest, diffId }, index) => ({
        digest,
        diffId,
        size: makeLayer({ [['one', 'two', 'three'][index] ?? '']: noise(300_000, '') }).length,
      })),
    );
    for (const layer of layers) assert.equal(sha256(await content(layer)), layer.diffId);
    assert.equal(await pulling.openFiles(), 3);
    await close(layers);
    assert.equal(await pulling.openFiles(), 0);
  });

  test('has nothing to do for an image without layers', async () => {
    const image = makeImage({ layers: [] });
    await using pulling = await startPulling(image);
    assert.deepEqual(await prepare(pulling, image), []);
  });

  test('unpacks by content, whatever the media type claims', async () => {
    const tar = makeLayer({ file: 'content' });
    const types = ['gzip', 'zstd', 'none'] as const;
    const layers = types.map((compression, index) => ({
      tar,
      compression,
      mediaType: `application/vnd.oci.image.layer.v1.tar+${types[(index + 1) % types.length]}`,
    }));
    const image = makeImage({ layers });
    await using pulling = await startPulling(image);
    const prepared = await prepare(pulling, image);
    for (const layer of prepared) assert.deepEqual(await content(layer), tar);
    await close(prepared);
  });

  test('fetches a layer that occurs twice once, and gives it at both places', async () => {
    const twice = { tar: makeLayer({ twice: 'twice' }) };
    const image = makeImage({ layers: [twice, { tar: makeLayer({ once: 'once' }) }, twice] });
    await using pulling = await startPulling(image);
    const layers = await prepare(pulling, image);
    assert.deepEqual(
      layers.map(({ diffId }) => diffId),
      image.diffIds,
    );
    assert.equal(layers[0]?.file, layers[2]?.file);
    assert.equal(pulling.fake.countRequests(BLOB), 2);
    await close(layers);
  });

  test('refuses a layer that occurs twice with two diff IDs', async () => {
    const tar = makeLayer({ twice: 'twice' });
    const image = makeImage({ layers: [{ tar }, { blob: compress(tar, 'gzip'), diffId: sha256('other') }] });
    const { message } = await failing(image, {}, 'VERIFICATION_FAILED');
    assert.match(message, new RegExp(layerAt(image, 0).digest));
  });

  test('fetches as many layers at once as the limit says', async () => {
    const layers = ['a', 'b', 'c', 'd', 'e'].map((name) => ({ tar: makeLayer({ [name]: name }) }));
    const image = makeImage({ layers });
    await using pulling = await startPulling(image, {
      limits: { concurrentLayers: 2 },
      defects: { stallBlob: { afterBytes: 1 } },
    });
    const prepared = prepare(pulling, image);
    await within(pulling.fake.waitForStalled(2), 'two layers');
    assert.equal(pulling.fake.countRequests(BLOB), 2);
    pulling.fake.defects.stallBlob = undefined;
    pulling.fake.releaseStalled();
    await close(await prepared);
    assert.equal(pulling.fake.countRequests(BLOB), 5);
  });

  describe('verification', () => {
    for (const [index, compression] of ['gzip', 'zstd', 'none'].entries()) {
      test(`a ${compression} layer with other bytes than its digest is refused for its digest`, async () => {
        const { digest } = layerAt(IMAGE, index);
        const error = await failing(
          IMAGE,
          { defects: { wrongBlobDigest: { digest } } },
          'VERIFICATION_FAILED',
        );
        assert.match(error.message, new RegExp(`Cannot verify layer "${digest}": expected ${digest}`));
        assert.equal(error.details.expected, digest);
        assert.match(error.details.actual ?? '', /^sha256:[0-9a-f]{64}$/);
        assert.notEqual(error.details.actual, digest);
      });

      for (const contentLength of ['actual', 'none'] as const) {
        for (const by of [1, -1]) {
          const size = `${Math.abs(by)} byte ${by > 0 ? 'more' : 'less'}`;
          test(`a ${compression} layer with ${size}, Content-Length ${contentLength}, is refused for its size`, async () => {
            const { digest, blob } = layerAt(IMAGE, index);
            const error = await failing(
              IMAGE,
              { defects: { wrongBlobSize: { digest, by, contentLength } } },
              'VERIFICATION_FAILED',
            );
            assert.match(
              error.message,
              new RegExp(`^Cannot verify layer "${digest}": it has .* its descriptor says`),
            );
            assert.match(error.message, new RegExp(`\\b${blob.length}\\b`));
          });
        }
      }

      test(`a ${compression} layer that unpacks to other bytes than its diff ID is refused for that`, async () => {
        const { digest, blob } = layerAt(IMAGE, index);
        const image = oneLayer({ blob, diffId: sha256('other') });
        const error = await failing(image, {}, 'VERIFICATION_FAILED');
        assert.match(error.message, new RegExp(`Cannot verify uncompressed layer "${digest}"`));
        assert.equal(error.details.expected, sha256('other'));
        assert.equal(error.details.actual, layerAt(IMAGE, index).diffId);
      });
    }

    for (const compression of ['gzip', 'zstd'] as const) {
      // Text, for of bytes that do not shrink a packer keeps a copy, in which damage shows by the digest alone.
      const tar = makeLayer({ big: noise(300_000, 'damaged').toString('hex') });
      const whole = compress(tar, compression);
      const damaged = Buffer.from(whole);
      damaged.fill(0xff, 9, 109);
      const pushedSo: readonly [how: string, blob: Buffer][] = [
        ['damaged', damaged],
        ['cut', whole.subarray(0, -20)],
      ];
      for (const [how, blob] of pushedSo) {
        test(`a ${compression} layer that was pushed ${how} is called so, its digest being right`, async () => {
          const image = oneLayer({ blob, diffId: sha256(tar) });
          const error = await failing(image, {}, 'VERIFICATION_FAILED');
          const { digest } = layerAt(image, 0);
          assert.match(
            error.message,
            new RegExp(`Cannot unpack layer "${digest}": its ${compression} stream`),
          );
        });
      }
    }

    test('padding behind the gzip stream is no fault where the digest counts it in', async () => {
      const tar = makeLayer({ big: noise(300_000, 'padded') });
      const blob = Buffer.concat([gzipSync(tar), Buffer.alloc(200_000)]);
      const image = oneLayer({ blob, diffId: sha256(tar) });
      await using pulling = await startPulling(image);
      const layers = await prepare(pulling, image);
      assert.deepEqual(await content(layers[0]), tar);
      await close(layers);
    });

    test('a compression that nobody reads is refused by its name', async () => {
      const blob = Buffer.concat([Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]), noise(5_000, 'xz')]);
      const error = await failing(oneLayer({ blob, diffId: sha256('tar') }), {}, 'UNSUPPORTED_IMAGE');
      assert.match(error.message, /xz/);
    });
  });

  describe('limits', () => {
    test('an image with more compressed bytes than allowed is refused before any layer is asked for', async () => {
      const total = IMAGE.layers.reduce((sum, { blob }) => sum + blob.length, 0);
      await using pulling = await startPulling(IMAGE, { limits: { compressedBytes: total - 1 } });
      const error = await refusal(prepare(pulling, IMAGE), 'IMAGE_TOO_LARGE');
      assert.match(error.message, new RegExp(`${total} bytes compressed, more than ${total - 1}$`));
      assert.equal(pulling.fake.countRequests(BLOB), 0);
    });

    test('an image with exactly as many bytes as allowed passes', async () => {
      const compressedBytes = IMAGE.layers.reduce((sum, { blob }) => sum + blob.length, 0);
      const uncompressedBytes = 3 * makeLayer({ one: noise(300_000, 'one') }).length;
      await using pulling = await startPulling(IMAGE, { limits: { compressedBytes, uncompressedBytes } });
      await close(await prepare(pulling, IMAGE));
    });

    test('an image with one byte more than allowed uncompressed is refused', async () => {
      const uncompressedBytes = 3 * makeLayer({ one: noise(300_000, 'one') }).length - 1;
      const error = await failing(IMAGE, { limits: { uncompressedBytes } }, 'IMAGE_TOO_LARGE');
      assert.match(error.message, new RegExp(`more than ${uncompressedBytes} bytes uncompressed`));
    });

    test('compressed, a layer that occurs twice counts once; uncompressed, twice', async () => {
      const tar = makeLayer({ twice: noise(100_000, 'twice') });
      const image = makeImage({ layers: [{ tar }, { tar }] });
      const compressedBytes = layerAt(image, 0).blob.length;
      await using pulling = await startPulling(image, {
        limits: { compressedBytes, uncompressedBytes: 2 * tar.length },
      });
      await close(await prepare(pulling, image));
      await failing(
        image,
        { limits: { compressedBytes, uncompressedBytes: 2 * tar.length - 1 } },
        'IMAGE_TOO_LARGE',
      );
    });

    test('a gzip bomb goes no further than the limit', async () => {
      const image = oneLayer(await makeGzipBombLayer(64 * 1024 ** 2));
      await using pulling = await startPulling(image, { limits: { uncompressedBytes: 1024 ** 2 } });
      let written = 0;
      const tools = writing(pulling.tools, async (draft, bytes) => {
        written += bytes.byteLength;
        await draft.write(bytes);
      });
      await refusal(prepare(pulling, image, { tools }), 'IMAGE_TOO_LARGE');
      assert.ok(written <= 1024 ** 2, `${written} bytes were written`);
      await pulling.untilQuiet();
      assert.equal(await pulling.openFiles(), 0);
    });

    test('a layer that never ends is given up at the size that its descriptor says', async () => {
      const tar = makeLayer({ endless: noise(50_000, 'endless') });
      const image = oneLayer({ tar, compression: 'none' });
      const { digest } = layerAt(image, 0);
      const defects: Defects = { wrongBlobSize: { digest, by: 50_000_000, contentLength: 'none' } };
      const error = await failing(image, { defects }, 'VERIFICATION_FAILED');
      assert.match(error.message, /it has more than the/);
    });
  });

  describe('interruptions', () => {
    test('a layer that breaks off is fetched on from there', async () => {
      // More than a connection holds on its way, so that the reader has some of it when it breaks.
      const image = oneLayer({
        tar: makeLayer({ large: Buffer.alloc(12_000_000, noise(1_000, 'large')) }),
        compression: 'none',
      });
      const { digest } = layerAt(image, 0);
      await using pulling = await startPulling(image, {
        defects: { truncateBlob: { digest, afterBytes: 11_000_000, times: 1 } },
      });
      await close(await prepare(pulling, image));
      const ranges = pulling.fake.requests
        .filter(({ path }) => path.endsWith(digest))
        .map(({ headers }) => headers.range);
      assert.equal(ranges.length, 2);
      const from = Number(/^bytes=(\d+)-$/.exec(ranges[1] ?? '')?.[1]);
      assert.ok(from > 0 && from <= 11_000_000, `the second request was for ${ranges[1]}`);
    });

    test('a layer that breaks off is read anew where the registry knows no ranges', async () => {
      const { digest } = layerAt(IMAGE, 0);
      await using pulling = await startPulling(IMAGE, {
        defects: { noRange: true, truncateBlob: { digest, afterBytes: 100_000, times: 1 } },
      });
      const layers = await prepare(pulling, IMAGE);
      assert.equal(sha256(await content(layers[0])), layerAt(IMAGE, 0).diffId);
      await close(layers);
    });

    test('a layer that keeps breaking off at its first byte is given up', async () => {
      const { digest } = layerAt(IMAGE, 1);
      await failing(IMAGE, { defects: { truncateBlob: { digest, afterBytes: 0 } } }, 'REGISTRY_UNREACHABLE');
    });

    test('a layer that stalls for good is given up, and the others with it', async () => {
      const { digest } = layerAt(IMAGE, 1);
      const error = await failing(
        IMAGE,
        {
          timeouts: { stallMs: 50 },
          defects: {
            stallBlob: [
              { digest, afterBytes: 1_000, times: 1 },
              { digest, afterBytes: 0 },
            ],
          },
        },
        'REGISTRY_TIMEOUT',
      );
      assert.match(error.message, /no further bytes within 0\.05 s/);
    });

    test('the first failure stops layers that are under way, and those that have not begun to come', async () => {
      const [first, second, third] = IMAGE.layers.map(({ digest }) => digest);
      await using pulling = await startPulling(IMAGE, {
        defects: {
          stallBlob: { digest: first ?? '', afterBytes: 1_000 },
          stallRequests: { pattern: new RegExp(`blobs/${second}`) },
          wrongBlobDigest: { digest: third ?? '' },
        },
      });
      const config = Promise.withResolvers<readonly Digest[]>();
      const failed = refusal(prepare(pulling, IMAGE, { diffIds: config.promise }), 'VERIFICATION_FAILED');
      await within(pulling.fake.waitForStalled(2), 'two layers');
      config.resolve(diffIdsOf(IMAGE));
      assert.match((await failed).message, new RegExp(third ?? ''));
      await pulling.untilQuiet();
      assert.equal(await pulling.openFiles(), 0);
    });

    test('the signal stops all with its reason', async () => {
      await using pulling = await startPulling(IMAGE, { defects: { stallBlob: { afterBytes: 1_000 } } });
      const stop = new AbortController();
      const reason = new PassthroughError('ABORTED', 'nobody waits');
      const rejected = assert.rejects(prepare(pulling, IMAGE, { signal: stop.signal }), reason);
      await within(pulling.fake.waitForStalled(3), 'three layers');
      assert.notEqual(await pulling.openFiles(), 0);
      stop.abort(reason);
      await rejected;
      await pulling.untilQuiet();
      assert.equal(await pulling.openFiles(), 0);
    });

    test('a config that cannot be had stops the layers', async () => {
      await using pulling = await startPulling(IMAGE);
      const reason = new PassthroughError('IMAGE_NOT_FOUND', 'no config');
      const diffIds = Promise.reject(reason);
      diffIds.catch(() => undefined);
      await assert.rejects(prepare(pulling, IMAGE, { diffIds }), reason);
      await pulling.untilQuiet();
      assert.equal(await pulling.openFiles(), 0);
    });

    test('a layer that waits for its config keeps the failure of another from nobody', async () => {
      const [first] = IMAGE.layers.map(({ digest }) => digest);
      await using pulling = await startPulling(IMAGE, { defects: { dropBlob: { digest: first ?? '' } } });
      const never = new Promise<never>(() => undefined);
      await refusal(prepare(pulling, IMAGE, { diffIds: never }), 'IMAGE_NOT_FOUND');
      await pulling.untilQuiet();
      assert.equal(await pulling.openFiles(), 0);
    });

    test('a layer that two images have is had by the one when the other leaves, whose config has not come', async () => {
      await using pulling = await startPulling(IMAGE);
      const client = new AbortController();
      const reason = new PassthroughError('ABORTED', 'the client has left');
      const never = new Promise<never>(() => undefined);
      const left = assert.rejects(prepare(pulling, IMAGE, { diffIds: never, signal: client.signal }), reason);
      const stays = prepare(pulling, IMAGE);
      await within(pulling.fake.waitForRequest(BLOB, 3), 'the layers');
      client.abort(reason);
      await left;
      await close(await stays);
      assert.equal(pulling.fake.countRequests(BLOB), 3);
      assert.equal(await pulling.openFiles(), 0);
    });

    test('a full disk is called so, and stops the layers', async () => {
      await using pulling = await startPulling(IMAGE);
      const tools = writing(pulling.tools, () =>
        Promise.reject(new PassthroughError('NO_SPACE', 'Cannot write to the workspace: the disk is full')),
      );
      await refusal(prepare(pulling, IMAGE, { tools }), 'NO_SPACE');
      await pulling.untilQuiet();
      assert.equal(await pulling.openFiles(), 0);
    });
  });

  test('asks nobody else for a layer that the registry has not', async () => {
    await using elsewhere = await startScriptedServer((_, response) => {
      response.end();
    });
    const image = oneLayer({
      tar: makeLayer({ a: 'a' }),
      descriptor: { urls: [`${elsewhere.origin}/layer`] },
    });
    await failing(image, { defects: { dropBlob: { digest: layerAt(image, 0).digest } } }, 'IMAGE_NOT_FOUND');
    assert.deepEqual(elsewhere.requests, []);
  });
});
