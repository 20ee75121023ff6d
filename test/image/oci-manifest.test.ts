import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isPassthroughError } from '../../src/errors.ts';
import { DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST } from '../../src/image/media-type.ts';
import { toOciManifest } from '../../src/image/oci-manifest.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;
const DOCKER = 'application/vnd.docker';
const OCI = 'application/vnd.oci.image';
const CONFIG = { mediaType: `${DOCKER}.container.image.v1+json`, size: 7, digest: DIGEST };
const OCI_CONFIG = { ...CONFIG, mediaType: `${OCI}.config.v1+json` };

const convert = (document: unknown, contentType = DOCKER_MANIFEST) =>
  toOciManifest(Buffer.from(JSON.stringify(document)), contentType);
const parsed = ({ bytes }: { readonly bytes: Uint8Array }) => JSON.parse(Buffer.from(bytes).toString());

describe('the manifest of Docker becomes one of OCI', () => {
  const layers: readonly [docker: string, oci: string][] = [
    [`${DOCKER}.image.rootfs.diff.tar`, `${OCI}.layer.v1.tar`],
    [`${DOCKER}.image.rootfs.diff.tar.gzip`, `${OCI}.layer.v1.tar+gzip`],
    [`${DOCKER}.image.rootfs.diff.tar.zstd`, `${OCI}.layer.v1.tar+zstd`],
    [`${DOCKER}.image.rootfs.foreign.diff.tar`, `${OCI}.layer.nondistributable.v1.tar`],
    [`${DOCKER}.image.rootfs.foreign.diff.tar.gzip`, `${OCI}.layer.nondistributable.v1.tar+gzip`],
    ['Application/VND.Docker.image.rootfs.diff.tar.gzip', `${OCI}.layer.v1.tar+gzip`],
    [`${OCI}.layer.v1.tar+zstd`, `${OCI}.layer.v1.tar+zstd`],
    ['application/x-other', 'application/x-other'],
  ];
  for (const [docker, oci] of layers) {
    test(`with layers of ${docker}`, () => {
      // A field that no reader here knows, and those of a foreign layer.
      const layer = {
        size: 9,
        digest: DIGEST,
        urls: ['https://example.com/x'],
        annotations: { a: 'b' },
        x: [1],
      };
      const source = {
        schemaVersion: 2,
        mediaType: DOCKER_MANIFEST,
        config: CONFIG,
        layers: [{ mediaType: docker, ...layer }],
        annotations: { note: 'kept', ['__proto__']: 'kept, too' },
      };
      const converted = convert(source);
      assert.deepEqual(parsed(converted), {
        ...source,
        mediaType: OCI_MANIFEST,
        config: OCI_CONFIG,
        layers: [{ mediaType: oci, ...layer }],
      });
      assert.equal(converted.manifest.layers[0]?.mediaType, oci);
    });
  }

  const configs: readonly [mediaType: string, manifest: object, becomes: string][] = [
    [CONFIG.mediaType, {}, OCI_CONFIG.mediaType],
    // https://github.com/docker/distribution/issues/1621
    ['application/octet-stream', {}, OCI_CONFIG.mediaType],
    [`${DOCKER}.plugin.v1+json`, {}, `${DOCKER}.plugin.v1+json`],
    [CONFIG.mediaType, { mediaType: OCI_MANIFEST }, OCI_CONFIG.mediaType],
  ];
  for (const [mediaType, manifest, becomes] of configs) {
    test(`with a config of ${mediaType} ${JSON.stringify(manifest)}`, () => {
      const source = { schemaVersion: 2, ...manifest, config: { ...CONFIG, mediaType }, layers: [] };
      const { mediaType: type, config } = parsed(convert(source));
      assert.deepEqual([type, config], [OCI_MANIFEST, { ...CONFIG, mediaType: becomes }]);
    });
  }

  test('with a byte order mark', () => {
    const text = JSON.stringify({ schemaVersion: 2, config: CONFIG, layers: [] });
    const { bytes } = toOciManifest(Buffer.from(`\ufeff${text}`), DOCKER_MANIFEST);
    assert.equal(parsed({ bytes }).config.mediaType, OCI_CONFIG.mediaType);
  });

  test('whose blobs are those of its own text, also when a field stands there twice', () => {
    const other = `sha256:${'b'.repeat(64)}`;
    const text = `{"schemaVersion":2,"config":${JSON.stringify(CONFIG)},"layers":[],"config":{"mediaType":"${CONFIG.mediaType}","size":8,"digest":"${other}"}}`;
    const converted = toOciManifest(Buffer.from(text), DOCKER_MANIFEST);
    assert.equal(converted.manifest.config.digest, parsed(converted).config.digest);
  });
});

test('the manifest of OCI stays, byte for byte', () => {
  for (const type of [{ mediaType: OCI_MANIFEST }, {}]) {
    const bytes = Buffer.from(
      JSON.stringify({ schemaVersion: 2, ...type, config: OCI_CONFIG, layers: [] }, null, 3),
    );
    assert.equal(toOciManifest(bytes, OCI_MANIFEST).bytes, bytes);
  }
});

describe('what is no manifest of an image is refused:', () => {
  const table: readonly [name: string, document: object, says: RegExp][] = [
    ['schema 1', { schemaVersion: 1, fsLayers: [] }, /schema 1/],
    ['an index', { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] }, /it is an index/],
    ['no config', { schemaVersion: 2, layers: [] }, /config/],
  ];
  for (const [name, document, says] of table) {
    test(name, () =>
      assert.throws(
        () => convert(document),
        (error) => isPassthroughError(error, 'UNSUPPORTED_IMAGE') && says.test(error.message),
      ),
    );
  }
});
