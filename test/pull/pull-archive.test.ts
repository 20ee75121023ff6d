import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PassthroughError } from '../../src/errors.ts';
import { parsePlatform } from '../../src/image/platform.ts';
import { listTar, readAll, sha256 } from '../support/collect.ts';
import { type BuiltImage, compress, makeImage, makeIndex, makeLayer } from '../support/image.ts';
import { noise } from '../support/noise.ts';
import { recordSpans } from '../support/span-recorder.ts';
import { within } from '../support/within.ts';
import { layerAt, type Pulled, type PullingOptions, refusal, startPulling } from './pulling.ts';

const recorder = recordSpans();

const IMAGE = makeImage({
  layers: [
    { tar: makeLayer({ one: noise('one', 100_000) }) },
    { tar: makeLayer({ two: noise('two', 100_000) }), compression: 'zstd' },
  ],
});
const CONFIG = IMAGE.config.digest;
const LAYER = layerAt(IMAGE, 0).digest;

/** An image in `manifest.json` of an archive. */
interface ArchiveManifest {
  readonly Config: string;
  readonly RepoTags: readonly string[];
  readonly Layers: readonly string[];
}

/** The files of an archive by name, and its only image. */
async function contentOf(image: Pulled) {
  const entries = listTar(await readAll(image.bytes()));
  const files = new Map(entries.map(({ name, content }) => [name, content]));
  const [manifest, ...others] = JSON.parse(String(files.get('manifest.json'))) as ArchiveManifest[];
  assert.deepEqual(others, []);
  return { files, ...(manifest ?? assert.fail('manifest.json is empty')) };
}

/** Checks an archive against the image that was pushed. */
async function assertContent(image: Pulled, pushed: BuiltImage): Promise<ArchiveManifest> {
  const { files, ...manifest } = await contentOf(image);
  assert.deepEqual(files.get(manifest.Config), pushed.config.bytes);
  assert.deepEqual(
    manifest.Layers.map((name) => sha256(files.get(name) ?? '')),
    pushed.diffIds,
  );
  return manifest;
}

/** Pulls an image that cannot be pulled; returns the error after checking that nothing is left of the pull. */
async function failing(
  image: BuiltImage,
  options: PullingOptions,
  code: Parameters<typeof refusal>[1],
): Promise<PassthroughError> {
  await using pulling = await startPulling(image, options);
  const error = await refusal(pulling.pull(), code);
  await pulling.assertIdle();
  return error;
}

describe('a pulled archive', () => {
  test('has its announced length, and config and layers as they were pushed', async () => {
    await using pulling = await startPulling(IMAGE);
    const image = await pulling.pull();
    assert.deepEqual([image.digests.manifest, image.digests.config], [IMAGE.manifest.digest, CONFIG]);
    assert.equal((await readAll(image.bytes())).length, image.size);
    const { RepoTags } = await assertContent(image, IMAGE);
    assert.deepEqual(RepoTags, [`${pulling.fake.host}/team/app:1`]);
    image.release();
    image.release();
    await pulling.assertIdle();
  });

  test('gives the same bytes each time it is read, also concurrently', async () => {
    await using pulling = await startPulling(IMAGE);
    const image = await pulling.pull();
    const [first, second] = await Promise.all([readAll(image.bytes()), readAll(image.bytes())]);
    assert.deepEqual(first, second);
    assert.deepEqual(await readAll(image.bytes()), first);
    image.release();
  });

  test('has a layer that occurs twice at both places', async () => {
    const twice = { tar: makeLayer({ twice: 'twice' }) };
    const pushed = makeImage({ layers: [twice, { tar: makeLayer({ once: 'once' }) }, twice] });
    await using pulling = await startPulling(pushed);
    const image = await pulling.pull();
    assert.equal(new Set((await assertContent(image, pushed)).Layers).size, 3);
    image.release();
    await pulling.assertIdle();
  });

  test('can have no layers', async () => {
    const pushed = makeImage({ layers: [] });
    await using pulling = await startPulling(pushed);
    const image = await pulling.pull();
    await assertContent(image, pushed);
    image.release();
  });
});

describe('config and layers', () => {
  test('are requested concurrently', async () => {
    await using pulling = await startPulling(IMAGE, { defects: { stallRequests: { pattern: /blobs/ } } });
    const pulled = pulling.pull();
    await within(pulling.fake.waitForStalled(3), 'config and layers');
    pulling.fake.releaseStalled();
    (await pulled).release();
  });

  for (const [when, pattern] of [
    ['have not answered', /GET .*blobs/],
    ['have sent their first bytes', undefined],
  ] as const) {
    test(`end at once if the config is missing, while the layers ${when}`, async () => {
      const layers = IMAGE.layers.map(({ digest }) => digest);
      const { message } = await failing(
        IMAGE,
        {
          defects: {
            dropBlob: { digest: CONFIG },
            stallBlob: layers.map((digest) => ({ digest, afterBytes: 1_000 })),
            stallRequests: pattern && layers.map((digest) => ({ pattern: new RegExp(`blobs/${digest}`) })),
          },
        },
        'IMAGE_NOT_FOUND',
      );
      assert.match(message, new RegExp(`config "${CONFIG}"`));
    });
  }

  test('end at once if a layer is missing, while the config has not answered', async () => {
    const stallRequests = { pattern: new RegExp(CONFIG) };
    const defects = { dropBlob: { digest: LAYER }, stallRequests };
    const { message } = await failing(IMAGE, { defects }, 'IMAGE_NOT_FOUND');
    assert.match(message, new RegExp(`layer "${LAYER}"`));
  });

  test('end at once if the image is too large', async () => {
    const defects = { stallRequests: { pattern: /blobs/ } };
    await failing(IMAGE, { limits: { compressedBytes: 1 }, defects }, 'IMAGE_TOO_LARGE');
  });

  test('have both ended before a failure is reported', async () => {
    await using pulling = await startPulling(IMAGE, { defects: { dropBlob: { digest: LAYER } } });
    const aborted = Promise.withResolvers<void>();
    const end = Promise.withResolvers<never>();
    pulling.repository.getConfig = async (_, signal) => {
      signal.addEventListener('abort', () => aborted.resolve(), { once: true });
      return await end.promise;
    };
    let isSettled = false;
    const failed = refusal(pulling.pull(), 'IMAGE_NOT_FOUND').finally(() => {
      isSettled = true;
    });
    await within(aborted.promise, 'the abort of the config');
    await within(pulling.fake.waitForNoActiveRequests(), 'the end of all registry requests');
    // All reactions to these events have run after one turn of the event loop.
    await new Promise(setImmediate);
    assert.equal(isSettled, false);
    end.reject(new PassthroughError('ABORTED', 'aborted'));
    await failed;
  });
});

describe('a config is refused', () => {
  const digest = CONFIG;
  const { layers, diffIds } = IMAGE;
  const withDiffIds = (list: unknown) =>
    makeImage({ layers, config: { rootfs: list && { type: 'layers', diff_ids: list } } });
  const size = /Cannot verify config .* bytes/;
  const table: readonly [
    what: string,
    image: BuiltImage,
    options: PullingOptions,
    code: Parameters<typeof refusal>[1],
    message: RegExp,
  ][] = [
    [
      'with other bytes than its digest',
      IMAGE,
      { defects: { wrongBlobDigest: { digest } } },
      'VERIFICATION_FAILED',
      /Cannot verify config/,
    ],
    [
      'with more bytes than its size',
      IMAGE,
      { defects: { wrongBlobSize: { digest, by: 1 } } },
      'VERIFICATION_FAILED',
      size,
    ],
    [
      'with fewer bytes than its size',
      IMAGE,
      { defects: { wrongBlobSize: { digest, by: -1 } } },
      'VERIFICATION_FAILED',
      size,
    ],
    [
      'above the limit',
      IMAGE,
      { defects: { hugeConfig: { bytes: 50_000_000, contentLength: false } } },
      'IMAGE_TOO_LARGE',
      /./,
    ],
    [
      'with diff IDs in another order than the layers',
      withDiffIds(diffIds.toReversed()),
      {},
      'VERIFICATION_FAILED',
      /./,
    ],
    [
      'with fewer diff IDs than layers',
      withDiffIds(diffIds.slice(1)),
      {},
      'UNSUPPORTED_IMAGE',
      /2 layers, rootfs\.diff_ids 1/,
    ],
    ['with malformed diff IDs', withDiffIds(['a', 'b']), {}, 'UNSUPPORTED_IMAGE', /not a digest/],
    ['without diff IDs', withDiffIds(null), {}, 'UNSUPPORTED_IMAGE', /rootfs\.diff_ids 0/],
    ['that is not JSON', withConfig(Buffer.from('{"rootfs"')), {}, 'UNSUPPORTED_IMAGE', /not JSON/],
    ['that is not an object', withConfig(Buffer.from('[]')), {}, 'UNSUPPORTED_IMAGE', /not a JSON object/],
  ];
  for (const [what, image, options, code, message] of table) {
    test(what, async () => assert.match((await failing(image, options, code)).message, message));
  }
});

test('an unknown tag is missing, with the code of the registry', async () => {
  await using pulling = await startPulling(IMAGE);
  const reference = { registryName: pulling.fake.host, repository: 'team/app', tag: 'none' };
  const { message, details } = await refusal(pulling.pull({ reference }), 'IMAGE_NOT_FOUND');
  assert.match(message, /manifest "none"/);
  assert.equal(details.registryCode, 'MANIFEST_UNKNOWN');
});

for (const [what, pattern, count] of [
  ['the manifest', /manifests/, 1],
  ['config and layers', /blobs/, 3],
] as const) {
  test(`the signal ends the pull while it waits for ${what}`, async () => {
    await using pulling = await startPulling(IMAGE, { defects: { stallRequests: { pattern } } });
    const client = new AbortController();
    const reason = new PassthroughError('ABORTED', 'the client has left');
    const rejected = assert.rejects(pulling.pull({}, client.signal), reason);
    await within(pulling.fake.waitForStalled(count), what);
    client.abort(reason);
    await rejected;
    await pulling.assertIdle();
  });
}

describe('a platform that the request names', () => {
  const platform = parsePlatform('linux/amd64');
  const arm64 = makeImage({ platform: { os: 'linux', architecture: 'arm64' }, layers: IMAGE.layers });
  const nameless = makeImage({ layers: IMAGE.layers, config: { os: undefined, architecture: undefined } });
  const amd64Entry = makeIndex([{ image: arm64, platform: { os: 'linux', architecture: 'amd64' } }]);

  for (const [what, pushed, image] of [
    ['is not checked for a config without a platform', nameless, nameless],
    ['is compared with the index entry, not with the config', amd64Entry, arm64],
  ] as const) {
    test(what, async () => {
      await using pulling = await startPulling(pushed);
      const { digests, release } = await pulling.pull({ platform, isPlatformAsked: true });
      assert.deepEqual([digests.manifest, digests.config], [image.manifest.digest, image.config.digest]);
      release();
    });
  }

  test('and the config does not have is refused', async () => {
    await using pulling = await startPulling(arm64);
    const pulled = pulling.pull({ platform, isPlatformAsked: true });
    const { message } = await refusal(pulled, 'PLATFORM_NOT_FOUND');
    assert.match(message, /"linux\/amd64": the image offers linux\/arm64$/);
    await pulling.assertIdle();
  });
});

test('each layer has a span while it is read, with its place in the image', async () => {
  await using pulling = await startPulling(IMAGE);
  const image = await pulling.pull();
  recorder.reset();
  await readAll(image.bytes());
  image.release();
  assert.deepEqual(
    recorder.spans.map(({ name, attributes }) => [name, attributes['oci.layer.index']]),
    [
      ['write_layer_tar_1', 1],
      ['write_layer_tar_2', 2],
    ],
  );
});

/** An image with one layer and these bytes as its config. */
function withConfig(bytes: Buffer): BuiltImage {
  const tar = makeLayer({ a: 'a' });
  const blob = compress(tar, 'gzip');
  const digest = sha256(bytes);
  const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest, size: bytes.length };
  const image = makeImage({ layers: [{ blob, diffId: sha256(tar) }], manifest: { config } });
  return { ...image, config: { bytes, digest }, blobs: new Map([...image.blobs, [digest, bytes]]) };
}
