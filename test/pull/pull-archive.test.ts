import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PassthroughError } from '../../src/errors.ts';
import { parsePlatform } from '../../src/image/platform.ts';
import type { PulledArchive } from '../../src/pull/pull-archive.ts';
import { listTar, readAll, sha256 } from '../support/collect.ts';
import { type BuiltImage, compress, makeImage, makeIndex, makeLayer } from '../support/image.ts';
import { within } from '../support/within.ts';
import { layerAt, noise, type PullingOptions, refusal, startPulling } from './pulling.ts';

const IMAGE = makeImage({
  layers: [
    { tar: makeLayer({ one: noise(100_000, 'one') }) },
    { tar: makeLayer({ two: noise(100_000, 'two') }), compression: 'zstd' },
  ],
});

/** What `manifest.json` of an archive names. */
interface ArchiveManifest {
  readonly Config: string;
  readonly RepoTags: readonly string[];
  readonly Layers: readonly string[];
}

/** The files of an archive by name. */
async function filesOf(image: PulledArchive): Promise<ReadonlyMap<string, Buffer>> {
  return new Map(listTar(await readAll(image.bytes())).map(({ name, content }) => [name, content]));
}

function manifestOf(files: ReadonlyMap<string, Buffer>): ArchiveManifest {
  const [manifest, ...others] = JSON.parse(String(files.get('manifest.json'))) as ArchiveManifest[];
  assert.deepEqual(others, []);
  return manifest ?? assert.fail('manifest.json is empty');
}

/** Pulls what cannot be pulled: says why, and leaves neither traffic nor files behind. */
async function failing(
  image: BuiltImage,
  options: PullingOptions,
  code: Parameters<typeof refusal>[1],
): Promise<PassthroughError> {
  await using pulling = await startPulling(image, options);
  const error = await refusal(pulling.pull(), code);
  await pulling.untilQuiet();
  assert.equal(await pulling.openFiles(), 0);
  return error;
}

describe('a pulled archive', () => {
  test('gives an archive of the announced length with config and layers as they were pushed', async () => {
    await using pulling = await startPulling(IMAGE);
    const image = await pulling.pull();
    assert.equal(image.manifestDigest, IMAGE.manifest.digest);
    assert.equal(image.configDigest, IMAGE.config.digest);
    assert.equal((await readAll(image.bytes())).length, image.size);

    const files = await filesOf(image);
    const { Config, RepoTags, Layers } = manifestOf(files);
    assert.deepEqual(files.get(Config), IMAGE.config.bytes);
    assert.deepEqual(RepoTags, [`${pulling.fake.host}/team/app:1`]);
    assert.deepEqual(
      Layers.map((name) => sha256(files.get(name) ?? '')),
      IMAGE.diffIds,
    );
    image.release();
    assert.equal(await pulling.openFiles(), 0);
  });

  test('has another ETag with foreign layers than without in the one layout that may leave them out', async () => {
    await using pulling = await startPulling(IMAGE);
    for (const [layout, count] of [
      ['docker', 1],
      ['oci', 1],
      ['docker-gzip', 2],
    ] as const) {
      const etags = new Set<string>();
      for (const fetchesForeignLayers of [true, false]) {
        const archive = await pulling.pull({ layout, fetchesForeignLayers });
        etags.add(archive.etag);
        archive.release();
      }
      assert.equal(etags.size, count, layout);
    }
  });

  test('gives the same bytes however often they are read, also side by side', async () => {
    await using pulling = await startPulling(IMAGE);
    const image = await pulling.pull();
    const [first, second] = await Promise.all([readAll(image.bytes()), readAll(image.bytes())]);
    assert.deepEqual(first, second);
    assert.deepEqual(await readAll(image.bytes()), first);
    image.release();
  });

  test('closing twice does no harm', async () => {
    await using pulling = await startPulling(IMAGE);
    const image = await pulling.pull();
    image.release();
    image.release();
  });

  test('writes a layer that occurs twice at both places', async () => {
    const twice = { tar: makeLayer({ twice: 'twice' }) };
    const pushed = makeImage({ layers: [twice, { tar: makeLayer({ once: 'once' }) }, twice] });
    await using pulling = await startPulling(pushed);
    const image = await pulling.pull();
    const files = await filesOf(image);
    const { Layers } = manifestOf(files);
    assert.equal(new Set(Layers).size, 3);
    assert.deepEqual(
      Layers.map((name) => sha256(files.get(name) ?? '')),
      pushed.diffIds,
    );
    image.release();
    assert.equal(await pulling.openFiles(), 0);
  });

  test('gives an archive of an image without layers', async () => {
    const pushed = makeImage({ layers: [] });
    await using pulling = await startPulling(pushed);
    const image = await pulling.pull();
    const files = await filesOf(image);
    const { Config, Layers } = manifestOf(files);
    assert.deepEqual(Layers, []);
    assert.deepEqual(files.get(Config), pushed.config.bytes);
    image.release();
  });

  describe('config and layers', () => {
    test('layers are asked for while the config is still under way', async () => {
      await using pulling = await startPulling(IMAGE, {
        defects: { stallRequests: { pattern: new RegExp(IMAGE.config.digest) } },
      });
      const { fake } = pulling;
      const pulled = pulling.pull();
      for (const { digest } of IMAGE.layers) {
        await within(fake.waitForRequest(new RegExp(`blobs/${digest}`)), `layer ${digest}`);
      }
      await within(fake.waitForStalled(), 'the config');
      fake.releaseStalled();
      (await pulled).release();
    });

    test('the config is asked for while layers are still under way', async () => {
      await using pulling = await startPulling(IMAGE, { defects: { stallRequests: { pattern: /blobs/ } } });
      const pulled = pulling.pull();
      await within(pulling.fake.waitForStalled(3), 'config and layers');
      pulling.fake.releaseStalled();
      (await pulled).release();
    });

    for (const [how, pattern] of [
      ['have not answered', /GET .*blobs/],
      ['have begun to come', undefined],
    ] as const) {
      test(`a missing config ends the pull at once where layers ${how}`, async () => {
        const layers = IMAGE.layers.map(({ digest }) => digest);
        await using pulling = await startPulling(IMAGE, {
          defects: {
            dropBlob: { digest: IMAGE.config.digest },
            stallBlob: layers.map((digest) => ({ digest, afterBytes: 1_000 })),
            stallRequests: pattern && layers.map((digest) => ({ pattern: new RegExp(`blobs/${digest}`) })),
          },
        });
        const { message } = await refusal(pulling.pull(), 'IMAGE_NOT_FOUND');
        assert.match(message, new RegExp(`config "${IMAGE.config.digest}"`));
        await pulling.untilQuiet();
        assert.equal(await pulling.openFiles(), 0);
      });
    }

    test('a missing layer ends the pull at once where the config has not answered', async () => {
      await using pulling = await startPulling(IMAGE, {
        defects: {
          dropBlob: { digest: layerAt(IMAGE, 0).digest },
          stallRequests: { pattern: new RegExp(IMAGE.config.digest) },
        },
      });
      const { message } = await refusal(pulling.pull(), 'IMAGE_NOT_FOUND');
      assert.match(message, new RegExp(`layer "${layerAt(IMAGE, 0).digest}"`));
      await pulling.untilQuiet();
      assert.equal(await pulling.openFiles(), 0);
    });

    test('a failure is reported when both have ended, not before', async () => {
      await using pulling = await startPulling(IMAGE, {
        defects: { dropBlob: { digest: layerAt(IMAGE, 0).digest } },
      });
      const aborted = Promise.withResolvers<void>();
      const end = Promise.withResolvers<never>();
      pulling.registry.getConfig = async (_, signal) => {
        signal.addEventListener('abort', () => aborted.resolve(), { once: true });
        return await end.promise;
      };
      let isSettled = false;
      const failed = refusal(pulling.pull(), 'IMAGE_NOT_FOUND').finally(() => {
        isSettled = true;
      });
      await within(aborted.promise, 'the config to be given up');
      await pulling.untilQuiet();
      // A turn of the event loop: whatever was to follow from what has happened has followed.
      await new Promise(setImmediate);
      assert.equal(isSettled, false);
      end.reject(new PassthroughError('ABORTED', 'given up'));
      await failed;
    });

    test('an image that is too large stops the config too', async () => {
      await using pulling = await startPulling(IMAGE, {
        limits: { compressedBytes: 1 },
        defects: { stallRequests: { pattern: /blobs/ } },
      });
      await refusal(pulling.pull(), 'IMAGE_TOO_LARGE');
      await pulling.untilQuiet();
    });

    test('a config with other bytes than its digest is refused', async () => {
      const { digest } = IMAGE.config;
      const { message } = await failing(
        IMAGE,
        { defects: { wrongBlobDigest: { digest } } },
        'VERIFICATION_FAILED',
      );
      assert.match(message, /Cannot verify config/);
    });

    for (const by of [1, -1]) {
      test(`a config with ${by > 0 ? 'more' : 'fewer'} bytes than its size is refused`, async () => {
        const { digest } = IMAGE.config;
        const defects = { wrongBlobSize: { digest, by } };
        const { message } = await failing(IMAGE, { defects }, 'VERIFICATION_FAILED');
        assert.match(message, /Cannot verify config .* bytes/);
      });
    }

    test('a config beyond the limit is refused', async () => {
      const defects = { hugeConfig: { bytes: 50_000_000, contentLength: false } };
      await failing(IMAGE, { defects }, 'IMAGE_TOO_LARGE');
    });

    const broken: readonly [what: string, image: BuiltImage, why: RegExp][] = [
      [
        'that lists fewer diff IDs than there are layers',
        makeImage({
          layers: IMAGE.layers,
          config: { rootfs: { type: 'layers', diff_ids: IMAGE.diffIds.slice(1) } },
        }),
        /2 layers, rootfs\.diff_ids 1/,
      ],
      [
        'that lists something else as diff ID',
        makeImage({ layers: IMAGE.layers, config: { rootfs: { type: 'layers', diff_ids: ['a', 'b'] } } }),
        /not a digest/,
      ],
      [
        'without diff IDs',
        makeImage({ layers: IMAGE.layers, config: { rootfs: null } }),
        /rootfs\.diff_ids 0/,
      ],
      ['that is no JSON', withConfig(Buffer.from('{"rootfs"')), /not JSON/],
      ['that is no object', withConfig(Buffer.from('[]')), /not a JSON object/],
    ];
    for (const [what, image, why] of broken) {
      test(`a config ${what} is refused in words`, async () => {
        assert.match((await failing(image, {}, 'UNSUPPORTED_IMAGE')).message, why);
      });
    }

    test('diff IDs in another order than the layers are refused', async () => {
      const image = makeImage({
        layers: IMAGE.layers,
        config: { rootfs: { type: 'layers', diff_ids: IMAGE.diffIds.toReversed() } },
      });
      await failing(image, {}, 'VERIFICATION_FAILED');
    });
  });

  describe('failures', () => {
    test('a manifest that breaks off is asked for again', async () => {
      await using pulling = await startPulling(IMAGE, {
        defects: { truncateManifest: { afterBytes: 10, times: 1 } },
      });
      (await pulling.pull()).release();
      assert.equal(pulling.fake.countRequests(/manifests/), 2);
    });

    test('a manifest that does not come is given up', async () => {
      await failing(
        IMAGE,
        { timeouts: { responseMs: 50 }, defects: { stallManifest: true } },
        'REGISTRY_TIMEOUT',
      );
    });

    test('a tag that does not exist is called missing, with the words of the registry', async () => {
      await using pulling = await startPulling(IMAGE);
      const reference = { registryName: pulling.fake.host, repository: 'team/app', tag: 'none' };
      const { message, details } = await refusal(pulling.pull({ reference }), 'IMAGE_NOT_FOUND');
      assert.match(message, /manifest "none"/);
      assert.equal(details.registryCode, 'MANIFEST_UNKNOWN');
    });

    const signals: readonly [when: string, stalled: RegExp, count: number][] = [
      ['the manifest', /manifests/, 1],
      ['config and layers', /blobs/, 3],
    ];
    for (const [when, stalled, count] of signals) {
      test(`the signal ends the pull while it waits for ${when}`, async () => {
        await using pulling = await startPulling(IMAGE, { defects: { stallRequests: { pattern: stalled } } });
        const client = new AbortController();
        const reason = new PassthroughError('ABORTED', 'the client has left');
        const rejected = assert.rejects(pulling.pull({}, client.signal), reason);
        await within(pulling.fake.waitForStalled(count), when);
        client.abort(reason);
        await rejected;
        await pulling.untilQuiet();
        assert.equal(await pulling.openFiles(), 0);
      });
    }
  });

  describe('platform', () => {
    const arm64 = makeImage({
      platform: { os: 'linux', architecture: 'arm64' },
      layers: [{ tar: makeLayer({ arch: 'arm64' }) }],
    });
    const unnamed = makeIndex([{ image: arm64, platform: null }]);
    const nameless = makeImage({
      layers: [{ tar: makeLayer({ arch: 'none' }) }],
      config: { os: undefined, architecture: undefined },
    });

    for (const [what, pushed] of [
      ['an image that stands alone', arm64],
      ['the only entry of an index, which names no platform,', unnamed],
    ] as const) {
      test(`${what} is taken where nobody asked for a platform`, async () => {
        await using pulling = await startPulling(pushed);
        const image = await pulling.pull({ platform: parsePlatform('linux/amd64'), isPlatformAsked: false });
        assert.equal(image.configDigest, arm64.config.digest);
        image.release();
      });

      test(`${what} is taken where its own platform was asked for`, async () => {
        await using pulling = await startPulling(pushed);
        const image = await pulling.pull({ platform: parsePlatform('linux/arm64'), isPlatformAsked: true });
        image.release();
      });

      test(`${what} is refused where another platform was asked for`, async () => {
        await using pulling = await startPulling(pushed);
        const platform = parsePlatform('linux/amd64');
        const { message } = await refusal(
          pulling.pull({ platform, isPlatformAsked: true }),
          'PLATFORM_NOT_FOUND',
        );
        assert.match(message, /"linux\/amd64": the image offers linux\/arm64$/);
        await pulling.untilQuiet();
        assert.equal(await pulling.openFiles(), 0);
      });
    }

    test('an image whose config names no platform is taken for any', async () => {
      await using pulling = await startPulling(nameless);
      const image = await pulling.pull({ platform: parsePlatform('linux/arm64'), isPlatformAsked: true });
      assert.equal(image.configDigest, nameless.config.digest);
      image.release();
    });

    test('what an index says of an entry counts, not what the config says', async () => {
      const index = makeIndex([{ image: arm64, platform: { os: 'linux', architecture: 'amd64' } }]);
      await using pulling = await startPulling(index);
      const image = await pulling.pull({ platform: parsePlatform('linux/amd64'), isPlatformAsked: true });
      assert.equal(image.manifestDigest, arm64.manifest.digest);
      image.release();
    });
  });
});

/** An image with a layer and this as its config. */
function withConfig(bytes: Buffer): BuiltImage {
  const tar = makeLayer({ a: 'a' });
  const blob = compress(tar, 'gzip');
  const digest = sha256(bytes);
  const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest, size: bytes.length };
  const image = makeImage({ layers: [{ blob, diffId: sha256(tar) }], manifest: { config } });
  return { ...image, config: { bytes, digest }, blobs: new Map([...image.blobs, [digest, bytes]]) };
}
