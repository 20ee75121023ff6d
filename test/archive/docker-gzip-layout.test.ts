import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ForeignLayers } from '../../src/archive/archive.ts';
import { dockerGzipLayout } from '../../src/archive/docker-gzip-layout.ts';
import { listTar } from '../support/collect.ts';
import { encode, makeSample, type Sample } from './inputs.ts';

const FOREIGN = {
  mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
  urls: ['https://example.com/one', 'https://example.com/two'],
};

async function read(samples: readonly Sample[], foreignLayers: ForeignLayers = 'left out') {
  const inputs = samples.map(({ input }) => input);
  const archive = dockerGzipLayout(inputs, { foreignLayers });
  const bytes = await encode(archive, ...samples.map(({ bytes }) => bytes));
  assert.equal(bytes.length, archive.size);
  const entries = listTar(bytes);
  const manifest: unknown = JSON.parse(String(entries.at(-1)?.content));
  return { archive, entries, names: entries.map(({ name }) => name), manifest };
}

const hex = (digest = '') => digest.replace('sha256:', '');
const configOf = ({ image }: Sample) => `${hex(image.config.digest)}.json`;
const filesOf = ({ image }: Sample) => image.layers.map(({ digest }) => `${hex(digest)}.tar.gz`);

describe('layout docker-gzip', () => {
  test('has the config, the compressed layers and manifest.json', async () => {
    const sample = makeSample({ layers: ['base', 'top'] });
    const { entries, names, manifest } = await read([sample]);
    const [base, top] = filesOf(sample);
    assert.deepEqual(names, [configOf(sample), base, top, 'manifest.json']);
    assert.deepEqual(
      entries.slice(0, 3).map(({ content }) => content),
      [sample.image.config.bytes, ...sample.image.layers.map(({ blob }) => blob)],
    );
    assert.deepEqual(manifest, [{ Config: configOf(sample), RepoTags: ['app:1'], Layers: [base, top] }]);
  });

  test('has only regular files, owner 0, time 0 and no colon in a name', async () => {
    const { entries } = await read([makeSample({ layers: ['base', 'top'] })]);
    for (const { name, type, mode, mtime, uid, gid } of entries) {
      const expected = { name, type: 'file', mode: 0o644, mtime: 0, uid: 0, gid: 0 };
      assert.deepEqual({ name, type, mode, mtime, uid, gid }, expected);
      assert.doesNotMatch(name, /:/);
    }
  });

  test('has a layer that occurs twice once, and lists it twice', async () => {
    const sample = makeSample({ layers: ['same', 'other', 'same'] });
    const [same, other] = filesOf(sample);
    const { names, manifest, archive } = await read([sample]);
    assert.deepEqual(names, [configOf(sample), same, other, 'manifest.json']);
    assert.deepEqual((manifest as { Layers: unknown }[])[0]?.Layers, [same, other, same]);
    assert.deepEqual(
      archive.entries.flatMap(({ layer }) => (layer ? [layer] : [])),
      [
        { image: 0, index: 0 },
        { image: 0, index: 1 },
      ],
    );
  });

  test('has each layer of several images once, in the order of the images', async () => {
    const one = makeSample({ layers: ['base', 'one'], reference: { repository: 'z/one' } });
    const two = makeSample({ layers: ['two', 'base'], reference: { repository: 'a/two' } });
    const [base, top] = filesOf(one);
    const [other] = filesOf(two);
    const { names, manifest } = await read([one, two]);
    assert.deepEqual(names, [configOf(one), base, top, configOf(two), other, 'manifest.json']);
    assert.deepEqual(manifest, [
      { Config: configOf(one), RepoTags: ['z/one:1'], Layers: [base, top] },
      { Config: configOf(two), RepoTags: ['a/two:1'], Layers: [other, base] },
    ]);
  });

  test('may have an image without layers', async () => {
    const sample = makeSample({ layers: [] });
    const { names, manifest } = await read([sample]);
    assert.deepEqual(names, [configOf(sample), 'manifest.json']);
    assert.deepEqual(manifest, [{ Config: configOf(sample), RepoTags: ['app:1'], Layers: [] }]);
  });

  test('does not need the uncompressed sizes of layers', () => {
    const { input } = makeSample({ layers: ['base'] });
    const packed = input.layers.map(({ diffId, descriptor }) => ({ diffId, descriptor }));
    const options = { foreignLayers: 'left out' } as const;
    assert.deepEqual(
      dockerGzipLayout([{ ...input, layers: packed }], options),
      dockerGzipLayout([input], options),
    );
  });
});

describe('a foreign layer', () => {
  const sample = makeSample({ layers: ['windows', 'app'], descriptors: { windows: FOREIGN } });
  const [windows, app] = filesOf(sample);
  const [layer] = sample.image.layers;
  const manifestOfIt = [
    {
      Config: configOf(sample),
      RepoTags: ['app:1'],
      Layers: [windows, app],
      LayerSources: {
        [layer?.diffId ?? '']: {
          mediaType: FOREIGN.mediaType,
          size: layer?.blob.length,
          digest: layer?.digest,
          urls: FOREIGN.urls,
        },
      },
    },
  ];

  test('that is left out is listed in Layers, and in LayerSources by its diff ID', async () => {
    const { names, manifest } = await read([sample], 'left out');
    assert.deepEqual(names, [configOf(sample), app, 'manifest.json']);
    assert.deepEqual(manifest, manifestOfIt);
  });

  test('that was fetched has a file too', async () => {
    const { names, manifest } = await read([sample], 'fetched');
    assert.deepEqual(names, [configOf(sample), windows, app, 'manifest.json']);
    assert.deepEqual(manifest, manifestOfIt);
  });

  test('changes the entity tag if it has a file', async () => {
    const tags = await Promise.all([read([sample], 'left out'), read([sample], 'fetched')]);
    assert.equal(new Set(tags.map(({ archive }) => archive.etag)).size, 2);
  });

  test('has a file if it is a normal layer of another image', async () => {
    const own = makeSample({ layers: ['windows'], reference: { repository: 'team/own' } });
    const { names } = await read([sample, own], 'left out');
    assert.deepEqual(names, [configOf(sample), app, configOf(own), windows, 'manifest.json']);
  });
});
