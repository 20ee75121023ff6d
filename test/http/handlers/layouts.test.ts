/** The layouts of an archive, as a client sees them. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { listTar, sha256 } from '../../support/collect.ts';
import { makeAttestation, makeImage, makeIndex } from '../../support/image.ts';
import { makeHelmChart } from '../../support/odd-images.ts';
import { type Pair, type PairOptions, startPair } from '../../support/pair.ts';
import {
  assertBlobs,
  assertError,
  blobName,
  filesOf,
  firstLine,
  hexOf,
  imagesOf,
} from '../../support/reading.ts';
import { AMD64, ARM64 } from '../../support/two-platforms.ts';

const LAYOUTS = ['docker', 'docker-gzip', 'oci'];

const ATTESTATION = makeAttestation(AMD64);
const INDEX = makeIndex([{ image: AMD64 }, { image: ARM64 }, ATTESTATION]);
const CHART = makeHelmChart();
/** A layer that cannot be unpacked. */
const DAMAGED = makeImage({
  layers: [{ blob: Buffer.from([0x1f, 0x8b, 8, 0, 1, 2, 3]), diffId: sha256('the uncompressed layer') }],
});

function start(options: PairOptions = {}): Promise<Pair> {
  return startPair(options, (registry) => {
    registry.push('team/app', '1', INDEX);
    registry.push('team/single', '1', ARM64);
    registry.push('team/chart', '1', CHART);
    registry.push('team/damaged', '1', DAMAGED);
  });
}

describe('a layout', () => {
  for (const layout of LAYOUTS) {
    test(`${layout} is the same on all routes, with plain files of one owner and time`, async () => {
      await using pair = await start();
      const bodies = new Map<string, string>();
      for (const path of [
        `/${layout}/team_app_1.tar`,
        `/registry/http/{host}/${layout}/team_app_1.tar`,
        `/platform/linux/amd64/${layout}/team_app_1.tar`,
        `/platform/cat9k/${layout}/team_app_1.tar`,
        `/team/app:1?layout=${layout}&format=tar`,
        `/bundle.tar?image=team/app:1&layout=${layout}`,
      ]) {
        const reply = await pair.request(path);
        assert.equal(reply.status, 200, `${path}: ${firstLine(reply)}`);
        bodies.set(sha256(reply.body), reply.headers.etag ?? '');
        for (const { name, type, mtime, uid, gid } of listTar(reply.body)) {
          assert.ok(type === 'file' || type === 'directory', `${name} is a ${type}`);
          assert.deepEqual([mtime, uid, gid], [0, 0, 0], name);
          assert.ok(!name.includes(':'), name);
        }
      }
      assert.equal(bodies.size, 1);
    });
  }

  test('has its own entity tag', async () => {
    await using pair = await start();
    const tags = new Set<string | undefined>();
    for (const layout of LAYOUTS) tags.add((await pair.request(`/${layout}/team_app_1.tar`)).headers.etag);
    assert.equal(tags.size, 3);
  });

  test('that is unknown is 404 in a path and 400 in a query', async () => {
    await using pair = await start();
    assert.equal((await pair.request('/registry/http/{host}/zip/team_app_1.tar')).status, 404);
    assert.equal((await pair.request('/team/app:1?layout=zip')).status, 400);
    assert.deepEqual(pair.registry.requests, []);
  });
});

describe('layout docker-gzip', () => {
  test('has config and gzip layers byte for byte as the registry has them, and gzip of the others', async () => {
    await using pair = await start();
    assert.deepEqual(
      AMD64.layers.map(({ blob }) => blob[0] === 0x1f),
      [true, false, false],
      'there are layers of both kinds',
    );
    const reply = await pair.request('/docker-gzip/team_app_1.tar');
    const files = filesOf(reply);
    const [{ Config = '', RepoTags, Layers = [] } = {}] = imagesOf(reply) as Partial<
      ReturnType<typeof imagesOf>[number]
    >[];
    assert.deepEqual(RepoTags, [`${pair.registry.host}/team/app:1`]);
    assert.deepEqual(files.get(Config), AMD64.config.bytes);
    for (const [index, { digest, diffId, blob }] of AMD64.layers.entries()) {
      const isKept = index === 0;
      const name = Layers[index] ?? '';
      const file = files.get(name) ?? assert.fail(name);
      assert.equal(name, `${hexOf(isKept ? digest : diffId)}.tar.gz`);
      if (isKept) assert.deepEqual(file, blob);
      assert.equal(sha256(gunzipSync(file)), diffId);
    }
  });

  test('does not unpack layers, so that it accepts a layer that layout docker refuses', async () => {
    await using pair = await start();
    const reply = await pair.request('/docker-gzip/team_damaged_1.tar');
    assert.equal(reply.status, 200, firstLine(reply));
    assert.equal((await pair.request('/docker/team_damaged_1.tar')).status, 502);
  });
});

describe('layout oci', () => {
  test('has manifest, config and layers byte for byte under their digests, and no other blobs', async () => {
    await using pair = await start();
    const reply = await pair.request('/oci/team_app_1.tar');
    assertBlobs(reply, new Map([[AMD64.manifest.digest, AMD64.manifest.bytes], ...AMD64.blobs]));
    const files = filesOf(reply);
    const [manifest, ...others] = JSON.parse(String(files.get('index.json'))).manifests;
    assert.deepEqual(others, []);
    assert.equal(manifest.digest, AMD64.manifest.digest);
    assert.deepEqual(manifest.annotations, {
      'io.containerd.image.name': `${pair.registry.host}/team/app:1`,
      'org.opencontainers.image.ref.name': '1',
    });
    assert.deepEqual(JSON.parse(String(files.get('oci-layout'))), { imageLayoutVersion: '1.0.0' });
  });

  for (const path of [
    '/platform/all/oci/team_app_1.tar',
    '/oci/team_app_1.tar?platform=all',
    '/team/app:1?platform=all&layout=oci&format=tar',
    '/platform/all/registry/http/{host}/oci/team_app_1.tar',
    '/platform/ALL/oci/team_app_1.tar',
  ]) {
    test(`has all platforms, the attestation and the index of the registry: ${path}`, async () => {
      await using pair = await start();
      const reply = await pair.request(path);
      assert.equal(reply.status, 200, firstLine(reply));
      assert.equal(reply.headers['docker-content-digest'], INDEX.manifest.digest);
      const images = [INDEX, AMD64, ARM64, ATTESTATION.image];
      const blobs = images.flatMap(({ manifest, blobs }) => [
        [manifest.digest, manifest.bytes] as const,
        ...blobs,
      ]);
      assertBlobs(reply, new Map(blobs));
      const [{ digest, mediaType }] = JSON.parse(String(filesOf(reply).get('index.json'))).manifests;
      assert.deepEqual([digest, mediaType], [INDEX.manifest.digest, INDEX.manifest.mediaType]);
    });
  }

  test('with all platforms of an image without index has that image', async () => {
    await using pair = await start();
    const reply = await pair.request('/platform/all/oci/team_single_1.tar');
    assert.equal(reply.headers['docker-content-digest'], ARM64.manifest.digest, firstLine(reply));
    assert.deepEqual(filesOf(reply).get(blobName(ARM64.manifest.digest)), ARM64.manifest.bytes);
  });

  test('with all platforms fails as a whole when one of them fails', async () => {
    const digest = ARM64.layers[0]?.digest ?? '';
    await using pair = await start({ defects: { dropBlob: { digest } } });
    assert.equal((await pair.request('/oci/team_app_1.tar')).status, 200);
    assertError(await pair.request('/platform/all/oci/team_app_1.tar'), 502, new RegExp(digest));
    await pair.assertIdle();
  });
});

for (const path of [
  '/platform/all/docker/team_app_1.tar',
  '/platform/all/docker-gzip/team_app_1.tar',
  '/team/app:1?platform=all',
  '/bundle.tar?image=team/app:1&platform=all',
]) {
  test(`all platforms in another layout than oci are 400: ${path}`, async () => {
    await using pair = await start();
    assertError(await pair.request(path), 400, /^Invalid platform: .*only layout oci holds more than one$/);
    assert.deepEqual(pair.registry.requests, []);
  });
}

describe('an artifact that is not an image', () => {
  for (const layout of ['docker', 'docker-gzip']) {
    test(`is refused in layout ${layout} before a blob is requested`, async () => {
      await using pair = await start();
      const line = /^Failed to prepare image: .*(?:artifact|helm|no image|oci)/i;
      assertError(await pair.request(`/${layout}/team_chart_1.tar`), 502, line);
      assert.equal(pair.registry.countRequests(/blobs/), 0);
    });
  }

  for (const path of [
    '/oci/team_chart_1.tar',
    '/platform/all/oci/team_chart_1.tar',
    '/team/chart:1?layout=oci',
  ]) {
    test(`is served whole by ${path}`, async () => {
      await using pair = await start();
      const reply = await pair.request(path);
      assert.equal(reply.status, 200, firstLine(reply));
      assertBlobs(reply, new Map([[CHART.manifest.digest, CHART.manifest.bytes], ...CHART.blobs]));
      assert.equal(filesOf(reply).has('manifest.json'), false);
    });
  }
});
