import assert from 'node:assert/strict';
import test from 'node:test';
import { ACCEPTED_MANIFESTS, essence, isForeignLayer, isImageConfig } from '../../src/image/media-type.ts';
import { MEDIA_TYPES } from '../support/image.ts';

test('a media type is compared without its parameters and case', () => {
  const table: Readonly<Record<string, string>> = {
    'application/json': 'application/json',
    'Application/JSON; charset=utf-8': 'application/json',
    'application/json;charset=utf-8': 'application/json',
    '  application/json  ; q=1; x=";"': 'application/json',
    '': '',
    ';': '',
  };
  for (const [given, expected] of Object.entries(table)) assert.equal(essence(given), expected);
});

test('all four kinds of manifest are accepted, and no other', () => {
  const { oci, docker } = MEDIA_TYPES;
  assert.deepEqual(
    [...ACCEPTED_MANIFESTS].toSorted(),
    [oci.index, oci.manifest, docker.index, docker.manifest].toSorted(),
  );
});

test('configs of container images are told from those of artifacts', () => {
  assert.equal(isImageConfig(MEDIA_TYPES.oci.config), true);
  assert.equal(isImageConfig(MEDIA_TYPES.docker.config), true);
  assert.equal(isImageConfig(`${MEDIA_TYPES.oci.config.toUpperCase()}; charset=utf-8`), true);
  for (const other of [
    'application/vnd.cncf.helm.config.v1+json',
    'application/vnd.oci.empty.v1+json',
    MEDIA_TYPES.oci.manifest,
  ]) {
    assert.equal(isImageConfig(other), false, other);
  }
});

test('a config without a type of its own, as old images have it, counts as an image', () => {
  for (const untyped of ['application/octet-stream', 'application/json', 'text/html', '']) {
    assert.equal(isImageConfig(untyped), true, untyped);
  }
});

test('layers that lie outside the registry are told from those within', () => {
  for (const foreign of [
    'application/vnd.docker.image.rootfs.foreign.diff.tar',
    'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
    'application/vnd.oci.image.layer.nondistributable.v1.tar',
    'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
    'application/vnd.oci.image.layer.nondistributable.v1.tar+zstd',
    'APPLICATION/vnd.oci.image.layer.nondistributable.v1.tar; x=y',
  ]) {
    assert.equal(isForeignLayer({ mediaType: foreign }), true, foreign);
  }
  for (const { layer } of Object.values(MEDIA_TYPES)) {
    for (const mediaType of Object.values(layer))
      assert.equal(isForeignLayer({ mediaType }), false, mediaType);
  }
});
