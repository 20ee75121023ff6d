/** Documents that are too large for memory: they lie in files, and archives have the same bytes. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { IMAGE_LAYOUTS } from '../../../src/archive/archive.ts';
import { legacySettings } from '../../../src/archive/docker-layout.ts';
import { digestHex } from '../../../src/image/digest.ts';
import { listTar, readAll } from '../../support/collect.ts';
import type { Defects } from '../../support/defects.ts';
import { parseDigest } from '../../support/digest.ts';
import { type BuiltImage, builtManifest, makeImage, makeIndex, makeLayer } from '../../support/image.ts';
import { noise } from '../../support/noise.ts';
import { type PullingOptions, startPulling, TAG } from '../pulling.ts';

const LAYERS = [{ tar: makeLayer({ 'etc/motd': 'hello\n' }) }];
const PADDING = noise('padding', 100_000).toString('base64');

/** The same image with a larger manifest. */
function withPadding(image: BuiltImage): BuiltImage {
  const document = JSON.parse(image.manifest.bytes.toString());
  const manifest = builtManifest(image.manifest.mediaType, {
    ...document,
    annotations: { padding: PADDING },
  });
  return { ...image, manifest };
}

const HISTORY = makeImage({ layers: LAYERS, config: { history: [{ created_by: PADDING }] } });
const SETTINGS = makeImage({ layers: LAYERS, config: { config: { Labels: { padding: PADDING } } } });

const images: readonly [what: string, image: BuiltImage][] = [
  ['a large manifest', withPadding(makeImage({ layers: LAYERS }))],
  ['a config with a large history', HISTORY],
  ['a config with large settings', SETTINGS],
  ['a large manifest and a large config', withPadding(SETTINGS)],
];

describe('an archive of an image with', () => {
  for (const [what, image] of images) {
    for (const layout of IMAGE_LAYOUTS) {
      test(`${what} has its documents byte for byte, in layout ${layout}`, async () => {
        await using pulling = await startPulling(image);
        const pulled = await pulling.pull({ layout });
        const bytes = await readAll(pulled.bytes());
        assert.equal(bytes.length, pulled.size);
        const entries = listTar(bytes);
        const config = entries.find(({ name }) => name.includes(digestHex(parseDigest(image.config.digest))));
        assert.deepEqual(config?.content, image.config.bytes);
        const manifest = entries.find(({ content }) => content.equals(image.manifest.bytes));
        assert.equal(manifest !== undefined, layout === 'oci');
        if (layout === 'docker') {
          const json = entries.find(({ name }) => name.endsWith('/json'))?.content.toString() ?? '';
          assert.ok(json.endsWith(legacySettings(image.config.bytes).toString()));
          assert.match(JSON.parse(json).id, /^[0-9a-f]{64}$/);
        }
        pulled.release();
        await pulling.assertIdle();
      });
    }
  }

  test('large documents below an index holds them all', async () => {
    const below = [withPadding(HISTORY), withPadding(SETTINGS)];
    const index = makeIndex(
      below.map((image, at) => ({ image, platform: { os: 'linux', architecture: `a${at}` } })),
    );
    await using pulling = await startPulling(index);
    const pulled = await pulling.pull({ layout: 'oci', platform: 'all', isPlatformAsked: true });
    const contents = listTar(await readAll(pulled.bytes())).map(({ content }) => content);
    for (const { manifest, config } of below)
      for (const { bytes } of [manifest, config])
        assert.ok(contents.some((content) => content.equals(bytes)));
    pulled.release();
    await pulling.assertIdle();
  });
});

describe('nothing is held after', () => {
  const image = withPadding(SETTINGS);
  const { digest } = image.config;
  const faults: readonly [
    what: string,
    options: PullingOptions | { readonly defects: Defects },
    code: string,
  ][] = [
    [
      'a manifest that breaks off',
      { defects: { truncateManifest: { afterBytes: 90_000 } } },
      'REGISTRY_UNREACHABLE',
    ],
    [
      'a manifest with another digest',
      { defects: { wrongManifestDigest: { reference: TAG } } },
      'VERIFICATION_FAILED',
    ],
    [
      'a config that breaks off',
      { defects: { truncateBlob: { digest, afterBytes: 90_000 } } },
      'REGISTRY_UNREACHABLE',
    ],
    ['a config with another digest', { defects: { wrongBlobDigest: { digest } } }, 'VERIFICATION_FAILED'],
    [
      'a missing layer',
      { defects: { dropBlob: { digest: image.layers[0]?.digest ?? '' } } },
      'IMAGE_NOT_FOUND',
    ],
    ['too little memory for the manifest', { bufferedBytes: 100_000 }, 'IMAGE_TOO_LARGE'],
    ['too little memory for the settings', { bufferedBytes: 200_000 }, 'IMAGE_TOO_LARGE'],
    ['a full disk', { tamperDraft: () => ({ write: () => Promise.reject(new Error('disk')) }) }, ''],
  ];
  for (const [what, options, code] of faults) {
    test(what, async () => {
      await using pulling = await startPulling(image, options);
      await assert.rejects(
        pulling.pull({ platform: { os: 'linux', architecture: 'amd64' }, isPlatformAsked: true }),
        (error) => {
          if (code !== '') assert.equal((error as { code?: string }).code, code, String(error));
          return true;
        },
      );
      await pulling.assertIdle();
    });
  }

  for (const step of ['manifests', 'blobs']) {
    test(`a client that leaves while ${step} come`, async () => {
      await using pulling = await startPulling(image, {
        defects: { stallRequests: { pattern: new RegExp(step) } },
      });
      const leave = new AbortController();
      const pull = pulling.pull({}, leave.signal);
      await pulling.fake.waitForStalled();
      leave.abort(new Error('left'));
      await assert.rejects(pull);
      await pulling.assertIdle();
    });
  }
});
