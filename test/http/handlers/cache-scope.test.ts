/** A manifest that names a layer grants no access: a cached layer serves only repositories of its registry that have it. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  APP,
  APP_FILE,
  assertHolds,
  assertHoldsPacked,
  BASE,
  BASE_DIGEST,
  BASE_STALLS,
  layerOf,
  recordRequests,
  startScene,
} from '../../support/cached.ts';
import { type FakeRegistry, startFakeRegistry } from '../../support/fake-registry.ts';
import { type BuiltImage, makeGzipBombLayer, makeImage } from '../../support/image.ts';
import { assertError } from '../../support/reading.ts';
import { startScriptedServer } from '../../support/scripted-server.ts';
import type { Reply } from '../../support/service.ts';
import { LARGE_BYTES } from '../../support/two-sizes.ts';
import { within } from '../../support/within.ts';

const OWN = layerOf('own');
const FOREIGN_TYPE = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';

/** An image that lacks some of its blobs, as in a registry that does not check a pushed manifest. */
function without(image: BuiltImage, ...digests: readonly string[]): BuiltImage {
  return { ...image, blobs: new Map([...image.blobs].filter(([digest]) => !digests.includes(digest))) };
}

/** An image that lacks its layers. */
function withoutLayers(image: BuiltImage): BuiltImage {
  return without(image, ...image.layers.map(({ digest }) => digest));
}

function assertMissing(reply: Reply): void {
  assertError(reply, 502, 'IMAGE_NOT_FOUND');
  assert.ok(reply.body.length < 2000);
}

/** Paths to `repository:1` in all forms that the cache stores. */
function formsOf(repository: string): readonly string[] {
  const file = repository.replace('/', '_');
  return ['docker', 'docker-gzip', 'oci'].flatMap((layout) =>
    ['tar', 'tgz'].map((ending) => `/${layout}/${file}_1.${ending}`),
  );
}

/** A scene, and a second registry with `team/app:1`. */
async function startTwo(image: BuiltImage) {
  await using stack = new AsyncDisposableStack();
  const scene = stack.use(await startScene());
  const other: FakeRegistry = stack.use(await startFakeRegistry());
  other.push('team/app', '1', image);
  const takeOther = recordRequests(other);
  const both = stack.move();
  const prefix = `/registry/http/${other.host}`;
  return { ...scene, other, takeOther, prefix, [Symbol.asyncDispose]: () => both.disposeAsync() };
}

describe('the manifest of another registry', () => {
  for (const path of formsOf('team/app')) {
    test(`gets no cached layer of this one: ${path}`, async () => {
      await using scene = await startTwo(withoutLayers(APP));
      await using service = await scene.start();
      assert.equal((await service.request(path)).status, 200);
      scene.takeRequests();
      assertMissing(await service.request(`${scene.prefix}${path}`));
      assert.deepEqual(scene.takeRequests(), []);
      const requests = scene.takeOther();
      assert.ok(APP.layers.some(({ digest }) => requests.some((line) => line.endsWith(`/blobs/${digest}`))));
      assert.equal((await service.request(path)).status, 200);
    });
  }

  test('gets no cached config of this one', async () => {
    await using scene = await startTwo(without(APP, APP.config.digest));
    await using service = await scene.start();
    assertHolds(await service.request(APP_FILE), APP);
    assertMissing(await service.request(`${scene.prefix}${APP_FILE}`));
    assert.ok(scene.takeOther().includes(`GET team/app/blobs/${APP.config.digest}`));
  });

  test('gets the layers of its own registry', async () => {
    await using scene = await startTwo(APP);
    await using service = await scene.start();
    assertHolds(await service.request(APP_FILE), APP);
    scene.takeRequests();
    assertHolds(await service.request(`${scene.prefix}${APP_FILE}`), APP);
    assert.deepEqual(scene.takeRequests(), []);
    assert.ok(scene.takeOther().includes(`GET team/app/blobs/${BASE_DIGEST}`));
  });

  for (const format of ['tar', 'tgz']) {
    test(`gets no cached archive with the same name and content (${format})`, async () => {
      await using scene = await startTwo(withoutLayers(APP));
      await using service = await scene.start();
      const query = `name=mine:1&format=${format}`;
      const mine = await service.request(`/team/app:1?${query}`);
      assert.equal(mine.status, 200);
      const path = `/${scene.other.host}/team/app:1?${query}`;
      assertMissing(await service.request(path));
      scene.other.push('team/app', '1', APP);
      const theirs = await service.request(path);
      assert.ok(theirs.body.equals(mine.body));
      assert.equal(theirs.headers.etag, mine.headers.etag);
    });
  }

  test('gets no archive with the same name and content while that is sent', async () => {
    const image = makeImage({ layers: [await makeGzipBombLayer(LARGE_BYTES)] });
    await using scene = await startTwo(withoutLayers(image));
    scene.registry.push('team/app', '1', image);
    await using service = await scene.start();
    const query = 'name=mine:1&format=tar';
    const slow = await service.open(`/team/app:1?${query}`);
    assert.equal(slow.statusCode, 200);
    assertMissing(await service.request(`/${scene.other.host}/team/app:1?${query}`));
    slow.destroy();
  });

  test('gets no layer of this one in a bundle of both', async () => {
    await using scene = await startTwo(withoutLayers(APP));
    await using service = await scene.start({ REGISTRY_PLAIN_HTTP_HOSTS: '127.0.0.1' });
    const { host } = scene.other;
    assertHolds(await service.request(APP_FILE), APP);
    assertMissing(await service.request(`/bundle.tar?image=org/tool:1&image=${host}/team/app:1`));
    assertMissing(await service.request(`/bundle.tar?image=${host}/team/app:1`));
  });
});

describe('the manifest of another repository', () => {
  for (const [at, path] of formsOf('team/app').entries()) {
    test(`gets a cached layer only after the registry has confirmed it: ${path}`, async () => {
      const stolen = makeImage({ layers: [BASE, OWN] });
      const base = `evil/app/blobs/${BASE_DIGEST}`;
      await using scene = await startScene();
      const { registry } = scene;
      registry.push('evil/app', '1', without(stolen, BASE_DIGEST));
      await using service = await scene.start();
      assert.equal((await service.request(path)).status, 200);
      scene.takeRequests();
      const evil = formsOf('evil/app')[at] ?? '';
      for (let attempt = 0; attempt < 2; attempt += 1) {
        assertMissing(await service.request(evil));
        assert.ok(scene.takeRequests().includes(`GET ${base}`), 'a failed HEAD is followed by a GET');
      }
      registry.push('evil/app', '1', stolen);
      assert.equal((await service.request(evil)).status, 200);
      const requests = scene.takeRequests();
      assert.ok(requests.includes(`HEAD ${base}`));
      assert.ok(!requests.includes(`GET ${base}`), 'a confirmed layer is not fetched');
      assert.equal((await service.request(evil)).status, 200);
      assert.deepEqual(scene.takeRequests(), ['HEAD evil/app/manifests/1'], 'a confirmation is kept');
    });
  }

  test('gets no cached layer after a restart', async () => {
    await using scene = await startScene();
    scene.registry.push('evil/app', '1', withoutLayers(APP));
    const env = { CACHE_DIR: scene.directory };
    {
      await using first = await scene.start(env);
      assertHolds(await first.request(APP_FILE), APP);
    }
    await using service = await scene.start(env);
    assertMissing(await service.request('/docker/evil_app_1.tar'));
    assertHolds(await service.request(APP_FILE), APP);
  });

  test('gets no cached layer in a bundle', async () => {
    await using scene = await startScene();
    scene.registry.push('evil/app', '1', withoutLayers(APP));
    await using service = await scene.start();
    assertHolds(await service.request('/bundle.tar?image=team/app:1'), APP);
    assertMissing(await service.request('/bundle.tar?image=evil/app:1'));
    scene.registry.auth.deniedRepositories.add('team/app');
    assertMissing(await service.request('/bundle.tar?image=evil/app:1&image=org/tool:1'));
  });

  test('gets no layer that is fetched for another repository at the same time', async () => {
    await using scene = await startScene();
    const { registry } = scene;
    registry.push('evil/app', '1', withoutLayers(APP));
    await using service = await scene.start({ CACHE_MAX_BYTES: '0' });
    registry.defects.stallBlob = BASE_STALLS;
    const right = service.request(APP_FILE);
    await scene.untilStalled();
    const evil = service.request('/docker/evil_app_1.tar');
    await within(registry.waitForRequest(/evil\/app\/blobs/), 'the request for its config');
    registry.releaseStalled();
    assertHolds(await right, APP);
    assertMissing(await evil);
  });

  for (const [what, urls] of [
    ['with a URL that answers 404', (origin: string) => [`${origin}/nothing`]],
    ['without a URL', () => []],
    ['with the URL of the layer', (origin: string) => [`${origin}/v2/team/app/blobs/${BASE_DIGEST}`]],
  ] as const) {
    for (const layout of ['docker', 'docker-gzip', 'oci']) {
      test(`gets no cached layer as a foreign layer ${what}, layout ${layout}`, async () => {
        await using scene = await startScene({ auth: { mode: 'token', allowAnonymous: false } });
        const { registry } = scene;
        const base = { ...BASE, mediaType: FOREIGN_TYPE, descriptor: { urls: urls(registry.origin) } };
        const image = makeImage({ mediaTypes: 'docker', layers: [base, OWN] });
        registry.push('evil/app', '1', without(image, BASE_DIGEST));
        await using service = await scene.start({
          REGISTRY_FOREIGN_LAYERS: 'fetch',
          REGISTRY_USERNAME: 'user',
          REGISTRY_PASSWORD: 'secret',
        });
        assert.equal((await service.request(`/${layout}/team_app_1.tar`)).status, 200);
        const reply = await service.request(`/${layout}/evil_app_1.tar`);
        assertError(reply, 502, '(?:IMAGE_NOT_FOUND|REGISTRY_DENIED)');
        assert.ok(reply.body.length < 2000);
      });
    }
  }

  test('gets a foreign layer from the URLs in its own manifest only', async () => {
    await using scene = await startScene();
    await using elsewhere = await startScriptedServer(({ url }, response) => {
      response.statusCode = url === '/layer' ? 200 : 404;
      response.end(url === '/layer' ? APP.layers[0]?.blob : '');
    });
    const push = (repository: string, path: string): BuiltImage => {
      const descriptor = { urls: [`${elsewhere.origin}${path}`] };
      const image = makeImage({ layers: [{ ...BASE, mediaType: FOREIGN_TYPE, descriptor }, OWN] });
      scene.registry.push(repository, '1', without(image, BASE_DIGEST));
      return image;
    };
    const image = push('team/foreign', '/layer');
    push('friend/foreign', '/layer');
    push('evil/foreign', '/nothing');
    await using service = await scene.start({ REGISTRY_FOREIGN_LAYERS: 'fetch' });
    for (const [at, repository] of ['team', 'friend'].entries()) {
      for (let turn = 0; turn < 2; turn += 1) {
        assertHolds(await service.request(`/docker/${repository}_foreign_1.tar`), image);
        assert.equal(elsewhere.countRequests(/^GET \/layer$/), at + 1);
      }
    }
    assertMissing(await service.request('/docker/evil_foreign_1.tar'));
    assert.equal(elsewhere.countRequests(/^GET \/nothing$/), 1);
  });

  test('gets cached layers that the registry confirms, byte for byte', async () => {
    await using scene = await startScene();
    scene.registry.push('friend/app', '1', APP);
    await using service = await scene.start();
    assertHolds(await service.request(APP_FILE), APP);
    scene.takeRequests();
    assertHolds(await service.request('/docker/friend_app_1.tar'), APP);
    assert.deepEqual(
      scene.takeRequests().toSorted(),
      [
        'GET friend/app/manifests/1',
        `GET friend/app/blobs/${APP.config.digest}`,
        ...APP.layers.map(({ digest }) => `HEAD friend/app/blobs/${digest}`),
      ].toSorted(),
    );
    assertHoldsPacked(await service.request('/docker-gzip/friend_app_1.tar'), APP);
  });
});
