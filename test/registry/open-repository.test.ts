import assert from 'node:assert/strict';
import test from 'node:test';
import { isPassthroughError } from '../../src/errors.ts';
import type { Credential } from '../../src/registry/auth/credentials.ts';
import type { RegistryHost } from '../../src/registry/registry-host.ts';
import type { Defects, FailWith } from '../support/defects.ts';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.ts';
import type { AuthSettings, ChallengeParts } from '../support/fake-token.ts';
import { startScriptedServer } from '../support/scripted-server.ts';
import { URL_SIGNATURE } from '../support/signed-blobs.ts';
import { recordSpans } from '../support/span-recorder.ts';
import { within } from '../support/within.ts';
import {
  BASIC,
  BIG,
  BIG_LAYER,
  CLIENT,
  CONFIG,
  IMAGE,
  NO_CREDENTIAL,
  never,
  OPERATOR,
  openAccess,
  REPOSITORY,
  RETRY,
  readLayer,
  SHORT_MS,
} from './open.ts';

const OTHER = 'team/other';

async function startRegistry(auth: Partial<AuthSettings> = {}, defects: Defects = {}): Promise<FakeRegistry> {
  const server = await startFakeRegistry({ auth, defects });
  server.push(REPOSITORY, '1', IMAGE);
  server.push(OTHER, '1', IMAGE);
  return server;
}

/** What an operator configures to spare the challenge. */
const configured = (server: FakeRegistry): Partial<RegistryHost> => ({
  tokenEndpoint: new URL(`${server.origin}/token`),
  service: 'fake-registry',
});

const fixed = (server: FakeRegistry): Credential => ({
  type: 'bearer',
  token: server.tokens.issue([`repository:${REPOSITORY}:pull`], 300),
});

test('every way of authorization pulls an image', async (t) => {
  const cases: [
    name: string,
    auth: Partial<AuthSettings>,
    credential: Credential | ((server: FakeRegistry) => Credential),
    target: Partial<RegistryHost> | ((server: FakeRegistry) => Partial<RegistryHost>),
    tokenRequests: (string | undefined)[],
  ][] = [
    ['nothing asked, nothing given', {}, NO_CREDENTIAL, {}, []],
    ['nothing asked, credentials at hand', {}, OPERATOR, {}, []],
    ['an anonymous token', { mode: 'token' }, NO_CREDENTIAL, {}, [undefined]],
    ['a token for the client', { mode: 'token', allowAnonymous: false }, CLIENT, {}, [BASIC]],
    ['a token for the operator', { mode: 'token', allowAnonymous: false }, OPERATOR, {}, [BASIC]],
    [
      'a token from a configured realm',
      { mode: 'token', allowAnonymous: false },
      OPERATOR,
      configured,
      [BASIC],
    ],
    ['a static token', { mode: 'token', allowAnonymous: false }, fixed, {}, []],
    ['Basic on challenge', { mode: 'basic' }, CLIENT, {}, []],
    ['Basic directly', { mode: 'basic' }, OPERATOR, { tokenEndpoint: 'none' }, []],
    [
      'a token as access_token',
      { mode: 'token', tokenField: 'access_token' },
      NO_CREDENTIAL,
      {},
      [undefined],
    ],
    ['a token as token', { mode: 'token', tokenField: 'token' }, NO_CREDENTIAL, {}, [undefined]],
    ['a token that tells no end', { mode: 'token', expiresIn: undefined }, NO_CREDENTIAL, {}, [undefined]],
  ];
  for (const [name, auth, credential, target, tokenRequests] of cases) {
    await t.test(name, async () => {
      await using server = await startRegistry(auth);
      using access = openAccess();
      const client = access.open(
        server,
        typeof credential === 'function' ? credential(server) : credential,
        typeof target === 'function' ? target(server) : target,
      );
      await client.getManifest('1', never());
      await client.getConfig(CONFIG, never());
      assert.deepEqual(await readLayer(client), BIG);
      assert.deepEqual(
        server.tokenRequests.map(({ headers }) => headers.authorization),
        tokenRequests,
      );
    });
  }
});

test('challenges in every spelling lead to the token', async (t) => {
  const spellings: [name: string, spell: (parts: ChallengeParts) => string | readonly string[]][] = [
    [
      'scheme and names in lower case',
      ({ realm, service, scope }) => `bearer realm="${realm}",service="${service}",scope="${scope}"`,
    ],
    [
      'upper case',
      ({ realm, service, scope }) => `BEARER REALM="${realm}",SERVICE="${service}",SCOPE="${scope}"`,
    ],
    ['no quotes', ({ realm, service, scope }) => `Bearer realm=${realm},service=${service},scope=${scope}`],
    [
      'blanks',
      ({ realm, service, scope }) => `Bearer  realm = "${realm}" , service = ${service} , scope="${scope}"`,
    ],
    [
      'a further challenge before it',
      ({ realm, service }) => `Basic realm="a, \\"b\\"", Bearer realm="${realm}",service="${service}"`,
    ],
    [
      'a further challenge behind it',
      ({ realm, service }) => `Bearer realm="${realm}",service="${service}",Basic realm="a"`,
    ],
    ['two lines', ({ realm, service }) => ['Negotiate abc=', `Bearer realm="${realm}",service="${service}"`]],
    [
      'more actions than needed',
      ({ realm, service, scope }) => `Bearer realm="${realm}",service="${service}",scope="${scope},push"`,
    ],
    [
      'unknown parameters',
      ({ realm, service, scope }) =>
        `Bearer error="invalid_token",realm="${realm}",x="y, z=1",service="${service}",scope="${scope}"`,
    ],
    ['no scope', ({ realm, service }) => `Bearer realm="${realm}",service="${service}"`],
  ];
  for (const [name, challengeSpelling] of spellings) {
    await t.test(name, async () => {
      await using server = await startRegistry({ mode: 'token', allowAnonymous: false, challengeSpelling });
      using access = openAccess();
      const { bytes } = await access.open(server, CLIENT).getManifest('1', never());
      assert.deepEqual(Buffer.from(bytes), IMAGE.manifest.bytes);
      assert.equal(server.tokenRequests.length, 1);
    });
  }
});

test('ten layers that ask at once share one token request', async () => {
  for (const known of [true, false]) {
    await using server = await startRegistry({ mode: 'token' });
    using access = openAccess();
    const client = access.open(server, CLIENT, known ? configured(server) : {});
    const layers = await Promise.all(Array.from({ length: 10 }, () => readLayer(client)));
    assert.ok(layers.every((layer) => layer.equals(BIG)));
    assert.deepEqual([server.tokenRequests.length, server.countRequests(/blobs/)], [1, known ? 10 : 20]);
  }
});

test("pulls share tokens that are anonymous or the operator's, and never a client's", async () => {
  const cases: [credential: Credential, tokenRequests: number][] = [
    [NO_CREDENTIAL, 1],
    [OPERATOR, 1],
    [CLIENT, 2],
  ];
  for (const [credential, tokenRequests] of cases) {
    await using server = await startRegistry({ mode: 'token' });
    using access = openAccess();
    const pull = () => access.open(server, credential, configured(server)).getManifest('1', never());
    await pull();
    await pull();
    assert.equal(server.tokenRequests.length, tokenRequests, JSON.stringify(credential));
  }
});

test("pulls at the same time share one token request, unless the credentials are a client's", async () => {
  for (const [credential, tokenRequests] of [
    [OPERATOR, 1],
    [CLIENT, 3],
  ] as const) {
    await using server = await startRegistry({ mode: 'token', tokenDelayUntilReleased: true });
    using access = openAccess();
    const pulls = [1, 2, 3].map(() =>
      access.open(server, credential, configured(server)).getManifest('1', never()),
    );
    await within(server.waitForStalled(tokenRequests), 'the token requests');
    server.releaseStalled();
    await Promise.all(pulls);
    assert.equal(server.tokenRequests.length, tokenRequests);
  }
});

test('what one client may pull, another may not', async () => {
  await using server = await startRegistry({ mode: 'token', allowAnonymous: 'noAccess' });
  using access = openAccess();
  await access.open(server, CLIENT).getManifest('1', never());
  const denied = { code: 'REGISTRY_DENIED', details: { registryStatus: 401, registryCode: 'UNAUTHORIZED' } };
  await assert.rejects(access.open(server).getManifest('1', never()), denied);
  const wrong: Credential = {
    type: 'basic',
    basic: { username: 'user', password: 'guess' },
    source: 'client',
  };
  await assert.rejects(access.open(server, wrong).getManifest('1', never()), {
    code: 'REGISTRY_DENIED',
    message: /^Cannot get a token from .*: incorrect username or password \(UNAUTHORIZED\)$/,
  });
});

test('another repository has a token of its own', async () => {
  await using server = await startRegistry({ mode: 'token' });
  using access = openAccess();
  for (const repository of [REPOSITORY, OTHER, REPOSITORY]) {
    await access.open(server, OPERATOR, {}, repository).getManifest('1', never());
  }
  assert.deepEqual(
    server.tokenRequests.map(({ path }) => new URL(path, server.origin).searchParams.get('scope')),
    [`repository:${REPOSITORY}:pull`, `repository:${OTHER}:pull`],
  );
});

test('a token that is revoked in the middle of a pull is fetched once more, for all layers together', async () => {
  await using server = await startRegistry({ mode: 'token' });
  using access = openAccess();
  const client = access.open(server, CLIENT);
  await client.getManifest('1', never());
  server.tokens.revokeAll();
  const layers = await Promise.all(Array.from({ length: 10 }, () => readLayer(client)));
  assert.ok(layers.every((layer) => layer.equals(BIG)));
  assert.deepEqual([server.tokenRequests.length, server.countRequests(/blobs/)], [2, 20]);
});

test('a token that ends while a layer is read is renewed when the layer goes on', async () => {
  await using server = await startRegistry(
    { mode: 'token' },
    { truncateBlob: { afterBytes: 1000, times: 1 } },
  );
  using access = openAccess();
  const layer = await access.open(server, CLIENT).openLayer(BIG_LAYER, never());
  server.tokens.revokeAll();
  let read = 0;
  for await (const piece of layer) read += piece.byteLength;
  assert.deepEqual([read, server.tokenRequests.length], [BIG.length, 2]);
});

test('tokens that are good for nothing make no endless loop', async () => {
  await using server = await startRegistry({ mode: 'token', hugeToken: 100 });
  using access = openAccess();
  const client = access.open(server, CLIENT);
  const denied = { code: 'REGISTRY_DENIED' };
  await assert.rejects(client.getManifest('1', never()), denied);
  assert.deepEqual([server.countRequests(/manifests/), server.tokenRequests.length], [2, 1]);
  await assert.rejects(client.getManifest('1', never()), denied);
  assert.deepEqual([server.countRequests(/manifests/), server.tokenRequests.length], [4, 2]);
});

test('a refused static token is final: no other way is tried', async () => {
  for (const mode of ['token', 'basic'] as const) {
    await using server = await startRegistry({ mode });
    using access = openAccess();
    const client = access.open(server, { type: 'bearer', token: 'wrong' });
    await assert.rejects(client.getManifest('1', never()), { code: 'REGISTRY_DENIED' });
    assert.deepEqual([server.requests.length, server.tokenRequests.length], [1, 0]);
  }
});

test('a token endpoint that misbehaves is told, and nothing is sent to the registry in its stead', async () => {
  const elsewhere = await startScriptedServer(() => undefined);
  const cases: [auth: Partial<AuthSettings>, code: string, message: RegExp, tokenRequests: number][] = [
    [{ tokenStatus: 401 }, 'REGISTRY_DENIED', /authentication is required or was refused/, 1],
    [{ tokenStatus: 403 }, 'REGISTRY_DENIED', /access is denied/, 1],
    [{ tokenStatus: 404 }, 'REGISTRY_FAILED', /not found/, 1],
    [{ tokenStatus: 500 }, 'REGISTRY_FAILED', /the answer is 500/, RETRY.attempts],
    [
      { tokenStatus: 429, tokenHeaders: { 'Retry-After': '99' } },
      'REGISTRY_RATE_LIMITED',
      /too many requests/,
      1,
    ],
    [{ tokenBody: '<html>sign in</html>' }, 'REGISTRY_FAILED', /its answer is not JSON/, 1],
    [{ tokenField: 'none' }, 'REGISTRY_FAILED', /neither token nor access_token/, 1],
    [{ hugeToken: 100 * 1024 ** 2 }, 'REGISTRY_FAILED', /larger than 16384 bytes/, 1],
    [{ tokenRedirectTo: elsewhere.origin }, 'REGISTRY_FAILED', /the answer is 307/, 1],
  ];
  for (const [auth, code, message, tokenRequests] of cases) {
    await using server = await startRegistry({ mode: 'token', ...auth });
    using access = openAccess();
    await assert.rejects(access.open(server, CLIENT).getManifest('1', never()), { code, message });
    assert.deepEqual([server.tokenRequests.length, server.countRequests(/manifests/)], [tokenRequests, 1]);
    await within(server.waitForNoActiveRequests(), 'the end of the answers');
  }
  assert.equal(elsewhere.requests.length, 0);
  await elsewhere.close();
});

test('a passing failure is tried again, a lasting one is not: each request is counted', async () => {
  const cases: [defects: Defects, requests: number, outcome: 'works' | string][] = [
    [{ resetConnections: { times: 2 } }, 3, 'works'],
    [{ resetConnections: {} }, 3, 'REGISTRY_UNREACHABLE'],
    [{ failWith: { status: 503, times: 2 } }, 3, 'works'],
    [{ failWith: { status: 408, times: 1 } }, 2, 'works'],
    [{ failWith: { status: 425, times: 1 } }, 2, 'works'],
    [{ failWith: { status: 429, times: 1, headers: { 'Retry-After': '0' } } }, 2, 'works'],
    [{ failWith: { status: 429 } }, 3, 'REGISTRY_RATE_LIMITED'],
    [{ failWith: { status: 500 } }, 3, 'REGISTRY_FAILED'],
    [{ failWith: { status: 429, headers: { 'Retry-After': '3' } } }, 1, 'REGISTRY_RATE_LIMITED'],
    [{ failWith: { status: 404 } }, 1, 'IMAGE_NOT_FOUND'],
    [{ failWith: { status: 401 } }, 1, 'REGISTRY_DENIED'],
    [{ failWith: { status: 403 } }, 1, 'REGISTRY_DENIED'],
    [{ failWith: { status: 400 } }, 1, 'REGISTRY_FAILED'],
  ];
  for (const [defects, requests, outcome] of cases) {
    await using server = await startRegistry({}, defects);
    using access = openAccess();
    const code = await access
      .open(server)
      .getManifest('1', never())
      .then(
        () => 'works',
        (error: unknown) => (isPassthroughError(error) ? error.code : error),
      );
    assert.deepEqual([code, server.requests.length], [outcome, requests], JSON.stringify(defects));
  }
});

test('a server that does not answer in time is not asked again', async () => {
  await using server = await startRegistry({}, { stallManifest: true });
  using access = openAccess({ timeouts: { responseMs: SHORT_MS } });
  await assert.rejects(access.open(server).getManifest('1', never()), { code: 'REGISTRY_TIMEOUT' });
  assert.equal(server.requests.length, 1);
  await within(server.waitForNoActiveRequests(), 'the end of the request');
});

test('Retry-After is waited for', async () => {
  await using server = await startRegistry(
    {},
    { failWith: { status: 429, times: 1, headers: { 'Retry-After': '1' } } },
  );
  using access = openAccess();
  const begun = performance.now();
  await access.open(server).getManifest('1', never());
  // Timers of Node may fire up to a millisecond early.
  assert.ok(performance.now() - begun >= 999);
});

test('storage that fails is tried again from the registry on: its address may have been for once', async () => {
  await using storage = await startFakeRegistry({ defects: { failWith: { status: 503, times: 1 } } });
  storage.push(REPOSITORY, '1', IMAGE);
  await using server = await startRegistry({}, { redirectBlobsTo: storage.origin });
  using access = openAccess();
  assert.deepEqual(await readLayer(access.open(server)), BIG);
  assert.deepEqual([server.requests.length, storage.requests.length], [2, 2]);
});

test('redirects in a circle end', async () => {
  for (const endless of [true, false]) {
    await using server = await startRegistry({}, { redirectLoop: { endless } });
    using access = openAccess();
    await assert.rejects(access.open(server).getManifest('1', never()), {
      code: 'REGISTRY_FAILED',
      message: /redirects more than 5 times/,
    });
    assert.equal(server.requests.length, 6);
  }
});

test('connections are used again in a pull, also after a challenge and a token request', async () => {
  const ports = new Set<number | undefined>();
  await using server = await startScriptedServer(({ url, headers, socket }, response) => {
    ports.add(socket.remotePort);
    if (url?.startsWith('/token')) {
      response.end('{"token":"t"}');
    } else if (headers.authorization !== 'Bearer t') {
      response.writeHead(401, { 'WWW-Authenticate': `Bearer realm="${server.origin}/token"` }).end();
    } else {
      response.end(IMAGE.blobs.get(url?.split('/').at(-1) ?? '') ?? IMAGE.manifest.bytes);
    }
  });
  using access = openAccess();
  const client = access.open(server);
  await client.getManifest('1', never());
  await client.getConfig(CONFIG, never());
  assert.deepEqual(await readLayer(client), BIG);
  assert.equal(server.requests.length, 5);
  // The 401 is given up unread, so that its connection may come free a moment after the next request went out.
  assert.ok(ports.size <= 2, `${ports.size} connections`);
});

test('a server that echoes the Authorization cannot make anybody repeat it', async () => {
  const token: Credential = { type: 'bearer', token: 'static-token-7Q' };
  const [manifest, realm] = [
    { pattern: /manifests/, status: 403, afterAuthorization: true },
    { pattern: /token/, status: 403 },
  ];
  const cases: [name: string, auth: Partial<AuthSettings>, credential: Credential, failWith: FailWith][] = [
    ['a static token', {}, token, manifest],
    ['a fetched token', { mode: 'token' }, CLIENT, manifest],
    ['Basic', { mode: 'basic' }, CLIENT, manifest],
    ['Basic at the realm', { mode: 'token' }, CLIENT, realm],
  ];
  for (const [name, auth, credential, failWith] of cases) {
    await using server = await startRegistry(auth, { echoAuthorizationInErrors: true, failWith });
    using access = openAccess();
    await assert.rejects(access.open(server, credential).getManifest('1', never()), (error) => {
      assert.ok(isPassthroughError(error, 'REGISTRY_DENIED'), name);
      assert.match(error.message, /you sent Authorization: (?:Basic|Bearer) \[redacted\]/, name);
      const sent = server.requests.flatMap(({ headers }) => headers.authorization?.split(' ')[1] ?? []);
      assert.ok(sent.length > 0, name);
      for (const secret of [...sent, 'secret', 'static-token-7Q']) {
        assert.ok(!JSON.stringify([error.message, error.details]).includes(secret), name);
      }
      return true;
    });
  }
});

test('storage that echoes a signed address cannot make anybody repeat it', async () => {
  await using storage = await startScriptedServer(({ url }, response) => {
    response.writeHead(403).end(JSON.stringify({ message: `expired: ${url}, signed ${URL_SIGNATURE}` }));
  });
  await using server = await startRegistry({ mode: 'token' }, { redirectBlobsTo: storage.origin });
  using access = openAccess();
  await assert.rejects(readLayer(access.open(server, CLIENT)), (error) => {
    assert.ok(isPassthroughError(error, 'REGISTRY_DENIED'));
    assert.match(error.message, /: expired: \/signed\/.*\?\[redacted\], signed \[redacted\]$/);
    return true;
  });
});

test('each attempt has a span, the token request too, and none tells a secret', async () => {
  const recorder = recordSpans();
  await using storage = await startFakeRegistry();
  storage.push(REPOSITORY, '1', IMAGE);
  const failures = { pattern: /manifests/, status: 503, times: 1, afterAuthorization: true };
  await using server = await startRegistry(
    { mode: 'token' },
    { redirectBlobsTo: storage.origin, failWith: failures },
  );
  using access = openAccess();
  const client = access.open(server, CLIENT);
  await client.getManifest('1', never());
  await readLayer(client);
  const [manifest, layer] = [
    'GET /v2/{repository}/manifests/{reference}',
    'GET /v2/{repository}/blobs/{digest}',
  ];
  assert.deepEqual(
    recorder.spans.map(({ name, attributes }) => [
      name,
      attributes['server.port'],
      attributes['registry.auth.type'],
      attributes['http.response.status_code'],
      attributes['http.request.resend_count'],
    ]),
    [
      [manifest, server.port, 'none', 401, undefined],
      ['GET {registry_token_endpoint}', server.port, 'basic', 200, undefined],
      [manifest, server.port, 'bearer', 503, 1],
      [manifest, server.port, 'bearer', 200, 2],
      [layer, server.port, 'bearer', 307, undefined],
      [layer, storage.port, 'none', 200, 1],
    ],
  );
  const told = JSON.stringify(
    recorder.spans.map(({ name, attributes, status }) => [name, attributes, status]),
  );
  const token = server.requests.at(-1)?.headers.authorization?.split(' ')[1] ?? assert.fail();
  for (const secret of [token, 'secret', BASIC.split(' ')[1] ?? '', URL_SIGNATURE]) {
    assert.ok(!told.includes(secret), secret);
  }
});
