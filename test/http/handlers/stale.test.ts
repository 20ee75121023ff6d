/** `CACHE_SERVE_STALE`: cached images are served while the registry cannot be reached, if they are public. */

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import {
  APP,
  APP_FILE,
  assertHolds,
  assertHoldsPacked,
  BUNDLE,
  blobsOf,
  startScene,
  storedFiles,
  TOOL,
} from '../../support/cached.ts';
import type { Defects } from '../../support/defects.ts';
import { makeIndex } from '../../support/image.ts';
import { mockTimers } from '../../support/mock-timers.ts';
import { basic } from '../../support/pair.ts';
import { assertError } from '../../support/reading.ts';
import type { Reply, RequestOptions, TestService } from '../../support/service.ts';
import { WAIT_LIMIT_MS } from '../../support/within.ts';

const STALE = { CACHE_SERVE_STALE: '60' };

/** Ways in which a registry is unavailable. */
const UNAVAILABLE: Readonly<Record<string, Defects>> = {
  'resets connections': { resetConnections: {} },
  'does not answer': { stallRequests: {} },
  'answers 429': { failWith: { status: 429 } },
  'answers 500': { failWith: { status: 500 } },
  'answers 503': { failWith: { status: 503, headers: { 'Retry-After': '0' } } },
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
  assert.deepEqual([headers.warning, headers.age], [undefined, undefined]);
}

function assertUnreachable(reply: Reply): void {
  assertError(reply, 502, 'REGISTRY_UNREACHABLE');
}

describe('without its registry, a cached image', () => {
  for (const [what, env] of [
    ['unless CACHE_SERVE_STALE is set', {}],
    ['if the cache is off', { ...STALE, CACHE_MAX_BYTES: '0' }],
  ] as const) {
    test(`is not served ${what}`, async () => {
      await using scene = await startScene();
      await using service = await scene.start(env);
      assertHolds(await service.request(APP_FILE), APP);
      await scene.registry.close();
      assertUnreachable(await service.request(APP_FILE));
    });
  }

  test('is served with a warning and its age, which is logged', async () => {
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

  for (const [what, defects] of Object.entries(UNAVAILABLE)) {
    test(`is served while the registry ${what}, and resolved again afterwards`, async () => {
      await using scene = await startScene();
      const { registry } = scene;
      // Where nothing else ends the wait, it is short, but long enough for answers on a busy machine.
      const wait = 'stallRequests' in defects ? { REGISTRY_RESPONSE_TIMEOUT: '1' } : {};
      await using service = await scene.start({ ...STALE, ...wait });
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

  for (const status of [400, 401, 402, 403, 404, 405, 410, 418, 451]) {
    test(`is not served after the registry has answered ${status}, also not after an outage and a restart`, async () => {
      await using scene = await startScene();
      const env = { ...STALE, CACHE_DIR: scene.directory };
      {
        await using service = await scene.start(env);
        assertHolds(await service.request(APP_FILE), APP);
        scene.registry.defects.failWith = { status };
        const reply = await service.request(APP_FILE);
        assertError(reply, 502, '(?:REGISTRY_DENIED|IMAGE_NOT_FOUND|REGISTRY_FAILED)');
        assert.ok(reply.body.length < 2000);
        assertFresh(reply);
        Object.assign(scene.registry.defects, { failWith: undefined, resetConnections: {} });
        assertUnreachable(await service.request(APP_FILE));
      }
      await using next = await scene.start(env);
      assertUnreachable(await next.request(APP_FILE));
      scene.registry.defects.resetConnections = undefined;
      assertHolds(await next.request(APP_FILE), APP);
    });
  }

  test('is forgotten on the disk at once when it is refused', async (t) => {
    // A note that is written later is never written here.
    mockTimers(t);
    await using scene = await startScene();
    await using service = await scene.start({ ...STALE, CACHE_DIR: scene.directory });
    assertHolds(await service.request(APP_FILE), APP);
    scene.registry.defects.failWith = { status: 403 };
    assertError(await service.request(APP_FILE), 502, 'REGISTRY_DENIED');
    const note = join(scene.directory, 'references.json');
    const until = performance.now() + WAIT_LIMIT_MS;
    while (!existsSync(note)) {
      assert.ok(performance.now() < until, 'the note is not written');
      await setImmediate();
    }
    assert.equal(await readFile(note, 'utf8'), '[]');
  });

  for (const [what, digest] of [
    ['config', APP.config.digest],
    ['layer', APP.layers[1]?.digest],
  ] as const) {
    test(`is not served after the registry has refused its ${what}`, async () => {
      await using scene = await startScene();
      const { registry } = scene;
      const env = { ...STALE, CACHE_DIR: scene.directory };
      {
        await using service = await scene.start(env);
        assertHolds(await service.request(APP_FILE), APP);
      }
      // The uncompressed layer stays.
      for (const path of await storedFiles(scene.directory))
        if (APP.layers[1]?.blob.equals((await readFile(path)).subarray(0, APP.layers[1].blob.length)))
          await rm(path);
      for (const status of [403, 404, 451]) {
        // A new process asks for the config again, and another layout for the blob that is gone.
        await using service = await scene.start(env);
        registry.defects.failWith = { status, pattern: new RegExp(String(digest)) };
        const layout = what === 'config' ? APP_FILE : '/docker-gzip/team_app_1.tar';
        assert.equal((await service.request(layout)).status, 502);
        Object.assign(registry.defects, { failWith: undefined, resetConnections: {} });
        assertUnreachable(await service.request(APP_FILE));
        registry.defects.resetConnections = undefined;
        assertHolds(await service.request(APP_FILE), APP);
      }
    });
  }

  test('is not served by another tag, once the repository has refused anonymous access', async () => {
    await using scene = await startScene();
    const { registry } = scene;
    await using service = await scene.start(STALE);
    const other = '/docker/team_app_2.tar';
    for (const path of [APP_FILE, other, '/docker/org_tool_1.tar'])
      assert.equal((await service.request(path)).status, 200);
    registry.defects.failWith = { status: 401, pattern: /team\/app\/manifests\/1/ };
    assertError(await service.request(APP_FILE), 502, 'REGISTRY_DENIED');
    registry.defects.resetConnections = {};
    for (const path of [APP_FILE, other]) assertUnreachable(await service.request(path));
    assertHolds(await service.request('/docker/org_tool_1.tar'), TOOL);
  });

  test('is served after the registry has refused the credentials of a client, but not after it said there is none', async () => {
    await using scene = await startScene();
    const { registry } = scene;
    await using service = await scene.start(STALE);
    for (const [status, isServed] of [
      [401, true],
      [403, true],
      [410, false],
      [404, false],
    ] as const) {
      assertHolds(await service.request(APP_FILE), APP);
      registry.defects.failWith = { status };
      assert.equal((await service.request(APP_FILE, RIGHT)).status, 502);
      Object.assign(registry.defects, { failWith: undefined, resetConnections: {} });
      assert.equal((await service.request(APP_FILE)).status, isServed ? 200 : 502, String(status));
      registry.defects.resetConnections = undefined;
    }
  });

  for (const [path, options] of [
    ['/docker/team_app_1.tgz', {}],
    ['/docker/team_app_1.tar.sha256', {}],
    ['/team/app:1', {}],
    ['/docker/team_multi_1.tar', {}],
    ['/platform/all/oci/team_multi_1.tar', {}],
    [BUNDLE, {}],
    [APP_FILE, { method: 'HEAD' }],
  ] as const) {
    const { method = 'GET' }: RequestOptions = options;
    test(`is served by ${method} ${path}, also after a restart`, async () => {
      await using scene = await startScene();
      const { registry } = scene;
      registry.push('team/multi', '1', makeIndex([{ image: APP }]));
      const env = { ...STALE, CACHE_DIR: scene.directory };
      const check = async (service: TestService, fresh: Reply) => {
        const stale = await service.request(path, options);
        assert.equal(stale.status, 200, stale.body.toString());
        assertStale(stale);
        assert.ok(stale.body.equals(fresh.body));
        for (const name of ['etag', 'content-length']) assert.equal(stale.headers[name], fresh.headers[name]);
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

  test('is served for If-None-Match as 304 and for If-Range in part', async () => {
    await using scene = await startScene();
    await using service = await scene.start(STALE);
    const fresh = await service.request(APP_FILE);
    const { etag = '' } = fresh.headers;
    scene.registry.defects.resetConnections = {};
    const known = await service.request(APP_FILE, { headers: { 'if-none-match': etag } });
    assert.deepEqual([known.status, known.headers.etag], [304, etag]);
    assertStale(known);
    const part = await service.request(APP_FILE, { headers: { 'if-range': etag, range: 'bytes=1000-1999' } });
    assert.equal(part.status, 206);
    assertStale(part);
    assert.ok(part.body.equals(fresh.body.subarray(1000, 2000)));
  });

  test('is served if an anonymous token granted access to it', async () => {
    await using scene = await startScene({ auth: { mode: 'token' } });
    await using service = await scene.start(STALE);
    assertHolds(await service.request(APP_FILE), APP);
    scene.registry.defects.resetConnections = {};
    const stale = await service.request(APP_FILE);
    assertHolds(stale, APP);
    assertStale(stale);
  });

  for (const [owner, env, options] of [
    ['client', {}, RIGHT],
    ['operator', { REGISTRY_USERNAME: 'user', REGISTRY_PASSWORD: 'secret' }, {}],
  ] as const) {
    for (const mode of ['basic', 'token'] as const) {
      test(`is not served if it needed credentials of the ${owner} (${mode}), also not with them`, async () => {
        await using scene = await startScene({ auth: { mode, allowAnonymous: false } });
        const settings = { ...STALE, ...env, CACHE_DIR: scene.directory };
        {
          await using service = await scene.start(settings);
          assertHolds(await service.request(APP_FILE, options), APP);
          scene.registry.defects.resetConnections = {};
          for (const one of [options, {}, RIGHT]) assertUnreachable(await service.request(APP_FILE, one));
        }
        await using next = await scene.start(settings);
        for (const one of [options, {}, RIGHT]) assertUnreachable(await next.request(APP_FILE, one));
      });
    }
  }

  test('is not served once a request with credentials has resolved its tag to another image', async () => {
    await using scene = await startScene();
    const { registry } = scene;
    await using service = await scene.start(STALE);
    assertHolds(await service.request(APP_FILE), APP);
    // With credentials the tag resolves to the same image, so the image stays public.
    assertHolds(await service.request(APP_FILE, RIGHT), APP);
    registry.defects.resetConnections = {};
    assertHolds(await service.request(APP_FILE), APP);
    registry.defects.resetConnections = undefined;
    registry.push('team/app', '1', TOOL);
    assertHolds(await service.request(APP_FILE, RIGHT), TOOL);
    registry.defects.resetConnections = {};
    assertUnreachable(await service.request(APP_FILE));
  });

  test('is not served by another tag, repository, or bundle that lacks an image, but in another layout', async () => {
    await using scene = await startScene();
    await using service = await scene.start(STALE);
    assertHolds(await service.request(APP_FILE), APP);
    scene.registry.defects.resetConnections = {};
    const others = ['/docker/team_app_2.tar', '/docker/org_app_1.tar', BUNDLE];
    for (const path of others) assertUnreachable(await service.request(path));
    assertHoldsPacked(await service.request('/docker-gzip/team_app_1.tar'), APP);
    assertHolds(await service.request(APP_FILE), APP);
  });

  test('is not served if it was resolved longer ago than CACHE_SERVE_STALE', async () => {
    await using scene = await startScene();
    const env = { CACHE_DIR: scene.directory };
    {
      await using service = await scene.start({ ...env, CACHE_SERVE_STALE: '0.05' });
      assertHolds(await service.request(APP_FILE), APP);
      scene.registry.defects.resetConnections = {};
      const until = performance.now() + WAIT_LIMIT_MS;
      let reply = await service.request(APP_FILE);
      while (reply.status === 200 && performance.now() < until) reply = await service.request(APP_FILE);
      assertUnreachable(reply);
    }
    {
      // With a longer limit it is served: the time was the only reason.
      await using patient = await scene.start({ ...env, ...STALE });
      assertHolds(await patient.request(APP_FILE), APP);
    }
    await using again = await scene.start({ ...env, CACHE_SERVE_STALE: '0.05' });
    assertUnreachable(await again.request(APP_FILE));
    scene.registry.defects.resetConnections = undefined;
    scene.takeRequests();
    assertHolds(await again.request(APP_FILE), APP);
    assert.deepEqual(blobsOf(scene.takeRequests()), [`GET team/app/blobs/${APP.config.digest}`]);
  });
});
