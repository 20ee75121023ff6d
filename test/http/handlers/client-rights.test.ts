/** Whose right counts: where clients must send credentials, the operator's are not used. And tokens that a registry stops to accept. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type FakeRegistry, startFakeRegistry } from '../../support/fake-registry.ts';
import type { ChallengeParts } from '../../support/fake-token.ts';
import { basic, type Pair, type PairOptions, startPair } from '../../support/pair.ts';
import { assertError, firstLine } from '../../support/reading.ts';
import { startTestService } from '../../support/service.ts';
import { INDEX } from '../../support/two-platforms.ts';

const FILE = '/docker/team_app_1.tar';
const NAMED = `/registry/http/{host}${FILE}`;
const AUTH = `/registry-auth/http/{host}${FILE}`;
const ROUTES = [FILE, NAMED, AUTH, `${AUTH}.sha256`, '/team/app:1', '/manifest/team/app:1', '/tags/team/app'];
const GOOD = basic('user', 'secret');
const WRONG = basic('user', 'wrong');
const REQUIRED = { REGISTRY_CLIENT_AUTH: 'required' };

function start(options: PairOptions = {}): Promise<Pair> {
  return startPair(options, (registry) => registry.push('team/app', '1', INDEX));
}

function sentTo({ requests }: Pick<FakeRegistry, 'requests'>): ReadonlySet<string | undefined> {
  return new Set(requests.map(({ headers }) => headers.authorization));
}

describe("where clients must send credentials, the operator's are not used", () => {
  for (const [mode, path] of [
    ['optional', AUTH],
    ['off', AUTH],
    ...ROUTES.map((path) => ['required', path] as const),
  ] as const) {
    test(`as Basic by ${path} with REGISTRY_CLIENT_AUTH=${mode}`, async () => {
      const env = { REGISTRY_CLIENT_AUTH: mode, REGISTRY_USERNAME: 'user', REGISTRY_PASSWORD: 'secret' };
      await using pair = await start({ auth: { mode: 'basic' }, env });
      const wrong = await pair.request(path, { headers: { authorization: WRONG } });
      assert.equal(wrong.status, 502, firstLine(wrong));
      assert.deepEqual(sentTo(pair.registry), new Set([undefined, WRONG]));
    });

    test(`as a token by ${path} with REGISTRY_CLIENT_AUTH=${mode}`, async () => {
      await using registry = await startFakeRegistry({ auth: { mode: 'token', allowAnonymous: false } });
      registry.push('team/app', '1', INDEX);
      const token = registry.tokens.issue(['repository:team/app:pull'], 300);
      const env = { REGISTRY_URL: registry.url, REGISTRY_CLIENT_AUTH: mode, REGISTRY_BEARER_TOKEN: token };
      await using service = await startTestService(env);
      const request = (authorization: string) =>
        service.request(path.replace('{host}', registry.host), { headers: { authorization } });
      assert.equal((await request(WRONG)).status, 502);
      assert.equal((await request(GOOD)).status, 200);
      assert.ok(!sentTo(registry).has(`Bearer ${token}`));
    });
  }

  test('by a preparation', async () => {
    const env = {
      ...REQUIRED,
      REGISTRY_USERNAME: 'user',
      REGISTRY_PASSWORD: 'secret',
      CACHE_MAX_BYTES: '1000000',
    };
    await using pair = await start({ auth: { mode: 'basic' }, env });
    const options = { method: 'POST', headers: { authorization: WRONG } };
    assert.equal((await pair.request(`/prepare${FILE}`, options)).status, 202);
    await pair.service.waitForLog({ event: 'preparation', state: 'failed' });
    assert.deepEqual(sentTo(pair.registry), new Set([undefined, WRONG]));
  });

  test('by a bundle of two registries, which is refused before one is asked', async () => {
    await using other = await startFakeRegistry({ auth: { mode: 'basic' } });
    other.push('team/app', '1', INDEX);
    const env = {
      ...REQUIRED,
      REGISTRY_USERNAME: 'user',
      REGISTRY_PASSWORD: 'secret',
      REGISTRY_CREDENTIALS_HOSTS: other.host,
      CACHE_MAX_BYTES: '1000000',
    };
    await using pair = await start({ auth: { mode: 'basic' }, env });
    const images = ['team/app:1', `${other.host}/team/app:1`];
    const path = `/bundle.tar?image=${images.join('&image=')}`;
    for (const headers of [{ authorization: GOOD }, { authorization: WRONG }, {}]) {
      const replies = [
        await pair.request(path, { headers }),
        await pair.request('/bundle.tar', { method: 'POST', headers, body: images.join('\n') }),
        await pair.request(`/prepare${path}`, { method: 'POST', headers }),
      ];
      for (const reply of replies) {
        assertError(reply, 400, /^Invalid image reference: Cannot bundle images of 2 registries: /);
        assert.equal(reply.headers['www-authenticate'], undefined);
      }
    }
    for (const registry of [pair.registry, other]) assert.deepEqual(registry.requests, []);
    const single = `/bundle.tar?image=team/app:1&image={host}/team/app:1`;
    assert.equal((await pair.request(single, { headers: { authorization: GOOD } })).status, 200);
  });
});

test('REGISTRY_CREDENTIALS_HOSTS binds the credentials of the operator without REGISTRY_URL, too', async () => {
  await using listed = await startFakeRegistry({ auth: { mode: 'basic' } });
  await using other = await startFakeRegistry({ auth: { mode: 'basic' } });
  for (const registry of [listed, other]) registry.push('team/app', '1', INDEX);
  await using service = await startTestService({
    REGISTRY_USERNAME: 'user',
    REGISTRY_PASSWORD: 'secret',
    REGISTRY_CREDENTIALS_HOSTS: listed.host,
  });
  for (const [registry, status] of [
    [listed, 200],
    [other, 502],
  ] as const) {
    assert.equal((await service.request(NAMED.replace('{host}', registry.host))).status, status);
  }
  assert.deepEqual(sentTo(other), new Set([undefined]));
});

describe('a password in Latin-1 reaches in its bytes', () => {
  const authorization = `Basic ${Buffer.from('b\xfcro:p\xe4\xdf:w\xf6rt', 'latin1').toString('base64')}`;
  for (const mode of ['basic', 'token'] as const) {
    test(mode === 'basic' ? 'the registry' : 'the token endpoint', async () => {
      await using pair = await start({ auth: { mode, allowAnonymous: false } });
      const reply = await pair.request(AUTH, { headers: { authorization } });
      assert.equal(reply.status, 502, firstLine(reply));
      const requests = mode === 'basic' ? pair.registry.requests : pair.registry.tokenRequests;
      assert.equal(requests.at(-1)?.headers.authorization, authorization);
    });
  }

  test('and is not shown in an error, however the registry quotes it', async () => {
    await using pair = await start({ auth: { mode: 'basic' }, defects: { echoAuthorizationInErrors: true } });
    const reply = await pair.request(AUTH, { headers: { authorization } });
    assert.doesNotMatch(
      reply.body.toString() + pair.service.logText(),
      new RegExp(authorization.slice(6, 20)),
    );
  });
});

describe('a token that the registry stops to accept is replaced once', () => {
  const missingRealm = ({ error }: ChallengeParts) => `Bearer service="fake-registry",error="${error}"`;
  for (const [what, auth, env] of [
    ['after a challenge', {}, {}],
    [
      'of the operator',
      { allowAnonymous: false },
      { REGISTRY_USERNAME: 'user', REGISTRY_PASSWORD: 'secret' },
    ],
    [
      'after a challenge without a realm',
      { challengeSpelling: missingRealm },
      { REGISTRY_AUTH_URL: '{url}/token' },
    ],
    ['after no challenge', { challengeSpelling: () => [] }, { REGISTRY_AUTH_URL: '{url}/token' }],
  ] as const) {
    test(what, async () => {
      await using registry = await startFakeRegistry({ auth: { mode: 'token', ...auth } });
      registry.push('team/app', '1', INDEX);
      const given = Object.entries({ REGISTRY_SERVICE: 'fake-registry', ...env });
      await using service = await startTestService({
        REGISTRY_URL: registry.url,
        ...Object.fromEntries(given.map(([name, value]) => [name, value.replace('{url}', registry.url)])),
      });
      for (const tokens of [1, 1, 2, 2, 3]) {
        // As if the registry had started again with other keys.
        if (registry.tokenRequests.length < tokens) registry.tokens.revokeAll();
        const reply = await service.request(FILE);
        assert.equal(reply.status, 200, firstLine(reply));
        assert.equal(registry.tokenRequests.length, tokens);
      }
    });
  }

  test('for concurrent requests together', async () => {
    await using pair = await start({ auth: { mode: 'token' } });
    const request = () => pair.request(FILE);
    assert.equal((await request()).status, 200);
    pair.registry.tokens.revokeAll();
    for (const { status } of await Promise.all(Array.from({ length: 10 }, request)))
      assert.equal(status, 200);
    assert.equal(pair.registry.tokenRequests.length, 2);
  });
});
