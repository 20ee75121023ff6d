import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type ArchiveIdentity, archiveIdentity, planArchive } from '../../src/archive/archive.ts';
import { dockerGzipLayout } from '../../src/archive/docker-gzip-layout.ts';
import { dockerLayout } from '../../src/archive/docker-layout.ts';
import { ociLayout } from '../../src/archive/oci-layout.ts';
import type { Digest } from '../../src/image/digest.ts';
import { parseDigest } from '../support/digest.ts';
import { encode, makeSample, type Sample, toOci } from './inputs.ts';

const digestOf = (digit: string) => parseDigest(`sha256:${digit.repeat(64)}`);
const MIB = 1024 ** 2;
const FOREIGN = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip';

/** So few values that two draws are often equal. */
const sample: fc.Arbitrary<Sample> = fc
  .record({
    layers: fc.array(fc.constantFrom('', 'a', 'b', 'x'.repeat(512)), { maxLength: 2 }),
    tag: fc.constantFrom('1', '2', '0'.repeat(12), undefined),
    digest: fc.constantFrom(digestOf('0'), undefined),
    repository: fc.constantFrom('library/app', 'team/app'),
    registryName: fc.constantFrom('docker.io', 'ghcr.io'),
    config: fc.constantFrom({}, { author: 'a' }, { os: undefined }),
    compression: fc.constantFrom('gzip', 'none'),
    isForeign: fc.boolean(),
  })
  .map(({ layers, config, tag, digest, compression, isForeign, ...names }) =>
    makeSample({
      layers,
      config,
      compression,
      descriptors: isForeign ? { a: { mediaType: FOREIGN, urls: ['https://example.com/a'] } } : {},
      // An undefined field overrides the default, so there are references with a digest alone.
      reference: { ...names, ...({ tag, digest } as object) },
    }),
  );
const bundle = fc.array(sample, { minLength: 1, maxLength: 2 });

/** An image whose base has its lowest layer, if that is `a`. */
function withoutLowest({ input }: Sample): Sample['input'] & { readonly base: Digest } {
  const isShared = (index: number, size: number) => index === 0 && size === 1;
  const layers = input.layers.map((layer, index) => ({ ...layer, isLeftOut: isShared(index, layer.size) }));
  return { ...input, layers, base: digestOf('b') };
}

const layouts = {
  docker: (samples: readonly Sample[]) => dockerLayout(samples.map(({ input }) => input)),
  'docker-gzip': (samples: readonly Sample[]) =>
    dockerGzipLayout(
      samples.map(({ input }) => input),
      { foreignLayers: 'fetched' },
    ),
  'docker-gzip without foreign layers': (samples: readonly Sample[]) =>
    dockerGzipLayout(
      samples.map(({ input }) => input),
      { foreignLayers: 'left out' },
    ),
  oci: (samples: readonly Sample[]) => ociLayout(samples.map(toOci)),
  'docker without the lowest layer': (samples: readonly Sample[]) =>
    dockerLayout(samples.map((one) => withoutLowest(one))),
  'docker-gzip without the lowest layer': (samples: readonly Sample[]) =>
    dockerGzipLayout(
      samples.map((one) => withoutLowest(one)),
      { foreignLayers: 'fetched' },
    ),
} as const;

describe('archives of equal entity tags have equal bytes', () => {
  for (const [name, layout] of Object.entries(layouts)) {
    test(`in layout ${name}`, async () => {
      const seen = new Map<string, Buffer>();
      let repeats = 0;
      await fc.assert(
        fc.asyncProperty(bundle, async (samples) => {
          const archive = layout(samples);
          const bytes = await encode(archive, ...samples.map((one) => one.bytes));
          assert.equal(bytes.length, archive.size);
          const before = seen.get(archive.etag);
          if (before !== undefined) {
            repeats += 1;
            assert.ok(before.equals(bytes));
          }
          seen.set(archive.etag, bytes);
        }),
        { numRuns: 500 },
      );
      assert.ok(repeats > 10 && seen.size > 10, `${repeats} repeats of ${seen.size}`);
    });
  }

  test('and different layouts have different tags', () => {
    fc.assert(
      fc.property(sample, (one) => {
        const tags = Object.values(layouts).map((layout) => layout([one]).etag);
        assert.equal(new Set(tags).size, tags.length);
      }),
      { numRuns: 50 },
    );
  });
});

describe('the entity tag of an archive', () => {
  const { input } = makeSample({ layers: ['one', 'two'] });
  const { reference, manifest } = input;
  const image = { reference, manifest };
  const identity: ArchiveIdentity = { layout: 'docker', images: [image] };

  test('is the same from the manifests alone and from the planned archive', () => {
    assert.equal(archiveIdentity(identity), dockerLayout([input]).etag);
    assert.equal(
      archiveIdentity({ layout: 'docker-gzip', foreignLayers: 'left out', images: [image, image] }),
      dockerGzipLayout([input, input], { foreignLayers: 'left out' }).etag,
    );
    const sample = makeSample({ layers: ['one', 'two'] });
    assert.equal(archiveIdentity({ layout: 'oci', images: [image] }), ociLayout([toOci(sample)]).etag);
  });

  const named = (change: object): ArchiveIdentity => ({
    ...identity,
    images: [{ ...image, reference: { ...reference, ...change } }],
  });
  const changes: Readonly<Record<string, ArchiveIdentity>> = {
    layout: { ...identity, layout: 'oci' },
    'treatment of foreign layers': { ...identity, foreignLayers: 'left out' },
    tag: named({ tag: '2' }),
    repository: named({ repository: 'library/other' }),
    'registry name': named({ registryName: 'ghcr.io' }),
    // RepoTags of both are equal, but not their annotations in layout oci.
    'registry name that looks like a repository': named({ repository: 'ghcr.io/library/app' }),
    manifest: { ...identity, images: [{ ...image, manifest: { ...manifest, digest: digestOf('1') } }] },
    'media type': {
      ...identity,
      images: [{ ...image, manifest: { ...manifest, mediaType: 'application/json' } }],
    },
    'number of images': { ...identity, images: [image, image] },
    base: { ...identity, images: [{ ...image, base: digestOf('1') }] },
  };
  for (const [what, changed] of Object.entries(changes)) {
    test(`changes with the ${what}`, () => {
      assert.notEqual(archiveIdentity(changed), archiveIdentity(identity));
    });
  }

  test('changes with the base, and with the image that has it', () => {
    const [first, second] = [digestOf('1'), digestOf('2')].map((base) => ({ ...image, base }));
    const tags = [[first], [second], [first, image], [image, first], [first, second]].map((images) =>
      archiveIdentity({ ...identity, images: images.flatMap((one) => one ?? []) }),
    );
    assert.equal(new Set(tags).size, tags.length);
  });

  test('changes with the order of the images', () => {
    const other = { ...image, reference: { ...reference, tag: '2' } };
    assert.notEqual(
      archiveIdentity({ ...identity, images: [image, other] }),
      archiveIdentity({ ...identity, images: [other, image] }),
    );
  });

  test('is the same for a digest and for the tag that is made from it', () => {
    const { tag: _, ...untagged } = reference;
    const byDigest = { ...image, reference: { ...untagged, digest: digestOf('a') } };
    assert.equal(
      archiveIdentity({ ...identity, images: [byDigest] }),
      archiveIdentity(named({ tag: 'a'.repeat(12) })),
    );
  });

  test('is strong and in quotes', () => {
    assert.match(archiveIdentity(identity), /^"[0-9a-f]{64}"$/);
  });

  test('of a known archive changes only with LAYOUT_REVISION', () => {
    // Computed independently: sha256 over the JSON of revision, layout, foreign layers and images.
    const known: ArchiveIdentity = {
      layout: 'docker',
      images: [{ reference, manifest: { digest: digestOf('0'), mediaType: 'm' } }],
    };
    assert.equal(
      archiveIdentity(known),
      '"647bdd08c6f4f008c1e3c9763b58ce223dd3f65aa15d4ba13021c5b9147c91ba"',
    );
  });
});

describe('the size of an archive', () => {
  test('may be larger than the memory', () => {
    const { input } = makeSample({ layers: ['x'.repeat(512)] });
    const small = dockerLayout([input]).size;
    const layers = input.layers.map((layer) => ({ ...layer, size: layer.size + 20_000 * MIB }));
    // No other entry contains the size of the layer, so nothing else grows.
    assert.equal(dockerLayout([{ ...input, layers }]).size, small + 20_000 * MIB);
  });

  test('is that of a tar with the entries', () => {
    const { etag: _, ...plan } = planArchive([{ name: 'a', type: 'file', size: 513 }], {
      layout: 'oci',
      images: [],
    });
    assert.deepEqual(plan, { entries: [{ name: 'a', type: 'file', size: 513 }], size: 512 + 1_024 + 1_024 });
  });
});
