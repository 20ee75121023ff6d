import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseImageConfig, parseLegacyFields } from '../../src/image/image-config.ts';
import { makeImage, makeLayer } from '../support/image.ts';

const layers = [{ tar: makeLayer({ 'etc/one': '1' }) }, { tar: makeLayer({ 'etc/two': '2' }) }];
const unsupported = (why: string) => ({
  name: 'PassthroughError',
  code: 'UNSUPPORTED_IMAGE',
  message: `Cannot use image config: ${why}`,
});
const parseJson = (document: unknown, layerCount = 0) =>
  parseImageConfig(Buffer.from(JSON.stringify(document)), layerCount);

describe('an image config', () => {
  test('has a platform, diff IDs and the fields of legacy descriptions', () => {
    const platform = { os: 'linux', architecture: 'arm', variant: 'v7' };
    const image = makeImage({ layers, platform, config: { author: 'Ada', 'x.y': [1] } });
    const config = parseImageConfig(image.config.bytes, 2);
    assert.deepEqual(config.platform, platform);
    assert.deepEqual(config.diffIds, image.diffIds);
    const { rootfs: _, history: __, 'x.y': ___, ...legacy } = JSON.parse(image.config.bytes.toString());
    assert.deepEqual(parseLegacyFields(image.config.bytes), legacy);
  });

  test('may have no layers, with or without a list', () => {
    for (const rootfs of [{ type: 'layers', diff_ids: [] }, { type: 'layers', diff_ids: null }, undefined]) {
      assert.deepEqual(parseJson({ rootfs }).diffIds, []);
    }
  });

  const linux = { os: 'linux', architecture: 'arm64' };
  const windows = { os: 'windows', architecture: 'amd64' };
  const platforms: readonly [document: object, platform: object | undefined][] = [
    [{}, undefined],
    [{ os: 'linux' }, undefined],
    [{ architecture: 'arm' }, undefined],
    [{ os: '', architecture: 'arm' }, undefined],
    [{ os: 1 }, undefined],
    [{ ...linux, variant: '' }, linux],
    [
      { ...windows, 'os.version': '10.0.17763.1' },
      { ...windows, osVersion: '10.0.17763.1' },
    ],
  ];
  for (const [document, platform] of platforms) {
    test(`${JSON.stringify(document)} has ${platform ? 'a' : 'no'} platform`, () => {
      const config = parseJson(document);
      assert.deepEqual(config.platform, platform);
      assert.equal('platform' in config, platform !== undefined);
    });
  }

  const { diffIds } = makeImage({ layers });
  const noDigest = 'rootfs.diff_ids holds something that is not a digest';
  const refused: readonly [name: string, document: unknown, layerCount: number, why: string][] = [
    ['a list', [], 0, 'it is not a JSON object'],
    ['null', null, 0, 'it is not a JSON object'],
    ['text', 'x', 0, 'it is not a JSON object'],
    [
      'too few diff IDs',
      { rootfs: { diff_ids: diffIds } },
      3,
      'the manifest has 3 layers, rootfs.diff_ids 2',
    ],
    [
      'too many diff IDs',
      { rootfs: { diff_ids: diffIds } },
      1,
      'the manifest has 1 layers, rootfs.diff_ids 2',
    ],
    ['no root file system', {}, 2, 'the manifest has 2 layers, rootfs.diff_ids 0'],
    ['text as root file system', { rootfs: 'x' }, 1, 'the manifest has 1 layers, rootfs.diff_ids 0'],
    ['a malformed diff ID', { rootfs: { diff_ids: [diffIds[0], 'sha256:abc'] } }, 2, noDigest],
    ['a number as diff ID', { rootfs: { diff_ids: [1] } }, 1, noDigest],
  ];
  for (const [name, document, layerCount, why] of refused) {
    test(`is refused: ${name}`, () => {
      assert.throws(() => parseJson(document, layerCount), unsupported(why));
    });
  }

  test('is refused if it is not JSON, with the cause', () => {
    for (const text of ['', '{', '<html>', '{"os":"\xff"}']) {
      assert.throws(
        () => parseImageConfig(Buffer.from(text, 'latin1'), 0),
        (error: unknown) => {
          assert.ok(error instanceof Error);
          assert.equal(error.message, 'Cannot use image config: it is not JSON');
          assert.ok(error.cause instanceof Error);
          return true;
        },
      );
    }
  });
});
