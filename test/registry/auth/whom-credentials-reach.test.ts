/**
 * Which servers may receive credentials, against servers that try to get them. Rules without a server:
 * credentials.test.ts and authorize.test.ts. Redirects and foreign layers: redirected-credentials.test.ts and
 * foreign-layer.test.ts.
 */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { configWarnings, loadConfig } from '../../../src/config/config.ts';
import { chooseCredential, type StaticCredentials } from '../../../src/registry/auth/credentials.ts';
import { parseHostPattern } from '../../../src/registry/host-pattern.ts';
import { registryHost } from '../../../src/registry/registry-host.ts';
import { startScriptedServer } from '../../support/scripted-server.ts';
import { serveNames } from '../support/name-server.ts';
import {
  alias,
  BASIC,
  BIG,
  BIG_LAYER,
  CLIENT,
  headersOf,
  LOOPBACK,
  NO_CREDENTIAL,
  OPERATOR,
  openAccess,
  pull,
  readLayer,
  startRealm,
  startRegistry,
  startScene,
  USER,
} from '../support/scene.ts';

describe('a token realm', () => {
  const rows: [
    name: string,
    registry: string,
    realm: string,
    trusted: string[],
    expected: string | undefined,
  ][] = [
    ["on the registry's host", '127.0.0.1', '127.0.0.1', [], BASIC],
    ['under the same registrable domain', 'registry.example.com', 'auth.example.com', [], BASIC],
    ['in the list', '127.0.0.1', 'localhost', ['localhost'], BASIC],
    ['on another host', '127.0.0.1', 'localhost', [], undefined],
    ['under another domain', 'registry.example.com', 'auth.example.org', [], undefined],
  ];
  for (const [name, registryName, realmName, trusted, expected] of rows) {
    test(`${name} gets ${expected ? 'credentials' : 'no credentials: the token is anonymous'}`, async (t) => {
      serveNames(t, { [registryName]: ['127.0.0.1'], [realmName]: ['127.0.0.1'] });
      await using realm = await startRegistry();
      await using registry = await startRegistry({ auth: { mode: 'token' }, tokens: realm.tokens });
      registry.auth.realm = `${alias(realm, realmName)}/token`;
      for (const [index, credential] of [CLIENT, OPERATOR].entries()) {
        using access = openAccess({ trustedRealms: trusted.map(parseHostPattern) });
        await pull(access.open({ origin: alias(registry, registryName) }, credential));
        assert.deepEqual(headersOf(realm), Array(index + 1).fill(expected));
        assert.match(headersOf(registry).at(-1) ?? '', /^Bearer /);
      }
      if (expected === undefined) assert.ok(!JSON.stringify(realm.requests).includes(BASIC));
    });
  }

  test('on another host does not get credentials by asking for them', async (t) => {
    serveNames(t, LOOPBACK);
    await using thief = await startScriptedServer((_, response) => {
      response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="thief"' }).end();
    });
    const realm = `${alias(thief, 'localhost')}/token`;
    await using scene = await startScene({ auth: { mode: 'token', realm } });
    await assert.rejects(pull(scene.open(CLIENT)), { code: 'REGISTRY_DENIED' });
    assert.deepEqual(headersOf(thief), [undefined]);
  });

  test('cannot redirect the token request, not even within the registry', async (t) => {
    serveNames(t, LOOPBACK);
    await using thief = await startRealm();
    await using scene = await startScene({ auth: { mode: 'token' } });
    const { server } = scene;
    const targets = [thief.origin, `${alias(thief, 'localhost')}/token`, `${server.origin}/elsewhere`];
    for (const tokenRedirectTo of targets) {
      server.auth.tokenRedirectTo = tokenRedirectTo;
      await assert.rejects(pull(scene.open(CLIENT)), {
        code: 'REGISTRY_FAILED',
        message: /^Cannot get a token from .*: the answer is 307/,
      });
    }
    assert.deepEqual([thief.requests.length, server.countRequests(/elsewhere/)], [0, 0]);
    assert.equal(server.tokenRequests.length, 3);
  });
});

describe('static credentials', () => {
  const environment = { REGISTRY_USERNAME: USER.username, REGISTRY_PASSWORD: USER.password };

  test('that are bound go to REGISTRY_URL and REGISTRY_CREDENTIALS_HOSTS alone', async () => {
    await using home = await startRegistry({ auth: { mode: 'basic' } });
    await using listed = await startRegistry({ auth: { mode: 'basic' } });
    await using thief = await startRegistry({ auth: { mode: 'basic' } });
    const bound = { ...environment, REGISTRY_URL: home.origin, REGISTRY_CREDENTIALS_HOSTS: listed.host };
    const token = 'static-token-7Q';
    for (const [variables, expected] of [
      [bound, BASIC],
      [{ ...bound, REGISTRY_BEARER_TOKEN: token }, `Bearer ${token}`],
    ] as const) {
      const { credentials } = loadConfig(variables).registry;
      using access = openAccess();
      for (const server of [home, listed, thief]) {
        const before = server.requests.length;
        const credential = chooseCredential(registryHost('http', server.host), undefined, credentials);
        const isAccepted = server !== thief && expected === BASIC;
        const pulled = pull(access.open(server, credential));
        await (isAccepted ? pulled : assert.rejects(pulled, { code: 'REGISTRY_DENIED' }));
        const sent = headersOf({ requests: server.requests.slice(before) });
        if (server === thief) assert.deepEqual(sent, [undefined]);
        else assert.equal(sent.at(-1), expected);
      }
    }
  });

  test('that are not bound go to every registry, and a warning says how to bind them', async () => {
    const unbound = loadConfig(environment);
    await using scene = await startScene({ auth: { mode: 'basic' } });
    const host = registryHost('http', scene.server.host);
    await pull(scene.open(chooseCredential(host, undefined, unbound.registry.credentials)));
    assert.equal(headersOf(scene.server).at(-1), BASIC);

    const warnings = (variables: Record<string, string>) =>
      configWarnings(loadConfig({ HTTP_HOST: '127.0.0.1', ...variables }));
    const [warning = ''] = warnings(environment);
    assert.match(warning, /REGISTRY_URL.*REGISTRY_CREDENTIALS_HOSTS/);
    assert.deepEqual(warnings({ ...environment, REGISTRY_URL: host.origin }), []);
    assert.deepEqual(warnings({}), []);
  });
});

describe("a client's credentials", () => {
  test('go to the registry that its request names, even if static ones are bound to another', async () => {
    const bound: StaticCredentials = {
      bearerToken: 'static-token-7Q',
      basic: { username: 'operator', password: 'own' },
      boundTo: 'https://registry.example.com',
      hosts: [],
    };
    await using scene = await startScene({ auth: { mode: 'basic' } });
    await pull(scene.open(chooseCredential(registryHost('http', scene.server.host), USER, bound)));
    assert.deepEqual(headersOf(scene.server), [undefined, BASIC]);
  });

  test('fetch a token that no other request uses', async () => {
    await using scene = await startScene({ auth: { mode: 'token', allowAnonymous: 'noAccess' } });
    await pull(scene.open(CLIENT));
    const token = headersOf(scene.server, 'authorization', /manifests/).at(-1);
    for (const credential of [NO_CREDENTIAL, { ...CLIENT, basic: { username: 'user', password: 'guess' } }]) {
      const before = scene.server.requests.length;
      await assert.rejects(pull(scene.open(credential)), { code: 'REGISTRY_DENIED' });
      const sent = headersOf({ requests: scene.server.requests.slice(before) });
      assert.ok(!sent.includes(token) && !sent.includes(BASIC));
    }
  });

  test('do not reach the URLs of a layer', async () => {
    await using foreign = await startScriptedServer((_, response) => void response.end(BIG));
    await using scene = await startScene({ auth: { mode: 'basic' }, defects: { dropBlob: true } });
    const descriptor = { ...BIG_LAYER, urls: [`${foreign.origin}/layer`] };
    await assert.rejects(readLayer(scene.open(CLIENT), descriptor), { code: 'IMAGE_NOT_FOUND' });
    assert.equal(foreign.requests.length, 0);
  });
});
