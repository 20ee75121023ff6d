import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseDigest } from '../../src/image/digest.ts';
import { type ImageManifest, type Index, parseManifest } from '../../src/image/manifest.ts';
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

const parse = ({ manifest }: Pushable, contentType = manifest.mediaType) =>
  parseManifest(manifest.bytes, contentType);
const parseJson = (document: unknown, contentType: string) =>
  parseManifest(Buffer.from(JSON.stringify(document)), contentType);

function asImage(parsed: Index | ImageManifest): ImageManifest {
  assert.equal(parsed.kind, 'image');
  return parsed as ImageManifest;
}

function asIndex(parsed: Index | ImageManifest): Index {
  assert.equal(parsed.kind, 'index');
  return parsed as Index;
}

const unsupported = (why: string) => ({
  name: 'PassthroughError',
  code: 'UNSUPPORTED_IMAGE',
  message: `Cannot use manifest: ${why}`,
});

describe('a manifest of each kind is read', () => {
  for (const [name, image, mediaType, configType] of [
    ['OCI', ociImage, oci.manifest, oci.config],
    ['Docker', dockerImage, docker.manifest, docker.config],
  ] as const) {
    test(`${name} image`, () => {
      assert.deepEqual(parse(image), {
        kind: 'image',
        mediaType,
        config: {
          mediaType: configType,
          digest: image.config.digest,
          size: image.config.bytes.length,
        },
        layers: image.layers.map(({ mediaType, digest, blob }) => ({ mediaType, digest, size: blob.length })),
      });
    });
  }

  for (const [name, mediaTypes, mediaType] of [
    ['OCI index', 'oci', oci.index],
    ['Docker manifest list', 'docker', docker.index],
  ] as const) {
    test(name, () => {
      const descriptor = ({ manifest }: Pushable) => ({
        mediaType: manifest.mediaType,
        digest: manifest.digest,
        size: manifest.bytes.length,
      });
      const entries = [
        { ...descriptor(ociImage), platform: { os: 'linux', architecture: 'amd64' } },
        { ...descriptor(armImage), platform: { os: 'linux', architecture: 'arm', variant: 'v7' } },
      ];
      const index = makeIndex([{ image: ociImage }, { image: armImage }], { mediaTypes });
      assert.deepEqual(parse(index), { kind: 'index', mediaType, entries, all: entries });
    });
  }

  test('without layers', () => {
    assert.deepEqual(asImage(parse(makeImage({ layers: [] }))).layers, []);
  });

  test('without entries', () => {
    assert.deepEqual(asIndex(parse(makeIndex([]))).entries, []);
  });

  test('with content of no bytes', () => {
    const { config } = asImage(
      parseJson(
        { schemaVersion: 2, config: { mediaType: oci.config, digest: DIGEST, size: 0 }, layers: [] },
        oci.manifest,
      ),
    );
    assert.equal(config.size, 0);
  });

  test('with sha512 digests', () => {
    const document = {
      schemaVersion: 2,
      mediaType: oci.manifest,
      config: { mediaType: oci.config, digest: DIGEST_512, size: 2 },
      layers: [],
    };
    assert.equal(asImage(parseJson(document, oci.manifest)).config.digest, DIGEST_512);
  });
});

describe('what a document is', () => {
  const config = { mediaType: oci.config, digest: DIGEST, size: 2 };
  const image = { schemaVersion: 2, config, layers: [] };
  const index = { schemaVersion: 2, manifests: [] };

  const table: readonly [
    how: string,
    document: object,
    contentType: string,
    kind: string,
    mediaType: string,
  ][] = [
    [
      'its own media type says, whatever the header says',
      { ...image, mediaType: docker.manifest },
      oci.index,
      'image',
      docker.manifest,
    ],
    [
      'in any case and with parameters',
      { ...image, mediaType: `${oci.manifest.toUpperCase()}; charset=utf-8` },
      'text/plain',
      'image',
      oci.manifest,
    ],
    ['else the header', image, docker.manifest, 'image', docker.manifest],
    ['with parameters too', index, `${docker.index}; charset=utf-8`, 'index', docker.index],
    ['else its shape: an image', image, 'application/json', 'image', oci.manifest],
    ['or an index', index, '', 'index', oci.index],
    ['its own being no text', { ...index, mediaType: 5 }, 'text/html', 'index', oci.index],
    ['its own being empty', { ...image, mediaType: '' }, docker.manifest, 'image', docker.manifest],
  ];
  for (const [how, document, contentType, kind, mediaType] of table) {
    test(how, () => {
      const parsed = parseJson(document, contentType);
      assert.deepEqual([parsed.kind, parsed.mediaType], [kind, mediaType]);
    });
  }

  test('cannot be decided when it is both: the header does not decide, nor does it itself', () => {
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

  test('is not what a header says when the fields are those of the other', () => {
    assert.throws(() => parseJson(image, oci.index), unsupported('manifests is not a list'));
    assert.throws(() => parseJson(index, oci.manifest), unsupported('config.mediaType is missing'));
  });
});

describe('a manifest is refused', () => {
  for (const signed of [true, false]) {
    test(`of schema 1, by its name, ${signed ? 'signed' : 'unsigned'}`, () => {
      assert.throws(
        () => parse(makeSchema1Manifest({ signed })),
        unsupported('it is schema 1, which registries and engines have given up; push the image again'),
      );
    });
  }

  test('of an artifact, with what it is', () => {
    assert.throws(
      () => parse(makeHelmChart()),
      unsupported(
        'it is an artifact, not a container image: its config is "application/vnd.cncf.helm.config.v1+json"',
      ),
    );
  });

  test('of any other media type', () => {
    const document = { schemaVersion: 2, mediaType: 'application/vnd.example+json' };
    assert.throws(
      () => parseJson(document, oci.manifest),
      unsupported('media type "application/vnd.example+json" is not that of an image'),
    );
  });

  const documents: readonly [name: string, bytes: Uint8Array, why: string][] = [
    ['that is empty', Buffer.alloc(0), 'it is not JSON'],
    ['that is HTML', Buffer.from('<html></html>'), 'it is not JSON'],
    ['that is cut', ociImage.manifest.bytes.subarray(0, -1), 'it is not JSON'],
    ['that is not UTF-8', Buffer.from('{"schemaVersion":2,"mediaType":"\xff"}', 'latin1'), 'it is not JSON'],
    ['that is a list', Buffer.from('[]'), 'it is not a JSON object'],
    ['that is null', Buffer.from('null'), 'it is not a JSON object'],
    ['that is text', Buffer.from('"image"'), 'it is not a JSON object'],
    ['that has no version', Buffer.from('{}'), 'schemaVersion is not 2'],
    ['of a version to come', Buffer.from('{"schemaVersion":3}'), 'schemaVersion is not 2'],
    ['of a version in quotes', Buffer.from('{"schemaVersion":"2"}'), 'schemaVersion is not 2'],
    ['without config', Buffer.from('{"schemaVersion":2,"layers":[]}'), 'config.mediaType is missing'],
  ];
  for (const [name, bytes, why] of documents) {
    test(name, () => assert.throws(() => parseManifest(bytes, oci.manifest), unsupported(why)));
  }

  const good = { mediaType: oci.config, digest: DIGEST, size: 2 };

  test('with a descriptor that is none, by its place', () => {
    const image = { schemaVersion: 2, config: good, layers: [good, good] };
    const bad = { ...good, size: -1 };
    const table: readonly [document: unknown, contentType: string, place: string][] = [
      [{ ...image, config: bad }, oci.manifest, 'config'],
      [{ ...image, layers: [good, bad] }, oci.manifest, 'layers[1]'],
      [{ schemaVersion: 2, manifests: [good, good, bad] }, oci.index, 'manifests[2]'],
    ];
    for (const [document, contentType, place] of table) {
      const error = unsupported(`${place}.size is not a number of bytes`);
      assert.throws(() => parseJson(document, contentType), error);
    }
  });

  test('whose lists are none', () => {
    const image = { schemaVersion: 2, config: good };
    for (const value of [undefined, {}, 'x', 1, null]) {
      assert.throws(
        () => parseJson({ ...image, layers: value }, oci.manifest),
        unsupported('layers is not a list'),
      );
    }
    for (const value of [{}, 'x', 1, null]) {
      assert.throws(
        () => parseJson({ schemaVersion: 2, manifests: value }, oci.index),
        unsupported('manifests is not a list'),
      );
    }
  });

  test('with more layers than any engine takes', () => {
    const image = (count: number) => ({ schemaVersion: 2, config: good, layers: Array(count).fill(good) });
    assert.equal(asImage(parseJson(image(1000), oci.manifest)).layers.length, 1000);
    assert.throws(() => parseJson(image(1001), oci.manifest), unsupported('it has more than 1000 layers'));
  });
});

describe('an index', () => {
  test('leaves out attestations, by platform and by annotation', () => {
    const attestation = makeAttestation(ociImage);
    const index = makeIndex([
      attestation,
      { image: ociImage },
      // BuildKit's platform with no annotation, and its annotation with a real platform.
      { image: attestation.image, platform: { os: 'unknown', architecture: 'unknown' } },
      { image: armImage, annotations: { 'vnd.docker.reference.type': 'attestation-manifest' } },
    ]);
    assert.deepEqual(
      asIndex(parse(index)).entries.map(({ digest }) => digest),
      [ociImage.manifest.digest],
    );
    assert.deepEqual(
      asIndex(parse(index)).all.map(({ digest }) => digest),
      [attestation.image, ociImage, attestation.image, armImage].map(({ manifest }) => manifest.digest),
    );
  });

  test('keeps entries that have other annotations', () => {
    const index = makeIndex([{ image: ociImage, annotations: { 'org.example.note': 'x' } }]);
    assert.equal(asIndex(parse(index)).entries.length, 1);
  });

  test('keeps entries that name no platform, or half of one, as such', () => {
    const platforms: readonly unknown[] = [
      null,
      {},
      { os: 'linux' },
      { os: '', architecture: 'arm' },
      'x',
      5,
      [],
    ];
    const manifests = platforms.map((platform) => ({
      mediaType: oci.manifest,
      digest: DIGEST,
      size: 2,
      platform,
    }));
    const { entries } = asIndex(parseJson({ schemaVersion: 2, manifests }, oci.index));
    assert.equal(entries.length, platforms.length);
    for (const entry of entries) assert.equal('platform' in entry, false);
  });

  test('reads an empty variant as none', () => {
    const index = makeIndex([
      { image: ociImage, platform: { os: 'linux', architecture: 'arm64', variant: '' } },
    ]);
    assert.deepEqual(asIndex(parse(index)).entries[0]?.platform, { os: 'linux', architecture: 'arm64' });
  });
});

test('an index keeps the version of Windows', () => {
  const platform = { os: 'windows', architecture: 'amd64', 'os.version': '10.0.17763.6189' };
  const { entries } = asIndex(parse(makeIndex([{ image: ociImage, platform }])));
  assert.deepEqual(entries[0]?.platform, {
    os: 'windows',
    architecture: 'amd64',
    osVersion: '10.0.17763.6189',
  });
});

describe('an artifact', () => {
  const chart = makeHelmChart();
  const parseAny = (document: unknown) =>
    parseManifest(Buffer.from(JSON.stringify(document)), oci.manifest, { artifacts: true });
  const empty = { mediaType: 'application/vnd.oci.empty.v1+json', digest: DIGEST, size: 2 };

  test('is read by who takes them', () => {
    const { config, layers } = JSON.parse(chart.manifest.bytes.toString());
    assert.deepEqual(parseManifest(chart.manifest.bytes, chart.manifest.mediaType, { artifacts: true }), {
      kind: 'artifact',
      mediaType: oci.manifest,
      config,
      layers,
    });
  });

  test('says what it is where its config does not', () => {
    const artifactType = 'application/vnd.example.sbom';
    const document = { schemaVersion: 2, artifactType, config: empty, layers: [empty] };
    assert.deepEqual(parseAny(document), {
      kind: 'artifact',
      mediaType: oci.manifest,
      config: empty,
      layers: [empty],
      artifactType,
    });
    for (const other of ['', 5, null]) {
      assert.equal('artifactType' in parseAny({ ...document, artifactType: other }), false);
    }
  });

  test('is refused where its parts are malformed, as an image is', () => {
    assert.throws(() => parseAny({ schemaVersion: 2, config: empty }), unsupported('layers is not a list'));
    assert.throws(
      () => parseAny({ schemaVersion: 2, config: { ...empty, size: -1 }, layers: [] }),
      unsupported('config.size is not a number of bytes'),
    );
  });

  test('is no image and no index: these are what they are without', () => {
    for (const { manifest } of [ociImage, dockerImage, makeIndex([{ image: ociImage }])]) {
      assert.deepEqual(
        parseManifest(manifest.bytes, manifest.mediaType, { artifacts: true }),
        parseManifest(manifest.bytes, manifest.mediaType),
      );
    }
  });
});
