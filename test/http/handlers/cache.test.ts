/** What was prepared once serves those who come later, and the registry is asked whether it still holds. */

import assert from 'node:assert/strict';
import { readdir, stat } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { isPassthroughError } from '../../../src/errors.ts';
import {
  APP,
  APP_FILE,
  assertHolds,
  blobsOf,
  layerOf,
  type Scene,
  startScene,
  storedFiles,
  TOOL,
  wholePull,
} from '../../support/cached.ts';
import { sha256 } from '../../support/collect.ts';
import { makeImage, makeIndex } from '../../support/image.ts';
import { basic } from '../../support/pair.ts';
import type { RequestOptions } from '../../support/service.ts';

const HEAD = 'HEAD team/app/manifests/1';

/** What a service gives that keeps nothing. */
async function withoutCache(scene: Scene, path: string, options?: RequestOptions) {
  await using service = await scene.start({ CACHE_MAX_BYTES: '0' });
  const reply = await service.request(path, options);
  scene.asked();
  return reply;
}

/** Bytes of all stored files below a folder. */
async function bytesIn(directory: string): Promise<number> {
  const sizes = await Promise.all(
    (await storedFiles(directory)).map(async (path) => (await stat(path)).size),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

describe('a second request', () => {
  for (const path of [
    APP_FILE,
    '/docker/team_app_1.tgz',
    '/docker-gzip/team_app_1.tar',
    '/oci/team_app_1.tar',
    '/team/app:1',
  ]) {
    test(`costs one HEAD of the manifest: ${path}`, async () => {
      await using scene = await startScene();
      const expected = await withoutCache(scene, path);
      assert.equal(expected.status, 200);
      await using service = await scene.start();
      const first = await service.request(path);
      assert.deepEqual(scene.asked().toSorted(), wholePull('team/app', '1', APP));
      const second = await service.request(path);
      assert.deepEqual(scene.asked(), [HEAD]);
      for (const { status, body, headers } of [first, second]) {
        assert.equal(status, 200);
        assert.ok(body.equals(expected.body));
        assert.equal(headers.etag, expected.headers.etag);
        assert.equal(headers['docker-content-digest'], APP.manifest.digest);
        assert.equal(headers['warning'], undefined);
        assert.equal(headers['age'], undefined);
      }
    });
  }

  test('by digest costs one HEAD, too', async () => {
    await using scene = await startScene();
    await using service = await scene.start();
    const path = `/team/app@${APP.manifest.digest}?format=tar`;
    assertHolds(await service.request(path), APP);
    scene.asked();
    assertHolds(await service.request(path), APP);
    assert.deepEqual(scene.asked(), [`HEAD team/app/manifests/${APP.manifest.digest}`]);
  });

  test('of an image behind an index costs a HEAD of the index', async () => {
    await using scene = await startScene();
    scene.registry.push('team/multi', '1', makeIndex([{ image: APP }]));
    await using service = await scene.start();
    assertHolds(await service.request('/docker/team_multi_1.tar'), APP);
    scene.asked();
    assertHolds(await service.request('/docker/team_multi_1.tar'), APP);
    assert.deepEqual(scene.asked(), ['HEAD team/multi/manifests/1']);
  });

  test('of a bundle costs a HEAD for each image', async () => {
    await using scene = await startScene();
    await using service = await scene.start();
    const path = '/bundle.tar?image=team/app:1&image=org/tool:1';
    assertHolds(await service.request(path), APP, TOOL);
    scene.asked();
    assertHolds(await service.request(path), APP, TOOL);
    assert.deepEqual(scene.asked(), [HEAD, 'HEAD org/tool/manifests/1']);
  });

  for (const [how, isConfigured] of [
    ['where it is known who gives them', true],
    ['after a challenge where it is not', false],
  ] as const) {
    test(`uses the token that the first has got, ${how}`, async () => {
      await using scene = await startScene({ auth: { mode: 'token' } });
      const { url } = scene.registry;
      await using service = await scene.start(
        isConfigured ? { REGISTRY_AUTH_URL: `${url}/token`, REGISTRY_SERVICE: 'fake-registry' } : {},
      );
      assertHolds(await service.request(APP_FILE), APP);
      scene.asked();
      const tokens = scene.registry.tokenRequests.length;
      assertHolds(await service.request(APP_FILE), APP);
      assert.deepEqual(scene.asked(), isConfigured ? [HEAD] : [HEAD, HEAD]);
      assert.equal(scene.registry.tokenRequests.length, tokens);
    });
  }

  test('with credentials of the client’s gets its own token, and no more than that', async () => {
    await using scene = await startScene({ auth: { mode: 'token', allowAnonymous: false } });
    await using service = await scene.start();
    const options = { headers: { authorization: basic('user', 'secret') } };
    assertHolds(await service.request(APP_FILE, options), APP);
    scene.asked();
    const tokens = scene.registry.tokenRequests.length;
    assertHolds(await service.request(APP_FILE, options), APP);
    assert.deepEqual(scene.asked(), [HEAD, HEAD], 'one that is challenged, one with the token');
    assert.equal(scene.registry.tokenRequests.length, tokens + 1);
  });

  test('after the tag has moved gets what it means now', async () => {
    await using scene = await startScene();
    await using service = await scene.start();
    const before = await service.request(APP_FILE);
    scene.registry.push('team/app', '1', TOOL);
    scene.asked();
    const after = await service.request(APP_FILE);
    assertHolds(after, TOOL);
    assert.notEqual(after.headers.etag, before.headers.etag);
    assert.equal(after.headers['docker-content-digest'], TOOL.manifest.digest);
    const [, own] = TOOL.layers;
    assert.deepEqual(
      scene.asked().toSorted(),
      [
        HEAD,
        'GET team/app/manifests/1',
        `GET team/app/blobs/${TOOL.config.digest}`,
        `GET team/app/blobs/${own?.digest}`,
      ].toSorted(),
    );
    scene.registry.push('team/app', '1', APP);
    const back = await service.request(APP_FILE);
    assertHolds(back, APP);
    assert.deepEqual(blobsOf(scene.asked()), [], 'all of it is still here');
  });

  test('for a part gets that part', async () => {
    await using scene = await startScene();
    const { body, headers } = await withoutCache(scene, APP_FILE);
    const { etag = '' } = headers;
    await using service = await scene.start();
    await service.request(APP_FILE);
    scene.asked();
    const [start, end] = [100_000, 250_000];
    const range = { range: `bytes=${start}-${end - 1}`, 'if-range': etag };
    const part = await service.request(APP_FILE, { headers: range });
    assert.equal(part.status, 206);
    assert.equal(part.headers['content-range'], `bytes ${start}-${end - 1}/${body.length}`);
    assert.ok(part.body.equals(body.subarray(start, end)));
    const known = await service.request(APP_FILE, { headers: { 'if-none-match': etag } });
    assert.equal(known.status, 304);
    assert.deepEqual(scene.asked(), [HEAD, HEAD]);
  });
});

describe('a folder for the cache', () => {
  test('outlives the service: the next one fetches no layer', async () => {
    await using scene = await startScene();
    const env = { CACHE_DIR: scene.directory };
    const expected = await withoutCache(scene, APP_FILE);
    {
      await using first = await scene.start(env);
      assertHolds(await first.request(APP_FILE), APP);
      assert.equal(await first.stop(), 0);
    }
    scene.asked();
    await using second = await scene.start(env);
    const reply = await second.request(APP_FILE);
    assert.ok(reply.body.equals(expected.body));
    assert.equal(reply.headers.etag, expected.headers.etag);
    // Manifests and configs are small, and kept in memory.
    assert.deepEqual(scene.asked(), ['GET team/app/manifests/1', `GET team/app/blobs/${APP.config.digest}`]);
  });

  test('of one’s own goes with the service', async () => {
    await using scene = await startScene();
    await using parent = await scene.start({ WORKSPACE_DIR: scene.directory });
    assertHolds(await parent.request(APP_FILE), APP);
    assert.equal((await storedFiles(scene.directory)).length, APP.layers.length);
    await using stack = new AsyncDisposableStack();
    const other = stack.use(await scene.start({ WORKSPACE_DIR: scene.directory }));
    assertHolds(await other.request(APP_FILE), APP);
    assert.equal((await readdir(scene.directory)).length, 2);
    await stack.disposeAsync();
    assert.equal((await readdir(scene.directory)).length, 1, 'only that of the other one is left');
    assertHolds(await parent.request(APP_FILE), APP);
  });

  test('is one service’s alone', async () => {
    await using scene = await startScene();
    const env = { CACHE_DIR: scene.directory };
    {
      await using first = await scene.start(env);
      await assert.rejects(scene.start(env), (error) => {
        assert.ok(isPassthroughError(error, 'INVALID_CONFIGURATION'));
        assert.match(error.message, /^Cannot use CACHE_DIR=".*": another process uses it/);
        return true;
      });
      assertHolds(await first.request(APP_FILE), APP);
    }
    await using next = await scene.start(env);
    assertHolds(await next.request(APP_FILE), APP);
  });
});

describe('room for the cache', () => {
  const images = ['a', 'b', 'c'].map((name) => makeImage({ layers: [layerOf(name, 300_000)] }));

  test('that is full goes to what was used last', async () => {
    await using scene = await startScene();
    for (const [at, image] of images.entries()) scene.registry.push('team/one', `${at}`, image);
    const maxBytes = 700_000;
    await using service = await scene.start({ CACHE_MAX_BYTES: `${maxBytes}`, CACHE_DIR: scene.directory });
    /** Gets an image, and tells how many layers that has cost. */
    const cost = async (at: number): Promise<number> => {
      const image = images[at];
      assert.ok(image);
      scene.asked();
      assertHolds(await service.request(`/docker/team_one_${at}.tar`), image);
      await service.openFiles();
      assert.ok((await bytesIn(scene.directory)) <= maxBytes);
      return scene.asked().filter((line) => line.includes(image.layers[0]?.digest ?? '')).length;
    };
    assert.equal(await cost(0), 1);
    assert.equal(await cost(1), 1);
    assert.equal(await cost(0), 0);
    assert.equal(await cost(2), 1, 'for which the second goes');
    assert.equal(await cost(0), 0);
    assert.equal(await cost(2), 0);
    assert.equal(await cost(1), 1);
    assert.equal((await storedFiles(scene.directory)).length, 2);
  });

  test('that an image does not fit into holds it as long as somebody takes it', async () => {
    await using scene = await startScene();
    await using service = await scene.start({ CACHE_MAX_BYTES: '1000', CACHE_DIR: scene.directory });
    for (let turn = 0; turn < 2; turn += 1) {
      assertHolds(await service.request(APP_FILE), APP);
      assert.equal(blobsOf(scene.asked()).length, APP.layers.length + (turn === 0 ? 1 : 0));
      await service.waitForLog({ event: 'request', outcome: 'ok' }, turn + 1);
      await service.openFiles();
      assert.deepEqual(await storedFiles(scene.directory), []);
    }
  });

  test('of no byte has each request fetch all of it', async () => {
    await using scene = await startScene();
    await using service = await scene.start({ CACHE_MAX_BYTES: '0' });
    const bodies: string[] = [];
    for (let turn = 1; turn <= 2; turn += 1) {
      const reply = await service.request(APP_FILE);
      assertHolds(reply, APP);
      bodies.push(sha256(reply.body));
      assert.deepEqual(scene.asked().toSorted(), wholePull('team/app', '1', APP));
      await service.waitForLog({ event: 'request', outcome: 'ok' }, turn);
      await service.openFiles();
      assert.deepEqual(await storedFiles(service.workspace), []);
    }
    assert.equal(bodies[0], bodies[1]);
  });
});
