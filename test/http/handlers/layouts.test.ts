/** What the layouts make of an image, seen by a client. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { listTar, sha256 } from '../../support/collect.ts';
import { makeAttestation, makeImage, makeIndex, makeLayer } from '../../support/image.ts';
import { makeHelmChart } from '../../support/odd-images.ts';
import { type Pair, type PairOptions, startPair } from '../../support/pair.ts';
import { blobName, filesOf, firstLine, hexOf, imagesOf } from '../../support/reading.ts';

const AMD64 = makeImage({
  layers: [
    { tar: makeLayer({ 'bin/hello': 'amd64' }) },
    { tar: makeLayer({ 'etc/hello': 'hello' }), compression: 'zstd' },
    { tar: makeLayer({ 'etc/plain': 'plain' }), compression: 'none' },
  ],
});
const ARM64 = makeImage({
  platform: { os: 'linux', architecture: 'arm64' },
  layers: [{ tar: makeLayer({ 'bin/hello': 'arm64' }) }],
  mediaTypes: 'docker',
});
const ATTESTATION = makeAttestation(AMD64);
const INDEX = makeIndex([{ image: AMD64 }, { image: ARM64 }, ATTESTATION]);
const CHART = makeHelmChart();
/** Bytes that no inflater takes, under the diff ID of what they claim to be. */
const DAMAGED = makeImage({
  layers: [{ blob: Buffer.from([0x1f, 0x8b, 8, 0, 1, 2, 3]), diffId: sha256('what it should have been') }],
});

function start(options: PairOptions = {}): Promise<Pair> {
  return startPair(options, (registry) => {
    registry.push('team/app', '1', INDEX);
    registry.push('team/single', '1', ARM64);
    registry.push('team/chart', '1', CHART);
    registry.push('team/damaged', '1', DAMAGED);
  });
}

/** The ways to ask for the same image in a layout, the archive not compressed. */
function pathsOf(layout: string, host: string): readonly string[] {
  return [
    `/${layout}/team_app_1.tar`,
    `/registry/http/${host}/${layout}/team_app_1.tar`,
    `/platform/linux/amd64/${layout}/team_app_1.tar`,
    `/platform/cat9k/${layout}/team_app_1.tar`,
    `/team/app:1?layout=${layout}&format=tar`,
    `/bundle.tar?image=team/app:1&layout=${layout}`,
  ];
}

describe('a layout', () => {
  for (const layout of ['docker', 'docker-gzip', 'oci']) {
    test(`${layout} is the same however it is asked for`, async () => {
      await using pair = await start();
      const bodies = new Map<string, string>();
      for (const path of pathsOf(layout, pair.registry.host)) {
        const reply = await pair.service.request(path);
        assert.equal(reply.status, 200, `${path}: ${firstLine(reply)}`);
        bodies.set(sha256(reply.body), reply.headers.etag ?? '');
      }
      assert.equal(bodies.size, 1);
    });
  }

  test('has an entity tag of its own', async () => {
    await using pair = await start();
    const tags = new Set<string | undefined>();
    for (const layout of ['docker', 'docker-gzip', 'oci']) {
      tags.add((await pair.service.request(`/${layout}/team_app_1.tar`)).headers.etag);
    }
    assert.equal(tags.size, 3);
  });

  test('that nobody knows is 404 in a path and 400 in a query', async () => {
    await using pair = await start();
    const path = `/registry/http/${pair.registry.host}/zip/team_app_1.tar`;
    assert.equal((await pair.service.request(path)).status, 404);
    assert.equal((await pair.service.request('/team/app:1?layout=zip')).status, 400);
    assert.deepEqual(pair.registry.requests, []);
  });
});

describe('layout docker-gzip', () => {
  test('has config and layers byte for byte as the registry has them', async () => {
    await using pair = await start();
    const reply = await pair.service.request('/docker-gzip/team_app_1.tar');
    const [image] = imagesOf(reply);
    assert.deepEqual(image?.RepoTags, [`${pair.registry.host}/team/app:1`]);
    const files = filesOf(reply);
    assert.deepEqual(files.get(image?.Config ?? ''), AMD64.config.bytes);
    assert.deepEqual(
      image?.Layers.map((name) => files.get(name)),
      AMD64.layers.map(({ blob }) => blob),
    );
    assert.deepEqual(
      image?.Layers,
      AMD64.layers.map(({ digest }) => `${hexOf(digest)}.tar.gz`),
    );
  });

  test('inflates nothing: a layer that cannot be inflated is in it, while layout docker refuses it', async () => {
    await using pair = await start();
    const reply = await pair.service.request('/docker-gzip/team_damaged_1.tar');
    assert.equal(reply.status, 200, firstLine(reply));
    assert.equal((await pair.service.request('/docker/team_damaged_1.tar')).status, 502);
  });
});

describe('layout oci', () => {
  test('has manifest, config and layers byte for byte under their digests, and nothing else', async () => {
    await using pair = await start();
    const reply = await pair.service.request('/oci/team_app_1.tar');
    const files = filesOf(reply);
    const expected = new Map([[AMD64.manifest.digest, AMD64.manifest.bytes], ...AMD64.blobs]);
    for (const [digest, bytes] of expected) assert.deepEqual(files.get(blobName(digest)), bytes);
    assert.deepEqual(
      [...files.keys()].filter((name) => name.startsWith('blobs/')).toSorted(),
      [...expected.keys()].map(blobName).toSorted(),
    );
    const { manifests } = JSON.parse(String(files.get('index.json')));
    assert.equal(manifests.length, 1);
    assert.equal(manifests[0].digest, AMD64.manifest.digest);
    assert.deepEqual(manifests[0].annotations, {
      'io.containerd.image.name': `${pair.registry.host}/team/app:1`,
      'org.opencontainers.image.ref.name': '1',
    });
    assert.deepEqual(JSON.parse(String(files.get('oci-layout'))), { imageLayoutVersion: '1.0.0' });
  });

  const all = [
    '/platform/all/oci/team_app_1.tar',
    '/oci/team_app_1.tar?platform=all',
    '/team/app:1?platform=all&layout=oci&format=tar',
    '/platform/all/registry/http/{host}/oci/team_app_1.tar',
    '/platform/ALL/oci/team_app_1.tar',
  ];
  for (const path of all) {
    test(`${path} has every platform and the attestation, and the index as it is`, async () => {
      await using pair = await start();
      const reply = await pair.service.request(path.replace('{host}', pair.registry.host));
      assert.equal(reply.status, 200, firstLine(reply));
      assert.equal(reply.headers['docker-content-digest'], INDEX.manifest.digest);
      const files = filesOf(reply);
      const images = [AMD64, ARM64, ATTESTATION.image];
      const expected = new Map([
        [INDEX.manifest.digest, INDEX.manifest.bytes],
        ...images.flatMap(({ manifest, blobs }) => [[manifest.digest, manifest.bytes] as const, ...blobs]),
      ]);
      for (const [digest, bytes] of expected) assert.deepEqual(files.get(blobName(digest)), bytes, digest);
      assert.equal([...files.keys()].filter((name) => name.startsWith('blobs/')).length, expected.size);
      const { manifests } = JSON.parse(String(files.get('index.json')));
      assert.equal(manifests[0].digest, INDEX.manifest.digest);
      assert.equal(manifests[0].mediaType, INDEX.manifest.mediaType);
    });
  }

  test('with all platforms of an image that has one is that one', async () => {
    await using pair = await start();
    const reply = await pair.service.request('/platform/all/oci/team_single_1.tar');
    assert.equal(reply.headers['docker-content-digest'], ARM64.manifest.digest, firstLine(reply));
    assert.deepEqual(filesOf(reply).get(blobName(ARM64.manifest.digest)), ARM64.manifest.bytes);
  });

  test('with all platforms fails as a whole when one of them does', async () => {
    const [layer] = ARM64.layers;
    await using pair = await start({ defects: { dropBlob: { digest: layer?.digest ?? '' } } });
    assert.equal((await pair.service.request('/oci/team_app_1.tar')).status, 200);
    const reply = await pair.service.request('/platform/all/oci/team_app_1.tar');
    assert.equal(reply.status, 502);
    assert.match(firstLine(reply), new RegExp(String(layer?.digest)));
    await pair.untilQuiet();
    assert.equal(await pair.service.openFiles(), 0);
  });
});

describe('all platforms', () => {
  for (const path of [
    '/platform/all/docker/team_app_1.tar',
    '/platform/all/docker-gzip/team_app_1.tar',
    '/team/app:1?platform=all',
    '/bundle.tar?image=team/app:1&platform=all',
  ]) {
    test(`are refused by ${path}`, async () => {
      await using pair = await start();
      const reply = await pair.service.request(path);
      assert.equal(reply.status, 400);
      assert.match(firstLine(reply), /^Invalid platform: .*only layout oci holds more than one$/);
      assert.deepEqual(pair.registry.requests, []);
    });
  }
});

describe('an artifact that is no image', () => {
  for (const layout of ['docker', 'docker-gzip']) {
    test(`is refused in layout ${layout}, in words that help`, async () => {
      await using pair = await start();
      const reply = await pair.service.request(`/${layout}/team_chart_1.tar`);
      assert.equal(reply.status, 502);
      assert.match(firstLine(reply), /^Failed to prepare image: .*(?:artifact|helm|no image|oci)/i);
      assert.equal(pair.registry.countRequests(/blobs/), 0);
    });
  }

  for (const path of [
    '/oci/team_chart_1.tar',
    '/platform/all/oci/team_chart_1.tar',
    '/team/chart:1?layout=oci',
  ]) {
    test(`comes whole from ${path}`, async () => {
      await using pair = await start();
      const reply = await pair.service.request(path);
      assert.equal(reply.status, 200, firstLine(reply));
      const files = filesOf(reply);
      assert.deepEqual(files.get(blobName(CHART.manifest.digest)), CHART.manifest.bytes);
      for (const [digest, bytes] of CHART.blobs) assert.deepEqual(files.get(blobName(digest)), bytes);
      assert.equal(files.has('manifest.json'), false);
    });
  }
});

describe('every layout', () => {
  test('has one time, one owner, and no links', async () => {
    await using pair = await start();
    for (const layout of ['docker', 'docker-gzip', 'oci']) {
      const { body } = await pair.service.request(`/${layout}/team_app_1.tar`);
      for (const { name, type, mtime, uid, gid } of listTar(body)) {
        assert.ok(type === 'file' || type === 'directory', `${name} is a ${type}`);
        assert.deepEqual([mtime, uid, gid], [0, 0, 0], name);
        assert.ok(!name.includes(':'), name);
      }
    }
  });
});
