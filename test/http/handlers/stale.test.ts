/** A registry that is down, and images that are cached: what may be served then, and what not. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { APP, APP_FILE, assertHolds, blobsOf, startScene, TOOL } from '../../support/cached.ts';
import type { Defects } from '../../support/defects.ts';
import { makeIndex } from '../../support/image.ts';
import { basic } from '../../support/pair.ts';
import type { Reply, RequestOptions, TestService } from '../../support/service.ts';

const STALE = { CACHE_SERVE_STALE: '60' };

/** Ways in which a registry cannot be asked. */
const DOWN: Readonly<Record<string, Defects>> = {
  'cuts every connection': { resetConnections: {} },
  'does not answer': { stallRequests: {} },
  'says 429': { failWith: { status: 429 } },
  'says 500': { failWith: { status: 500 } },
  'says 503': { failWith: { status: 503, headers: { 'Retry-After': '0' } } },
};

/** Answers that are the registry's word on the matter. */
const REFUSALS: Readonly<Record<string, Defects>> = {
  'says 401': { failWith: { status: 401 } },
  'says 403': { failWith: { status: 403 } },
  'says 404': { failWith: { status: 404 } },
};

const RIGHT: RequestOptions = { headers: { authorization: basic('user', 'secret') } };

function assertStale({ headers }: Reply): void {
  assert.equal(
    headers.warning,
    '110 docker-http-passthrough "Response is Stale", 111 docker-http-passthrough "Revalidation Failed"',
  );
  assert.match(headers.age ?? '', /^\d+$/);
  assert.ok(Number(headers.age) < 60);
}

function assertFresh({ headers }: Reply): void {
  assert.equal(headers.warning, undefined);
  assert.equal(headers.age, undefined);
}

function assertDown({ status, body }: Reply): void {
  assert.equal(status, 502);
  assert.match(body.toString(), /^error: REGISTRY_UNREACHABLE$/m);
}

describe('a registry that is gone', () => {
  test('is an error by default, cached or not', async () => {
    await using scene = await startScene();
    await using service = await scene.start();
    assertHolds(await service.request(APP_FILE), APP);
    await scene.registry.close();
    assertDown(await service.request(APP_FILE));
  });

  test('is no error where stale images will do', async () => {
    await using scene = await startScene();
    await using service = await scene.start(STALE);
    const fresh = await service.request(APP_FILE);
    assertHolds(fresh, APP);
    assertFresh(fresh);
    await scene.registry.close();
    const stale = await service.request(APP_FILE);
    assert.equal(stale.status, 200);
    assertStale(stale);
    assert.ok(stale.body.equals(fresh.body));
    assert.equal(stale.headers.etag, fresh.headers.etag);
    assert.equal(stale.headers['docker-content-digest'], APP.manifest.digest);
    const line = await service.waitForLog({ event: 'request', outcome: 'ok' }, 2);
    assert.equal(line['staleSeconds'], Number(stale.headers.age));
  });

  test('is an error where nothing is kept', async () => {
    await using scene = await startScene();
    await using service = await scene.start({ ...STALE, CACHE_MAX_BYTES: '0' });
    assertHolds(await service.request(APP_FILE), APP);
    await scene.registry.close();
    assertDown(await service.request(APP_FILE));
  });
});

describe('a registry that cannot be asked', () => {
  for (const [what, defects] of Object.entries(DOWN)) {
    test(`since it ${what} leaves the cached image, until it is back`, async () => {
      await using scene = await startScene();
      const { registry } = scene;
      await using service = await scene.start({ ...STALE, REGISTRY_RESPONSE_TIMEOUT: '0.2' });
      const fresh = await service.request(APP_FILE);
      Object.assign(registry.defects, defects);
      const stale = await service.request(APP_FILE);
      assertStale(stale);
      assert.ok(stale.body.equals(fresh.body));
      for (const name of Object.keys(defects)) Object.assign(registry.defects, { [name]: undefined });
      const back = await service.request(APP_FILE);
      assertHolds(back, APP);
      assertFresh(back);
      registry.push('team/app', '1', TOOL);
      assertHolds(await service.request(APP_FILE), TOOL);
    });
  }

  for (const [what, defects] of Object.entries(REFUSALS)) {
    test(`is none that ${what}`, async () => {
      await using scene = await startScene();
      await using service = await scene.start(STALE);
      assertHolds(await service.request(APP_FILE), APP);
      Object.assign(scene.registry.defects, defects);
      const reply = await service.request(APP_FILE);
      assert.equal(reply.status, 502);
      assert.match(reply.body.toString(), /^error: (?:REGISTRY_DENIED|IMAGE_NOT_FOUND)$/m);
      assert.ok(reply.body.length < 2000);
      assertFresh(reply);
      Object.assign(scene.registry.defects, { failWith: undefined, resetConnections: {} });
      assertHolds(await service.request(APP_FILE), APP);
    });
  }

  const forms: readonly (readonly [what: string, path: string, options: RequestOptions, status: number])[] = [
    ['compressed', '/docker/team_app_1.tgz', {}, 200],
    ['its checksum', '/docker/team_app_1.tar.sha256', {}, 200],
    ['by reference', '/team/app:1', {}, 200],
    ['behind an index', '/docker/team_multi_1.tar', {}, 200],
    ['all platforms of an index', '/platform/all/oci/team_multi_1.tar', {}, 200],
    ['a bundle', '/bundle.tar?image=team/app:1&image=org/tool:1', {}, 200],
    ['its header alone', APP_FILE, { method: 'HEAD' }, 200],
  ];
  for (const [what, path, options, status] of forms) {
    test(`leaves of the cached image ${what}, also after a restart`, async () => {
      await using scene = await startScene();
      const { registry } = scene;
      registry.push('team/multi', '1', makeIndex([{ image: APP }]));
      const env = { ...STALE, CACHE_DIR: scene.directory };
      const check = async (service: TestService, expected: Reply) => {
        const stale = await service.request(path, options);
        assert.equal(stale.status, status, stale.body.toString());
        assertStale(stale);
        assert.ok(stale.body.equals(expected.body));
        assert.equal(stale.headers.etag, expected.headers.etag);
        assert.equal(stale.headers['content-length'], expected.headers['content-length']);
      };
      let fresh: Reply;
      {
        await using first = await scene.start(env);
        fresh = await first.request(path, options);
        assertFresh(fresh);
        registry.defects.resetConnections = {};
        await check(first, fresh);
        await first.stop();
      }
      await using second = await scene.start(env);
      await check(second, fresh);
    });
  }

  test('leaves 304 for who has the image, and parts for who has begun', async () => {
    await using scene = await startScene();
    await using service = await scene.start(STALE);
    const fresh = await service.request(APP_FILE);
    const { etag = '' } = fresh.headers;
    scene.registry.defects.resetConnections = {};
    const known = await service.request(APP_FILE, { headers: { 'if-none-match': etag } });
    assert.equal(known.status, 304);
    assert.equal(known.headers.etag, etag);
    assertStale(known);
    const part = await service.request(APP_FILE, { headers: { 'if-range': etag, range: 'bytes=1000-1999' } });
    assert.equal(part.status, 206);
    assertStale(part);
    assert.ok(part.body.equals(fresh.body.subarray(1000, 2000)));
  });

  test('leaves what a token for everybody has opened', async () => {
    await using scene = await startScene({ auth: { mode: 'token' } });
    await using service = await scene.start(STALE);
    assertHolds(await service.request(APP_FILE), APP);
    scene.registry.defects.resetConnections = {};
    const stale = await service.request(APP_FILE);
    assertHolds(stale, APP);
    assertStale(stale);
  });
});

describe('what is not served without its registry', () => {
  for (const [who, env, options] of [
    ['the client’s', {}, RIGHT],
    ['the operator’s', { REGISTRY_USERNAME: 'user', REGISTRY_PASSWORD: 'secret' }, {}],
  ] as const) {
    for (const mode of ['basic', 'token'] as const) {
      test(`is an image that ${who} credentials have opened (${mode}), not even for those`, async () => {
        await using scene = await startScene({ auth: { mode, allowAnonymous: false } });
        const settings = { ...STALE, ...env, CACHE_DIR: scene.directory };
        {
          await using service = await scene.start(settings);
          assertHolds(await service.request(APP_FILE, options), APP);
          scene.registry.defects.resetConnections = {};
          for (const one of [options, {}, RIGHT]) assertDown(await service.request(APP_FILE, one));
        }
        await using next = await scene.start(settings);
        for (const one of [options, {}, RIGHT]) assertDown(await next.request(APP_FILE, one));
      });
    }
  }

  test('is what credentials were told after the public was told something else', async () => {
    await using scene = await startScene();
    const { registry } = scene;
    await using service = await scene.start(STALE);
    assertHolds(await service.request(APP_FILE), APP);
    // The same for both: everybody may still have it.
    assertHolds(await service.request(APP_FILE, RIGHT), APP);
    registry.defects.resetConnections = {};
    assertHolds(await service.request(APP_FILE), APP);
    registry.defects.resetConnections = undefined;
    registry.push('team/app', '1', TOOL);
    assertHolds(await service.request(APP_FILE, RIGHT), TOOL);
    registry.defects.resetConnections = {};
    assertDown(await service.request(APP_FILE));
  });

  test('is a tag that nobody has asked for, or what is not cached of one', async () => {
    await using scene = await startScene();
    await using service = await scene.start(STALE);
    assertHolds(await service.request(APP_FILE), APP);
    scene.registry.defects.resetConnections = {};
    assertDown(await service.request('/docker/team_app_2.tar'));
    assertDown(await service.request('/docker/org_app_1.tar'));
    assertDown(await service.request('/docker-gzip/team_app_1.tar'));
    assertDown(await service.request('/bundle.tar?image=team/app:1&image=org/tool:1'));
    assertHolds(await service.request(APP_FILE), APP);
  });

  test('is what was resolved too long ago', async () => {
    await using scene = await startScene();
    const env = { CACHE_DIR: scene.directory };
    {
      await using service = await scene.start({ ...env, CACHE_SERVE_STALE: '0.05' });
      assertHolds(await service.request(APP_FILE), APP);
      scene.registry.defects.resetConnections = {};
      const until = performance.now() + 10_000;
      let reply = await service.request(APP_FILE);
      while (reply.status === 200 && performance.now() < until) reply = await service.request(APP_FILE);
      assertDown(reply);
    }
    // It was the time, and nothing else.
    {
      await using patient = await scene.start({ ...env, ...STALE });
      assertHolds(await patient.request(APP_FILE), APP);
    }
    await using again = await scene.start({ ...env, CACHE_SERVE_STALE: '0.05' });
    assertDown(await again.request(APP_FILE));
    scene.registry.defects.resetConnections = undefined;
    scene.asked();
    assertHolds(await again.request(APP_FILE), APP);
    assert.deepEqual(blobsOf(scene.asked()), [`GET team/app/blobs/${APP.config.digest}`]);
  });
});
