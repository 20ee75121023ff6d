/** What a first request has fetched serves later requests, after the registry has confirmed the manifest. */

import assert from 'node:assert/strict';
import { readdir, stat } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { isPassthroughError } from '../../../src/errors.ts';
import {
  APP,
  APP_FILE,
  assertHolds,
  assertHoldsPacked,
  BUNDLE,
  blobsOf,
  layerOf,
  type Scene,
  startScene,
  storedFiles,
  TOOL,
  wholePull,
} from '../../support/cached.ts';
import { type BuiltImage, makeImage, makeIndex } from '../../support/image.ts';
import { basic } from '../../support/pair.ts';
import type { TestService } from '../../support/service.ts';

const HEAD = 'HEAD team/app/manifests/1';

/** The answer of a service without a cache. */
async function withoutCache(scene: Scene, path: string) {
  await using service = await scene.start({ CACHE_MAX_BYTES: '0' });
  const reply = await service.request(path);
  scene.takeRequests();
  return reply;
}

/** Bytes of all stored files below a folder. */
async function bytesIn(directory: string): Promise<number> {
  const files = await storedFiles(directory);
  const sizes = await Promise.all(files.map(async (path) => (await stat(path)).size));
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
    test(`costs one HEAD of the manifest, and has the same bytes and headers: ${path}`, async () => {
      await using scene = await startScene();
      const expected = await withoutCache(scene, path);
      assert.equal(expected.status, 200);
      await using service = await scene.start();
      const first = await service.request(path);
      assert.deepEqual(scene.takeRequests().toSorted(), wholePull('team/app', '1', APP));
      const second = await service.request(path);
      assert.deepEqual(scene.takeRequests(), [HEAD]);
      for (const { status, body, headers } of [first, second]) {
        assert.equal(status, 200);
        assert.ok(body.equals(expected.body));
        assert.equal(headers.etag, expected.headers.etag);
        assert.equal(headers['docker-content-digest'], APP.manifest.digest);
        assert.deepEqual([headers['warning'], headers['age']], [undefined, undefined]);
      }
    });
  }

  const costs: readonly [what: string, path: string, images: readonly BuiltImage[], heads: string[]][] = [
    [
      'by digest costs one HEAD',
      `/team/app@${APP.manifest.digest}?format=tar`,
      [APP],
      [`HEAD team/app/manifests/${APP.manifest.digest}`],
    ],
    [
      'of an image behind an index costs one HEAD of the index',
      '/docker/team_multi_1.tar',
      [APP],
      ['HEAD team/multi/manifests/1'],
    ],
    ['of a bundle costs one HEAD for each image', BUNDLE, [APP, TOOL], [HEAD, 'HEAD org/tool/manifests/1']],
  ];
  for (const [what, path, images, heads] of costs) {
    test(what, async () => {
      await using scene = await startScene();
      scene.registry.push('team/multi', '1', makeIndex([{ image: APP }]));
      await using service = await scene.start();
      assertHolds(await service.request(path), ...images);
      scene.takeRequests();
      assertHolds(await service.request(path), ...images);
      assert.deepEqual(scene.takeRequests(), heads);
    });
  }

  for (const [when, isConfigured] of [
    ['if the token endpoint is configured', true],
    ['after a challenge if it is not', false],
  ] as const) {
    test(`reuses the token of the first request, ${when}`, async () => {
      await using scene = await startScene({ auth: { mode: 'token' } });
      const { url, tokenRequests } = scene.registry;
      await using service = await scene.start(
        isConfigured ? { REGISTRY_AUTH_URL: `${url}/token`, REGISTRY_SERVICE: 'fake-registry' } : {},
      );
      assertHolds(await service.request(APP_FILE), APP);
      scene.takeRequests();
      const tokens = tokenRequests.length;
      assertHolds(await service.request(APP_FILE), APP);
      assert.deepEqual(scene.takeRequests(), isConfigured ? [HEAD] : [HEAD, HEAD]);
      assert.equal(tokenRequests.length, tokens);
    });
  }

  test('with credentials of the client costs a token of its own and one HEAD with it', async () => {
    await using scene = await startScene({ auth: { mode: 'token', allowAnonymous: false } });
    await using service = await scene.start();
    const options = { headers: { authorization: basic('user', 'secret') } };
    assertHolds(await service.request(APP_FILE, options), APP);
    scene.takeRequests();
    const tokens = scene.registry.tokenRequests.length;
    assertHolds(await service.request(APP_FILE, options), APP);
    assert.deepEqual(scene.takeRequests(), [HEAD, HEAD], 'one is challenged, one has the token');
    assert.equal(scene.registry.tokenRequests.length, tokens + 1);
  });

  test('after the tag has moved serves the new image and fetches only the layers that it lacks', async () => {
    await using scene = await startScene();
    await using service = await scene.start();
    const before = await service.request(APP_FILE);
    scene.registry.push('team/app', '1', TOOL);
    scene.takeRequests();
    const after = await service.request(APP_FILE);
    assertHolds(after, TOOL);
    assert.notEqual(after.headers.etag, before.headers.etag);
    assert.equal(after.headers['docker-content-digest'], TOOL.manifest.digest);
    const blobs = [TOOL.config.digest, TOOL.layers[1]?.digest];
    assert.deepEqual(
      scene.takeRequests().toSorted(),
      [HEAD, 'GET team/app/manifests/1', ...blobs.map((one) => `GET team/app/blobs/${one}`)].toSorted(),
    );
    scene.registry.push('team/app', '1', APP);
    assertHolds(await service.request(APP_FILE), APP);
    assert.deepEqual(blobsOf(scene.takeRequests()), [], 'the old image is still cached');
  });

  test('for a range or with If-None-Match is answered from the cache', async () => {
    await using scene = await startScene();
    const { body, headers } = await withoutCache(scene, APP_FILE);
    const { etag = '' } = headers;
    await using service = await scene.start();
    await service.request(APP_FILE);
    scene.takeRequests();
    const [start, end] = [100_000, 250_000];
    const range = { range: `bytes=${start}-${end - 1}`, 'if-range': etag };
    const part = await service.request(APP_FILE, { headers: range });
    assert.equal(part.status, 206);
    assert.equal(part.headers['content-range'], `bytes ${start}-${end - 1}/${body.length}`);
    assert.ok(part.body.equals(body.subarray(start, end)));
    assert.equal((await service.request(APP_FILE, { headers: { 'if-none-match': etag } })).status, 304);
    assert.deepEqual(scene.takeRequests(), [HEAD, HEAD]);
  });
});

describe('the folder of the cache', () => {
  test('outlives the service: the next service fetches no layer', async () => {
    await using scene = await startScene();
    const env = { CACHE_DIR: scene.directory };
    const expected = await withoutCache(scene, APP_FILE);
    {
      await using first = await scene.start(env);
      assertHolds(await first.request(APP_FILE), APP);
      assert.equal(await first.stop(), 0);
    }
    scene.takeRequests();
    await using second = await scene.start(env);
    const reply = await second.request(APP_FILE);
    assert.ok(reply.body.equals(expected.body));
    assert.equal(reply.headers.etag, expected.headers.etag);
    // Manifests and configs are kept in memory only.
    assert.deepEqual(scene.takeRequests(), [
      'GET team/app/manifests/1',
      `GET team/app/blobs/${APP.config.digest}`,
    ]);
  });

  test('is removed with the service if it is a temporary one', async () => {
    await using scene = await startScene();
    const env = { WORKSPACE_DIR: scene.directory };
    await using first = await scene.start(env);
    assertHolds(await first.request(APP_FILE), APP);
    assert.equal((await storedFiles(scene.directory)).length, 2 * APP.layers.length, 'blobs and inflated');
    {
      await using second = await scene.start(env);
      assertHolds(await second.request(APP_FILE), APP);
      assert.equal((await readdir(scene.directory)).length, 2);
    }
    assert.equal((await readdir(scene.directory)).length, 1, 'the folder of the first service is left');
    assertHolds(await first.request(APP_FILE), APP);
  });

  test('is refused to a second service while the first one runs', async () => {
    await using scene = await startScene();
    const env = { CACHE_DIR: scene.directory };
    {
      await using first = await scene.start(env);
      await assert.rejects(scene.start(env), (error) => {
        assert.ok(isPassthroughError(error, 'INVALID_CONFIGURATION'));
        assert.match(error.message, /^Cannot use folder ".*": another process uses it/);
        return true;
      });
      assertHolds(await first.request(APP_FILE), APP);
    }
    await using next = await scene.start(env);
    assertHolds(await next.request(APP_FILE), APP);
  });
});

describe('a cache', () => {
  const images = ['a', 'b', 'c'].map((name) => makeImage({ layers: [layerOf(name, 300_000)] }));

  /** Waits until the nth archive is sent and its files are closed, and returns the stored files. */
  async function filesAfter(service: TestService, nth: number, directory: string) {
    await service.waitForLog({ event: 'request', outcome: 'ok' }, nth);
    await service.openFiles();
    return await storedFiles(directory);
  }

  test('that is full evicts the layer that was used least recently', async () => {
    await using scene = await startScene();
    for (const [at, image] of images.entries()) scene.registry.push('team/one', `${at}`, image);
    const maxBytes = 700_000;
    await using service = await scene.start({ CACHE_MAX_BYTES: `${maxBytes}`, CACHE_DIR: scene.directory });
    const expected: readonly [image: number, fetchedLayers: number][] = [
      [0, 1],
      [1, 1],
      [0, 0],
      [2, 1], // Evicts image 1.
      [0, 0],
      [2, 0],
      [1, 1],
    ];
    for (const [step, [at, fetched]] of expected.entries()) {
      const image = images[at] ?? assert.fail();
      scene.takeRequests();
      assertHoldsPacked(await service.request(`/docker-gzip/team_one_${at}.tar`), image);
      await service.openFiles();
      assert.ok((await bytesIn(scene.directory)) <= maxBytes);
      const layer = `GET team/one/blobs/${image.layers[0]?.digest}`;
      assert.equal(scene.takeRequests().filter((line) => line === layer).length, fetched, `step ${step}`);
    }
    assert.equal((await storedFiles(scene.directory)).length, 2);
  });

  test('that an image does not fit into holds it until it is sent', async () => {
    await using scene = await startScene();
    await using service = await scene.start({ CACHE_MAX_BYTES: '1000', CACHE_DIR: scene.directory });
    // The config is kept in memory.
    for (const [nth, blobs] of [
      [1, APP.layers.length + 1],
      [2, APP.layers.length],
    ] as const) {
      assertHolds(await service.request(APP_FILE), APP);
      assert.equal(blobsOf(scene.takeRequests()).length, blobs);
      assert.deepEqual(await filesAfter(service, nth, scene.directory), []);
    }
  });

  test('of 0 bytes makes each request fetch everything', async () => {
    await using scene = await startScene();
    await using service = await scene.start({ CACHE_MAX_BYTES: '0' });
    const bodies: Buffer[] = [];
    for (const nth of [1, 2]) {
      const reply = await service.request(APP_FILE);
      assertHolds(reply, APP);
      bodies.push(reply.body);
      assert.deepEqual(scene.takeRequests().toSorted(), wholePull('team/app', '1', APP));
      assert.deepEqual(await filesAfter(service, nth, service.workspace), []);
    }
    assert.deepEqual(bodies[0], bodies[1]);
  });
});
