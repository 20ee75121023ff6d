import assert from 'node:assert/strict';
import test from 'node:test';
import { AuthorizedTransport } from '../../../src/registry/auth/authorize.ts';
import type { Credential } from '../../../src/registry/auth/credentials.ts';
import { TokenSource } from '../../../src/registry/auth/token.ts';
import { DOCKER_HUB, type RegistryHost, registryHost } from '../../../src/registry/registry-host.ts';
import { BASIC, CLIENT, NO_CREDENTIAL, OPERATOR, REPOSITORY } from '../open.ts';
import {
  exchange,
  type Script,
  type ScriptedAnswer,
  ScriptedTransport,
} from '../transport/scripted-transport.ts';

const REGISTRY = registryHost('https', 'registry.example.com');
const REALM = 'https://auth.example.com/token';
const FIXED: Credential = { type: 'bearer', token: 'fixed' };

const challenge = (value: string): ScriptedAnswer => ({
  status: 401,
  headers: { 'www-authenticate': value },
});
const BEARER = challenge(`Bearer realm="${REALM}",service="s",scope="repository:team/app:pull"`);
const ASKS_BASIC = challenge('Basic realm="registry"');

interface Options {
  readonly target?: RegistryHost;
  readonly credential?: Credential;
  /** The registry; 200 to everything unless said. */
  readonly registry?: Script;
  /** The token endpoint; numbers its tokens unless said. */
  readonly realm?: Script;
}

/** An authorized transport between a scripted registry and a scripted token endpoint. */
function authorized({
  target = REGISTRY,
  credential = NO_CREDENTIAL,
  registry = () => ({}),
  realm = (_, index) => ({ body: JSON.stringify({ token: `t${index}` }) }),
}: Options) {
  const wire = new ScriptedTransport(registry);
  const tokenWire = new ScriptedTransport(realm);
  const transport = new AuthorizedTransport(wire, {
    target,
    repository: REPOSITORY,
    credential,
    trustedRealms: [],
    tokens: new TokenSource({ tokenBytes: 1000, errorBytes: 1000 }),
    tokenTransport: tokenWire,
  });
  const send = (url = `${target.origin}/v2/team/app/manifests/1`) => transport.send(exchange(url));
  return { wire, tokenWire, send };
}

/** Answers 200 to one authorization, a challenge to all others. */
const wants =
  (authorization: string, otherwise: ScriptedAnswer): Script =>
  ({ headers }) =>
    headers['authorization'] === authorization ? {} : otherwise;

test('the way in: what is sent to the registry and to the realm, by target, credential and challenge', async (t) => {
  const configured = { ...REGISTRY, tokenEndpoint: new URL('https://sso.test/t') };
  const none = { ...REGISTRY, tokenEndpoint: 'none' as const };
  const cases: [
    name: string,
    options: Options,
    status: number,
    toRegistry: (string | undefined)[],
    toRealm: (string | undefined)[],
  ][] = [
    ['a registry that asks for nothing gets nothing', { credential: OPERATOR }, 200, [undefined], []],
    ['a static token goes at once', { credential: FIXED }, 200, ['Bearer fixed'], []],
    [
      'a refused static token is final',
      { credential: FIXED, registry: () => BEARER },
      401,
      ['Bearer fixed'],
      [],
    ],
    [
      'a realm is discovered, anonymously without credentials',
      { registry: wants('Bearer t0', BEARER) },
      200,
      [undefined, 'Bearer t0'],
      [undefined],
    ],
    [
      'a realm is discovered, with the credentials that there are',
      { credential: CLIENT, registry: wants('Bearer t0', BEARER) },
      200,
      [undefined, 'Bearer t0'],
      [BASIC],
    ],
    [
      'a configured realm is asked first, no challenge is waited for',
      { target: configured, credential: OPERATOR, registry: wants('Bearer t0', BEARER) },
      200,
      ['Bearer t0'],
      [BASIC],
    ],
    [
      'the known realm of Docker Hub is asked first, anonymously too',
      { target: DOCKER_HUB },
      200,
      ['Bearer t0'],
      [undefined],
    ],
    [
      'Basic goes directly where there is no realm',
      { target: none, credential: OPERATOR, registry: wants(BASIC, ASKS_BASIC) },
      200,
      [BASIC],
      [],
    ],
    [
      'where there is no realm, a challenge does not make one',
      { target: none, credential: OPERATOR, registry: () => BEARER },
      401,
      [BASIC],
      [],
    ],
    ['where there is no realm and no credential, nothing goes', { target: none }, 200, [undefined], []],
    [
      'a registry that asks for Basic gets it',
      { credential: CLIENT, registry: wants(BASIC, ASKS_BASIC) },
      200,
      [undefined, BASIC],
      [],
    ],
    [
      'a registry that asks for Basic of nobody gets nothing',
      { registry: () => ASKS_BASIC },
      401,
      [undefined],
      [],
    ],
    [
      'refused Basic is final',
      { credential: CLIENT, registry: () => ASKS_BASIC },
      401,
      [undefined, BASIC],
      [],
    ],
    [
      'of Basic and Bearer, Bearer is taken',
      {
        credential: CLIENT,
        registry: wants('Bearer t0', challenge(`Basic realm="r", bearer realm=${REALM},service=s`)),
      },
      200,
      [undefined, 'Bearer t0'],
      [BASIC],
    ],
    [
      'Basic is taken where Bearer has no realm',
      { credential: CLIENT, registry: wants(BASIC, challenge('Bearer service="s", Basic realm="r"')) },
      200,
      [undefined, BASIC],
      [],
    ],
    [
      'a realm that is no plain web address is no realm',
      { credential: CLIENT, registry: () => challenge('Bearer realm="https://a:b@auth.example.com/token"') },
      401,
      [undefined],
      [],
    ],
    [
      'a relative realm is no realm',
      { credential: CLIENT, registry: () => challenge('Bearer realm="/token"') },
      401,
      [undefined],
      [],
    ],
    [
      'a scheme that nobody knows is final',
      { credential: CLIENT, registry: () => challenge('Negotiate') },
      401,
      [undefined],
      [],
    ],
    [
      'a 401 without a challenge is final',
      { credential: CLIENT, registry: () => ({ status: 401 }) },
      401,
      [undefined],
      [],
    ],
    [
      'a 403 is final',
      { credential: CLIENT, registry: () => ({ ...BEARER, status: 403 }) },
      403,
      [undefined],
      [],
    ],
    [
      'a token that is refused is asked for anew, once',
      { target: configured, credential: CLIENT, registry: () => BEARER },
      401,
      ['Bearer t0', 'Bearer t1'],
      [BASIC, BASIC],
    ],
  ];
  for (const [name, options, status, toRegistry, toRealm] of cases) {
    await t.test(name, async () => {
      const { wire, tokenWire, send } = authorized(options);
      assert.equal((await send()).status, status);
      assert.deepEqual(wire.sent('authorization'), toRegistry);
      assert.deepEqual(tokenWire.sent('authorization'), toRealm);
      assert.equal(wire.discarded.length, toRegistry.length - 1);
    });
  }
});

test('service and scope of the challenge come first, else those of the target and the repository', async () => {
  const full = challenge(`Bearer realm="${REALM}",service="theirs",scope="repository:x/y:pull,push"`);
  const bare = challenge(`Bearer realm="${REALM}",service="",scope=""`);
  const configured = { ...REGISTRY, tokenEndpoint: new URL('https://sso.test/t'), service: 'ours' };
  const cases: [
    target: RegistryHost,
    answer: ScriptedAnswer,
    asked: [at: string, service: string, scope: string][],
  ][] = [
    [REGISTRY, full, [[REALM, 'theirs', 'repository:x/y:pull,push']]],
    [REGISTRY, bare, [[REALM, 'registry.example.com', 'repository:team/app:pull']]],
    // A configured realm stays, whatever the challenge says of it.
    [
      configured,
      full,
      [
        ['https://sso.test/t', 'ours', 'repository:team/app:pull'],
        ['https://sso.test/t', 'theirs', 'repository:x/y:pull,push'],
      ],
    ],
  ];
  for (const [target, answer, asked] of cases) {
    const { tokenWire, send } = authorized({ target, registry: () => answer });
    await send();
    assert.deepEqual(
      tokenWire.requests.map(({ url }) => [
        url.origin + url.pathname,
        url.searchParams.get('service'),
        url.searchParams.get('scope'),
      ]),
      asked,
    );
  }
});

test('what was learned holds for the rest of the pull', async () => {
  for (const [registry, expected] of [
    [wants('Bearer t0', BEARER), 'Bearer t0'],
    [wants(BASIC, ASKS_BASIC), BASIC],
  ] as const) {
    const { wire, send } = authorized({ credential: CLIENT, registry });
    await send();
    await Promise.all([send(), send(`${REGISTRY.origin}/v2/team/app/blobs/b`)]);
    assert.deepEqual(wire.sent('authorization'), [undefined, expected, expected, expected]);
  }
});

test('a token that ends in the middle of a pull is asked for anew once, by all layers together', async () => {
  let good = 'Bearer t0';
  const { wire, tokenWire, send } = authorized({
    credential: CLIENT,
    registry: ({ headers }) => (headers['authorization'] === good ? {} : BEARER),
  });
  await send();
  good = 'Bearer t1';
  const layers = await Promise.all(Array.from({ length: 10 }, () => send()));
  assert.deepEqual(new Set(layers.map(({ status }) => status)), new Set([200]));
  assert.equal(tokenWire.requests.length, 2);
  assert.equal(wire.requests.length, 2 + 20);
});

test('a registry that refuses every token is asked twice a request, with one new token each time', async () => {
  const { wire, tokenWire, send } = authorized({ credential: CLIENT, registry: () => BEARER });
  for (let times = 0; times < 3; times += 1) assert.equal((await send()).status, 401);
  assert.deepEqual([wire.requests.length, tokenWire.requests.length], [6, 3]);
});

test('what the realm refuses with is what the pull ends with', async () => {
  const { wire, send } = authorized({
    credential: CLIENT,
    registry: () => BEARER,
    realm: () => ({ status: 401 }),
  });
  await assert.rejects(send(), { code: 'REGISTRY_DENIED', message: /^Cannot get a token from / });
  assert.equal(wire.requests.length, 1);
});

test('the answer tells what must not be repeated, beside what it told itself', async () => {
  const registry: Script = () => ({ secrets: ['signature'] });
  const cases: [credential: Credential, target: RegistryHost, secrets: string[]][] = [
    [NO_CREDENTIAL, REGISTRY, ['signature']],
    [FIXED, REGISTRY, ['signature', 'fixed']],
    [OPERATOR, { ...REGISTRY, tokenEndpoint: 'none' }, ['signature', BASIC.slice('Basic '.length), 'secret']],
    [OPERATOR, { ...REGISTRY, tokenEndpoint: new URL(REALM) }, ['signature', 't0']],
  ];
  for (const [credential, target, secrets] of cases) {
    assert.deepEqual((await authorized({ credential, target, registry }).send()).secrets, secrets);
  }
});

test('a request elsewhere than to the registry goes without authorization', async () => {
  const { wire, tokenWire, send } = authorized({ credential: FIXED, registry: () => BEARER });
  assert.equal((await send('https://storage.example.org/x')).status, 401);
  assert.deepEqual(wire.sent('authorization'), [undefined]);
  assert.equal(tokenWire.requests.length, 0);
});
