/** Credentials of the client: which requests need them, and which registries they are sent to. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { authOf, makeAuthFolder } from '../../registry/auth/auth-files.ts';
import { startFakeRegistry } from '../../support/fake-registry.ts';
import { basic, type Pair, type PairOptions, startPair } from '../../support/pair.ts';
import { assertError, firstLine, tagsOf } from '../../support/reading.ts';
import type { Reply } from '../../support/service.ts';
import { INDEX } from '../../support/two-platforms.ts';

const FILE = '/docker/team_app_1.tar';
const NAMED = `/registry/http/{host}${FILE}`;
const AUTH = `/registry-auth/http/{host}${FILE}`;
const REFERENCE = '/team/app:1';
/** Routes that ask for credentials with 401 when the registry does. */
const ASKING = [
  REFERENCE,
  '/{host}/team/app:1',
  '/manifest/team/app:1',
  '/tags/team/app',
  '/bundle.tar?image=team/app:1',
];

const BASIC: PairOptions = { auth: { mode: 'basic' } };
const TOKEN: PairOptions = { auth: { mode: 'token', allowAnonymous: false } };
const GOOD = basic('user', 'secret');
const WRONG = basic('user', 'wrong');

function start(options: PairOptions = {}): Promise<Pair> {
  return startPair(options, (registry) => registry.push('team/app', '1', INDEX));
}

/** Requests a path with a value of `Authorization`. */
function request(pair: Pair, path: string, authorization?: string): Promise<Reply> {
  return pair.request(path, authorization === undefined ? {} : { headers: { authorization } });
}

/** The different values of `Authorization` that a registry has received. */
function sentTo({ registry }: Pick<Pair, 'registry'>): ReadonlySet<string | undefined> {
  return new Set(registry.requests.map(({ headers }) => headers.authorization));
}

function assertChallenged(reply: Reply): void {
  assertError(reply, 401, /^Registry credentials are required: /);
  assert.equal(reply.headers['www-authenticate'], 'Basic realm="registry credentials"');
}

/** Checks a refusal by the registry that asks for no credentials. */
function assertDenied(reply: Reply): void {
  assert.equal(reply.status, 502, firstLine(reply));
  assert.equal(reply.headers['www-authenticate'], undefined);
}

describe('credentials of the client', () => {
  for (const path of [FILE, NAMED, AUTH, ...ASKING]) {
    test(`are sent to the registry by ${path}; wrong ones are 502 without a challenge`, async () => {
      await using pair = await start(BASIC);
      assert.equal((await request(pair, path, GOOD)).status, 200);
      assert.ok(sentTo(pair).has(GOOD));
      const refused = await request(pair, path, WRONG);
      assertDenied(refused);
      assert.match(refused.body.toString(), /^registry code: UNAUTHORIZED$/m);
    });
  }

  for (const [mode, path] of [
    ['optional', AUTH],
    ['off', AUTH],
    ...[AUTH, NAMED, FILE, `/platform/linux/arm64${FILE}`, ...ASKING].map(
      (one) => ['required', one] as const,
    ),
  ] as const) {
    test(`are required by ${path} with REGISTRY_CLIENT_AUTH=${mode}, before the registry is asked`, async () => {
      await using pair = await start({ ...BASIC, env: { REGISTRY_CLIENT_AUTH: mode } });
      assertChallenged(await request(pair, path));
      assert.deepEqual(pair.registry.requests, []);
      assert.equal((await request(pair, path, GOOD)).status, 200);
    });
  }

  for (const path of [FILE, NAMED]) {
    test(`are optional for ${path}`, async () => {
      await using pair = await start();
      assert.equal((await request(pair, path)).status, 200);
    });

    test(`are ignored by ${path} with REGISTRY_CLIENT_AUTH=off, also malformed ones`, async () => {
      await using pair = await start({ env: { REGISTRY_CLIENT_AUTH: 'off' } });
      for (const value of [GOOD, 'Bearer x', 'Basic !']) {
        assert.equal((await request(pair, path, value)).status, 200);
      }
      assert.deepEqual(sentTo(pair), new Set([undefined]));
    });
  }

  for (const options of [BASIC, TOKEN]) {
    test(`are asked for when the registry requires them (${options.auth?.mode})`, async () => {
      await using pair = await start(options);
      for (const path of ASKING) {
        assertChallenged(await request(pair, path));
        assert.equal((await request(pair, path, GOOD)).status, 200);
      }
    });
  }

  for (const [what, env] of [
    ['those of the operator are wrong', { REGISTRY_USERNAME: 'user', REGISTRY_PASSWORD: 'wrong' }],
    ['REGISTRY_CLIENT_AUTH is off', { REGISTRY_CLIENT_AUTH: 'off' }],
  ] as const) {
    test(`are not asked for when ${what}`, async () => {
      await using pair = await start({ ...BASIC, env });
      for (const path of ASKING) assertDenied(await request(pair, path));
    });
  }

  for (const [repository, check] of [
    ['other/app', assertChallenged],
    ['team/app', assertDenied],
  ] as const)
    test(`are asked for unless the auth file has some for the repository: ${repository}`, async () => {
      await using folder = await makeAuthFolder();
      const path = await folder.write('auth.json', {});
      await using pair = await start({ ...BASIC, env: { REGISTRY_AUTH_FILE: path } });
      const key = `${pair.registry.host}/${repository}`;
      await folder.write('auth.json', { auths: { [key]: authOf('user', 'wrong') } });
      check(await request(pair, REFERENCE));
    });

  test('are not used when REGISTRY_CLIENT_AUTH is off', async () => {
    await using pair = await start({ ...BASIC, env: { REGISTRY_CLIENT_AUTH: 'off' } });
    for (const path of ASKING) assertDenied(await request(pair, path, GOOD));
    assert.deepEqual(sentTo(pair), new Set([undefined]));
  });

  test('take precedence over those of the operator', async () => {
    await using pair = await start({
      ...BASIC,
      env: { REGISTRY_USERNAME: 'user', REGISTRY_PASSWORD: 'wrong' },
    });
    assert.equal((await request(pair, FILE, GOOD)).status, 200);
    assert.equal((await request(pair, FILE)).status, 502);
  });

  test('and their tokens are not used for other clients', async () => {
    await using pair = await start(TOKEN);
    for (const [authorization, status] of [
      [GOOD, 200],
      [undefined, 502],
      [WRONG, 502],
      [GOOD, 200],
    ] as const) {
      assert.equal((await request(pair, FILE, authorization)).status, status);
    }
    assert.equal(pair.registry.tokenRequests.length, 4);
  });

  test('are checked after the filename', async () => {
    await using pair = await start();
    assert.equal((await request(pair, '/registry-auth/http/{host}/docker/nginx.tar')).status, 400);
  });
});

describe('credentials of the client for a bundle', () => {
  test('are sent if all images are from one registry, however it is named', async () => {
    await using pair = await start(BASIC);
    const path = '/bundle.tar?image=team/app:1&image={host}/team/app:1';
    assertChallenged(await request(pair, path));
    assert.equal((await request(pair, path, GOOD)).status, 200);
  });

  test('are not sent if the images are from two registries', async () => {
    await using other = await startFakeRegistry();
    other.push('team/app', '1', INDEX);
    await using pair = await start();
    const reply = await request(pair, `/bundle.tar?image=team/app:1&image=${other.host}/team/app:1`, GOOD);
    assert.equal(reply.status, 200, firstLine(reply));
    assert.deepEqual(tagsOf(reply), [`${pair.registry.host}/team/app:1`, `${other.host}/team/app:1`]);
    for (const registry of [pair.registry, other])
      assert.deepEqual(sentTo({ registry }), new Set([undefined]));
  });

  test('are not asked for if the images are from two registries', async () => {
    await using other = await startFakeRegistry(BASIC);
    other.push('team/app', '1', INDEX);
    await using pair = await start();
    const path = `/bundle.tar?image=team/app:1&image=${other.host}/team/app:1`;
    for (const authorization of [undefined, GOOD]) assertDenied(await request(pair, path, authorization));
  });
});
