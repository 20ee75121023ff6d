import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AuthorizedTransport } from '../../../src/registry/auth/authorize.ts';
import type { Credential } from '../../../src/registry/auth/credentials.ts';
import { TokenSource } from '../../../src/registry/auth/token.ts';
import { DOCKER_HUB, type RegistryHost, registryHost } from '../../../src/registry/registry-host.ts';
import { BASIC, CLIENT, LIMITS, NO_CREDENTIAL, OPERATOR, REPOSITORY, SCOPE } from '../support/scene.ts';
import {
  requestTo,
  type Script,
  type ScriptedAnswer,
  ScriptedTransport,
} from '../support/scripted-transport.ts';

const REALM = 'https://auth.example.com/token';
const STATIC: Credential = { type: 'bearer', token: 'static' };

const DISCOVER = registryHost('https', 'registry.example.com');
const DIRECT: RegistryHost = { ...DISCOVER, tokenEndpoint: 'none' };
const CONFIGURED: RegistryHost = {
  ...DISCOVER,
  tokenEndpoint: new URL('https://sso.test/t'),
  service: 'ours',
};

const challenge = (value: string): ScriptedAnswer => ({
  status: 401,
  headers: { 'www-authenticate': value },
});
const BEARER = challenge(`Bearer realm="${REALM}",service="s",scope="${SCOPE}"`);
const ASK_BASIC = challenge('Basic realm="registry"');

/** Answers 200 to one authorization, and a challenge to all others. */
const wants =
  (authorization: string, otherwise: ScriptedAnswer): Script =>
  ({ headers }) =>
    headers['authorization'] === authorization ? {} : otherwise;

const numbered = (index: number): ScriptedAnswer => ({ body: JSON.stringify({ token: `t${index}` }) });

/** An authorized transport between a scripted registry and a realm that numbers its tokens. */
function authorized(
  host: RegistryHost,
  credential: Credential,
  registry: Script | ScriptedAnswer = {},
  realm: Script = (_, index) => numbered(index),
  tokens = new TokenSource(LIMITS),
) {
  const wire = new ScriptedTransport(typeof registry === 'function' ? registry : () => registry);
  const tokenWire = new ScriptedTransport(realm);
  const transport = new AuthorizedTransport(wire, {
    host,
    repository: REPOSITORY,
    credential,
    trustedRealms: [],
    tokens,
    tokenTransport: tokenWire,
  });
  const send = (url = `${host.origin}/v2/team/app/manifests/1`) => transport.send(requestTo(url));
  return { wire, tokenWire, send };
}

describe('a request', () => {
  const twoChallenges = challenge(`Basic realm="r", bearer realm=${REALM},service=s`);
  const withoutRealm = challenge('Bearer service="s", Basic realm="r"');
  const forbidden = { ...BEARER, status: 403 };
  const none = undefined;
  type Sent = readonly (string | undefined)[];
  const rows: [
    name: string,
    [host: RegistryHost, credential: Credential, registry?: Script | ScriptedAnswer],
    status: number,
    toRegistry: Sent,
    toRealm?: Sent,
  ][] = [
    ['carries nothing without a challenge', [DISCOVER, OPERATOR], 200, [none]],
    ['carries a static token at once', [DISCOVER, STATIC], 200, ['Bearer static']],
    ['ends when a static token is refused', [DISCOVER, STATIC, BEARER], 401, ['Bearer static']],
    [
      'carries an anonymous token after a challenge',
      [DISCOVER, NO_CREDENTIAL, wants('Bearer t0', BEARER)],
      200,
      [none, 'Bearer t0'],
      [none],
    ],
    [
      'carries a token of its credentials after a challenge',
      [DISCOVER, CLIENT, wants('Bearer t0', BEARER)],
      200,
      [none, 'Bearer t0'],
      [BASIC],
    ],
    [
      'carries a token of a configured realm at once',
      [CONFIGURED, OPERATOR, wants('Bearer t0', BEARER)],
      200,
      ['Bearer t0'],
      [BASIC],
    ],
    [
      'carries an anonymous token of Docker Hub at once',
      [DOCKER_HUB, NO_CREDENTIAL],
      200,
      ['Bearer t0'],
      [none],
    ],
    ['carries Basic at once without a realm', [DIRECT, OPERATOR, wants(BASIC, ASK_BASIC)], 200, [BASIC]],
    ['gets no realm from a challenge if there must be none', [DIRECT, OPERATOR, BEARER], 401, [BASIC]],
    ['carries nothing without a realm and a credential', [DIRECT, NO_CREDENTIAL], 200, [none]],
    ['carries Basic after a challenge', [DISCOVER, CLIENT, wants(BASIC, ASK_BASIC)], 200, [none, BASIC]],
    ['ends when Basic is asked for without a credential', [DISCOVER, NO_CREDENTIAL, ASK_BASIC], 401, [none]],
    ['ends when Basic is refused', [DISCOVER, CLIENT, ASK_BASIC], 401, [none, BASIC]],
    [
      'carries a token after challenges for Basic and Bearer',
      [DISCOVER, CLIENT, wants('Bearer t0', twoChallenges)],
      200,
      [none, 'Bearer t0'],
      [BASIC],
    ],
    [
      'carries Basic after challenges for it and for Bearer without a realm',
      [DISCOVER, CLIENT, wants(BASIC, withoutRealm)],
      200,
      [none, BASIC],
    ],
    ...['https://a:b@auth.example.com/t', 'file:///etc/passwd', 'ftp://auth.example.com/t', '/token', ''].map(
      (realm): (typeof rows)[number] => [
        `ends when the realm is ${JSON.stringify(realm)}`,
        [DISCOVER, CLIENT, challenge(`Bearer realm="${realm}"`)],
        401,
        [none],
      ],
    ),
    ['ends when the scheme is unknown', [DISCOVER, CLIENT, challenge('Negotiate')], 401, [none]],
    ['ends after a 401 without a challenge', [DISCOVER, CLIENT, { status: 401 }], 401, [none]],
    ['ends after a 403', [DISCOVER, CLIENT, forbidden], 403, [none]],
    [
      'carries a new token once when a token is refused',
      [CONFIGURED, CLIENT, BEARER],
      401,
      ['Bearer t0', 'Bearer t1'],
      [BASIC, BASIC],
    ],
  ];
  for (const [name, options, status, toRegistry, toRealm = []] of rows) {
    test(name, async () => {
      const { wire, tokenWire, send } = authorized(...options);
      assert.equal((await send()).status, status);
      assert.deepEqual(wire.sent('authorization'), toRegistry);
      assert.deepEqual(tokenWire.sent('authorization'), toRealm);
      assert.equal(wire.discarded.length, toRegistry.length - 1);
    });
  }

  test('to another origin carries nothing', async () => {
    const { wire, tokenWire, send } = authorized(DISCOVER, STATIC, BEARER);
    assert.equal((await send('https://storage.example.org/x')).status, 401);
    assert.deepEqual([wire.sent('authorization'), tokenWire.requests], [[undefined], []]);
  });

  test('fails with the error of the realm', async () => {
    const { wire, send } = authorized(DISCOVER, CLIENT, BEARER, () => ({ status: 401 }));
    await assert.rejects(send(), { code: 'REGISTRY_DENIED', message: /^Cannot get a token from / });
    assert.equal(wire.requests.length, 1);
  });

  test('adds its credentials to the secrets of the response', async () => {
    const rows: [host: RegistryHost, credential: Credential, secrets: string[]][] = [
      [DISCOVER, NO_CREDENTIAL, []],
      [DISCOVER, STATIC, ['static']],
      [DIRECT, OPERATOR, [BASIC.slice('Basic '.length), 'secret']],
      [CONFIGURED, OPERATOR, ['t0']],
    ];
    for (const [host, credential, secrets] of rows) {
      const response = await authorized(host, credential, { secrets: ['signature'] }).send();
      assert.deepEqual(response.secrets, ['signature', ...secrets]);
    }
  });
});

describe('a token request', () => {
  const full = challenge(`Bearer realm="${REALM}",service="theirs",scope="repository:x/y:pull,push"`);
  const empty = challenge(`Bearer realm="${REALM}",service="",scope=""`);
  const theirs = ['theirs', 'repository:x/y:pull,push'];
  const rows: [name: string, host: RegistryHost, answer: ScriptedAnswer, requests: string[][]][] = [
    ['has service and scope of the challenge', DISCOVER, full, [[REALM, ...theirs]]],
    ['has service of the host if the challenge has none', DISCOVER, empty, [[REALM, DISCOVER.name, SCOPE]]],
    [
      'goes to the configured realm, not to that of the challenge',
      CONFIGURED,
      full,
      [
        ['https://sso.test/t', 'ours', SCOPE],
        ['https://sso.test/t', ...theirs],
      ],
    ],
  ];
  for (const [name, host, answer, requests] of rows) {
    test(name, async () => {
      const { tokenWire, send } = authorized(host, NO_CREDENTIAL, answer);
      await send();
      const sent = tokenWire.requests.map(({ url: { origin, pathname, searchParams } }) => [
        origin + pathname,
        searchParams.get('service'),
        searchParams.get('scope'),
      ]);
      assert.deepEqual(sent, requests);
    });
  }
});

describe('the method of a pull', () => {
  test('is kept for later and concurrent requests', async () => {
    for (const [authorization, asked] of [
      ['Bearer t0', BEARER],
      [BASIC, ASK_BASIC],
    ] as const) {
      const { wire, send } = authorized(DISCOVER, CLIENT, wants(authorization, asked));
      await send();
      await Promise.all([send(), send(`${DISCOVER.origin}/v2/team/app/blobs/b`)]);
      assert.deepEqual(wire.sent('authorization'), [undefined, ...Array(3).fill(authorization)]);
    }
  });

  test('gets one new token for ten concurrent requests with an expired one', async () => {
    let valid = 'Bearer t0';
    const registry: Script = (request, index) => wants(valid, BEARER)(request, index);
    const { wire, tokenWire, send } = authorized(DISCOVER, CLIENT, registry);
    await send();
    valid = 'Bearer t1';
    const responses = await Promise.all(Array.from({ length: 10 }, () => send()));
    assert.ok(responses.every(({ status }) => status === 200));
    assert.deepEqual([tokenWire.requests.length, wire.requests.length], [2, 2 + 20]);
  });

  test('gets one new token per request if the registry refuses all tokens', async () => {
    const { wire, tokenWire, send } = authorized(DISCOVER, CLIENT, BEARER);
    for (let times = 0; times < 3; times += 1) assert.equal((await send()).status, 401);
    assert.deepEqual([wire.requests.length, tokenWire.requests.length], [4, 3]);
  });
});

describe('a cached token that the registry stops to accept is replaced once', () => {
  const none = undefined;
  const other = challenge(`Bearer realm="${REALM}",service="other",scope="${SCOPE}"`);
  const rows: [name: string, host: RegistryHost, refusal: ScriptedAnswer, sent: (string | undefined)[]][] = [
    ['in the pull that got it', CONFIGURED, BEARER, ['Bearer t1']],
    ['after a 401 without a challenge', CONFIGURED, { status: 401 }, ['Bearer t1']],
    [
      'after a challenge without a realm',
      CONFIGURED,
      challenge('Bearer error="invalid_token"'),
      ['Bearer t1'],
    ],
    ['after a challenge for another scheme', CONFIGURED, ASK_BASIC, ['Bearer t1']],
    ['after a 403', CONFIGURED, { status: 403 }, ['Bearer t1']],
    // A pull asks without credentials first, unless the realm is configured or known.
    ['in a later pull', DISCOVER, BEARER, [none, 'Bearer t0', 'Bearer t1']],
    ['in a later pull, also for another service', DISCOVER, other, [none, 'Bearer t1']],
  ];
  for (const [name, host, refusal, sent] of rows) {
    test(name, async () => {
      const tokens = new TokenSource(LIMITS);
      const one = authorized(host, OPERATOR, wants('Bearer t0', BEARER), undefined, tokens);
      await one.send();
      // The same tokens, and a registry with other keys.
      const later: Script = ({ headers: { authorization } }) => {
        if (authorization === 'Bearer t1') return {};
        return authorization === undefined && host === DISCOVER && refusal !== other ? BEARER : refusal;
      };
      const two = authorized(host, OPERATOR, later, (_, index) => numbered(index + 1), tokens);
      assert.equal((await two.send()).status, 200);
      const all = host === CONFIGURED ? ['Bearer t0', ...sent] : sent;
      assert.deepEqual(two.wire.sent('authorization'), all);
      assert.equal(two.tokenWire.requests.length, 1);
    });
  }

  test('and its successor is not, where the registry refuses that, too', async () => {
    for (const refusal of [BEARER, { status: 401 }, { status: 403 }]) {
      const tokens = new TokenSource(LIMITS);
      await authorized(CONFIGURED, OPERATOR, wants('Bearer t0', BEARER), undefined, tokens).send();
      const refusing = authorized(CONFIGURED, OPERATOR, refusal, (_, index) => numbered(index + 1), tokens);
      assert.equal((await refusing.send()).status, refusal.status);
      assert.deepEqual(refusing.wire.sent('authorization'), ['Bearer t0', 'Bearer t1']);
    }
  });

  test('but a request that is denied with a new one is final', async () => {
    const { wire, tokenWire, send } = authorized(CONFIGURED, OPERATOR, { status: 403 });
    assert.equal((await send()).status, 403);
    assert.deepEqual([wire.requests.length, tokenWire.requests.length], [1, 1]);
  });
});
