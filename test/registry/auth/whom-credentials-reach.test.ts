/**
 * The section "Whom credentials may reach" of the contract, rule by rule, each against a server that tries to break it.
 */

import assert from 'node:assert/strict';
import test from 'node:test';
import { configWarnings, loadConfig } from '../../../src/config/config.ts';
import { isPassthroughError } from '../../../src/errors.ts';
import { selectRegistry } from '../../../src/http/routing/select-registry.ts';
import {
  type Credential,
  chooseCredential,
  type StaticCredentials,
} from '../../../src/registry/auth/credentials.ts';
import { TokenSource } from '../../../src/registry/auth/token.ts';
import { parseHostPattern } from '../../../src/registry/host-pattern.ts';
import { openRepository } from '../../../src/registry/open-repository.ts';
import { DOCKER_HUB, type RegistryHost, registryHost } from '../../../src/registry/registry-host.ts';
import {
  type FakeRegistry,
  type FakeRegistryOptions,
  startFakeRegistry,
} from '../../support/fake-registry.ts';
import { type ScriptedServer, startScriptedServer } from '../../support/scripted-server.ts';
import { serveSignedBlobs } from '../../support/signed-blobs.ts';
import { serveNames } from '../name-server.ts';
import {
  BASIC,
  BIG,
  BIG_LAYER,
  CLIENT,
  IMAGE,
  LIMITS,
  NO_CREDENTIAL,
  never,
  OPERATOR,
  openAccess,
  REPOSITORY,
  RETRY,
  readLayer,
  USER,
} from '../open.ts';
import { type Script, ScriptedTransport } from '../transport/scripted-transport.ts';
import { trustTestAuthority } from '../trust.ts';

const SCOPE = `repository:${REPOSITORY}:pull`;

async function startRegistry(options: FakeRegistryOptions = {}): Promise<FakeRegistry> {
  const server = await startFakeRegistry(options);
  server.push(REPOSITORY, '1', IMAGE);
  return server;
}

/** So that `localhost` is where the doubles listen, whatever the machine makes of it. */
const LOOPBACK = { localhost: ['127.0.0.1'] };

/** The same server under another name: another origin, another host. */
const alias = ({ origin }: { readonly origin: string }, name: string): string => {
  const url = new URL(origin);
  url.hostname = name;
  return url.origin;
};

const authorizations = (server: Pick<ScriptedServer, 'requests'>, path = /./): (string | undefined)[] =>
  server.requests.filter((request) => path.test(request.path)).map(({ headers }) => headers.authorization);

/** Every header of every request, to look for what must not be there. */
const everything = ({ requests }: Pick<ScriptedServer, 'requests'>): string => JSON.stringify(requests);

/** A registry client over a script, for hosts that do not exist. */
function openScripted(
  script: Script,
  credential: Credential,
  target: RegistryHost,
  trustedRealms: readonly string[] = [],
) {
  const wire = new ScriptedTransport(script);
  const registry = openRepository(
    {
      wire,
      tokens: new TokenSource(LIMITS),
      trustedRealms: trustedRealms.map(parseHostPattern),
      limits: LIMITS,
      userAgent: 'test',
      propagation: [],
      retry: RETRY,
    },
    { target, repository: REPOSITORY, credential },
  );
  return { wire, registry };
}

/** A registry that names a realm until it sees the token `t`; the realm gives it to everybody. */
const naming =
  (realm: string): Script =>
  ({ operation, headers }) => {
    if (operation === 'token') return { body: '{"token":"t"}' };
    if (headers['authorization'] === 'Bearer t') return { body: IMAGE.manifest.bytes };
    return {
      status: 401,
      headers: { 'www-authenticate': `Bearer realm="${realm}",service="s",scope="${SCOPE}"` },
    };
  };

test("Authorization goes to the registry's own origin, and does not follow a redirect to another", async (t) => {
  serveNames(t, LOOPBACK);
  const fixed: Credential = { type: 'bearer', token: 'static-token-7Q' };
  const ways: [name: string, auth: FakeRegistryOptions['auth'], credential: Credential][] = [
    ['Basic', { mode: 'basic' }, CLIENT],
    ['a fetched token', { mode: 'token', allowAnonymous: false }, OPERATOR],
    ['a static token', {}, fixed],
  ];
  for (const [name, auth = {}, credential] of ways) {
    await t.test(`${name}, to another port: a layer`, async () => {
      await using storage = await startScriptedServer(serveSignedBlobs(IMAGE.blobs));
      await using registry = await startRegistry({ auth, defects: { redirectBlobsTo: storage.origin } });
      using access = openAccess();
      assert.deepEqual(await readLayer(access.open(registry, credential)), BIG);
      assert.match(authorizations(registry, /blobs/).at(-1) ?? '', /^(?:Basic|Bearer) /);
      assert.deepEqual(authorizations(storage), [undefined]);
    });

    await t.test(`${name}, to another port: a manifest`, async () => {
      await using other = await startRegistry();
      await using registry = await startRegistry({ auth, defects: { redirectManifestsTo: other.origin } });
      using access = openAccess();
      await access.open(registry, credential).getManifest('1', never());
      assert.match(authorizations(registry, /manifests/).at(-1) ?? '', /^(?:Basic|Bearer) /);
      assert.deepEqual(authorizations(other), [undefined]);
    });

    await t.test(`${name}, to another host on the same port`, async () => {
      await using registry = await startRegistry({ auth });
      registry.defects.redirectBlobsTo = alias(registry, 'localhost');
      using access = openAccess();
      assert.deepEqual(await readLayer(access.open(registry, credential)), BIG);
      assert.match(authorizations(registry, /^\/v2/).at(-1) ?? '', /^(?:Basic|Bearer) /);
      assert.deepEqual(authorizations(registry, /^\/signed/), [undefined]);
    });

    await t.test(`${name}, to another scheme`, async () => {
      const tls = await trustTestAuthority();
      await using storage = await startScriptedServer(serveSignedBlobs(IMAGE.blobs), { tls });
      await using registry = await startRegistry({ auth, defects: { redirectBlobsTo: storage.origin } });
      using access = openAccess();
      assert.deepEqual(await readLayer(access.open(registry, credential)), BIG);
      assert.deepEqual(authorizations(storage), [undefined]);
    });

    await t.test(`${name}, when a redirect leads back again`, async () => {
      await using registry = await startRegistry({ auth });
      await using storage = await startScriptedServer((_, response) => {
        response.writeHead(307, { Location: `${registry.origin}/home` }).end();
      });
      registry.defects.redirectBlobsTo = storage.origin;
      using access = openAccess();
      await assert.rejects(readLayer(access.open(registry, credential)), { code: 'IMAGE_NOT_FOUND' });
      assert.deepEqual(
        [authorizations(storage), authorizations(registry, /home/)],
        [[undefined], [undefined]],
      );
    });

    await t.test(`${name}, when the layer goes on`, async () => {
      await using storage = await startFakeRegistry({
        defects: { truncateBlob: { afterBytes: 1000, times: 1 } },
      });
      storage.push(REPOSITORY, '1', IMAGE);
      await using registry = await startRegistry({ auth, defects: { redirectBlobsTo: storage.origin } });
      using access = openAccess();
      assert.deepEqual(await readLayer(access.open(registry, credential)), BIG);
      assert.deepEqual(authorizations(storage), [undefined, undefined]);
    });

    await t.test(`${name}, and it stays where a redirect stays`, async () => {
      await using registry = await startRegistry({ auth });
      const path = `/v2/${REPOSITORY}/manifests/${IMAGE.manifest.digest}`;
      registry.defects.redirectManifestsTo = { to: () => path, times: 1 };
      using access = openAccess();
      await access.open(registry, credential).getManifest('1', never());
      const [from, to] = authorizations(registry, /manifests/).slice(-2);
      assert.match(to ?? '', /^(?:Basic|Bearer) /);
      assert.equal(to, from);
    });
  }
});

test('a redirect from https to http is not followed', async (t) => {
  const tls = await trustTestAuthority();
  await t.test('at the first step', async () => {
    await using storage = await startScriptedServer(serveSignedBlobs(IMAGE.blobs));
    await using registry = await startRegistry({ tls, defects: { redirectBlobsTo: storage.origin } });
    using access = openAccess();
    await assert.rejects(readLayer(access.open(registry)), {
      code: 'REGISTRY_FAILED',
      message: /it redirects from https to http/,
    });
    assert.equal(storage.requests.length, 0);
  });
  await t.test('at a later step, of a registry that is http itself', async () => {
    await using storage = await startScriptedServer(serveSignedBlobs(IMAGE.blobs));
    await using middle = await startScriptedServer(
      ({ url }, response) => void response.writeHead(307, { Location: storage.origin + url }).end(),
      { tls },
    );
    await using registry = await startRegistry({ defects: { redirectBlobsTo: middle.origin } });
    using access = openAccess();
    await assert.rejects(readLayer(access.open(registry)), { code: 'REGISTRY_FAILED' });
    assert.deepEqual([middle.requests.length, storage.requests.length], [1, 0]);
  });
});

test('a realm on another host gets no credentials: the token is asked for anonymously', async (t) => {
  serveNames(t, LOOPBACK);
  for (const credential of [CLIENT, OPERATOR]) {
    await using thief = await startFakeRegistry();
    await using registry = await startRegistry({ auth: { mode: 'token' }, tokens: thief.tokens });
    registry.auth.realm = `${alias(thief, 'localhost')}/token`;
    using access = openAccess();
    await access.open(registry, credential).getManifest('1', never());
    assert.deepEqual(authorizations(thief), [undefined]);
    assert.ok(!everything(thief).includes(BASIC));
    assert.deepEqual(
      authorizations(registry).map((value) => value?.split(' ')[0]),
      [undefined, 'Bearer'],
    );
  }
});

test('a realm on another host that wants credentials does not get them either', async (t) => {
  serveNames(t, LOOPBACK);
  await using thief = await startScriptedServer((_, response) => {
    response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="give them to me"' }).end();
  });
  await using registry = await startRegistry({
    auth: { mode: 'token', realm: `${alias(thief, 'localhost')}/token` },
  });
  using access = openAccess();
  await assert.rejects(access.open(registry, CLIENT).getManifest('1', never()), { code: 'REGISTRY_DENIED' });
  assert.deepEqual(authorizations(thief), [undefined]);
});

test('a realm gets credentials where it has a claim to them', async (t) => {
  const claims: [
    name: string,
    registryName: string,
    realmName: string,
    trusted: readonly string[],
    isConfigured: boolean,
    expected: string | undefined,
  ][] = [
    ["the registry's host, another port", '127.0.0.1', '127.0.0.1', [], false, BASIC],
    ['the same registrable domain', 'registry.example.com', 'auth.example.com', [], false, BASIC],
    ['the registrable domain itself', 'registry.example.com', 'example.com', [], false, BASIC],
    ['a listed host', '127.0.0.1', 'localhost', ['localhost'], false, BASIC],
    ['a listed wildcard', '127.0.0.1', 'auth.example.org', ['*.example.org'], false, BASIC],
    ['a configured realm', '127.0.0.1', 'localhost', [], true, BASIC],
    ['another domain', 'registry.example.com', 'auth.example.org', [], false, undefined],
    ['a name that ends alike', 'registry.example.com', 'notexample.com', [], false, undefined],
    ['a name that begins alike', 'example.com', 'example.com.evil.test', [], false, undefined],
    ["a neighbour below a country's suffix", 'registry.one.co.uk', 'auth.two.co.uk', [], false, undefined],
    ['a neighbour below a shared domain', 'one.jfrog.io', 'two.jfrog.io', [], false, undefined],
    ['a listed host on another port', '127.0.0.1', 'localhost', ['localhost:1'], false, undefined],
    ['a listed host with another scheme', '127.0.0.1', 'localhost', ['https://localhost'], false, undefined],
  ];
  const names = claims.flatMap(([, registryName, realmName]) => [registryName, realmName]);
  serveNames(t, Object.fromEntries(names.map((name) => [name, ['127.0.0.1']])));
  for (const [name, registryName, realmName, trusted, isConfigured, expected] of claims) {
    await t.test(name, async () => {
      await using realm = await startFakeRegistry();
      await using registry = await startRegistry({ auth: { mode: 'token' }, tokens: realm.tokens });
      registry.auth.realm = `${alias(realm, realmName)}/token`;
      const target = isConfigured
        ? { tokenEndpoint: new URL(registry.auth.realm), service: 'fake-registry' }
        : {};
      using access = openAccess({ trustedRealms: trusted.map(parseHostPattern) });
      const client = access.open({ origin: alias(registry, registryName) }, CLIENT, target);
      await client.getManifest('1', never());
      assert.deepEqual(authorizations(realm), [expected]);
    });
  }
});

test('where a realm is configured or known, a challenge cannot name another', async () => {
  const cases: [target: RegistryHost, realm: string][] = [
    [DOCKER_HUB, 'https://auth.docker.io/token'],
    [
      { ...registryHost('https', 'registry.example.com'), tokenEndpoint: new URL('https://sso.test/t') },
      'https://sso.test/t',
    ],
  ];
  for (const [target, realm] of cases) {
    let isFirst = true;
    const script: Script = (request, index) => {
      if (request.operation === 'token' || !isFirst) return naming('')(request, index);
      isFirst = false;
      return naming('https://evil.test/token')({ ...request, headers: {} }, index);
    };
    const { wire, registry } = openScripted(script, CLIENT, target);
    await registry.getManifest('1', never());
    const sent = wire.requests.filter(({ operation }) => operation === 'token');
    assert.deepEqual(
      sent.map(({ url, headers }) => [url.origin + url.pathname, headers['authorization']]),
      [
        [realm, BASIC],
        [realm, BASIC],
      ],
    );
    assert.ok(wire.urls().every((url) => !url.includes('evil.test')));
  }
});

test('credentials go to a realm over http only where the registry itself is http', async () => {
  const secure = registryHost('https', 'registry.example.com');
  const plain = registryHost('http', 'registry.example.com');
  const configured = { ...secure, tokenEndpoint: new URL('http://registry.example.com/token') };
  const cases: [target: RegistryHost, realm: string, trusted: string[], expected: string | undefined][] = [
    [secure, 'https://registry.example.com/token', [], BASIC],
    [secure, 'http://registry.example.com/token', [], undefined],
    [secure, 'http://auth.example.com/token', [], undefined],
    [secure, 'http://auth.example.org/token', ['auth.example.org', 'http://auth.example.org'], undefined],
    [configured, 'http://registry.example.com/token', [], undefined],
    [plain, 'http://registry.example.com/token', [], BASIC],
    [plain, 'https://registry.example.com/token', [], BASIC],
  ];
  for (const [target, realm, trusted, expected] of cases) {
    for (const credential of [CLIENT, OPERATOR]) {
      const { wire, registry } = openScripted(naming(realm), credential, target, trusted);
      await registry.getManifest('1', never());
      const [{ url, headers } = assert.fail()] = wire.requests.filter(
        ({ operation }) => operation === 'token',
      );
      assert.deepEqual([url.origin + url.pathname, headers['authorization']], [realm, expected]);
    }
  }
});

test('a realm that is no plain web address is not asked at all', async () => {
  const target = registryHost('https', 'registry.example.com');
  for (const realm of [
    'https://a:b@registry.example.com/t',
    'file:///etc/passwd',
    'ftp://registry.example.com/t',
    '/token',
    '',
  ]) {
    const { wire, registry } = openScripted(naming(realm), CLIENT, target);
    await assert.rejects(registry.getManifest('1', never()), { code: 'REGISTRY_DENIED' });
    assert.equal(wire.requests.length, 1, realm);
  }
});

test('a token request follows no redirect, not even at home', async (t) => {
  serveNames(t, LOOPBACK);
  await using thief = await startScriptedServer((_, response) => void response.end('{"token":"t"}'));
  await using registry = await startRegistry({ auth: { mode: 'token' } });
  for (const tokenRedirectTo of [
    thief.origin,
    `${alias(thief, 'localhost')}/token`,
    `${registry.origin}/elsewhere`,
  ]) {
    registry.auth.tokenRedirectTo = tokenRedirectTo;
    using access = openAccess();
    await assert.rejects(access.open(registry, CLIENT).getManifest('1', never()), {
      code: 'REGISTRY_FAILED',
      message: /^Cannot get a token from .*: the answer is 307/,
    });
  }
  assert.deepEqual([thief.requests.length, registry.countRequests(/elsewhere/)], [0, 0]);
  assert.equal(registry.tokenRequests.length, 3);
});

test('a static token goes to no realm, whatever the registry says', async () => {
  await using registry = await startRegistry({ auth: { mode: 'token' } });
  using access = openAccess();
  const client = access.open(registry, { type: 'bearer', token: 'static-token-7Q' });
  await assert.rejects(client.getManifest('1', never()), { code: 'REGISTRY_DENIED' });
  assert.equal(registry.tokenRequests.length, 0);
});

test('a redirect target cannot ask for credentials: neither for Basic nor with a realm of its own', async () => {
  for (const mode of ['basic', 'token'] as const) {
    for (const challenge of [
      'Bearer realm="REALM",service="fake-registry"',
      'Basic realm="give them to me"',
    ]) {
      await using realm = await startScriptedServer((_, response) => void response.end('{"token":"t"}'));
      await using storage = await startScriptedServer((_, response) => {
        response
          .writeHead(401, { 'WWW-Authenticate': challenge.replace('REALM', `${realm.origin}/token`) })
          .end();
      });
      await using registry = await startRegistry({
        auth: { mode },
        defects: { redirectBlobsTo: storage.origin },
      });
      using access = openAccess();
      const client = access.open(registry, CLIENT);
      await client.getManifest('1', never());
      const asked = registry.tokenRequests.length;
      await assert.rejects(readLayer(client), { code: 'REGISTRY_DENIED' });
      assert.deepEqual([authorizations(storage), authorizations(realm)], [[undefined], []], challenge);
      assert.equal(registry.tokenRequests.length, asked);
    }
  }
});

test('static credentials that are bound go to REGISTRY_URL and REGISTRY_CREDENTIALS_HOSTS alone', async (t) => {
  await using home = await startRegistry({ auth: { mode: 'basic' } });
  await using listed = await startRegistry({ auth: { mode: 'basic' } });
  await using thief = await startRegistry({ auth: { mode: 'basic' } });
  const environment = {
    REGISTRY_URL: home.origin,
    REGISTRY_CREDENTIALS_HOSTS: listed.host,
    REGISTRY_USERNAME: USER.username,
    REGISTRY_PASSWORD: USER.password,
  };
  const cases: [name: string, more: Record<string, string>, expected: RegExp][] = [
    ['user and password', {}, new RegExp(`^${BASIC}$`)],
    ['a token', { REGISTRY_BEARER_TOKEN: 'static-token-7Q' }, /^Bearer static-token-7Q$/],
  ];
  for (const [name, more, expected] of cases) {
    await t.test(name, async () => {
      const { credentials } = loadConfig({ ...environment, ...more }).registry;
      using access = openAccess();
      const pull = async (server: FakeRegistry): Promise<(string | undefined)[]> => {
        const before = server.requests.length;
        const credential = chooseCredential(registryHost('http', server.host), undefined, credentials);
        await access
          .open(server, credential)
          .getManifest('1', never())
          .catch((error: unknown) => assert.ok(isPassthroughError(error, 'REGISTRY_DENIED')));
        return authorizations({ requests: server.requests.slice(before) });
      };
      assert.match((await pull(home)).at(-1) ?? '', expected);
      assert.match((await pull(listed)).at(-1) ?? '', expected);
      assert.deepEqual(await pull(thief), [undefined]);
    });
  }
});

test('static credentials that are not bound serve whichever registry is named, and a warning says how to bind them', async () => {
  const environment = { REGISTRY_USERNAME: USER.username, REGISTRY_PASSWORD: USER.password };
  const unbound = loadConfig(environment);
  await using registry = await startRegistry({ auth: { mode: 'basic' } });
  using access = openAccess();
  const credential = chooseCredential(
    registryHost('http', registry.host),
    undefined,
    unbound.registry.credentials,
  );
  await access.open(registry, credential).getManifest('1', never());
  assert.equal(authorizations(registry).at(-1), BASIC);

  const [warning = ''] = configWarnings(unbound);
  assert.match(warning, /REGISTRY_URL.*REGISTRY_CREDENTIALS_HOSTS/);
  assert.deepEqual(configWarnings(loadConfig({ ...environment, REGISTRY_URL: registry.origin })), []);
  assert.deepEqual(configWarnings(loadConfig({})), []);
});

test("a client's own credentials reach the registry that it names, also where static ones are bound elsewhere", async () => {
  const bound: StaticCredentials = {
    bearerToken: 'static-token-7Q',
    basic: { username: 'operator', password: 'own' },
    boundTo: 'https://registry.example.com',
    hosts: [],
  };
  await using registry = await startRegistry({ auth: { mode: 'basic' } });
  using access = openAccess();
  const credential = chooseCredential(registryHost('http', registry.host), USER, bound);
  await access.open(registry, credential).getManifest('1', never());
  assert.deepEqual(authorizations(registry), [undefined, BASIC]);
});

const FORBIDDEN = [
  'http://169.254.169.254/latest/meta-data',
  'http://0.0.0.0/',
  'http://0/',
  'http://[::]/',
  'http://[::ffff:169.254.169.254]/',
  'http://[::ffff:a9fe:a9fe]/',
  'http://[fe80::1]/',
  'http://224.0.0.1/',
  'http://[ff02::1]/',
  'http://2852039166/',
  'http://0xa9fea9fe/',
  'http://0251.0376.0251.0376/',
];

test('a registry at a forbidden address is refused, in whatever spelling a request gives it', async () => {
  using access = openAccess();
  for (const url of FORBIDDEN) {
    const host = /^http:\/\/([^/]*)\//.exec(url)?.[1] ?? assert.fail();
    // Either no registry can be made of it, or it is not dialled.
    await assert.rejects(
      async () => {
        const target = registryHost('http', host);
        await openRepository(access, { target, repository: REPOSITORY, credential: CLIENT }).getManifest(
          '1',
          never(),
        );
      },
      (error) => isPassthroughError(error, 'INVALID_REGISTRY', 'REGISTRY_NOT_ALLOWED'),
      host,
    );
  }
});

test('a forbidden address is refused after a redirect too', async () => {
  using access = openAccess();
  for (const location of FORBIDDEN) {
    await using registry = await startRegistry({ defects: { redirectBlobsTo: { to: () => location } } });
    await assert.rejects(readLayer(access.open(registry)), { code: 'REGISTRY_NOT_ALLOWED' }, location);
    assert.equal(registry.requests.length, 1);
  }
});

test('a forbidden address is refused as a realm too', async () => {
  using access = openAccess();
  for (const realm of FORBIDDEN) {
    await using registry = await startRegistry({ auth: { mode: 'token', realm } });
    await assert.rejects(
      access.open(registry, CLIENT).getManifest('1', never()),
      { code: 'REGISTRY_NOT_ALLOWED' },
      realm,
    );
    assert.equal(registry.requests.length, 1);
  }
});

test('a name that resolves to a forbidden address is refused when it is dialled, after a redirect and as a realm too', async (t) => {
  const addresses = ['169.254.169.254', '0.0.0.0', '::', '::ffff:169.254.169.254', 'fe80::1', 'ff02::1'];
  const zone = Object.fromEntries(addresses.map((address, index) => [`name-${index}.example`, [address]]));
  serveNames(t, zone);
  using access = openAccess();
  const refused = {
    code: 'REGISTRY_NOT_ALLOWED',
    message: /resolves to .*, which is a link-local, unspecified or multicast/,
  };
  for (const name of Object.keys(zone)) {
    await assert.rejects(access.open({ origin: `http://${name}` }).getManifest('1', never()), refused);
    await assert.rejects(access.open({ origin: `https://${name}` }).getManifest('1', never()), refused);

    await using registry = await startRegistry({ defects: { redirectBlobsTo: `http://${name}` } });
    await assert.rejects(readLayer(access.open(registry)), refused);

    Object.assign(registry.auth, { mode: 'token', realm: `http://${name}/token` });
    await assert.rejects(access.open(registry, CLIENT).getManifest('1', never()), refused);
  }
});

test('a name that changes its address between two looks is judged by the one that is dialled', async (t) => {
  await using registry = await startRegistry();
  const answers = [['127.0.0.1'], ['169.254.169.254']];
  const names = serveNames(t, { 'rebind.example': () => answers.shift() ?? [] });
  using access = openAccess();
  registry.defects.redirectBlobsTo = `http://rebind.example:${registry.port}`;
  assert.deepEqual(await readLayer(access.open(registry)), BIG);
  // Another pool has no connection that would serve again.
  using later = openAccess();
  await assert.rejects(readLayer(later.open(registry)), { code: 'REGISTRY_NOT_ALLOWED' });
  assert.deepEqual(
    names.asked.filter((name) => name === 'rebind.example'),
    ['rebind.example', 'rebind.example'],
  );
});

test('private and loopback addresses are dialled', async (t) => {
  serveNames(t, { 'registry.internal': ['127.0.0.1'], 'mixed.internal': ['169.254.169.254', '127.0.0.1'] });
  await using registry = await startRegistry();
  using access = openAccess();
  for (const name of ['registry.internal', 'mixed.internal', '127.0.0.1']) {
    const { bytes } = await access.open({ origin: alias(registry, name) }).getManifest('1', never());
    assert.deepEqual(Buffer.from(bytes), IMAGE.manifest.bytes);
  }
});

test('REGISTRY_ALLOWED_HOSTS restricts which registries a request may name', () => {
  const { registry } = loadConfig({ REGISTRY_ALLOWED_HOSTS: 'ghcr.io, *.example.com, docker.io, lab:5000' });
  const cases: [scheme: string, host: string, isAllowed: boolean][] = [
    ['https', 'ghcr.io', true],
    ['https', 'registry.example.com', true],
    ['https', 'registry-1.docker.io', true],
    ['http', 'lab:5000', true],
    ['https', 'example.com', false],
    ['https', 'evil.test', false],
    ['https', 'ghcr.io.evil.test', false],
    ['http', 'lab:5001', false],
    ['http', '127.0.0.1', false],
  ];
  for (const [scheme, host, isAllowed] of cases) {
    const select = () => selectRegistry({ scheme, host }, registry);
    if (isAllowed) assert.equal(select().origin, registryHost(scheme, host).origin);
    else assert.throws(select, { code: 'REGISTRY_NOT_ALLOWED' }, host);
  }
});

test('the addresses of a foreign layer are not asked, with credentials or without', async () => {
  await using foreign = await startScriptedServer((_, response) => void response.end(BIG));
  const urls = [`${foreign.origin}/layer`];
  await using registry = await startRegistry({ auth: { mode: 'basic' }, defects: { dropBlob: true } });
  using access = openAccess();
  // What a manifest would say of it, more than the client knows a field for.
  const descriptor = { ...BIG_LAYER, urls };
  await assert.rejects(readLayer(access.open(registry, CLIENT), descriptor), { code: 'IMAGE_NOT_FOUND' });
  assert.equal(foreign.requests.length, 0);
});

test('what a client has earned with its credentials serves no other request', async () => {
  await using registry = await startRegistry({ auth: { mode: 'token', allowAnonymous: 'noAccess' } });
  using access = openAccess();
  await access.open(registry, CLIENT).getManifest('1', never());
  const [good] = authorizations(registry, /manifests/).slice(-1);
  for (const credential of [NO_CREDENTIAL, { ...CLIENT, basic: { username: 'user', password: 'guess' } }]) {
    const before = registry.requests.length;
    await assert.rejects(access.open(registry, credential).getManifest('1', never()), {
      code: 'REGISTRY_DENIED',
    });
    const sent = authorizations({ requests: registry.requests.slice(before) });
    assert.ok(!sent.includes(good) && !sent.includes(BASIC));
  }
});
