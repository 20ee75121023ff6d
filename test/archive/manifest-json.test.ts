import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type ManifestItem, manifestJson } from '../../src/archive/manifest-json.ts';
import { parseDigest } from '../support/digest.ts';

const reference = { registryName: 'docker.io', repository: 'library/app', tag: '1' };
const item: ManifestItem = { reference, config: 'config.json', layers: ['a.tar', 'b.tar'] };
const named = (tag: string): ManifestItem => ({ ...item, reference: { ...reference, tag } });
const textOf = (...items: ManifestItem[]) => Buffer.from(manifestJson(items).content ?? []).toString();

describe('manifest.json', () => {
  test('has Config, RepoTags and Layers of each image, in one line', () => {
    assert.equal(
      textOf(item, { ...named('2'), config: 'other.json', layers: [] }),
      '[{"Config":"config.json","RepoTags":["app:1"],"Layers":["a.tar","b.tar"]},' +
        '{"Config":"other.json","RepoTags":["app:2"],"Layers":[]}]\n',
    );
  });

  test('lists an image with several names once, at its first position', () => {
    const other = { ...named('3'), config: 'other.json' };
    assert.equal(
      textOf(item, other, named('2'), named('1')),
      '[{"Config":"config.json","RepoTags":["app:1","app:2"],"Layers":["a.tar","b.tar"]},' +
        '{"Config":"other.json","RepoTags":["app:3"],"Layers":["a.tar","b.tar"]}]\n',
    );
  });

  test('separates images with the same config and different files', () => {
    assert.equal(
      textOf(item, { ...named('2'), layers: ['c.tar'] }),
      '[{"Config":"config.json","RepoTags":["app:1"],"Layers":["a.tar","b.tar"]},' +
        '{"Config":"config.json","RepoTags":["app:2"],"Layers":["c.tar"]}]\n',
    );
  });

  test('has the known fields of foreign layers, and no others', () => {
    const digest = parseDigest(`sha256:${'0'.repeat(64)}`);
    const source = {
      extra: true,
      annotations: { a: 'b' },
      urls: ['https://example.com'],
      digest,
      size: 7,
      mediaType: 'm',
    };
    assert.equal(
      textOf({ ...item, layerSources: new Map([['sha256:d', source]]) }),
      '[{"Config":"config.json","RepoTags":["app:1"],"Layers":["a.tar","b.tar"],"LayerSources":{"sha256:d":' +
        `{"mediaType":"m","size":7,"digest":"${digest}","urls":["https://example.com"],"annotations":{"a":"b"}}}}]\n`,
    );
    assert.doesNotMatch(textOf({ ...item, layerSources: new Map() }), /LayerSources/);
  });
});
