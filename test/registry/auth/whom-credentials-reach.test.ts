/**
 * Which servers may receive credentials, each rule against a server that tries to break it. The rules for redirects, addresses,
 * named registries and foreign layers: redirected-credentials.test.ts, dialled-address.test.ts, select-host.test.ts,
 * foreign-layer.test.ts.
 */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { configWarnings, loadConfig } from '../../../src/config/config.ts';
import {
  type Credential,
  chooseCredential,
  type StaticCredentials,
} from '../../../src/registry/auth/credentials.ts';
import { parseHostPattern } from '../../../src/registry/host-pattern.ts';
import { openRepository } from '../../../src/registry/open-repository.ts';
import { DOCKER_HUB, type RegistryHost, registryHost } from '../../../src/registry/registry-host.ts';
import { startScriptedServer } from '../../support/scripted-server.ts';
import { serveNames } from '../support/name-server.ts';
import {
  accessSettings,
  alias,
  BASIC,
  BIG,
  BIG_LAYER,
  CLIENT,
  headersOf,
  IMAGE,
  LOOPBACK,
  NO_CREDENTIAL,
  OPERATOR,
  openAccess,
  pull,
  REPOSITORY,
  readLayer,
  SCOPE,
  STATIC_TOKEN,
  startRealm,
  startRegistry,
  startScene,
  USER,
} from '../support/scene.ts';
import { type Script, ScriptedTransport } from '../support/scripted-transport.ts';

const HOST = registryHost('https', 'registry.example.com');

/** A repository over a script, for hosts that do not exist. */
function openScripted(script: Script, credential: Credential, target: RegistryHost, trusted: string[] = []) {
  const wire = new ScriptedTransport(script);
  const access = { ...accessSettings(), wire, trustedRealms: trusted.map(parseHostPattern) };
  return { wire, client: openRepository(access, { target, repository: REPOSITORY, credential }) };
}

/** Where token requests went, and with what. */
const tokenRequests = ({ requests }: ScriptedTransport) =>
  requests
    .filter(({ operation }) => operation === 'token')
    .map(({ url, headers }) => [url.origin + url.pathname, headers['authorization']]);

/** A registry that names a realm until it sees the token `t`, and a realm that gives this token to all clients. */
const naming =
  (realm: string): Script =>
  ({ operation, headers }) => {
    if (operation === 'token') return { body: '{"token":"t"}' };
    if (headers['authorization'] === 'Bearer t') return { body: IMAGE.manifest.bytes };
    const challenge = `Bearer realm="${realm}",service="s",scope="${SCOPE}"`;
    return { status: 401, headers: { 'www-authenticate': challenge } };
  };

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
    [
      'on another host than listed',
      '127.0.0.1',
      'localhost',
      ['localhost:1', 'https://localhost'],
      undefined,
    ],
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

  test('that is configured gets credentials on any host', async (t) => {
    serveNames(t, LOOPBACK);
    await using realm = await startRegistry();
    await using scene = await startScene({ auth: { mode: 'token' }, tokens: realm.tokens });
    const tokenEndpoint = new URL(`${alias(realm, 'localhost')}/token`);
    await pull(scene.open(CLIENT, { tokenEndpoint, service: 'fake-registry' }));
    assert.deepEqual(headersOf(realm), [BASIC]);
  });

  test('that is configured or known is used, not that of a challenge', async () => {
    const cases: [target: RegistryHost, realm: string][] = [
      [DOCKER_HUB, 'https://auth.docker.io/token'],
      [{ ...HOST, tokenEndpoint: new URL('https://sso.test/t') }, 'https://sso.test/t'],
    ];
    for (const [target, realm] of cases) {
      let isFirst = true;
      const { wire, client } = openScripted(
        (request, index) => {
          const isRefused = isFirst && request.operation !== 'token';
          if (isRefused) isFirst = false;
          return naming('https://evil.test/token')(isRefused ? { ...request, headers: {} } : request, index);
        },
        CLIENT,
        target,
      );
      await pull(client);
      assert.deepEqual(tokenRequests(wire), [
        [realm, BASIC],
        [realm, BASIC],
      ]);
      assert.ok(wire.urls().every((url) => !url.includes('evil.test')));
    }
  });

  test('over http gets credentials only if the registry itself is http', async () => {
    const plain = registryHost('http', 'registry.example.com');
    const configured = { ...HOST, tokenEndpoint: new URL('http://registry.example.com/token') };
    const cases: [target: RegistryHost, realm: string, trusted: string[], expected: string | undefined][] = [
      [HOST, 'https://registry.example.com/token', [], BASIC],
      [HOST, 'http://registry.example.com/token', [], undefined],
      [HOST, 'http://auth.example.com/token', [], undefined],
      [HOST, 'http://auth.example.org/token', ['auth.example.org', 'http://auth.example.org'], undefined],
      [configured, 'http://registry.example.com/token', [], undefined],
      [plain, 'http://registry.example.com/token', [], BASIC],
      [plain, 'https://registry.example.com/token', [], BASIC],
    ];
    for (const [target, realm, trusted, expected] of cases) {
      for (const credential of [CLIENT, OPERATOR]) {
        const { wire, client } = openScripted(naming(realm), credential, target, trusted);
        await pull(client);
        assert.deepEqual(tokenRequests(wire)[0], [realm, expected]);
      }
    }
  });

  test('that is no http or https URL without credentials gets no request', async () => {
    const withCredentials = 'https://a:b@registry.example.com/t';
    for (const realm of [
      withCredentials,
      'file:///etc/passwd',
      'ftp://registry.example.com/t',
      '/token',
      '',
    ]) {
      const { wire, client } = openScripted(naming(realm), CLIENT, HOST);
      await assert.rejects(pull(client), { code: 'REGISTRY_DENIED' });
      assert.equal(wire.requests.length, 1, realm);
    }
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

  test('never gets a static token', async () => {
    await using scene = await startScene({ auth: { mode: 'token' } });
    await assert.rejects(pull(scene.open(STATIC_TOKEN)), { code: 'REGISTRY_DENIED' });
    assert.equal(scene.server.tokenRequests.length, 0);
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

    const [warning = ''] = configWarnings(unbound);
    assert.match(warning, /REGISTRY_URL.*REGISTRY_CREDENTIALS_HOSTS/);
    assert.deepEqual(configWarnings(loadConfig({ ...environment, REGISTRY_URL: host.origin })), []);
    assert.deepEqual(configWarnings(loadConfig({})), []);
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
