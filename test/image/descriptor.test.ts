import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseDescriptor } from '../../src/image/descriptor.ts';
import { parseDigest } from '../support/digest.ts';

const DIGEST = parseDigest(`sha256:${'0123456789abcdef'.repeat(4)}`);
const good = { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: DIGEST, size: 2 };
const foreign = { ...good, mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip' };

describe('a descriptor', () => {
  test('has its three fields and no unknown ones', () => {
    assert.deepEqual(parseDescriptor({ ...good, data: 'e30=', platform: {} }, 'config'), good);
  });

  test('of a foreign layer keeps http and https URLs without user information', () => {
    const urls = ['https://example.com/layer', 'http://10.0.0.5:80/x?y#z'];
    const others = [
      'ftp://example.com/x',
      'file:///etc/passwd',
      '/x',
      '',
      5,
      null,
      'https://me:pw@example.com/x',
    ];
    assert.deepEqual(parseDescriptor({ ...foreign, urls: [...others, ...urls] }, 'config').urls, urls);
    for (const none of [[], others, 'https://example.com', {}, null]) {
      assert.deepEqual(parseDescriptor({ ...foreign, urls: none }, 'config'), foreign);
    }
    assert.deepEqual(parseDescriptor({ ...good, urls }, 'config'), good, 'other layers have none');
  });

  test('of a foreign layer keeps annotations with text', () => {
    const notes = { 'org.example.note': 'ä "quoted"', '': '', constructor: 'x' };
    const annotations = [...Object.entries(notes), ['number', 1], ['list', []], ['none', null]];
    assert.deepEqual(parseDescriptor({ ...foreign, annotations }, 'config').annotations, notes);
    for (const none of [[], [['number', 1]], 'x', {}, null]) {
      assert.deepEqual(parseDescriptor({ ...foreign, annotations: none }, 'config'), foreign);
    }
    assert.deepEqual(parseDescriptor({ ...good, annotations }, 'config'), good, 'other layers have none');
  });

  const malformed: readonly [what: string, descriptor: unknown, field: string][] = [
    ['null', null, 'mediaType is missing'],
    ['text', 'layer', 'mediaType is missing'],
    ['a list', [], 'mediaType is missing'],
    ['without media type', { digest: DIGEST, size: 2 }, 'mediaType is missing'],
    ['with a number for media type', { ...good, mediaType: 1 }, 'mediaType is missing'],
    [
      'with a long media type',
      { ...good, mediaType: 'x'.repeat(256) },
      'mediaType is longer than 255 characters',
    ],
    [
      'with many URLs',
      { ...foreign, urls: Array(33).fill('https://example.com/') },
      'urls has more than 32 members',
    ],
    [
      'with many annotations',
      { ...foreign, annotations: Array.from({ length: 33 }, (_, index) => [`${index}`, 'x']) },
      'annotations has more than 32 members',
    ],
    ['without digest', { ...good, digest: undefined }, 'digest is not a sha256 or sha512 digest'],
    ['with a short digest', { ...good, digest: 'sha256:abc' }, 'digest is not a sha256 or sha512 digest'],
    [
      'with an md5 digest',
      { ...good, digest: `md5:${'0'.repeat(32)}` },
      'digest is not a sha256 or sha512 digest',
    ],
    ['without size', { ...good, size: undefined }, 'size is not a number of bytes'],
    ['with a negative size', { ...good, size: -1 }, 'size is not a number of bytes'],
    ['with a fraction for size', { ...good, size: 1.5 }, 'size is not a number of bytes'],
    ['with text for size', { ...good, size: '2' }, 'size is not a number of bytes'],
    ['with a size beyond what a number holds', { ...good, size: 2 ** 53 }, 'size is not a number of bytes'],
  ];
  for (const [what, descriptor, field] of malformed) {
    test(`is refused with its path: ${what}`, () => {
      for (const place of ['config', 'layers[1]']) {
        assert.throws(() => parseDescriptor(descriptor, place), {
          name: 'PassthroughError',
          code: 'UNSUPPORTED_IMAGE',
          message: `Cannot use manifest: ${place}.${field}`,
        });
      }
    });
  }
});
