import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type OciContent, ociLayout } from '../../src/archive/oci-layout.ts';
import { listTar, sha256 } from '../support/collect.ts';
import { parseDigest } from '../support/digest.ts';
import { makeAttestation, makeImage, makeIndex, type Pushable } from '../support/image.ts';
import { type Bytes, documentOf, encode, makeSample, type Sample, toOci } from './inputs.ts';

async function read(contents: readonly OciContent[], ...bytes: readonly Bytes[]) {
  const archive = ociLayout(contents);
  const written = await encode(archive, ...bytes);
  assert.equal(written.length, archive.size);
  const entries = listTar(written);
  const files = new Map(entries.map(({ name, content }) => [name, content]));
  const json = (name: string): unknown => JSON.parse(String(files.get(name) ?? 'null'));
  return {
    archive,
    entries,
    names: entries.map(({ name }) => name),
    blobs: entries.filter(({ name, type }) => name.startsWith('blobs/') && type === 'file'),
    index: json('index.json') as { readonly manifests: readonly Record<string, unknown>[] },
    manifest: json('manifest.json'),
  };
}

const readSamples = (...samples: Sample[]) => read(samples.map(toOci), ...samples.map(({ bytes }) => bytes));
const pathOf = (digest: string) => `blobs/${digest.replace(':', '/')}`;
const annotationsOf = (index: { readonly manifests: readonly Record<string, unknown>[] }) =>
  index.manifests.map(({ annotations }) => Object.values(annotations as object));
const reference = { registryName: 'ghcr.io', repository: 'team/app', tag: '1' };

describe('layout oci', () => {
  test('has folders, blobs by digest, then index.json, manifest.json and oci-layout', async () => {
    const sample = makeSample({ layers: ['base', 'top'] });
    const { image } = sample;
    const { names, entries } = await readSamples(sample);
    const digests = [image.manifest.digest, image.config.digest, ...image.layers.map(({ digest }) => digest)];
    assert.deepEqual(names, [
      'blobs/',
      'blobs/sha256/',
      ...digests.toSorted().map(pathOf),
      'index.json',
      'manifest.json',
      'oci-layout',
    ]);
    assert.equal(String(entries.at(-1)?.content), '{"imageLayoutVersion":"1.0.0"}\n');
    for (const { name, mode, mtime, uid, gid } of entries) {
      const expected = { mode: name.endsWith('/') ? 0o755 : 0o644, mtime: 0, uid: 0, gid: 0 };
      assert.deepEqual({ mode, mtime, uid, gid }, expected);
      assert.doesNotMatch(name, /:/);
    }
  });

  test('has every blob of the registry unchanged', async () => {
    const { blobs } = await readSamples(makeSample({ layers: ['base', 'same', 'same'] }));
    assert.equal(blobs.length, 4);
    for (const { name, content } of blobs) assert.equal(name, pathOf(sha256(content)));
  });

  test('has names for skopeo and containerd, and the platform', async () => {
    const sample = makeSample({
      layers: ['base'],
      platform: { os: 'linux', architecture: 'arm', variant: 'v7' },
    });
    const { index } = await readSamples(sample);
    assert.deepEqual(index, {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: [
        {
          mediaType: sample.image.manifest.mediaType,
          digest: sample.image.manifest.digest,
          size: sample.image.manifest.bytes.length,
          annotations: {
            'io.containerd.image.name': 'docker.io/library/app:1',
            'org.opencontainers.image.ref.name': '1',
          },
          platform: { architecture: 'arm', os: 'linux', variant: 'v7' },
        },
      ],
    });
  });

  test('has the version of Windows, and no platform if the config has none', async () => {
    const sample = makeSample({ layers: [] });
    const { image = assert.fail('no image'), ...content } = toOci(sample);
    const windows = { os: 'windows', architecture: 'amd64', osVersion: '10.0.17763.1' };
    const { platform: _, ...nameless } = image;
    const { index } = await read(
      [
        { ...content, image: { ...image, platform: windows } },
        { ...content, image: nameless },
      ],
      sample.bytes,
    );
    assert.deepEqual(
      index.manifests.map(({ platform }) => platform),
      [{ architecture: 'amd64', os: 'windows', 'os.version': '10.0.17763.1' }, undefined],
    );
  });

  for (const [what, change, name, tag] of [
    ['of another registry', {}, 'ghcr.io/team/app:1', '1'],
    ['of a registry with a port', { registryName: '10.0.0.5:5000' }, '10.0.0.5:5000/team/app:1', '1'],
    ['by tag and digest', { digest: parseDigest(`sha256:${'a'.repeat(64)}`) }, 'ghcr.io/team/app:1', '1'],
    [
      'by digest alone',
      { tag: undefined, digest: parseDigest(`sha256:${'0123456789abcdef'.repeat(4)}`) },
      'ghcr.io/team/app:0123456789ab',
      '0123456789ab',
    ],
  ] as const) {
    test(`names an image ${what} in full and by its tag, like RepoTags`, async () => {
      const sample = makeSample({ layers: [], reference: { ...reference, ...(change as object) } });
      const { index, manifest } = await readSamples(sample);
      assert.deepEqual(annotationsOf(index), [[name, tag]]);
      assert.deepEqual((manifest as { RepoTags: unknown }[])[0]?.RepoTags, [name]);
    });
  }

  test('does not depend on the order of the blobs', async () => {
    const sample = makeSample({ layers: ['base', 'top'] });
    const content = toOci(sample);
    const other = { ...content, blobs: [...content.blobs, ...content.blobs].toReversed() };
    const bytes = await encode(ociLayout([content]), sample.bytes);
    assert.deepEqual(await encode(ociLayout([other]), sample.bytes), bytes);
  });

  test('has a folder for each algorithm', async () => {
    const sample = makeSample({ layers: [] });
    const content = toOci(sample);
    const digest = parseDigest(`sha512:${'0'.repeat(128)}`);
    const blobs = [...content.blobs, { digest, size: 1, bytes: Buffer.from('a') }];
    const { names } = await read([{ ...content, blobs }], sample.bytes);
    assert.deepEqual(names.slice(0, 3), ['blobs/', 'blobs/sha256/', 'blobs/sha512/']);
    assert.ok(names.includes(`blobs/sha512/${'0'.repeat(128)}`));
  });

  test('has the position of each layer', () => {
    const sample = makeSample({ layers: ['base', 'top'] });
    const entries = ociLayout([toOci(sample)]).entries.filter(({ blob }) => blob !== undefined);
    const layers = sample.image.layers.map(({ digest }) => digest);
    assert.deepEqual(
      entries.map(({ blob = '', layer }) => [blob, layer]),
      layers.toSorted().map((digest) => [digest, { image: 0, index: layers.indexOf(digest) }]),
    );
  });
});

describe('manifest.json of layout oci', () => {
  test('describes the image in the format of Docker', async () => {
    const sample = makeSample({ layers: ['base', 'top', 'base'] });
    const { image } = sample;
    const { manifest } = await readSamples(sample);
    const Layers = image.layers.map(({ digest }) => pathOf(digest));
    assert.deepEqual(manifest, [{ Config: pathOf(image.config.digest), RepoTags: ['app:1'], Layers }]);
    assert.equal(Layers[0], Layers[2]);
  });

  test('is left out if there is an artifact', async () => {
    const chart = artifact();
    const sample = makeSample({ layers: ['base'] });
    for (const { names, manifest } of [
      await read([chart.content], chart.bytes),
      await read([toOci(sample), chart.content], sample.bytes, chart.bytes),
    ]) {
      assert.ok(!names.includes('manifest.json'));
      assert.equal(manifest, null);
    }
  });
});

test('an artifact has its own types of config and layers, and no platform', async () => {
  const { content, bytes, image } = artifact();
  const { blobs, index } = await read([content], bytes);
  for (const { name, content } of blobs) assert.equal(name, pathOf(sha256(content)));
  assert.equal(blobs.length, 3);
  assert.deepEqual(index.manifests, [
    {
      mediaType: image.manifest.mediaType,
      digest: image.manifest.digest,
      size: image.manifest.bytes.length,
      annotations: {
        'io.containerd.image.name': 'ghcr.io/team/app:1',
        'org.opencontainers.image.ref.name': '1',
      },
    },
  ]);
});

test('an index is included byte for byte, with everything below it, each blob once', async () => {
  const layer = { tar: Buffer.from('same on both') };
  const images = ['amd64', 'arm64'].map((architecture) =>
    makeImage({ layers: [layer], platform: { os: 'linux', architecture } }),
  );
  const [amd64 = assert.fail('no image')] = images;
  const built = makeIndex([...images.map((image) => ({ image })), makeAttestation(amd64)]);
  const all = everythingBelow(built);
  const content: OciContent = {
    reference,
    manifest: { ...documentOf(built.manifest.bytes), mediaType: built.manifest.mediaType },
    blobs: Array.from(all, ([digest, bytes]) => ({ digest: parseDigest(digest), size: bytes.length })),
  };
  const { blobs, index, names } = await read([content], all);
  // The index, three manifests, three configs, the common layer and the attestation's.
  assert.equal(blobs.length, 9);
  for (const { name, content } of blobs) assert.equal(name, pathOf(sha256(content)));
  assert.deepEqual(
    index.manifests.map(({ mediaType, digest, platform }) => ({ mediaType, digest, platform })),
    [{ mediaType: built.manifest.mediaType, digest: built.manifest.digest, platform: undefined }],
  );
  assert.ok(!names.includes('manifest.json'));
});

describe('several images in one archive of layout oci', () => {
  const named = (repository: string, tag: string, layers: readonly string[]) =>
    makeSample({ layers, reference: { registryName: 'ghcr.io', repository, tag } });

  test('have one descriptor each, in order, and common layers once', async () => {
    const [one, two] = [named('z/one', '1', ['base', 'one']), named('a/two', '2', ['base', 'two'])];
    const { index, manifest, blobs } = await readSamples(one, two);
    assert.equal(blobs.length, 7);
    assert.deepEqual(
      index.manifests.map(({ digest }) => digest),
      [one.image.manifest.digest, two.image.manifest.digest],
    );
    assert.deepEqual(annotationsOf(index), [
      ['ghcr.io/z/one:1', '1'],
      ['ghcr.io/a/two:2', '2'],
    ]);
    assert.deepEqual(
      (manifest as { RepoTags: unknown }[]).map(({ RepoTags }) => RepoTags),
      [['ghcr.io/z/one:1'], ['ghcr.io/a/two:2']],
    );
  });

  test('have their full names if two have the same tag', async () => {
    const { index } = await readSamples(
      named('a', 'latest', ['a']),
      named('b', 'latest', ['b']),
      named('b', '2', ['c']),
    );
    assert.deepEqual(annotationsOf(index), [
      ['ghcr.io/a:latest', 'ghcr.io/a:latest'],
      ['ghcr.io/b:latest', 'ghcr.io/b:latest'],
      ['ghcr.io/b:2', '2'],
    ]);
  });
});

/** A chart in the form of helm. */
function artifact() {
  const chart = Buffer.from('chart');
  const image = makeImage({
    layers: [
      {
        blob: chart,
        diffId: sha256(chart),
        mediaType: 'application/vnd.cncf.helm.chart.content.v1.tar+gzip',
      },
    ],
  });
  const { manifest, blobs } = image;
  const content: OciContent = {
    reference,
    manifest: { ...documentOf(manifest.bytes), mediaType: manifest.mediaType },
    blobs: Array.from(blobs, ([digest, bytes]) => ({ digest: parseDigest(digest), size: bytes.length })),
  };
  return { content, bytes: blobs, image };
}

/** Manifests and blobs of everything below, by digest. */
function everythingBelow({ children = [] }: Pushable): Map<string, Buffer> {
  return new Map(
    children.flatMap((child) => [
      [child.manifest.digest, child.manifest.bytes] as const,
      ...child.blobs,
      ...everythingBelow(child),
    ]),
  );
}
