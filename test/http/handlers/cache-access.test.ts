/** Nobody gains access through the cache: who may not have an image from its registry does not get it from here. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { APP, APP_FILE, assertHolds, blobsOf, noise, startScene, TOOL } from '../../support/cached.ts';
import type { FakeRegistryOptions } from '../../support/fake-registry.ts';
import { basic } from '../../support/pair.ts';
import { firstLine } from '../../support/reading.ts';
import type { Reply, RequestOptions } from '../../support/service.ts';

const RIGHT: RequestOptions = { headers: { authorization: basic('user', 'secret') } };

/** Some bytes of a file in it. */
const SECRET = noise('base', 32);

/** What a client says that may not have the image. */
const NOT_RIGHT: Readonly<Record<string, RequestOptions>> = {
  'no credentials': {},
  'a wrong password': { headers: { authorization: basic('user', 'guess') } },
  'an unknown name': { headers: { authorization: basic('nobody', 'secret') } },
};

/** Registries that keep what they have for those who may have it. */
const PRIVATE: Readonly<Record<string, FakeRegistryOptions>> = {
  'that takes Basic': { auth: { mode: 'basic' } },
  'that gives no token to everybody': { auth: { mode: 'token', allowAnonymous: false } },
  'that gives everybody tokens that open nothing': { auth: { mode: 'token', allowAnonymous: 'noAccess' } },
};

/** All ways to the same image, and what a refusal is there. */
const PATHS: readonly (readonly [path: string, refused: number])[] = [
  [APP_FILE, 502],
  ['/docker/team_app_1.tgz', 502],
  ['/docker/team_app_1.tar.sha256', 502],
  ['/docker-gzip/team_app_1.tar', 502],
  ['/oci/team_app_1.tar', 502],
  ['/team/app:1', 401],
  ['/team/app:1?name=mine:1&format=tar', 401],
  ['/bundle.tar?image=team/app:1', 401],
];

/** Checks that an answer has nothing of an image, and says so in a text. */
function assertRefused({ status, headers, body }: Reply, expected: number): void {
  const text = body.toString();
  assert.equal(status, expected, firstLine({ body }));
  assert.match(text, /^error: (?:REGISTRY_DENIED|CREDENTIALS_REQUIRED)$/m);
  assert.match(headers['content-type'] ?? '', /^text\/plain/);
  assert.ok(body.length < 2000);
  assert.equal(headers.etag, undefined);
  assert.equal(headers['docker-content-digest'], undefined);
  assert.ok(!body.includes(SECRET));
}

/** The body of a refusal but for what is of its request alone, and for the registry's own words, which HEAD does not get. */
function wordsOf({ body }: Reply): string {
  return body
    .toString()
    .replace(/^request: .*$/m, '')
    .replace(/^registry code: .*\n/m, '')
    .replace(/: [^:]* \([A-Z]+\)$/m, '');
}

describe('a private image that is cached', () => {
  for (const [which, options] of Object.entries(PRIVATE)) {
    for (const [path, status] of PATHS) {
      test(`of a registry ${which} is for those who may have it: ${path}`, async () => {
        await using scene = await startScene(options);
        await using plain = await scene.start({ CACHE_MAX_BYTES: '0' });
        await using service = await scene.start();
        const expected = await plain.request(path, RIGHT);
        assert.equal(expected.status, 200);
        assert.ok((await service.request(path, RIGHT)).body.equals(expected.body));
        for (const [what, asker] of Object.entries(NOT_RIGHT)) {
          const without = await plain.request(path, asker);
          scene.asked();
          const { etag = '' } = expected.headers;
          const headers = { ...asker.headers, 'if-none-match': etag };
          const ways: readonly RequestOptions[] = [asker, { ...asker, method: 'HEAD' }, { headers }];
          for (const one of ways) {
            const reply = await service.request(path, one);
            if (one.method === 'HEAD') assert.ok([401, 502].includes(reply.status));
            // Credentials that are wrong are not asked for again: the registry has said what is wrong.
            else assertRefused(reply, what === 'no credentials' ? status : 502);
            if (one === asker) assert.equal(wordsOf(reply), wordsOf(without));
            const asked = scene.asked();
            assert.ok(
              asked.length > 0 && asked.every((line) => line === 'HEAD team/app/manifests/1'),
              asked.join(),
            );
          }
        }
        const again = await service.request(path, RIGHT);
        assert.ok(again.body.equals(expected.body));
        assert.ok(scene.asked().includes('HEAD team/app/manifests/1'));
      });
    }

    test(`of a registry ${which} is lost with the right to it`, async () => {
      await using scene = await startScene(options);
      const { registry } = scene;
      await using service = await scene.start();
      assertHolds(await service.request(APP_FILE, RIGHT), APP);
      registry.auth.users.set('user', 'another');
      registry.tokens.revokeAll();
      assertRefused(await service.request(APP_FILE, RIGHT), 502);
      const other = { headers: { authorization: basic('user', 'another') } };
      assertHolds(await service.request(APP_FILE, other), APP);
      registry.auth.deniedRepositories.add('team/app');
      assertRefused(await service.request(APP_FILE, other), 502);
    });

    test(`of a registry ${which} is lost with the operator’s right to it`, async () => {
      await using scene = await startScene(options);
      const { registry } = scene;
      await using service = await scene.start({ REGISTRY_USERNAME: 'user', REGISTRY_PASSWORD: 'secret' });
      assertHolds(await service.request(APP_FILE), APP);
      registry.auth.users.delete('user');
      registry.tokens.revokeAll();
      scene.asked();
      assertRefused(await service.request(APP_FILE), 502);
      assert.deepEqual(blobsOf(scene.asked()), []);
    });
  }

  test('is not told of to others while one who may have it asks', async () => {
    await using scene = await startScene({ auth: { mode: 'basic' } });
    await using service = await scene.start();
    scene.registry.defects.stallRequests = { pattern: /manifests/, times: 1 };
    const right = service.request(APP_FILE, RIGHT);
    await scene.untilStalled();
    for (const asker of Object.values(NOT_RIGHT)) assertRefused(await service.request(APP_FILE, asker), 502);
    scene.registry.releaseStalled();
    assertHolds(await right, APP);
  });

  test('is not given to others while it is sent', async () => {
    await using scene = await startScene({ auth: { mode: 'basic' } });
    await using service = await scene.start({ CACHE_MAX_BYTES: '0' });
    scene.registry.defects.stallRequests = { pattern: /blobs/, times: 1 };
    const right = service.request(APP_FILE, RIGHT);
    await scene.untilStalled();
    for (const asker of Object.values(NOT_RIGHT)) assertRefused(await service.request(APP_FILE, asker), 502);
    scene.registry.releaseStalled();
    assertHolds(await right, APP);
  });

  test('that nobody had to prove anything for is lost when the registry closes it', async () => {
    await using scene = await startScene();
    await using service = await scene.start();
    assertHolds(await service.request(APP_FILE), APP);
    assertHolds(await service.request('/docker/org_tool_1.tar'), TOOL);
    scene.registry.auth.deniedRepositories.add('team/app');
    assertRefused(await service.request(APP_FILE), 502);
    assertHolds(await service.request('/docker/org_tool_1.tar'), TOOL);
  });

  test('is not for whoever may have only some images of a bundle', async () => {
    await using scene = await startScene({ auth: { mode: 'token' } });
    await using service = await scene.start();
    const path = '/bundle.tar?image=org/tool:1&image=team/app:1';
    assertHolds(await service.request(path, RIGHT), TOOL, APP);
    scene.registry.auth.deniedRepositories.add('team/app');
    assertRefused(await service.request(path, RIGHT), 502);
    assertRefused(await service.request(path), 401);
    assertHolds(await service.request('/bundle.tar?image=org/tool:1'), TOOL);
  });
});
