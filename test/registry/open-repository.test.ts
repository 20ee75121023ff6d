import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isPassthroughError } from '../../src/errors.ts';
import type { Credential } from '../../src/registry/auth/credentials.ts';
import type { RegistryHost } from '../../src/registry/registry-host.ts';
import { systemErrorCode } from '../../src/util/system-error.ts';
import type { Defects, FailWith } from '../support/defects.ts';
import type { FakeRegistry } from '../support/fake-registry.ts';
import type { AuthSettings } from '../support/fake-token.ts';
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
  configured,
  headersOf,
  IMAGE,
  NO_CREDENTIAL,
  never,
  OPERATOR,
  openAccess,
  pull,
  RETRY,
  readLayer,
  SCOPE,
  SHORT_MS,
  STATIC_TOKEN,
  startRegistry,
  startScene,
} from './support/scene.ts';

type Auth = Partial<AuthSettings>;

const TOKEN: Auth = { mode: 'token' };
const PRIVATE: Auth = { mode: 'token', allowAnonymous: false };

describe('an image is pulled', () => {
  const issued = ({ tokens }: FakeRegistry): Credential => ({
    type: 'bearer',
    token: tokens.issue([SCOPE], 300),
  });
  const direct = () => ({ tokenEndpoint: 'none' }) as const;
  const rows: [
    name: string,
    auth: Auth,
    credential: Credential | typeof issued,
    settings: (server: FakeRegistry) => Partial<RegistryHost>,
    tokenRequests: (string | undefined)[],
  ][] = [
    ['without credentials', {}, NO_CREDENTIAL, () => ({}), []],
    ['with credentials that the registry does not ask for', {}, OPERATOR, () => ({}), []],
    ['with an anonymous token', TOKEN, NO_CREDENTIAL, () => ({}), [undefined]],
    ["with a token of the client's credentials", PRIVATE, CLIENT, () => ({}), [BASIC]],
    ["with a token of the operator's credentials", PRIVATE, OPERATOR, () => ({}), [BASIC]],
    ['with a token of a configured realm', PRIVATE, OPERATOR, configured, [BASIC]],
    ['with a static token', PRIVATE, issued, () => ({}), []],
    ['with Basic after a challenge', { mode: 'basic' }, CLIENT, () => ({}), []],
    ['with direct Basic', { mode: 'basic' }, OPERATOR, direct, []],
    [
      'after challenges in two header lines',
      {
        ...PRIVATE,
        challengeSpelling: ({ realm, service, scope }) => [
          'Negotiate abc=',
          `bearer realm=${realm},service=${service},scope="${scope},push"`,
        ],
      },
      CLIENT,
      () => ({}),
      [BASIC],
    ],
  ];
  for (const [name, auth, credential, settings, tokenRequests] of rows) {
    test(name, async () => {
      await using scene = await startScene({ auth });
      const { server } = scene;
      const client = scene.open(
        typeof credential === 'function' ? credential(server) : credential,
        settings(server),
      );
      await pull(client);
      await client.getConfig(CONFIG, never());
      assert.deepEqual(await readLayer(client), BIG);
      assert.deepEqual(headersOf({ requests: server.tokenRequests }), tokenRequests);
    });
  }

  test('over one connection, with a challenge and a token request', async () => {
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
    await pull(client);
    await client.getConfig(CONFIG, never());
    assert.deepEqual(await readLayer(client), BIG);
    assert.equal(server.requests.length, 5);
    // The 401 is discarded, so its connection may become free after the next request has opened another one.
    assert.ok(ports.size <= 2, `${ports.size} connections`);
  });
});

describe('a token', () => {
  const sharing: [name: string, credential: Credential, oneByOne: number, concurrent: number][] = [
    ['is shared by pulls if it is anonymous', NO_CREDENTIAL, 1, 1],
    ["is shared by pulls if it is of the operator's credentials", OPERATOR, 1, 1],
    ["is not shared by pulls if it is of a client's credentials", CLIENT, 2, 3],
  ];
  for (const [name, credential, oneByOne, concurrent] of sharing) {
    test(name, async () => {
      await using first = await startScene({ auth: TOKEN });
      for (const _ of [1, 2]) await pull(first.open(credential, configured(first.server)));
      assert.equal(first.server.tokenRequests.length, oneByOne);

      await using scene = await startScene({ auth: { ...TOKEN, tokenDelayUntilReleased: true } });
      const pulls = [1, 2, 3].map(() => pull(scene.open(credential, configured(scene.server))));
      await within(scene.server.waitForStalled(concurrent), 'the token requests');
      scene.server.releaseStalled();
      await Promise.all(pulls);
      assert.equal(scene.server.tokenRequests.length, concurrent);
    });
  }

  test('that expires while a layer is read is replaced when the layer is resumed', async () => {
    await using scene = await startScene({
      auth: TOKEN,
      defects: { truncateBlob: { afterBytes: 1000, times: 1 } },
    });
    const layer = await scene.open(CLIENT).openLayer(BIG_LAYER, never());
    scene.server.tokens.revokeAll();
    const chunks = await Array.fromAsync(layer);
    assert.deepEqual([Buffer.concat(chunks).equals(BIG), scene.server.tokenRequests.length], [true, 2]);
  });

  const failing: [auth: Auth, code: string, message: RegExp, tokenRequests: number][] = [
    [{ tokenStatus: 500 }, 'REGISTRY_FAILED', /the answer is 500/, RETRY.attempts],
    [{ hugeToken: 100 * 1024 ** 2 }, 'REGISTRY_FAILED', /larger than 16384 bytes/, 1],
  ];
  for (const [auth, code, message, tokenRequests] of failing) {
    test(`endpoint that fails with ${JSON.stringify(auth)} ends the pull`, async () => {
      await using scene = await startScene({ auth: { ...TOKEN, ...auth } });
      await assert.rejects(pull(scene.open(CLIENT)), { code, message });
      const { server } = scene;
      assert.deepEqual([server.tokenRequests.length, server.countRequests(/manifests/)], [tokenRequests, 1]);
      await within(server.waitForNoActiveRequests(), 'the end of the responses');
    });
  }
});

describe('a failed request', () => {
  const retryAfter = (seconds: string) => ({ status: 429, times: 1, headers: { 'Retry-After': seconds } });
  const rows: [defects: Defects, requests: number, outcome: string | undefined][] = [
    [{ resetConnections: { times: 2 } }, 3, undefined],
    [{ resetConnections: {} }, 3, 'REGISTRY_UNREACHABLE'],
    [{ failWith: { status: 503, times: 2 } }, 3, undefined],
    [{ failWith: { status: 500 } }, 3, 'REGISTRY_FAILED'],
    [{ failWith: { status: 429 } }, 3, 'REGISTRY_RATE_LIMITED'],
    [{ failWith: retryAfter('0') }, 2, undefined],
    [{ failWith: retryAfter('3') }, 1, 'REGISTRY_RATE_LIMITED'],
    [{ failWith: { status: 404 } }, 1, 'IMAGE_NOT_FOUND'],
    [{ failWith: { status: 401 } }, 1, 'REGISTRY_DENIED'],
    [{ failWith: { status: 400 } }, 1, 'REGISTRY_FAILED'],
    [{ stallManifest: true }, 1, 'REGISTRY_TIMEOUT'],
    [{ redirectLoop: { endless: true } }, 6, 'REGISTRY_FAILED'],
    [{ redirectLoop: { endless: false } }, 6, 'REGISTRY_FAILED'],
  ];
  for (const [defects, requests, outcome] of rows) {
    test(`makes ${requests} requests: ${JSON.stringify(defects)} ends with ${outcome ?? 'success'}`, async () => {
      const timeouts = 'stallManifest' in defects ? { responseMs: SHORT_MS } : {};
      await using scene = await startScene({ defects }, { timeouts });
      const code = await pull(scene.client).then(
        () => undefined,
        (error: unknown) => systemErrorCode(error) ?? error,
      );
      assert.deepEqual([code, scene.server.requests.length], [outcome, requests]);
      await within(scene.server.waitForNoActiveRequests(), 'the end of the request');
    });
  }

  test('is retried after the time of Retry-After', async () => {
    await using scene = await startScene({ defects: { failWith: retryAfter('1') } });
    const startedAt = performance.now();
    await pull(scene.client);
    // Node's timers may fire a millisecond early.
    assert.ok(performance.now() - startedAt >= 999);
  });

  test('at the storage is retried from the registry on: the URL may be valid only once', async () => {
    await using storage = await startRegistry({ defects: { failWith: { status: 503, times: 1 } } });
    await using scene = await startScene({ defects: { redirectBlobsTo: storage.origin } });
    assert.deepEqual(await readLayer(scene.client), BIG);
    assert.deepEqual([scene.server.requests.length, storage.requests.length], [2, 2]);
  });
});

describe('a secret is not quoted', () => {
  const atRegistry = { pattern: /manifests/, status: 403, afterAuthorization: true };
  const atRealm = { pattern: /token/, status: 403 };
  const rows: [name: string, auth: Auth, credential: Credential, failWith: FailWith][] = [
    ['a static token', {}, STATIC_TOKEN, atRegistry],
    ['a fetched token', TOKEN, CLIENT, atRegistry],
    ['Basic', { mode: 'basic' }, CLIENT, atRegistry],
    ['Basic at the realm', TOKEN, CLIENT, atRealm],
  ];
  for (const [name, auth, credential, failWith] of rows) {
    test(`from an error that echoes the Authorization header: ${name}`, async () => {
      await using scene = await startScene({ auth, defects: { echoAuthorizationInErrors: true, failWith } });
      await assert.rejects(pull(scene.open(credential)), (error) => {
        assert.ok(isPassthroughError(error, 'REGISTRY_DENIED'));
        assert.match(error.message, /you sent Authorization: (?:Basic|Bearer) \[redacted\]/);
        const sent = headersOf(scene.server).flatMap((value) => value?.split(' ')[1] ?? []);
        assert.ok(sent.length > 0);
        for (const secret of [...sent, 'secret', 'static-token-7Q']) {
          assert.ok(!JSON.stringify([error.message, error.details]).includes(secret));
        }
        return true;
      });
    });
  }

  test('from an error of the storage that echoes a signed URL', async () => {
    await using storage = await startScriptedServer(({ url }, response) => {
      response.writeHead(403).end(JSON.stringify({ message: `expired: ${url}, signed ${URL_SIGNATURE}` }));
    });
    await using scene = await startScene({ auth: TOKEN, defects: { redirectBlobsTo: storage.origin } });
    await assert.rejects(readLayer(scene.open(CLIENT)), {
      code: 'REGISTRY_DENIED',
      message: /: expired: \/signed\/.*\?\[redacted\], signed \[redacted\]$/,
    });
  });
});

test('each attempt has a span without secrets, the token request too', async () => {
  const { spans } = recordSpans();
  await using storage = await startRegistry();
  const failWith = { pattern: /manifests/, status: 503, times: 1, afterAuthorization: true };
  await using scene = await startScene({
    auth: TOKEN,
    defects: { redirectBlobsTo: storage.origin, failWith },
  });
  const client = scene.open(CLIENT);
  await pull(client);
  await readLayer(client);
  const manifest = 'GET /v2/{repository}/manifests/{reference}';
  const layer = 'GET /v2/{repository}/blobs/{digest}';
  const { port } = scene.server;
  assert.deepEqual(
    spans.map(({ name, attributes }) => [
      name,
      attributes['server.port'],
      attributes['registry.auth.type'],
      attributes['http.response.status_code'],
      attributes['http.request.resend_count'],
    ]),
    [
      [manifest, port, 'none', 401, undefined],
      ['GET {registry_token_endpoint}', port, 'basic', 200, undefined],
      [manifest, port, 'bearer', 503, 1],
      [manifest, port, 'bearer', 200, 2],
      [layer, port, 'bearer', 307, undefined],
      [layer, storage.port, 'none', 200, 1],
    ],
  );
  const recorded = JSON.stringify(spans.map(({ name, attributes, status }) => [name, attributes, status]));
  const token = headersOf(scene.server).at(-1)?.split(' ')[1] ?? assert.fail();
  for (const secret of [token, 'secret', BASIC.slice('Basic '.length), URL_SIGNATURE]) {
    assert.ok(!recorded.includes(secret), secret);
  }
});
