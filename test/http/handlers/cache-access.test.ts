/** The cache gives no access: a client gets an image only if the registry lets it pull that image now. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  APP,
  APP_FILE,
  assertHolds,
  BUNDLE,
  blobsOf,
  startScene,
  TOOL,
  TOOL_FILE,
} from '../../support/cached.ts';
import type { FakeRegistryOptions } from '../../support/fake-registry.ts';
import { noise } from '../../support/noise.ts';
import { basic } from '../../support/pair.ts';
import { firstLine } from '../../support/reading.ts';
import type { Reply, RequestOptions } from '../../support/service.ts';

const RIGHT: RequestOptions = { headers: { authorization: basic('user', 'secret') } };

/** Bytes of a file in the image. */
const SECRET = noise('base', 32);

/** Requests of clients that may not pull the image. */
const WITHOUT_RIGHT: Readonly<Record<string, RequestOptions>> = {
  'no credentials': {},
  'a wrong password': { headers: { authorization: basic('user', 'guess') } },
  'an unknown name': { headers: { authorization: basic('stranger', 'secret') } },
};

/** Registries that require credentials. */
const PRIVATE: Readonly<Record<string, FakeRegistryOptions>> = {
  'that takes Basic': { auth: { mode: 'basic' } },
  'without anonymous tokens': { auth: { mode: 'token', allowAnonymous: false } },
  'with anonymous tokens that grant nothing': { auth: { mode: 'token', allowAnonymous: 'noAccess' } },
};

/** Paths to the same image, and the status of a refusal without credentials. */
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

/** Checks that an answer is an error in text without anything of the image. */
function assertRefused({ status, headers, body }: Reply, expected: number): void {
  assert.equal(status, expected, firstLine({ body }));
  assert.match(body.toString(), /^error: (?:REGISTRY_DENIED|CREDENTIALS_REQUIRED)$/m);
  assert.match(headers['content-type'] ?? '', /^text\/plain/);
  assert.ok(body.length < 2000);
  assert.equal(headers.etag, undefined);
  assert.equal(headers['docker-content-digest'], undefined);
  assert.ok(!body.includes(SECRET));
}

/** The body of a refusal without the request ID and without the text of the registry, which an answer to HEAD lacks. */
function comparable({ body }: Reply): string {
  return body
    .toString()
    .replace(/^request: .*$/m, '')
    .replace(/^registry code: .*\n/m, '')
    .replace(/: [^:]* \([A-Z]+\)$/m, '');
}

describe('a private image in the cache', () => {
  for (const [which, options] of Object.entries(PRIVATE)) {
    for (const [path, status] of PATHS) {
      test(`of a registry ${which} is refused as without a cache: ${path}`, async () => {
        await using scene = await startScene(options);
        await using plain = await scene.start({ CACHE_MAX_BYTES: '0' });
        await using service = await scene.start();
        const expected = await plain.request(path, RIGHT);
        assert.equal(expected.status, 200);
        assert.ok((await service.request(path, RIGHT)).body.equals(expected.body));
        for (const [what, client] of Object.entries(WITHOUT_RIGHT)) {
          const uncached = await plain.request(path, client);
          const headers = { ...client.headers, 'if-none-match': expected.headers.etag ?? '' };
          scene.takeRequests();
          for (const one of [client, { ...client, method: 'HEAD' }, { headers }] as RequestOptions[]) {
            const reply = await service.request(path, one);
            if (one.method === 'HEAD') assert.ok([401, 502].includes(reply.status));
            // Wrong credentials get no challenge: the registry has said what is wrong.
            else assertRefused(reply, what === 'no credentials' ? status : 502);
            if (one === client) assert.equal(comparable(reply), comparable(uncached));
            const requests = new Set(scene.takeRequests());
            assert.deepEqual([...requests], ['HEAD team/app/manifests/1']);
          }
        }
        assert.ok((await service.request(path, RIGHT)).body.equals(expected.body));
        assert.ok(scene.takeRequests().includes('HEAD team/app/manifests/1'));
      });
    }

    test(`of a registry ${which} is refused once the client has lost the right to it`, async () => {
      await using scene = await startScene(options);
      const { auth, tokens } = scene.registry;
      await using service = await scene.start();
      assertHolds(await service.request(APP_FILE, RIGHT), APP);
      auth.users.set('user', 'another');
      tokens.revokeAll();
      assertRefused(await service.request(APP_FILE, RIGHT), 502);
      const renewed = { headers: { authorization: basic('user', 'another') } };
      assertHolds(await service.request(APP_FILE, renewed), APP);
      auth.deniedRepositories.add('team/app');
      assertRefused(await service.request(APP_FILE, renewed), 502);
    });

    test(`of a registry ${which} is refused once the operator has lost the right to it`, async () => {
      await using scene = await startScene(options);
      const { auth, tokens } = scene.registry;
      await using service = await scene.start({ REGISTRY_USERNAME: 'user', REGISTRY_PASSWORD: 'secret' });
      assertHolds(await service.request(APP_FILE), APP);
      auth.users.delete('user');
      tokens.revokeAll();
      scene.takeRequests();
      assertRefused(await service.request(APP_FILE), 502);
      assert.deepEqual(blobsOf(scene.takeRequests()), []);
    });
  }

  for (const [when, pattern, env] of [
    ['it is resolved', /manifests/, {}],
    ['it is fetched', /blobs/, { CACHE_MAX_BYTES: '0' }],
  ] as const) {
    test(`is refused to others while ${when} for a client with the right to it`, async () => {
      await using scene = await startScene({ auth: { mode: 'basic' } });
      await using service = await scene.start(env);
      scene.registry.defects.stallRequests = { pattern, times: 1 };
      const right = service.request(APP_FILE, RIGHT);
      await scene.untilStalled();
      for (const client of Object.values(WITHOUT_RIGHT)) {
        assertRefused(await service.request(APP_FILE, client), 502);
      }
      scene.registry.releaseStalled();
      assertHolds(await right, APP);
    });
  }

  test('that was public is refused once the registry denies it', async () => {
    await using scene = await startScene();
    await using service = await scene.start();
    assertHolds(await service.request(APP_FILE), APP);
    assertHolds(await service.request(TOOL_FILE), TOOL);
    scene.registry.auth.deniedRepositories.add('team/app');
    assertRefused(await service.request(APP_FILE), 502);
    assertHolds(await service.request(TOOL_FILE), TOOL);
  });

  test('is refused in a bundle whose other image is allowed', async () => {
    await using scene = await startScene({ auth: { mode: 'token' } });
    await using service = await scene.start();
    assertHolds(await service.request(BUNDLE, RIGHT), APP, TOOL);
    scene.registry.auth.deniedRepositories.add('team/app');
    assertRefused(await service.request(BUNDLE, RIGHT), 502);
    assertRefused(await service.request(BUNDLE), 401);
    assertHolds(await service.request('/bundle.tar?image=org/tool:1'), TOOL);
  });
});
