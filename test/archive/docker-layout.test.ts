import assert from 'node:assert/strict';
import { describe, mock, test } from 'node:test';
import { dockerLayout } from '../../src/archive/docker-layout.ts';
import { digestHex, parseDigest } from '../../src/image/digest.ts';
import { listTar } from '../support/collect.ts';
import { encode, makeSample, type Sample, type SampleOptions } from './inputs.ts';

const archiveOf = ({ input, tars }: Sample) => encode(dockerLayout(input), tars);
const list = async (sample: Sample) => listTar(await archiveOf(sample));

/** What is in an archive, by name; JSON as values. */
async function read(sample: Sample) {
  const entries = await list(sample);
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
        `${digestHex(sample.input.configDigest)}.json`,
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
    const { input, tars } = makeSample({ layers: ['base'] });
    const configBytes = Buffer.from(`  ${JSON.stringify(input.config.document, undefined, 7)}\n\n`);
    const entries = await list({ input: { ...input, configBytes }, tars });
    const config = entries.find(({ name }) => name === `${digestHex(input.configDigest)}.json`);
    assert.ok(config?.content.equals(configBytes));
  });

  test('says in manifest.json what to load, and in repositories what older engines load', async () => {
    const sample = makeSample({
      layers: ['base', 'top'],
      reference: { registryName: '10.0.0.5:5000', repository: 'team/app', tag: 'v1' },
    });
    const { ids, manifest, repositories } = await read(sample);
    assert.deepEqual(manifest, [
      {
        Config: `${digestHex(sample.input.configDigest)}.json`,
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
    const config = `${digestHex(sample.input.configDigest)}.json`;
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
  const { input, tars } = makeSample({ layers: ['base'] });
  const configDigest = parseDigest(`sha512:${'0123456789abcdef'.repeat(8)}`);
  const archive = dockerLayout({ ...input, configDigest });
  const bytes = await encode(archive, tars);
  assert.equal(bytes.length, archive.size);
  assert.ok(listTar(bytes).some(({ name }) => name === `${digestHex(configDigest)}.json`));
});
