import assert from 'node:assert/strict';
import { describe, mock, test } from 'node:test';
import { dockerLayout } from '../../src/archive/docker-layout.ts';
import { digestHex } from '../../src/image/digest.ts';
import { listTar, sha256 } from '../support/collect.ts';
import { parseDigest } from '../support/digest.ts';
import { encode, makeSample, type Sample, type SampleOptions } from './inputs.ts';

const archiveOf = (...samples: Sample[]) =>
  encode(dockerLayout(samples.map(({ input }) => input)), ...samples.map(({ bytes }) => bytes));
const list = async (...samples: Sample[]) => listTar(await archiveOf(...samples));

/** An image in `manifest.json`. */
interface ManifestImage {
  readonly Config: string;
  readonly RepoTags: readonly string[];
  readonly Layers: readonly string[];
}

/** Reads an archive with these images. */
async function read(...samples: Sample[]) {
  const entries = await list(...samples);
  const contents = new Map(entries.map(({ name, content }) => [name, content.toString()]));
  const json = (name: string) => JSON.parse(contents.get(name) ?? 'null');
  const ids = entries.filter(({ type }) => type === 'directory').map(({ name }) => name.replace('/', ''));
  const manifest: readonly ManifestImage[] = json('manifest.json');
  return {
    entries,
    names: entries.map(({ name }) => name),
    contents,
    ids,
    /** The contents of the layers, in the order of the archive. */
    tars: entries.filter(({ name }) => name.endsWith('/layer.tar')).map(({ content }) => content.toString()),
    descriptions: ids.map((id): Record<string, unknown> => json(`${id}/json`)),
    authors: ids.map((id) => json(`${id}/json`).author),
    manifest,
    repositories: json('repositories'),
  };
}

const readOf = (options: SampleOptions) => read(makeSample(options));
const configOf = ({ input }: Sample) => `${digestHex(input.config.digest)}.json`;

describe('layout docker', () => {
  test('has one folder for each layer, base first, then config, manifest.json and repositories', async () => {
    const sample = makeSample({ layers: ['base', 'middle', 'top'] });
    const { names, contents, ids, tars } = await read(sample);
    assert.equal(new Set(ids).size, 3);
    const folders = ids.flatMap((id) => [`${id}/`, `${id}/VERSION`, `${id}/json`, `${id}/layer.tar`]);
    assert.deepEqual(names, [...folders, configOf(sample), 'manifest.json', 'repositories']);
    assert.deepEqual(tars, ['base', 'middle', 'top']);
    for (const id of ids) {
      assert.match(id, /^[0-9a-f]{64}$/);
      assert.equal(contents.get(`${id}/VERSION`), '1.0');
    }
  });

  test('has only regular files and folders, owner 0, time 0 and no colon in a name', async () => {
    for (const entry of await list(makeSample({ layers: ['base', 'base', 'top'] }))) {
      const { name, type, mode, mtime, uid, gid, linkname } = entry;
      const kind = name.endsWith('/') ? { type: 'directory', mode: 0o755 } : { type: 'file', mode: 0o644 };
      const expected = { ...kind, mtime: 0, uid: 0, gid: 0, linkname: '' };
      assert.deepEqual({ type, mode, mtime, uid, gid, linkname }, expected, name);
      assert.doesNotMatch(name, /:/);
    }
  });

  test('has no file of the OCI layout, which some loaders would prefer', async () => {
    const { names } = await readOf({ layers: ['base'] });
    for (const name of names) assert.doesNotMatch(name, /^(?:oci-layout|index\.json|blobs)/);
  });

  test('has the config byte for byte, with its spaces and the order of its fields', async () => {
    const sample = makeSample({ layers: ['base'] });
    const { config } = sample.input;
    const bytes = Buffer.from(`  ${JSON.stringify(JSON.parse(String(config.bytes)), undefined, 7)}\n\n`);
    const spaced = { ...config, size: bytes.length, bytes };
    const entries = await list({ ...sample, input: { ...sample.input, config: spaced } });
    assert.ok(entries.find(({ name }) => name === configOf(sample))?.content.equals(bytes));
  });

  test('lists the image in manifest.json, and in repositories for older engines', async () => {
    const reference = { registryName: '10.0.0.5:5000', repository: 'team/app', tag: 'v1' };
    const sample = makeSample({ layers: ['base', 'top'], reference });
    const { ids, manifest, repositories } = await read(sample);
    const Layers = ids.map((id) => `${id}/layer.tar`);
    assert.deepEqual(manifest, [
      { Config: configOf(sample), RepoTags: ['10.0.0.5:5000/team/app:v1'], Layers },
    ]);
    assert.deepEqual(repositories, { '10.0.0.5:5000/team/app': { v1: ids[1] } });
  });

  const digest = parseDigest(`sha256:${'0123456789abcdef'.repeat(4)}`);
  for (const [what, reference, name, tag] of [
    ["of Docker Hub's library", { repository: 'library/nginx', tag: 'latest' }, 'nginx', 'latest'],
    ['of an organisation on Docker Hub', { repository: 'org/app', tag: '1' }, 'org/app', '1'],
    ['of another registry', { registryName: 'ghcr.io', tag: '1' }, 'ghcr.io/library/app', '1'],
    ['with a tag that is a property of objects', { tag: '__proto__' }, 'app', '__proto__'],
    ['by digest', { tag: undefined, digest }, 'app', '0123456789ab'],
  ] as const) {
    test(`tags an image ${what} like docker pull`, async () => {
      const named = { ...(reference as SampleOptions['reference']) };
      const { ids, manifest, repositories } = await readOf({ layers: ['base'], reference: named });
      assert.deepEqual(manifest[0]?.RepoTags, [`${name}:${tag}`]);
      assert.deepEqual(repositories, JSON.parse(`{"${name}":{"${tag}":"${ids[0]}"}}`));
    });
  }
});

describe('layers', () => {
  for (const layers of [
    ['same', 'same'],
    ['same', 'other', 'same'],
    ['', '', ''],
  ]) {
    test(`that occur twice have two folders: ${JSON.stringify(layers)}`, async () => {
      const { ids, tars, manifest } = await readOf({ layers });
      assert.equal(new Set(ids).size, layers.length);
      assert.deepEqual(tars, layers);
      assert.equal(new Set(manifest[0]?.Layers).size, layers.length);
    });
  }

  test('may be missing', async () => {
    const sample = makeSample({ layers: [] });
    const { names, manifest, repositories } = await read(sample);
    const Config = configOf(sample);
    assert.deepEqual(names, [Config, 'manifest.json', 'repositories']);
    assert.deepEqual(manifest, [{ Config, RepoTags: ['app:1'], Layers: [] }]);
    assert.deepEqual(repositories, {});
  });

  test('have descriptions with their parent, and with the settings on the top layer', async () => {
    const config = {
      created: '2024-05-06T07:08:09.123456789Z',
      author: 'Ada',
      docker_version: '24.0.9',
      config: { Cmd: ['/bin/app'], Labels: { 'a:b': 'ü' } },
    };
    const platform = { os: 'linux', architecture: 'arm', variant: 'v7' };
    const { ids, descriptions } = await readOf({ layers: ['base', 'middle', 'top'], platform, config });
    const created = '1970-01-01T00:00:00Z';
    assert.deepEqual(descriptions, [
      { id: ids[0], created, os: 'linux' },
      { id: ids[1], parent: ids[0], created, os: 'linux' },
      { id: ids[2], parent: ids[1], ...platform, ...config },
    ]);
  });

  test('of Windows have its name in their descriptions', async () => {
    const platform = { os: 'windows', architecture: 'amd64' };
    const { descriptions } = await readOf({ layers: ['base', 'top'], platform });
    assert.deepEqual(
      descriptions.map(({ os }) => os),
      ['windows', 'windows'],
    );
  });

  test('have IDs of the layer and all layers below, on top also of the settings, but not of the name', async () => {
    const idsOf = async (layers: readonly string[], author?: string, tag = '1') =>
      (await readOf({ layers, config: { author }, reference: { tag } })).ids;
    const [base, middle, top] = await idsOf(['base', 'middle', 'top']);
    assert.equal(new Set([base, middle, top, ...(await idsOf(['other', 'middle', 'top']))]).size, 6);
    const one = await idsOf(['base', 'top'], 'one');
    const two = await idsOf(['base', 'top'], 'two');
    assert.equal(one[0], two[0]);
    assert.notEqual(one[1], two[1]);
    assert.deepEqual(await idsOf(['base', 'top'], 'one', '2'), one);
  });
});

test('an archive does not depend on the date', async () => {
  const sample = makeSample({ layers: ['base', 'top'] });
  const today = await archiveOf(sample);
  mock.timers.enable({ apis: ['Date'], now: Date.UTC(2038, 0, 19) });
  try {
    assert.ok((await archiveOf(makeSample({ layers: ['base', 'top'] }))).equals(today));
  } finally {
    mock.timers.reset();
  }
});

test('a config with a sha512 digest is named by all digits', async () => {
  const { input, bytes } = makeSample({ layers: ['base'] });
  const digest = parseDigest(`sha512:${'0123456789abcdef'.repeat(8)}`);
  const archive = dockerLayout([{ ...input, config: { ...input.config, digest } }]);
  const written = await encode(archive, bytes);
  assert.equal(written.length, archive.size);
  assert.ok(listTar(written).some(({ name }) => name === `${digestHex(digest)}.json`));
});

describe('an archive of one image has the bytes of the first version of this layout', () => {
  const lab = { registryName: '10.0.0.5:5000', repository: 'team/app', tag: 'v1' };
  const windows = { os: 'windows', architecture: 'amd64' };
  const config = { author: 'a', variant: 'v1' };
  const table: readonly [options: SampleOptions, sha256: string][] = [
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
      { layers: ['base', 'top'], reference: lab, platform: windows, config },
      '79c188c1608328a3e6c53afd6ee43c5c17f2ec9620a0015687e1b4d3f65b0423',
    ],
  ];
  for (const [options, expected] of table) {
    test(JSON.stringify(options), async () => {
      assert.equal(sha256(await archiveOf(makeSample(options))), `sha256:${expected}`);
    });
  }
});

describe('several images in one archive', () => {
  const named = (repository: string, layers: readonly string[], config = {}) =>
    makeSample({ layers, reference: { repository: `library/${repository}` }, config });
  const layersOf = (manifest: readonly ManifestImage[]) => manifest.map(({ Layers }) => Layers);

  test('are in manifest.json in the order of the request, and all in repositories', async () => {
    const samples = [named('b', ['base', 'b']), named('a', ['base', 'a']), named('c', [])];
    const { names, manifest, repositories } = await read(...samples);
    const configs = samples.map(configOf);
    const [b = [], a = []] = layersOf(manifest);
    assert.deepEqual(manifest, [
      { Config: configs[0], RepoTags: ['b:1'], Layers: b },
      { Config: configs[1], RepoTags: ['a:1'], Layers: a },
      { Config: configs[2], RepoTags: ['c:1'], Layers: [] },
    ]);
    const topOf = (layers: readonly string[]) => layers[1]?.replace('/layer.tar', '');
    assert.deepEqual(repositories, { b: { 1: topOf(b) }, a: { 1: topOf(a) } });
    assert.deepEqual(names.slice(-5), [...configs, 'manifest.json', 'repositories']);
  });

  test('share the folders of common layers from the base up', async () => {
    const { contents, tars, manifest } = await read(
      named('a', ['base', 'middle', 'a']),
      named('b', ['base', 'middle', 'b']),
    );
    const [a = [], b = []] = layersOf(manifest);
    assert.deepEqual(a.slice(0, 2), b.slice(0, 2));
    assert.deepEqual(
      [...a, ...b].map((name) => contents.get(name)),
      ['base', 'middle', 'a', 'base', 'middle', 'b'],
    );
    assert.equal(tars.length, 4);
  });

  for (const order of ['first', 'last']) {
    test(`share the top layer of a base image, which is ${order}`, async () => {
      const base = named('base', ['one', 'two'], { author: 'base' });
      const derived = named('derived', ['one', 'two', 'three'], { author: 'derived' });
      const samples = order === 'first' ? [base, derived] : [derived, base];
      const { tars, manifest, repositories, authors, ids } = await read(...samples);
      const layers = layersOf(manifest);
      const [baseLayers, derivedLayers] = order === 'first' ? layers : layers.toReversed();
      assert.deepEqual(derivedLayers?.slice(0, 2), baseLayers);
      assert.equal(tars.length, 3);
      assert.deepEqual(repositories, { base: { 1: ids[1] }, derived: { 1: ids[2] } });
      // A folder has the settings of the image whose top layer it is.
      assert.deepEqual(authors, [undefined, 'base', 'derived']);
    });
  }

  test('have separate top folders if only their settings differ', async () => {
    const { tars, manifest, authors, repositories, ids } = await read(
      named('a', ['base', 'top'], { author: 'a' }),
      named('b', ['base', 'top'], { author: 'b' }),
    );
    const [a, b] = layersOf(manifest);
    assert.equal(a?.[0], b?.[0]);
    assert.notEqual(a?.[1], b?.[1]);
    assert.deepEqual(tars, ['base', 'top', 'top']);
    assert.deepEqual(authors, [undefined, 'a', 'b']);
    assert.deepEqual(repositories, { a: { 1: ids[1] }, b: { 1: ids[2] } });
  });

  test('have separate top folders if only their settings differ, also below a third image', async () => {
    const { tars, manifest, authors } = await read(
      named('a', ['base'], { author: 'a' }),
      named('b', ['base'], { author: 'b' }),
      named('c', ['base', 'top'], { author: 'c' }),
    );
    const [a, b, c] = layersOf(manifest);
    assert.equal(a?.[0], c?.[0]);
    assert.notEqual(a?.[0], b?.[0]);
    assert.deepEqual(tars, ['base', 'base', 'top']);
    assert.deepEqual(authors, ['a', 'b', 'c']);
  });

  test('are one image with several tags if they are equal', async () => {
    const tagged = (tag: string) => makeSample({ layers: ['base'], reference: { tag } });
    const { entries, manifest, repositories, ids } = await read(tagged('1'), tagged('latest'), tagged('1'));
    assert.equal(entries.length, 7);
    assert.deepEqual(
      manifest.map(({ RepoTags }) => RepoTags),
      [['app:1', 'app:latest']],
    );
    assert.deepEqual(repositories, { app: { 1: ids[0], latest: ids[0] } });
    assert.deepEqual(ids, (await read(tagged('1'))).ids);
  });

  test('keep both folders of a layer that occurs twice in one image', async () => {
    const { manifest } = await read(named('a', ['same', 'same']), named('b', ['same', 'b']));
    const [a, b] = layersOf(manifest);
    assert.equal(new Set(a).size, 2);
    assert.equal(a?.[0], b?.[0]);
  });

  test('have the first position of each shared layer', () => {
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
