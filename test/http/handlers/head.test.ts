/** HEAD: the header of GET, without work where it follows from what is known. */

import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { APP, type Scene, startScene, storedFiles, TOOL } from '../../support/cached.ts';
import { sha256 } from '../../support/collect.ts';
import { type BuiltImage, makeImage, makeLayer } from '../../support/image.ts';
import type { Reply, TestService } from '../../support/service.ts';

const TAR = makeLayer({ 'etc/hello': 'hello '.repeat(20_000) });

/** Images whose layers are compressed in one way. */
const IMAGES: Readonly<Record<string, BuiltImage>> = {
  gzip: APP,
  zstd: makeImage({ layers: [{ tar: TAR, compression: 'zstd' }, otherLayer()] }),
  plain: makeImage({ layers: [{ tar: TAR, compression: 'none' }, otherLayer()] }),
  odd: makeImage({
    layers: [{ blob: Buffer.concat([gzipSync(TAR), Buffer.alloc(512)]), diffId: sha256(TAR) }],
  }),
  lying: makeImage({ layers: [{ blob: zstdCompressSync(TAR), diffId: sha256(TAR) }] }),
};

function otherLayer() {
  return { tar: makeLayer({ 'etc/other': 'other' }) };
}

const FILES = ['docker', 'docker-gzip', 'oci'].flatMap((layout) =>
  ['tar', 'tgz'].map((ending) => ({ layout, ending })),
);

/** The headers that say what the answer is. */
function about({ status, headers }: Reply) {
  const names = ['etag', 'content-length', 'content-type', 'accept-ranges', 'content-disposition'];
  const digests = ['docker-content-digest', 'docker-base-digest', 'repr-digest'];
  return [status, ...[...names, ...digests].map((name) => headers[name])];
}

const head = (service: TestService, path: string) => service.request(path, { method: 'HEAD' });

/** Requests for blobs since the last call, but for configs. */
function layerRequests(scene: Scene, ...images: readonly BuiltImage[]): readonly string[] {
  const configs = [APP, TOOL, ...Object.values(IMAGES), ...images].map(({ config }) => config.digest);
  return scene
    .takeRequests()
    .filter((line) => line.includes('/blobs/') && !configs.some((digest) => line.includes(digest)));
}

async function start(): Promise<Scene> {
  const scene = await startScene();
  for (const [name, image] of Object.entries(IMAGES)) scene.registry.push(`team/${name}`, '1', image);
  return scene;
}

describe('HEAD before GET', () => {
  for (const [name] of Object.entries(IMAGES)) {
    for (const { layout, ending } of FILES) {
      const path = `/${layout}/team_${name}_1.${ending}`;
      const isFree = layout === 'oci' || (layout === 'docker-gzip' && ['gzip', 'odd'].includes(name));
      // A blob that is not what its media type says shows only when it is there.
      if (name === 'lying' && layout === 'docker-gzip') continue;
      test(`has the header of GET${isFree ? ', and fetches no layer' : ''}: ${path}`, async () => {
        await using scene = await start();
        await using service = await scene.start();
        const before = await head(service, path);
        assert.equal(layerRequests(scene).length === 0, isFree);
        assert.deepEqual(about(before), about(await service.request(path)));
      });
    }
  }
});

describe('HEAD after GET costs no layer', () => {
  for (const [name, image] of Object.entries(IMAGES)) {
    for (const { layout, ending } of FILES) {
      const path = `/${layout}/team_${name}_1.${ending}`;
      test(`when the files are gone and the service is another: ${path}`, async () => {
        await using scene = await start();
        const env = { CACHE_DIR: scene.directory };
        let expected: unknown;
        {
          await using service = await scene.start(env);
          expected = about(await service.request(path));
          assert.equal(await service.stop(), 0);
        }
        for (const file of await storedFiles(scene.directory)) await rm(file);
        await using service = await scene.start(env);
        scene.takeRequests();
        assert.deepEqual(about(await head(service, path)), expected);
        assert.deepEqual(layerRequests(scene, image), []);
        assert.deepEqual(about(await service.request(path)), expected, 'GET fetches, and says the same');
      });
    }
  }

  test('of one form is enough for the length of the others', async () => {
    await using scene = await start();
    const env = { CACHE_MAX_BYTES: '1000' };
    await using service = await scene.start(env);
    await service.request('/docker/team_gzip_1.tar');
    scene.takeRequests();
    for (const path of ['/docker/team_gzip_1.tgz', '/docker/team_gzip_1.tar', '/team/gzip:1']) {
      assert.equal((await head(service, path)).status, 200);
      assert.deepEqual(layerRequests(scene), [], path);
    }
  });

  test('of a bundle, an update and a prefix', async () => {
    await using scene = await start();
    await using service = await scene.start({ CACHE_MAX_BYTES: '1000' });
    for (const path of [
      '/bundle.tar?image=team/app:1&image=org/tool:1',
      '/docker/team_app_2.tar?since=1',
      '/since/1/docker/team_app_2.tgz',
      '/platform/linux/amd64/docker/team_app_1.tgz',
      '/early/docker/team_app_1.tar',
    ]) {
      const expected = await service.request(path.replace('/early', ''));
      scene.takeRequests();
      assert.deepEqual(about(await head(service, path)), about(expected), path);
      assert.deepEqual(layerRequests(scene), [], path);
    }
  });

  test('not where nothing is kept', async () => {
    await using scene = await start();
    await using service = await scene.start({ CACHE_MAX_BYTES: '0' });
    for (let count = 0; count < 2; count += 1) {
      assert.equal((await head(service, '/docker/team_app_1.tar')).status, 200);
      assert.equal(layerRequests(scene).length, APP.layers.length);
    }
  });
});

describe('what is known of a layer', () => {
  const path = '/docker/org_tool_1.tar';

  test('is told to a client of another repository only when the registry says that it has the blobs', async () => {
    await using scene = await start();
    await using service = await scene.start({ CACHE_MAX_BYTES: '1000' });
    // Both tags are of one image; its blobs are known from the first repository.
    await service.request('/docker/team_app_2.tar');
    scene.takeRequests();
    assert.equal((await head(service, path)).status, 200);
    const asked = TOOL.layers.map(({ digest }) => `HEAD org/tool/blobs/${digest}`);
    assert.deepEqual(layerRequests(scene), asked);
    scene.takeRequests();
    assert.equal((await head(service, path)).status, 200);
    assert.deepEqual(layerRequests(scene), [], 'it is asked once');
  });

  test('is not told where the registry does not have the blob for the client', async () => {
    await using scene = await start();
    await using service = await scene.start({ CACHE_MAX_BYTES: '1000' });
    await service.request('/docker/team_app_2.tar');
    scene.registry.defects.dropBlob = { digest: TOOL.layers[1]?.digest ?? '' };
    const refused = await head(service, path);
    assert.equal(refused.status, 502);
    assert.equal(refused.headers.etag, undefined);
    assert.equal((await service.request(path)).status, 502);
  });

  test('does not hide a wrong diff ID', async () => {
    await using scene = await start();
    const wrong = makeImage({ layers: [{ blob: gzipSync(TAR), diffId: `sha256:${'0'.repeat(64)}` }] });
    scene.registry.push(
      'team/right',
      '1',
      makeImage({ layers: [{ blob: gzipSync(TAR), diffId: sha256(TAR) }] }),
    );
    scene.registry.push('team/right', 'wrong', wrong);
    await using service = await scene.start();
    assert.equal((await service.request('/docker/team_right_1.tar')).status, 200);
    for (const ending of ['tar', 'tgz'])
      assert.equal((await head(service, `/docker/team_right_wrong.${ending}`)).status, 502);
  });

  test('counts against the limit of an image', async () => {
    await using scene = await start();
    const env = { CACHE_DIR: scene.directory };
    {
      await using service = await scene.start(env);
      assert.equal((await service.request('/docker/team_app_1.tar')).status, 200);
      await service.stop();
    }
    await using service = await scene.start({ ...env, MAX_IMAGE_BYTES: '200000' });
    for (const method of ['HEAD', 'GET'])
      assert.equal((await service.request('/docker/team_app_1.tar', { method })).status, 507);
  });

  test('gives an early archive its length', async () => {
    await using scene = await start();
    await using service = await scene.start({ CACHE_MAX_BYTES: '1000' });
    for (const name of ['gzip', 'zstd', 'odd', 'lying']) {
      for (const { layout, ending } of FILES) {
        const file = `/${layout}/team_${name}_1.${ending}`;
        const expected = await service.request(file);
        const early = await service.request(`${file}?start=early`);
        assert.deepEqual([early.status, early.isCut], [200, false], file);
        assert.deepEqual(about(early).slice(0, 5), about(expected).slice(0, 5), file);
        assert.ok(early.body.equals(expected.body), file);
      }
    }
  });
});

describe('an early archive of layout docker-gzip', () => {
  test('with a layer that is no gzip by its media type has no length, and the right bytes', async () => {
    await using scene = await start();
    await using service = await scene.start({ CACHE_MAX_BYTES: '0' });
    for (const name of ['zstd', 'plain']) {
      const early = await service.request(`/docker-gzip/team_${name}_1.tar?start=early`);
      assert.deepEqual([early.isCut, early.headers['content-length']], [false, undefined]);
      const prepared = await service.request(`/docker-gzip/team_${name}_1.tar`);
      assert.ok(early.body.equals(prepared.body));
      assert.equal(early.headers.etag, prepared.headers.etag);
      assert.ok(String(early.headers.etag).includes(process.versions.zlib));
    }
  });

  test('is cut at a layer that is no gzip against its media type; the next request is answered in full', async () => {
    await using scene = await start();
    await using service = await scene.start();
    const path = '/docker-gzip/team_lying_1.tar?start=early';
    const first = await service.request(path);
    assert.deepEqual([first.status, first.isCut], [200, true]);
    const again = await service.request(path);
    assert.deepEqual([again.status, again.isCut], [200, false]);
    assert.notEqual(again.headers.etag, first.headers.etag);
    assert.ok(again.body.equals((await service.request(path.replace('?start=early', ''))).body));
  });
});
