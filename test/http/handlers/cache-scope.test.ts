/** A manifest that names a layer proves nothing: cached layers are for repositories that have them, of the same registry. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  APP,
  APP_FILE,
  assertHolds,
  assertHoldsPacked,
  BASE,
  BASE_DIGEST,
  layerOf,
  startScene,
  watch,
} from '../../support/cached.ts';
import { type FakeRegistry, startFakeRegistry } from '../../support/fake-registry.ts';
import { type BuiltImage, makeGzipBombLayer, makeImage } from '../../support/image.ts';
import { firstLine } from '../../support/reading.ts';
import { startScriptedServer } from '../../support/scripted-server.ts';
import type { Reply } from '../../support/service.ts';
import { LARGE_BYTES } from '../../support/two-sizes.ts';
import { within } from '../../support/within.ts';

const OWN = layerOf('own');

/** An image without some of its blobs, as a registry has it that does not look when a manifest is pushed. */
function without(image: BuiltImage, ...digests: readonly string[]): BuiltImage {
  const left = [...image.blobs].filter(([digest]) => !digests.includes(digest));
  return { ...image, blobs: new Map(left) };
}

/** Everything but the layers. */
function withoutLayers(image: BuiltImage): BuiltImage {
  return without(image, ...image.layers.map(({ digest }) => digest));
}

/** What a request for blobs that are not there comes to. */
function assertMissing({ status, body }: Reply): void {
  assert.equal(status, 502, firstLine({ body }));
  assert.match(body.toString(), /^error: IMAGE_NOT_FOUND$/m);
  assert.ok(body.length < 2000);
}

/** Paths to `repository:1` in all forms that the cache holds. */
function formsOf(repository: string, prefix = ''): readonly string[] {
  const file = repository.replace('/', '_');
  return ['docker', 'docker-gzip', 'oci'].flatMap((layout) =>
    ['tar', 'tgz'].map((ending) => `${prefix}/${layout}/${file}_1.${ending}`),
  );
}

/** A scene, and a second registry, which a request names. */
async function startTwo(fill: (elsewhere: FakeRegistry) => void) {
  await using stack = new AsyncDisposableStack();
  const scene = stack.use(await startScene());
  const elsewhere = stack.use(await startFakeRegistry());
  fill(elsewhere);
  const askedElsewhere = watch(elsewhere);
  const both = stack.move();
  return {
    ...scene,
    elsewhere,
    askedElsewhere,
    prefix: `/registry/http/${elsewhere.host}`,
    [Symbol.asyncDispose]: () => both.disposeAsync(),
  };
}

describe('the manifest of another registry', () => {
  for (const [at, path] of formsOf('team/app').entries()) {
    test(`does not open the layers of this one: ${path}`, async () => {
      await using scene = await startTwo((elsewhere) => elsewhere.push('team/app', '1', withoutLayers(APP)));
      await using service = await scene.start();
      assert.equal((await service.request(path)).status, 200);
      scene.asked();
      assertMissing(await service.request(formsOf('team/app', scene.prefix)[at] ?? ''));
      assert.deepEqual(scene.asked(), []);
      const asked = scene.askedElsewhere();
      assert.ok(asked.some((line) => APP.layers.some(({ digest }) => line.endsWith(`/blobs/${digest}`))));
      assert.equal((await service.request(path)).status, 200);
    });
  }

  test('does not open its configs', async () => {
    await using scene = await startTwo((elsewhere) =>
      elsewhere.push('team/app', '1', without(APP, APP.config.digest)),
    );
    await using service = await scene.start();
    assertHolds(await service.request(APP_FILE), APP);
    assertMissing(await service.request(`${scene.prefix}${APP_FILE}`));
    assert.ok(scene.askedElsewhere().includes(`GET team/app/blobs/${APP.config.digest}`));
  });

  test('gets that registry’s layers, where it has them', async () => {
    await using scene = await startTwo((elsewhere) => elsewhere.push('team/app', '1', APP));
    await using service = await scene.start();
    assertHolds(await service.request(APP_FILE), APP);
    scene.asked();
    assertHolds(await service.request(`${scene.prefix}${APP_FILE}`), APP);
    assert.deepEqual(scene.asked(), []);
    assert.ok(scene.askedElsewhere().includes(`GET team/app/blobs/${BASE_DIGEST}`));
  });

  for (const format of ['tar', 'tgz']) {
    test(`does not open an archive that is called the same (${format})`, async () => {
      await using scene = await startTwo((elsewhere) => elsewhere.push('team/app', '1', withoutLayers(APP)));
      await using service = await scene.start();
      const query = `name=mine:1&format=${format}`;
      const mine = await service.request(`/team/app:1?${query}`);
      assert.equal(mine.status, 200);
      const { host } = scene.elsewhere;
      assertMissing(await service.request(`/${host}/team/app:1?${query}`));
      scene.elsewhere.push('team/app', '1', APP);
      // Now that it has them, the archives are the same, down to the entity tag.
      const theirs = await service.request(`/${host}/team/app:1?${query}`);
      assert.ok(theirs.body.equals(mine.body));
      assert.equal(theirs.headers.etag, mine.headers.etag);
    });
  }

  test('does not open an archive that is called the same, while that is sent', async () => {
    const image = makeImage({ layers: [await makeGzipBombLayer(LARGE_BYTES)] });
    await using scene = await startTwo((elsewhere) =>
      elsewhere.push('team/large', '1', withoutLayers(image)),
    );
    scene.registry.push('team/large', '1', image);
    await using service = await scene.start();
    const query = 'name=mine:1&format=tar';
    const slow = await service.open(`/team/large:1?${query}`);
    assert.equal(slow.statusCode, 200);
    assertMissing(await service.request(`/${scene.elsewhere.host}/team/large:1?${query}`));
    slow.destroy();
  });

  test('does not open the layers of this one in a bundle of both', async () => {
    await using scene = await startTwo((elsewhere) => elsewhere.push('team/app', '1', withoutLayers(APP)));
    await using service = await scene.start({ REGISTRY_PLAIN_HTTP_HOSTS: '127.0.0.1' });
    const { host } = scene.elsewhere;
    assertHolds(await service.request(APP_FILE), APP);
    assertMissing(await service.request(`/bundle.tar?image=org/tool:1&image=${host}/team/app:1`));
    assertMissing(await service.request(`/bundle.tar?image=${host}/team/app:1`));
  });
});

describe('the manifest of another repository', () => {
  for (const [at, path] of formsOf('team/app').entries()) {
    test(`does not open a layer that it does not have: ${path}`, async () => {
      const stolen = makeImage({ layers: [BASE, OWN] });
      await using scene = await startScene();
      const { registry } = scene;
      registry.push('evil/app', '1', without(stolen, BASE_DIGEST));
      await using service = await scene.start();
      assert.equal((await service.request(path)).status, 200);
      scene.asked();
      const evil = formsOf('evil/app')[at] ?? '';
      for (let attempt = 0; attempt < 2; attempt += 1) {
        assertMissing(await service.request(evil));
        assert.ok(
          scene.asked().includes(`GET evil/app/blobs/${BASE_DIGEST}`),
          'what HEAD leaves open is asked',
        );
      }
      // Once the registry says that it has it, nothing of it is fetched.
      registry.push('evil/app', '1', stolen);
      const reply = await service.request(evil);
      assert.equal(reply.status, 200);
      const asked = scene.asked();
      assert.ok(asked.includes(`HEAD evil/app/blobs/${BASE_DIGEST}`));
      assert.ok(!asked.includes(`GET evil/app/blobs/${BASE_DIGEST}`));
      assert.equal((await service.request(evil)).status, 200);
      assert.deepEqual(scene.asked(), ['HEAD evil/app/manifests/1'], 'it need not say so again');
    });
  }

  test('does not open it after a restart either', async () => {
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

  test('does not open it in a bundle with the repository that has it', async () => {
    await using scene = await startScene();
    scene.registry.push('evil/app', '1', withoutLayers(APP));
    await using service = await scene.start();
    assertHolds(await service.request('/bundle.tar?image=team/app:1'), APP);
    assertMissing(await service.request('/bundle.tar?image=evil/app:1'));
    scene.registry.auth.deniedRepositories.add('team/app');
    assertMissing(await service.request('/bundle.tar?image=evil/app:1&image=org/tool:1'));
  });

  test('does not open it while another one fetches it', async () => {
    await using scene = await startScene();
    const { registry } = scene;
    registry.push('evil/app', '1', withoutLayers(APP));
    await using service = await scene.start({ CACHE_MAX_BYTES: '0' });
    registry.defects.stallBlob = { digest: BASE_DIGEST, afterBytes: 1000 };
    const right = service.request(APP_FILE);
    await scene.untilStalled();
    const evil = service.request('/docker/evil_app_1.tar');
    await within(registry.waitForRequest(/evil\/app\/blobs/), 'its config');
    registry.releaseStalled();
    assertHolds(await right, APP);
    assertMissing(await evil);
  });

  for (const [what, urls] of [
    ['an address where nothing is', (origin: string) => [`${origin}/nothing`]],
    ['no address at all', () => []],
    ['the address of the layer itself', (origin: string) => [`${origin}/v2/team/app/blobs/${BASE_DIGEST}`]],
  ] as const) {
    for (const layout of ['docker', 'docker-gzip', 'oci']) {
      test(`does not open it as a foreign layer with ${what}, layout ${layout}`, async () => {
        await using scene = await startScene({ auth: { mode: 'token', allowAnonymous: false } });
        const { registry } = scene;
        const mediaType = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';
        const image = makeImage({
          mediaTypes: 'docker',
          layers: [{ ...BASE, mediaType, descriptor: { urls: urls(registry.origin) } }, OWN],
        });
        registry.push('evil/app', '1', without(image, BASE_DIGEST));
        await using service = await scene.start({
          REGISTRY_FOREIGN_LAYERS: 'fetch',
          REGISTRY_USERNAME: 'user',
          REGISTRY_PASSWORD: 'secret',
        });
        assert.equal((await service.request(`/${layout}/team_app_1.tar`)).status, 200);
        const reply = await service.request(`/${layout}/evil_app_1.tar`);
        assert.equal(reply.status, 502);
        assert.match(reply.body.toString(), /^error: (?:IMAGE_NOT_FOUND|REGISTRY_DENIED)$/m);
        assert.ok(reply.body.length < 2000);
      });
    }
  }

  test('gets a foreign layer from where it says itself, if at all', async () => {
    await using scene = await startScene();
    await using elsewhere = await startScriptedServer(({ url }, response) => {
      response.statusCode = url === '/layer' ? 200 : 404;
      response.end(url === '/layer' ? APP.layers[0]?.blob : '');
    });
    const mediaType = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';
    const push = (repository: string, path: string): BuiltImage => {
      const urls = [`${elsewhere.origin}${path}`];
      const image = makeImage({ layers: [{ ...BASE, mediaType, descriptor: { urls } }, OWN] });
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

  test('gets what the registry confirms, byte for byte', async () => {
    await using scene = await startScene();
    scene.registry.push('friend/app', '1', APP);
    await using service = await scene.start();
    assertHolds(await service.request(APP_FILE), APP);
    scene.asked();
    assertHolds(await service.request('/docker/friend_app_1.tar'), APP);
    assert.deepEqual(
      scene.asked().toSorted(),
      [
        'GET friend/app/manifests/1',
        `GET friend/app/blobs/${APP.config.digest}`,
        ...APP.layers.map(({ digest }) => `HEAD friend/app/blobs/${digest}`),
      ].toSorted(),
    );
    assertHoldsPacked(await service.request('/docker-gzip/friend_app_1.tar'), APP);
  });
});
