import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ErrorCode } from '../../src/errors.ts';
import { isDigest } from '../../src/image/digest.ts';
import { parsePlatform } from '../../src/image/platform.ts';
import { resolveManifest } from '../../src/pull/resolve-manifest.ts';
import {
  MEDIA_TYPES,
  makeAttestation,
  makeImage,
  makeIndex,
  makeLayer,
  type Platform,
  type Pushable,
} from '../support/image.ts';
import {
  makeAmbiguousIndex,
  makeHelmChart,
  makeRawManifest,
  makeSchema1Manifest,
} from '../support/odd-images.ts';
import { within } from '../support/within.ts';
import { NEVER, type PullingOptions, REPOSITORY, refusal, startPulling, TAG } from './pulling.ts';

/** An image that differs from others only in its platform. */
function imageFor(platform: string, mediaTypes: 'oci' | 'docker' = 'oci') {
  const [os = '', architecture = '', variant] = platform.split('/');
  const named: Platform = { os, architecture, ...(variant !== undefined && { variant }) };
  return makeImage({ platform: named, mediaTypes, layers: [{ tar: makeLayer({ platform }) }] });
}

const AMD64 = imageFor('linux/amd64');
const ARM64 = imageFor('linux/arm64');
const ARM_V6 = imageFor('linux/arm/v6');
const ARM_V7 = imageFor('linux/arm/v7');

/** All platforms of an index: its manifests down to a number of levels. */
async function resolveAll(pushed: Pushable) {
  await using pulling = await startPulling(pushed);
  const reference = { registryName: pulling.fake.host, repository: REPOSITORY, tag: TAG };
  const image = { reference, repository: pulling.repository };
  const choice = { platform: 'all', isPlatformAsked: true } as const;
  return await within(
    resolveManifest(image, choice, NEVER, { ...pulling.policy, artifacts: true }),
    'the manifests',
  );
}

interface ResolveOptions extends PullingOptions {
  /** Tag or digest. */
  readonly reference?: string;
  readonly isPlatformAsked?: boolean;
}

/** Resolves the reference; the platform is a default unless `isPlatformAsked`. */
async function resolve(pushed: Pushable, platform: string, options: ResolveOptions = {}) {
  const { reference: name = TAG, isPlatformAsked = false, ...scene } = options;
  await using pulling = await startPulling(pushed, scene);
  const reference = {
    registryName: pulling.fake.host,
    repository: REPOSITORY,
    ...(isDigest(name) ? { digest: name } : { tag: name }),
  };
  const image = { reference, repository: pulling.repository };
  const choice = { platform: parsePlatform(platform), isPlatformAsked };
  return await within(
    resolveManifest(image, choice, NEVER, { ...pulling.policy, artifacts: false }),
    'the manifest',
  );
}

function digestFor(pushed: Pushable, platform: string): Promise<string> {
  return resolve(pushed, platform).then(({ digest }) => digest);
}

/** The message of the error for a tag that cannot be resolved. */
async function fault(pushed: Pushable, platform: string, code: ErrorCode): Promise<string> {
  return (await refusal(resolve(pushed, platform), code)).message;
}

describe('resolveManifest', () => {
  for (const mediaTypes of ['oci', 'docker'] as const) {
    test(`selects the image of the platform in an index with ${mediaTypes} media types`, async () => {
      const images = [imageFor('linux/amd64', mediaTypes), imageFor('linux/arm64', mediaTypes)] as const;
      const index = makeIndex(
        images.map((image) => ({ image })),
        { mediaTypes },
      );
      for (const image of images) {
        const platform = `${image.platform.os}/${image.platform.architecture}`;
        const { digest, manifest, config } = await resolve(index, platform, { isPlatformAsked: true });
        assert.equal(digest, image.manifest.digest);
        assert.ok(manifest.kind === 'image');
        assert.equal(manifest.config.digest, image.config.digest);
        assert.deepEqual(
          manifest.layers.map((layer) => layer.digest),
          image.layers.map((layer) => layer.digest),
        );
        assert.equal(config, undefined, 'the index names the platform');
      }
    });

    test(`accepts an image without index with ${mediaTypes} media types for any default platform`, async () => {
      const image = imageFor('linux/amd64', mediaTypes);
      const { digest, config } = await resolve(image, 'linux/s390x');
      assert.equal(digest, image.manifest.digest);
      assert.equal(config, undefined, 'the config is not read');
    });
  }

  test('resolves a digest', async () => {
    const index = makeIndex([{ image: AMD64 }, { image: ARM64 }]);
    const { digest } = await resolve(index, 'linux/amd64', { reference: ARM64.manifest.digest });
    assert.equal(digest, ARM64.manifest.digest);
  });

  test('follows an index in an index', async () => {
    const inner = makeIndex([{ image: AMD64 }, { image: ARM64 }]);
    assert.equal(await digestFor(makeIndex([{ image: inner }]), 'linux/arm64'), ARM64.manifest.digest);
  });

  test('follows three nested indexes and refuses a fourth', async () => {
    let pushed: Pushable = AMD64;
    for (let depth = 1; depth <= 3; depth += 1) pushed = makeIndex([{ image: pushed }]);
    assert.equal(await digestFor(pushed, 'linux/amd64'), AMD64.manifest.digest);
    const deeper = makeIndex([{ image: pushed }]);
    assert.match(await fault(deeper, 'linux/amd64', 'UNSUPPORTED_IMAGE'), /indexes lie in each other/);
  });

  test('skips attestations, also if they are first', async () => {
    const index = makeIndex([makeAttestation(AMD64), { image: AMD64 }]);
    assert.equal(await digestFor(index, 'linux/amd64'), AMD64.manifest.digest);
  });

  test('does not list attestations among the platforms', async () => {
    const index = makeIndex([{ image: AMD64 }, makeAttestation(AMD64)]);
    const message = await fault(index, 'linux/riscv64', 'PLATFORM_NOT_FOUND');
    assert.match(message, /"linux\/riscv64"/);
    assert.match(message, /offers linux\/amd64$/);
  });

  test('lists each platform once', async () => {
    const index = makeIndex([
      { image: AMD64 },
      { image: ARM_V7 },
      { image: ARM64 },
      { image: makeImage({ layers: [] }) },
    ]);
    const message = await fault(index, 'windows/amd64', 'PLATFORM_NOT_FOUND');
    assert.match(message, /offers linux\/amd64, linux\/arm\/v7, linux\/arm64$/);
  });

  test('lists no platform of an empty index', async () => {
    assert.match(await fault(makeIndex([]), 'linux/amd64', 'PLATFORM_NOT_FOUND'), /offers none$/);
  });

  test('accepts the only entry of an index, without a platform, for any default platform', async () => {
    const index = makeIndex([{ image: AMD64, platform: null }]);
    assert.equal(await digestFor(index, 'linux/arm64'), AMD64.manifest.digest);
  });

  const withoutPlatform: readonly [what: string, pushed: Pushable][] = [
    ['an image without index', AMD64],
    ['the only entry of an index, without a platform,', makeIndex([{ image: AMD64, platform: null }])],
  ];
  for (const [what, pushed] of withoutPlatform) {
    test(`checks ${what} by its config if the request names a platform`, async () => {
      const { config } = await resolve(pushed, 'linux/amd64', { isPlatformAsked: true });
      assert.equal(config?.digest, AMD64.config.digest);
      const refused = resolve(pushed, 'linux/arm64', { isPlatformAsked: true });
      const { message } = await refusal(refused, 'PLATFORM_NOT_FOUND');
      assert.match(message, /"linux\/arm64": the image offers linux\/amd64$/);
    });
  }

  test('prefers an entry with the platform to one without a platform', async () => {
    const index = makeIndex([{ image: AMD64, platform: null }, { image: ARM64 }]);
    assert.equal(await digestFor(index, 'linux/arm64'), ARM64.manifest.digest);
  });

  test('refuses to choose between entries without a platform', async () => {
    const index = makeIndex([
      { image: AMD64, platform: null },
      { image: ARM64, platform: null },
    ]);
    await fault(index, 'linux/amd64', 'PLATFORM_NOT_FOUND');
  });

  const variants: readonly [wanted: string, chosen: Pushable | undefined][] = [
    ['linux/arm/v7', ARM_V7],
    ['linux/arm', ARM_V7],
    ['linux/arm/v8', ARM_V7],
    ['linux/arm/v5', undefined],
  ];
  for (const [wanted, chosen] of variants) {
    test(`selects ${chosen?.platform?.variant ?? 'nothing'} for ${wanted} among v6 and v7`, async () => {
      const index = makeIndex([{ image: ARM_V6 }, { image: ARM_V7 }]);
      if (chosen === undefined) await fault(index, wanted, 'PLATFORM_NOT_FOUND');
      else assert.equal(await digestFor(index, wanted), chosen.manifest.digest);
    });
  }

  test('selects the first of equal entries', async () => {
    const first = makeImage({ layers: [{ tar: makeLayer({ which: 'first' }) }] });
    const second = makeImage({ layers: [{ tar: makeLayer({ which: 'second' }) }] });
    const index = makeIndex([{ image: first }, { image: second }]);
    assert.equal(await digestFor(index, 'linux/amd64'), first.manifest.digest);
  });

  const odd: readonly [what: string, pushed: Pushable, why: RegExp][] = [
    ['signed schema 1', makeSchema1Manifest(), /schema 1/],
    ['a Helm chart', makeHelmChart(), /artifact.*helm/],
    ['a document that is both index and image', makeAmbiguousIndex(AMD64, ARM64), /ambiguous/],
    ['a document that is not JSON', makeRawManifest(MEDIA_TYPES.oci.manifest, Buffer.from('<html>')), /JSON/],
  ];
  for (const [what, pushed, why] of odd) {
    test(`refuses ${what} with the reason`, async () => {
      assert.match(await fault(pushed, 'linux/amd64', 'UNSUPPORTED_IMAGE'), why);
    });
  }

  test('refuses an entry with other bytes than its digest', async () => {
    const refused = resolve(makeIndex([{ image: AMD64 }]), 'linux/amd64', {
      defects: { wrongManifestDigest: true },
    });
    await refusal(refused, 'VERIFICATION_FAILED');
  });
});

describe('all platforms of an index', () => {
  test('are its manifests, attestations and nested indexes included, each once', async () => {
    const inner = makeIndex([{ image: ARM_V6 }, { image: AMD64 }]);
    const { manifest, children } = await resolveAll(
      makeIndex([{ image: AMD64 }, { image: ARM64 }, { image: inner }]),
    );
    assert.equal(manifest.kind, 'index');
    assert.deepEqual(
      children.map(({ digest }) => digest),
      [AMD64, ARM64, inner, ARM_V6].map((child) => child.manifest.digest),
    );
  });

  test('are at most 200 manifests', async () => {
    const images = Array.from({ length: 201 }, (_, index) => ({
      image: makeImage({ layers: [], config: { variant: `v${index}` } }),
    }));
    assert.equal((await resolveAll(makeIndex(images.slice(1)))).children.length, 200);
    const { message } = await refusal(resolveAll(makeIndex(images)), 'UNSUPPORTED_IMAGE');
    assert.match(message, /more than 200 manifests lie below it$/);
  });
});
