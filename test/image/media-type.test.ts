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

test('requests accept exactly the four kinds of manifest', () => {
  const { oci, docker } = MEDIA_TYPES;
  assert.deepEqual(
    [...ACCEPTED_MANIFESTS].toSorted(),
    [oci.index, oci.manifest, docker.index, docker.manifest].toSorted(),
  );
});

test('configs of images and of artifacts are distinguished', () => {
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

test('the wrong config types of old images count as image configs', () => {
  for (const untyped of ['application/octet-stream', 'application/json', 'text/html', '']) {
    assert.equal(isImageConfig(untyped), true, untyped);
  }
});

test('foreign layers are distinguished from others', () => {
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
