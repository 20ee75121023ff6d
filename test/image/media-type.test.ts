import assert from 'node:assert/strict';
import test from 'node:test';
import { ACCEPTED_MANIFESTS, essence, isImageConfig } from '../../src/image/media-type.ts';
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
