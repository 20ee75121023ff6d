import assert from 'node:assert/strict';
import { describe, mock, test } from 'node:test';
import { dockerLayout } from '../../src/archive/docker-layout.ts';
import { digestHex, parseDigest } from '../../src/image/digest.ts';
import { listTar, sha256 } from '../support/collect.ts';
import { encode, makeSample, type Sample, type SampleOptions } from './inputs.ts';

const archiveOf = (...samples: Sample[]) =>
  encode(dockerLayout(samples.map(({ input }) => input)), ...samples.map(({ bytes }) => bytes));
const list = async (...samples: Sample[]) => listTar(await archiveOf(...samples));

/** What is in an archive, by name; JSON as values. */
async function read(...samples: Sample[]) {
  const entries = await list(...samples);
  const json = (name: string): unknown =>
    JSON.parse(entries.find((entry) => entry.name === name)?.content.toString() ?? 'undefined');
  const ids = entries.filter(({ type }) => type === 'directory').map(({ name }) => name.replace('/', ''));
  return {
    entries,
    ids,
    descriptions: ids.map((id) => json(`${id}/json`) as Record<string, unknown>),
    manifest: json('manifest.json'),
    repositories: json('repositories'),
  };
}

const readOf = (options: SampleOptions) => read(makeSample(options));

describe('layout docker', () => {
  test('has one folder a layer, base first, then config, manifest.json and repositories', async () => {
    const sample = makeSample({ layers: ['base', 'middle', 'top'] });
    const { entries, ids } = await read(sample);
    assert.equal(ids.length, 3);
    for (const id of ids) assert.match(id, /^[0-9a-f]{64}$/);
    assert.equal(new Set(ids).size, 3);
    assert.deepEqual(
      entries.map(({ name }) => name),
      [
        ...ids.flatMap((id) => [`${id}/`, `${id}/VERSION`, `${id}/json`, `${id}/layer.tar`]),
        `${digestHex(sample.input.config.digest)}.json`,
        'manifest.json',
        'repositories',
      ],
    );
    const contents = new Map(entries.map(({ name, content }) => [name, content.toString()]));
    assert.deepEqual(
      ids.map((id) => contents.get(`${id}/layer.tar`)),
      ['base', 'middle', 'top'],
    );
    for (const id of ids) assert.equal(contents.get(`${id}/VERSION`), '1.0');
  });

  test('has regular files and folders only, of owner 0, of a fixed time, without a colon in a name', async () => {
    const entries = await list(makeSample({ layers: ['base', 'base', 'top'] }));
    for (const { name, type, mode, mtime, uid, gid, linkname } of entries) {
      assert.deepEqual(
        { name, type, mode, mtime, uid, gid, linkname },
        {
          name,
          type: name.endsWith('/') ? 'directory' : 'file',
          mode: name.endsWith('/') ? 0o755 : 0o644,
          mtime: 0,
          uid: 0,
          gid: 0,
          linkname: '',
        },
      );
      assert.doesNotMatch(name, /:/);
    }
  });

  test('has nothing of the OCI layout, which some loaders would prefer', async () => {
    const entries = await list(makeSample({ layers: ['base'] }));
    for (const { name } of entries) assert.doesNotMatch(name, /^(?:oci-layout|index\.json|blobs)/);
  });

  test('has the config byte for byte, spaces and field order included', async () => {
    const sample = makeSample({ layers: ['base'] });
    const { config } = sample.input;
    const bytes = Buffer.from(`  ${JSON.stringify(config.image.document, undefined, 7)}\n\n`);
    const entries = await list({ ...sample, input: { ...sample.input, config: { ...config, bytes } } });
    const found = entries.find(({ name }) => name === `${digestHex(config.digest)}.json`);
    assert.ok(found?.content.equals(bytes));
  });

  test('says in manifest.json what to load, and in repositories what older engines load', async () => {
    const sample = makeSample({
      layers: ['base', 'top'],
      reference: { registryName: '10.0.0.5:5000', repository: 'team/app', tag: 'v1' },
    });
    const { ids, manifest, repositories } = await read(sample);
    assert.deepEqual(manifest, [
      {
        Config: `${digestHex(sample.input.config.digest)}.json`,
        RepoTags: ['10.0.0.5:5000/team/app:v1'],
        Layers: ids.map((id) => `${id}/layer.tar`),
      },
    ]);
    assert.deepEqual(repositories, { '10.0.0.5:5000/team/app': { v1: ids[1] } });
  });

  const digest = parseDigest(`sha256:${'0123456789abcdef'.repeat(4)}`);
  const { tag: _, ...untagged } = makeSample({ layers: [] }).input.reference;
  for (const [what, reference, name, tag] of [
    ["Docker Hub's library", { repository: 'library/nginx', tag: 'latest' }, 'nginx', 'latest'],
    ['Docker Hub otherwise', { repository: 'org/app', tag: '1' }, 'org/app', '1'],
    ['another registry', { registryName: 'ghcr.io', tag: '1' }, 'ghcr.io/library/app', '1'],
    ['a tag that is a field of every object', { tag: '__proto__' }, 'app', '__proto__'],
  ] as const) {
    test(`tags an image of ${what} as docker pull would`, async () => {
      const { ids, manifest, repositories } = await readOf({ layers: ['base'], reference });
      assert.deepEqual((manifest as { RepoTags: unknown }[])[0]?.RepoTags, [`${name}:${tag}`]);
      assert.deepEqual(repositories, JSON.parse(`{"${name}":{"${tag}":"${ids[0]}"}}`));
    });
  }

  test('tags an image by digest with the beginning of the digest', async () => {
    const sample = makeSample({ layers: ['base'] });
    const reference = { ...untagged, digest };
    const { manifest } = await read({ ...sample, input: { ...sample.input, reference } });
    assert.deepEqual((manifest as { RepoTags: unknown }[])[0]?.RepoTags, ['app:0123456789ab']);
  });
});

describe('layers', () => {
  for (const layers of [
    ['same', 'same'],
    ['same', 'other', 'same'],
    ['', '', ''],
  ]) {
    test(`that occur twice are written twice under two names: ${JSON.stringify(layers)}`, async () => {
      const { entries, ids, manifest } = await readOf({ layers });
      assert.equal(new Set(ids).size, layers.length);
      assert.deepEqual(
        entries.filter(({ name }) => name.endsWith('/layer.tar')).map(({ content }) => content.toString()),
        layers,
      );
      const [image] = manifest as { Layers: string[] }[];
      assert.equal(new Set(image?.Layers).size, layers.length);
    });
  }

  test('may be none', async () => {
    const sample = makeSample({ layers: [] });
    const { entries, manifest, repositories } = await read(sample);
    const config = `${digestHex(sample.input.config.digest)}.json`;
    assert.deepEqual(
      entries.map(({ name }) => name),
      [config, 'manifest.json', 'repositories'],
    );
    assert.deepEqual(manifest, [{ Config: config, RepoTags: ['app:1'], Layers: [] }]);
    assert.deepEqual(repositories, {});
  });

  test('are described one upon the other, with the settings on the top one', async () => {
    const config = {
      created: '2024-05-06T07:08:09.123456789Z',
      author: 'somebody',
      docker_version: '24.0.9',
      config: { Cmd: ['/bin/app'], Labels: { 'a:b': 'ü' } },
    };
    const { ids, descriptions } = await readOf({
      layers: ['base', 'middle', 'top'],
      platform: { os: 'linux', architecture: 'arm', variant: 'v7' },
      config,
    });
    const created = '1970-01-01T00:00:00Z';
    assert.deepEqual(descriptions, [
      { id: ids[0], created, os: 'linux' },
      { id: ids[1], parent: ids[0], created, os: 'linux' },
      { id: ids[2], parent: ids[1], os: 'linux', architecture: 'arm', variant: 'v7', ...config },
    ]);
  });

  test('of Windows are described as such', async () => {
    const { descriptions } = await readOf({
      layers: ['base', 'top'],
      platform: { os: 'windows', architecture: 'amd64' },
    });
    assert.deepEqual(
      descriptions.map(({ os }) => os),
      ['windows', 'windows'],
    );
  });

  test('have names that depend on what lies below them', async () => {
    const one = await readOf({ layers: ['base', 'middle', 'top'] });
    const two = await readOf({ layers: ['other', 'middle', 'top'] });
    assert.equal(new Set([...one.ids, ...two.ids]).size, 6);
  });

  test('are shared by images that differ in their settings, all but the top one', async () => {
    const one = await readOf({ layers: ['base', 'top'], config: { author: 'one' } });
    const two = await readOf({ layers: ['base', 'top'], config: { author: 'two' } });
    assert.equal(one.ids[0], two.ids[0]);
    assert.notEqual(one.ids[1], two.ids[1]);
  });

  test('have the same names whatever the image is called', async () => {
    const one = await readOf({ layers: ['base', 'top'] });
    const two = await readOf({ layers: ['base', 'top'], reference: { registryName: 'ghcr.io', tag: '2' } });
    assert.deepEqual(one.ids, two.ids);
  });
});

test('an archive is the same on any day', async () => {
  const sample = makeSample({ layers: ['base', 'top'] });
  const today = await archiveOf(sample);
  mock.timers.enable({ apis: ['Date'], now: Date.UTC(2038, 0, 19) });
  try {
    assert.ok((await archiveOf(makeSample({ layers: ['base', 'top'] }))).equals(today));
  } finally {
    mock.timers.reset();
  }
});

test('an archive of sha512 digests is whole, its config named by all of the digits', async () => {
  const { input, bytes } = makeSample({ layers: ['base'] });
  const digest = parseDigest(`sha512:${'0123456789abcdef'.repeat(8)}`);
  const archive = dockerLayout([{ ...input, config: { ...input.config, digest } }]);
  const written = await encode(archive, bytes);
  assert.equal(written.length, archive.size);
  assert.ok(listTar(written).some(({ name }) => name === `${digestHex(digest)}.json`));
});

describe('an archive of one image has the bytes that it had before there were several', () => {
  // Hashes of what the first version of this layout wrote, of one image at a time.
  for (const [options, expected] of [
    [
      { layers: ['base', 'middle', 'top'] },
      '956df82e8f9efce91ec74d6c062d6266f6e96d97aae4154f308655eb8c276c58',
    ],
    [
      { layers: ['same', 'other', 'same'] },
      '462d854ea536634e61850ebbeeea50dc7dab9e84f8c8517cc4194da904d36de1',
    ],
    [{ layers: [] }, 'bdcedfa77406a8c438707fb2be72d14a49b5f36b397edd350e21bca810942f59'],
    [
      {
        layers: ['base', 'top'],
        reference: { registryName: '10.0.0.5:5000', repository: 'team/app', tag: 'v1' },
        platform: { os: 'windows', architecture: 'amd64' },
        config: { author: 'a', variant: 'v1' },
      },
      '79c188c1608328a3e6c53afd6ee43c5c17f2ec9620a0015687e1b4d3f65b0423',
    ],
  ] as const) {
    test(JSON.stringify(options), async () => {
      assert.equal(sha256(await archiveOf(makeSample(options))), `sha256:${expected}`);
    });
  }
});

describe('several images in one archive', () => {
  const named = (repository: string, layers: readonly string[], config = {}) =>
    makeSample({ layers, reference: { repository: `library/${repository}` }, config });
  const layersOf = (manifest: unknown) =>
    (manifest as { readonly Layers: readonly string[] }[]).map(({ Layers }) => Layers);

  test('stand in manifest.json in the order in which they were asked for, and all in repositories', async () => {
    const samples = [named('b', ['base', 'b']), named('a', ['base', 'a']), named('c', [])];
    const { entries, manifest, repositories } = await read(...samples);
    const configs = samples.map(({ input }) => `${digestHex(input.config.digest)}.json`);
    const layers = layersOf(manifest);
    assert.deepEqual(manifest, [
      { Config: configs[0], RepoTags: ['b:1'], Layers: layers[0] },
      { Config: configs[1], RepoTags: ['a:1'], Layers: layers[1] },
      { Config: configs[2], RepoTags: ['c:1'], Layers: [] },
    ]);
    assert.deepEqual(repositories, {
      b: { 1: layers[0]?.[1]?.replace('/layer.tar', '') },
      a: { 1: layers[1]?.[1]?.replace('/layer.tar', '') },
    });
    assert.deepEqual(
      entries.slice(-5).map(({ name }) => name),
      [...configs, 'manifest.json', 'repositories'],
    );
  });

  test('share the layers that they have in common from the base up', async () => {
    const { entries, manifest } = await read(
      named('a', ['base', 'middle', 'a']),
      named('b', ['base', 'middle', 'b']),
    );
    const contents = new Map(entries.map(({ name, content }) => [name, content.toString()]));
    const [a = [], b = []] = layersOf(manifest);
    assert.deepEqual(a.slice(0, 2), b.slice(0, 2));
    assert.deepEqual(
      [a, b].map((names) => names.map((name) => contents.get(name))),
      [
        ['base', 'middle', 'a'],
        ['base', 'middle', 'b'],
      ],
    );
    assert.equal(entries.filter(({ name }) => name.endsWith('/layer.tar')).length, 4);
  });

  for (const order of ['base first', 'base last']) {
    test(`share the top layer of one that another is built upon, ${order}`, async () => {
      const base = named('base', ['one', 'two'], { author: 'base' });
      const upon = named('upon', ['one', 'two', 'three'], { author: 'upon' });
      const samples = order === 'base first' ? [base, upon] : [upon, base];
      const { entries, manifest, repositories, descriptions, ids } = await read(...samples);
      const layers = layersOf(manifest);
      const [baseLayers, uponLayers] = order === 'base first' ? layers : layers.toReversed();
      assert.deepEqual(uponLayers?.slice(0, 2), baseLayers);
      assert.equal(entries.filter(({ name }) => name.endsWith('/layer.tar')).length, 3);
      assert.deepEqual(repositories, { base: { 1: ids[1] }, upon: { 1: ids[2] } });
      // The description is that of the image which ends there.
      assert.deepEqual(
        descriptions.map(({ author }) => author),
        [undefined, 'base', 'upon'],
      );
    });
  }

  test('have a top folder each where they differ in their settings alone', async () => {
    const { entries, manifest, descriptions, repositories, ids } = await read(
      named('a', ['base', 'top'], { author: 'a' }),
      named('b', ['base', 'top'], { author: 'b' }),
    );
    const [a, b] = layersOf(manifest);
    assert.equal(a?.[0], b?.[0]);
    assert.notEqual(a?.[1], b?.[1]);
    assert.deepEqual(
      entries.filter(({ name }) => name.endsWith('/layer.tar')).map(({ content }) => content.toString()),
      ['base', 'top', 'top'],
    );
    assert.deepEqual(
      descriptions.map(({ author }) => author),
      [undefined, 'a', 'b'],
    );
    assert.deepEqual(repositories, { a: { 1: ids[1] }, b: { 1: ids[2] } });
  });

  test('have a top folder each, where a third is built upon the layers of two that differ in settings', async () => {
    const { entries, manifest, descriptions } = await read(
      named('a', ['base'], { author: 'a' }),
      named('b', ['base'], { author: 'b' }),
      named('c', ['base', 'top'], { author: 'c' }),
    );
    const [a, b, c] = layersOf(manifest);
    assert.equal(a?.[0], c?.[0]);
    assert.notEqual(a?.[0], b?.[0]);
    assert.deepEqual(
      entries.filter(({ name }) => name.endsWith('/layer.tar')).map(({ content }) => content.toString()),
      ['base', 'base', 'top'],
    );
    assert.deepEqual(
      descriptions.map(({ author }) => author),
      ['a', 'b', 'c'],
    );
  });

  test('are one image with several tags where they are the same', async () => {
    const tagged = (tag: string) => makeSample({ layers: ['base'], reference: { tag } });
    const { entries, manifest, repositories, ids } = await read(tagged('1'), tagged('latest'), tagged('1'));
    assert.equal(entries.length, 7);
    assert.deepEqual(
      (manifest as { RepoTags: unknown }[]).map(({ RepoTags }) => RepoTags),
      [['app:1', 'app:latest']],
    );
    assert.deepEqual(repositories, { app: { 1: ids[0], latest: ids[0] } });
    assert.deepEqual(ids, (await read(tagged('1'))).ids);
  });

  test('keep a layer that occurs twice in one of them at both places', async () => {
    const { manifest } = await read(named('a', ['same', 'same']), named('b', ['same', 'b']));
    const [a, b] = layersOf(manifest);
    assert.equal(new Set(a).size, 2);
    assert.equal(a?.[0], b?.[0]);
  });

  test('say of each layer where it stands first', () => {
    const images = [named('a', ['base', 'a']), named('b', ['base', 'b'])].map(({ input }) => input);
    const layers = dockerLayout(images).entries.filter(({ blob }) => blob !== undefined);
    assert.deepEqual(
      layers.map(({ layer, blob }) => ({ ...layer, blob })),
      [
        { image: 0, index: 0, blob: sha256('base') },
        { image: 0, index: 1, blob: sha256('a') },
        { image: 1, index: 1, blob: sha256('b') },
      ],
    );
  });
});
