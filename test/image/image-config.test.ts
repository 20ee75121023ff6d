import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseImageConfig } from '../../src/image/image-config.ts';
import { makeImage, makeLayer } from '../support/image.ts';

const layers = [{ tar: makeLayer({ 'etc/one': '1' }) }, { tar: makeLayer({ 'etc/two': '2' }) }];
const unsupported = (why: string) => ({
  name: 'PassthroughError',
  code: 'UNSUPPORTED_IMAGE',
  message: `Cannot use image config: ${why}`,
});
const parseJson = (document: unknown, layerCount: number) =>
  parseImageConfig(Buffer.from(JSON.stringify(document)), layerCount);

describe('an image config', () => {
  test('gives platform, diff IDs and the whole document', () => {
    const platform = { os: 'linux', architecture: 'arm', variant: 'v7' };
    const image = makeImage({ layers, platform, config: { author: 'somebody', 'x.y': [1] } });
    const config = parseImageConfig(image.config.bytes, 2);
    assert.deepEqual(config.platform, platform);
    assert.deepEqual(config.diffIds, image.diffIds);
    assert.deepEqual(config.document, JSON.parse(image.config.bytes.toString()));
    assert.deepEqual([config.document['author'], config.document['x.y']], ['somebody', [1]]);
  });

  test('may have no layers, listed or not', () => {
    assert.deepEqual(parseJson({ rootfs: { type: 'layers', diff_ids: [] } }, 0).diffIds, []);
    assert.deepEqual(parseJson({ rootfs: { type: 'layers', diff_ids: null } }, 0).diffIds, []);
    assert.deepEqual(parseJson({}, 0).diffIds, []);
  });

  test('may name no platform, or half of one', () => {
    for (const half of [
      {},
      { os: 'linux' },
      { architecture: 'arm' },
      { os: '', architecture: 'arm' },
      { os: 1 },
    ]) {
      assert.equal('platform' in parseJson(half, 0), false);
    }
  });

  test('names the version of Windows', () => {
    const { platform } = parseJson({ os: 'windows', architecture: 'amd64', 'os.version': '10.0.17763.1' }, 0);
    assert.deepEqual(platform, { os: 'windows', architecture: 'amd64', osVersion: '10.0.17763.1' });
  });

  test('may leave the variant empty', () => {
    const { platform } = parseJson({ os: 'linux', architecture: 'arm64', variant: '' }, 0);
    assert.deepEqual(platform, { os: 'linux', architecture: 'arm64' });
  });

  const { diffIds } = makeImage({ layers });
  const refused: readonly [name: string, document: unknown, layerCount: number, why: string][] = [
    ['a list', [], 0, 'it is not a JSON object'],
    ['null', null, 0, 'it is not a JSON object'],
    ['text', 'x', 0, 'it is not a JSON object'],
    [
      'fewer diff IDs than the manifest has layers',
      { rootfs: { diff_ids: diffIds } },
      3,
      'the manifest has 3 layers, rootfs.diff_ids 2',
    ],
    [
      'more diff IDs than the manifest has layers',
      { rootfs: { diff_ids: diffIds } },
      1,
      'the manifest has 1 layers, rootfs.diff_ids 2',
    ],
    ['no root file system', {}, 2, 'the manifest has 2 layers, rootfs.diff_ids 0'],
    ['text for a root file system', { rootfs: 'x' }, 1, 'the manifest has 1 layers, rootfs.diff_ids 0'],
    [
      'a diff ID that is none',
      { rootfs: { diff_ids: [diffIds[0], 'sha256:abc'] } },
      2,
      'rootfs.diff_ids holds something that is not a digest',
    ],
    [
      'a number among the diff IDs',
      { rootfs: { diff_ids: [1] } },
      1,
      'rootfs.diff_ids holds something that is not a digest',
    ],
  ];
  for (const [name, document, layerCount, why] of refused) {
    test(`that is or has ${name} is refused`, () => {
      assert.throws(() => parseJson(document, layerCount), unsupported(why));
    });
  }

  test('that is not JSON is refused, with the cause', () => {
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
