import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type ImageManifest, type Index, parseManifest } from '../../src/image/manifest.ts';
import { parseDigest } from '../support/digest.ts';
import {
  MEDIA_TYPES,
  makeAttestation,
  makeImage,
  makeIndex,
  makeLayer,
  type Pushable,
} from '../support/image.ts';
import { makeAmbiguousIndex, makeHelmChart, makeSchema1Manifest } from '../support/odd-images.ts';

const { oci, docker } = MEDIA_TYPES;
const DIGEST = parseDigest(`sha256:${'0123456789abcdef'.repeat(4)}`);
const DIGEST_512 = parseDigest(`sha512:${'0123456789abcdef'.repeat(8)}`);

const layers = [{ tar: makeLayer({ 'etc/one': '1' }) }, { tar: makeLayer({ 'etc/two': '2' }) }];
const ociImage = makeImage({ layers });
const armImage = makeImage({ layers, platform: { os: 'linux', architecture: 'arm', variant: 'v7' } });
const dockerImage = makeImage({ layers, mediaTypes: 'docker' });

/** Parts of hand-made documents. */
const CONFIG = { mediaType: oci.config, digest: DIGEST, size: 2 };
const LAYER = { ...CONFIG, mediaType: oci.layer.gzip };
const IMAGE = { schemaVersion: 2, config: CONFIG, layers: [] };
const INDEX = { schemaVersion: 2, manifests: [] };

const parse = ({ manifest }: Pushable, contentType = manifest.mediaType) =>
  parseManifest(manifest.bytes, contentType);
const parseJson = (document: unknown, contentType: string) =>
  parseManifest(Buffer.from(JSON.stringify(document)), contentType);

function asImage(parsed: Index | ImageManifest): ImageManifest {
  return parsed.kind === 'image' ? parsed : assert.fail('it is no image');
}

function asIndex(parsed: Index | ImageManifest): Index {
  return parsed.kind === 'index' ? parsed : assert.fail('it is no index');
}

const unsupported = (why: string) => ({
  name: 'PassthroughError',
  code: 'UNSUPPORTED_IMAGE',
  message: `Cannot use manifest: ${why}`,
});

describe('parseManifest reads', () => {
  for (const [name, image, mediaType, configType] of [
    ['an OCI image', ociImage, oci.manifest, oci.config],
    ['a Docker image', dockerImage, docker.manifest, docker.config],
  ] as const) {
    test(name, () => {
      const { digest, bytes } = image.config;
      assert.deepEqual(parse(image), {
        kind: 'image',
        mediaType,
        config: { mediaType: configType, digest, size: bytes.length },
        layers: image.layers.map(({ mediaType, digest, blob }) => ({ mediaType, digest, size: blob.length })),
      });
    });
  }

  for (const [name, mediaTypes, mediaType] of [
    ['an OCI index', 'oci', oci.index],
    ['a Docker manifest list', 'docker', docker.index],
  ] as const) {
    test(name, () => {
      const descriptor = ({ manifest: { mediaType, digest, bytes } }: Pushable) => ({
        mediaType,
        digest,
        size: bytes.length,
      });
      const entries = [
        { ...descriptor(ociImage), platform: { os: 'linux', architecture: 'amd64' } },
        { ...descriptor(armImage), platform: { os: 'linux', architecture: 'arm', variant: 'v7' } },
      ];
      const index = makeIndex([{ image: ociImage }, { image: armImage }], { mediaTypes });
      assert.deepEqual(parse(index), { kind: 'index', mediaType, entries, all: entries });
    });
  }

  test('empty lists, empty content and sha512 digests', () => {
    assert.deepEqual(asImage(parse(makeImage({ layers: [] }))).layers, []);
    assert.deepEqual(asIndex(parse(makeIndex([]))).entries, []);
    const config = { ...CONFIG, digest: DIGEST_512, size: 0 };
    assert.deepEqual(asImage(parseJson({ ...IMAGE, config }, oci.manifest)).config, config);
  });
});

describe('the media type of a manifest', () => {
  const upper = `${oci.manifest.toUpperCase()}; charset=utf-8`;
  type Row = readonly [from: string, document: object, contentType: string, kind: string, mediaType: string];
  const table: readonly Row[] = [
    ['its field', { ...IMAGE, mediaType: docker.manifest }, oci.index, 'image', docker.manifest],
    ['its field, in capitals', { ...IMAGE, mediaType: upper }, 'text/plain', 'image', oci.manifest],
    ['the header', IMAGE, docker.manifest, 'image', docker.manifest],
    ['the header with parameters', INDEX, `${docker.index}; charset=utf-8`, 'index', docker.index],
    [
      'the header if its field is empty',
      { ...IMAGE, mediaType: '' },
      docker.manifest,
      'image',
      docker.manifest,
    ],
    ['the fields of an image', IMAGE, 'application/json', 'image', oci.manifest],
    ['the fields of an index', INDEX, '', 'index', oci.index],
    ['the fields if its field is no text', { ...INDEX, mediaType: 5 }, 'text/html', 'index', oci.index],
  ];
  for (const [from, document, contentType, kind, mediaType] of table) {
    test(`comes from ${from}`, () => {
      const parsed = parseJson(document, contentType);
      assert.deepEqual([parsed.kind, parsed.mediaType], [kind, mediaType]);
    });
  }

  test('does not decide between the fields of an index and those of an image', () => {
    for (const mediaType of [oci.index, oci.manifest]) {
      for (const field of [undefined, mediaType]) {
        const both = makeAmbiguousIndex(ociImage, armImage, { mediaType, ...(field && { field }) });
        assert.throws(
          () => parse(both),
          unsupported('it has the fields of an index and of an image, so its meaning is ambiguous'),
        );
      }
    }
  });

  test('must match the fields', () => {
    assert.throws(() => parseJson(IMAGE, oci.index), unsupported('manifests is not a list'));
    assert.throws(() => parseJson(INDEX, oci.manifest), unsupported('config.mediaType is missing'));
  });
});

describe('parseManifest refuses', () => {
  const schema1 = 'it is schema 1, which registries and engines have given up; push the image again';
  const artifact = 'it is an artifact, not a container image: its config is';
  const bytesOf = ({ manifest }: Pushable) => manifest.bytes;
  const documents: readonly [name: string, bytes: Uint8Array | string, why: string][] = [
    ['signed schema 1', bytesOf(makeSchema1Manifest({ signed: true })), schema1],
    ['unsigned schema 1', bytesOf(makeSchema1Manifest({ signed: false })), schema1],
    ['an artifact', bytesOf(makeHelmChart()), `${artifact} "application/vnd.cncf.helm.config.v1+json"`],
    [
      'another media type',
      '{"schemaVersion":2,"mediaType":"application/vnd.example+json"}',
      'media type "application/vnd.example+json" is not that of an image',
    ],
    ['an empty document', '', 'it is not JSON'],
    ['HTML', '<html></html>', 'it is not JSON'],
    ['a truncated document', ociImage.manifest.bytes.subarray(0, -1), 'it is not JSON'],
    ['other than UTF-8', Buffer.from('{"schemaVersion":2,"mediaType":"\xff"}', 'latin1'), 'it is not JSON'],
    ['a list', '[]', 'it is not a JSON object'],
    ['null', 'null', 'it is not a JSON object'],
    ['text', '"image"', 'it is not a JSON object'],
    ['no version', '{}', 'schemaVersion is not 2'],
    ['version 3', '{"schemaVersion":3}', 'schemaVersion is not 2'],
    ['a version in quotes', '{"schemaVersion":"2"}', 'schemaVersion is not 2'],
    ['an image without config', '{"schemaVersion":2,"layers":[]}', 'config.mediaType is missing'],
  ];
  for (const [name, bytes, why] of documents) {
    test(name, () => assert.throws(() => parseManifest(Buffer.from(bytes), oci.manifest), unsupported(why)));
  }

  test('a malformed descriptor, with its path', () => {
    const bad = { ...CONFIG, size: -1 };
    const table: readonly [document: unknown, contentType: string, path: string][] = [
      [{ ...IMAGE, config: bad }, oci.manifest, 'config'],
      [{ ...IMAGE, layers: [CONFIG, bad] }, oci.manifest, 'layers[1]'],
      [{ ...INDEX, manifests: [CONFIG, CONFIG, bad] }, oci.index, 'manifests[2]'],
    ];
    for (const [document, contentType, path] of table) {
      const error = unsupported(`${path}.size is not a number of bytes`);
      assert.throws(() => parseJson(document, contentType), error);
    }
  });

  test('other values in place of lists', () => {
    for (const value of [undefined, {}, 'x', 1, null]) {
      const image = { ...IMAGE, layers: value };
      assert.throws(() => parseJson(image, oci.manifest), unsupported('layers is not a list'));
      if (value === undefined) continue;
      const index = { ...INDEX, manifests: value };
      assert.throws(() => parseJson(index, oci.index), unsupported('manifests is not a list'));
    }
  });

  test('layers that are all JSON, as those of attestations, unless artifacts are allowed', () => {
    for (const mediaType of [
      'application/vnd.in-toto+json',
      'application/vnd.in-toto+json; v=1',
      'application/json',
    ]) {
      const image = { ...IMAGE, layers: [{ ...LAYER, mediaType }] };
      const why = `it is an artifact, not a container image: its layers are ${JSON.stringify(mediaType)}`;
      assert.throws(() => parseJson(image, oci.manifest), unsupported(why));
      const bytes = Buffer.from(JSON.stringify(image));
      assert.equal(parseManifest(bytes, oci.manifest, { artifacts: true }).kind, 'artifact');
      const mixed = { ...IMAGE, layers: [LAYER, { ...LAYER, mediaType }] };
      assert.equal(parseJson(mixed, oci.manifest).kind, 'image');
    }
  });

  test('more than 1000 layers', () => {
    const image = (count: number) => ({ ...IMAGE, layers: Array(count).fill(LAYER) });
    assert.equal(asImage(parseJson(image(1000), oci.manifest)).layers.length, 1000);
    assert.throws(() => parseJson(image(1001), oci.manifest), unsupported('it has more than 1000 layers'));
  });
});

describe('an index', () => {
  test('has no entries for attestations, by platform or by annotation', () => {
    const attestation = makeAttestation(ociImage);
    const index = makeIndex([
      attestation,
      { image: ociImage },
      // BuildKit's platform without its annotation, and its annotation with a real platform.
      { image: attestation.image, platform: { os: 'unknown', architecture: 'unknown' } },
      { image: armImage, annotations: { 'vnd.docker.reference.type': 'attestation-manifest' } },
    ]);
    const { entries, all } = asIndex(parse(index));
    assert.deepEqual(
      entries.map(({ digest }) => digest),
      [ociImage.manifest.digest],
    );
    assert.deepEqual(
      all.map(({ digest }) => digest),
      [attestation.image, ociImage, attestation.image, armImage].map(({ manifest }) => manifest.digest),
    );
  });

  test('keeps entries with other annotations', () => {
    const index = makeIndex([{ image: ociImage, annotations: { 'org.example.note': 'x' } }]);
    assert.equal(asIndex(parse(index)).entries.length, 1);
  });

  test('keeps entries without a platform, or with an incomplete one', () => {
    const platforms = [null, {}, { os: 'linux' }, { os: '', architecture: 'arm' }, 'x', 5, []];
    const manifests = platforms.map((platform) => ({ ...CONFIG, mediaType: oci.manifest, platform }));
    const { entries } = asIndex(parseJson({ ...INDEX, manifests }, oci.index));
    assert.equal(entries.length, platforms.length);
    for (const entry of entries) assert.equal('platform' in entry, false);
  });

  for (const [what, given, read] of [
    [
      'drops an empty variant',
      { os: 'linux', architecture: 'arm64', variant: '' },
      { architecture: 'arm64' },
    ],
    [
      'keeps the version of Windows',
      { os: 'windows', architecture: 'amd64', 'os.version': '10.0.17763.6189' },
      { os: 'windows', architecture: 'amd64', osVersion: '10.0.17763.6189' },
    ],
  ] as const) {
    test(what, () => {
      const { entries } = asIndex(parse(makeIndex([{ image: ociImage, platform: given }])));
      assert.deepEqual(entries[0]?.platform, { os: 'linux', ...read });
    });
  }
});

describe('an artifact', () => {
  const parseAny = (document: unknown) =>
    parseManifest(Buffer.from(JSON.stringify(document)), oci.manifest, { artifacts: true });
  const empty = { mediaType: 'application/vnd.oci.empty.v1+json', digest: DIGEST, size: 2 };

  test('is read if artifacts are allowed', () => {
    const chart = JSON.parse(makeHelmChart().manifest.bytes.toString());
    const { config, layers } = chart;
    assert.deepEqual(parseAny(chart), { kind: 'artifact', mediaType: oci.manifest, config, layers });
  });

  test('has the type of its field artifactType', () => {
    const artifactType = 'application/vnd.example.sbom';
    const document = { schemaVersion: 2, artifactType, config: empty, layers: [empty] };
    const { schemaVersion: _, ...fields } = document;
    assert.deepEqual(parseAny(document), { kind: 'artifact', mediaType: oci.manifest, ...fields });
    for (const other of ['', 5, null]) {
      assert.equal('artifactType' in parseAny({ ...document, artifactType: other }), false);
    }
  });

  test('is refused if its parts are malformed', () => {
    assert.throws(() => parseAny({ schemaVersion: 2, config: empty }), unsupported('layers is not a list'));
    assert.throws(
      () => parseAny({ schemaVersion: 2, config: { ...empty, size: -1 }, layers: [] }),
      unsupported('config.size is not a number of bytes'),
    );
  });

  test('is neither an image nor an index: both are read the same if artifacts are allowed', () => {
    for (const { manifest } of [ociImage, dockerImage, makeIndex([{ image: ociImage }])]) {
      assert.deepEqual(
        parseManifest(manifest.bytes, manifest.mediaType, { artifacts: true }),
        parseManifest(manifest.bytes, manifest.mediaType),
      );
    }
  });
});
