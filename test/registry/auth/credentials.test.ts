import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { accountOf } from '../../../src/registry/auth/account.ts';
import {
  basicAuthorization,
  basicSecrets,
  type Credential,
  chooseCredential,
  ownerOf,
  type StaticCredentials,
} from '../../../src/registry/auth/credentials.ts';
import { mayReachRealm } from '../../../src/registry/auth/realm.ts';
import { parseHostPattern } from '../../../src/registry/host-pattern.ts';
import { DOCKER_HUB, type RegistryHost, registryHost } from '../../../src/registry/registry-host.ts';

const OWN = { username: 'operator', password: 'own' };
const CLIENTS = { username: 'client', password: 'theirs' };
const HOME = registryHost('https', 'registry.example.com');

const TOKEN: Credential = { type: 'bearer', token: 'fixed' };
const OPERATOR: Credential = { type: 'basic', basic: OWN, source: 'environment' };
const CLIENT: Credential = { type: 'basic', basic: CLIENTS, source: 'client' };
const NONE: Credential = { type: 'none' };

const fixed = (fields: Partial<StaticCredentials>): StaticCredentials => ({
  bearerToken: undefined,
  basic: undefined,
  boundTo: undefined,
  hosts: [],
  ...fields,
});

describe('credentials from files', () => {
  const listed = [
    { origin: HOME.origin, repository: 'team/app', credentials: { username: 'file', password: 'listed' } },
    { origin: HOME.origin, repository: 'team/other', credentials: { identityToken: 'refresh' } },
  ];
  const FILE: Credential = {
    type: 'basic',
    basic: { username: 'file', password: 'listed' },
    source: 'file',
  };
  const IDENTITY: Credential = {
    type: 'identity',
    identity: { identityToken: 'refresh' },
    source: 'file',
  };
  const choose = (fields: Partial<StaticCredentials>, repository?: string, client?: typeof CLIENTS) =>
    chooseCredential(HOME, client, fixed({ listed, ...fields }), { repository });

  test('come after a static token and the credentials of the client, and before static Basic', () => {
    assert.deepEqual(choose({ bearerToken: 'fixed' }, 'team/app'), TOKEN);
    assert.deepEqual(choose({}, 'team/app', CLIENTS), CLIENT);
    assert.deepEqual(choose({ basic: OWN }, 'team/app'), FILE);
    assert.deepEqual(choose({ basic: OWN }, 'team/other'), IDENTITY);
    assert.deepEqual(choose({ basic: OWN }, 'team/third'), OPERATOR);
    assert.deepEqual(choose({}), FILE);
  });

  test('belong to their registry alone', () => {
    for (const host of [registryHost('https', 'evil.test'), registryHost('http', 'registry.example.com')]) {
      assert.deepEqual(
        chooseCredential(host, undefined, fixed({ listed }), { repository: 'team/app' }),
        NONE,
      );
    }
  });

  test('are not used where the client must have its own, and are of the operator', () => {
    const options = { requiresClient: true, repository: 'team/app' };
    assert.deepEqual(chooseCredential(HOME, undefined, fixed({ listed }), options), NONE);
    assert.deepEqual([FILE, IDENTITY].map(ownerOf), ['operator', 'operator']);
    assert.equal(accountOf(IDENTITY), undefined);
  });
});

describe('static credentials', () => {
  const both = fixed({ bearerToken: 'fixed', basic: OWN });
  const basic = fixed({ basic: OWN });

  test('as a token come before those of the client, and as Basic after them', () => {
    assert.deepEqual(chooseCredential(HOME, CLIENTS, both), TOKEN);
    assert.deepEqual(chooseCredential(HOME, undefined, both), TOKEN);
    assert.deepEqual(chooseCredential(HOME, CLIENTS, basic), CLIENT);
    assert.deepEqual(chooseCredential(HOME, undefined, basic), OPERATOR);
    assert.deepEqual(chooseCredential(HOME, CLIENTS, fixed({})), CLIENT);
    assert.deepEqual(chooseCredential(HOME, undefined, fixed({})), NONE);
  });

  const home = 'https://registry.example.com';
  const hosts =
    'mirror.example.org *.internal.example lab:5000 http://old.example.org https://new.example.org docker.io';
  const rows: [origin: string, mayUse: boolean][] = [
    [home, true],
    [`${home}:443`, true],
    [`${home}:8443`, false],
    ['http://registry.example.com', false],
    ['https://auth.example.com', false],
    ['https://evil.test', false],
    // A client must not move a host that is listed for https to http.
    ['https://mirror.example.org', true],
    ['http://mirror.example.org', false],
    ['https://mirror.example.org:8443', true],
    ['https://a.internal.example', true],
    ['http://a.internal.example', false],
    ['https://internal.example', false],
    ['https://new.example.org', true],
    ['http://new.example.org', false],
    // An entry with http or a port allows http.
    ['https://lab:5000', true],
    ['http://lab:5000', true],
    ['http://lab', false],
    ['http://old.example.org', true],
    ['https://old.example.org', false],
    ['https://docker.io', true],
    ['https://docker.io:5000', false],
  ];
  for (const [origin, mayUse] of rows) {
    test(`that are bound ${mayUse ? 'may' : 'must not'} reach ${origin}`, () => {
      const bound = { boundTo: home, hosts: hosts.split(' ').map(parseHostPattern) };
      const [scheme = '', host = ''] = origin.split('://');
      const choose = (client: typeof CLIENTS | undefined, fields: Partial<StaticCredentials>) =>
        chooseCredential(registryHost(scheme, host), client, fixed({ ...fields, ...bound }));
      assert.deepEqual(choose(undefined, { basic: OWN }), mayUse ? OPERATOR : NONE);
      assert.deepEqual(choose(CLIENTS, { basic: OWN }), CLIENT);
      assert.deepEqual(choose(CLIENTS, { bearerToken: 'fixed' }), mayUse ? TOKEN : CLIENT);
    });
  }

  test('that are bound to a registry over http reach it over http', () => {
    const lab = registryHost('http', 'lab.example.com');
    assert.deepEqual(chooseCredential(lab, undefined, fixed({ basic: OWN, boundTo: lab.origin })), OPERATOR);
  });

  test('are not used where the client must send its own, of whatever kind', () => {
    for (const own of [both, basic, fixed({ bearerToken: 'fixed', boundTo: HOME.origin })]) {
      assert.deepEqual(chooseCredential(HOME, CLIENTS, own, { requiresClient: true }), CLIENT);
      assert.deepEqual(chooseCredential(HOME, undefined, own, { requiresClient: true }), NONE);
    }
  });

  test('that are bound to listed hosts alone reach no other registry, also not the default one', () => {
    const bound = fixed({ basic: OWN, bearerToken: 'fixed', hosts: ['ghcr.io'].map(parseHostPattern) });
    assert.deepEqual(chooseCredential(registryHost('https', 'ghcr.io'), undefined, bound), TOKEN);
    for (const host of [DOCKER_HUB, HOME, registryHost('http', 'ghcr.io')]) {
      assert.deepEqual(chooseCredential(host, undefined, bound), NONE);
    }
  });

  test('that are not bound reach every registry', () => {
    for (const host of [registryHost('https', 'anywhere.test'), registryHost('http', '10.0.0.5:5000')]) {
      assert.deepEqual(chooseCredential(host, undefined, basic), OPERATOR);
    }
  });
});

describe('a token realm', () => {
  const plain = registryHost('http', 'registry.example.com:5000');
  const address = registryHost('http', '10.0.0.5:5000');
  const configured = (url: string): RegistryHost => ({ ...HOME, tokenEndpoint: new URL(url) });
  const rows: [isAllowed: boolean, host: RegistryHost, realm: string, trusted?: string][] = [
    // On the host of the registry, or under its registrable domain.
    [true, HOME, 'https://registry.example.com/token'],
    [true, HOME, 'https://registry.example.com:8443/token'],
    [true, HOME, 'https://auth.example.com/token'],
    [true, HOME, 'https://example.com/token'],
    [false, HOME, 'https://auth.example.org/token'],
    [false, HOME, 'https://evilexample.com/token'],
    [false, HOME, 'https://registry.example.com.evil.test/token'],
    [false, registryHost('https', 'registry.one.co.uk'), 'https://auth.two.co.uk/token'],
    [false, registryHost('https', 'one.jfrog.io'), 'https://two.jfrog.io/token'],
    // In the list.
    [true, HOME, 'https://auth.example.org/token', 'auth.example.org'],
    [true, HOME, 'https://auth.example.org/token', '*.example.org'],
    [false, HOME, 'https://auth.example.org/token', 'auth.example.org:8443'],
    [false, HOME, 'https://auth.example.org/token', 'http://auth.example.org'],
    [false, HOME, 'https://x.example.org/token', 'auth.example.org'],
    // Known or configured.
    [true, DOCKER_HUB, 'https://auth.docker.io/token'],
    [false, DOCKER_HUB, 'https://auth.example.org/token'],
    [true, configured('https://sso.test/t'), 'https://sso.test/t'],
    [false, configured('https://sso.test/t'), 'https://sso.test/u'],
    // Over http only if the registry is http.
    [false, HOME, 'http://registry.example.com/token'],
    [false, HOME, 'http://auth.example.com/token'],
    [false, HOME, 'http://auth.example.org/token', 'auth.example.org'],
    [false, HOME, 'http://auth.example.org/token', 'http://auth.example.org'],
    [false, configured('http://sso.test/t'), 'http://sso.test/t'],
    [false, configured('http://registry.example.com/t'), 'http://registry.example.com/t'],
    [true, plain, 'http://registry.example.com/token'],
    [true, plain, 'https://registry.example.com/token'],
    [true, plain, 'http://auth.example.com/token'],
    [false, plain, 'http://auth.example.org/token'],
    [true, address, 'http://10.0.0.5:5001/token'],
    [false, address, 'http://10.0.0.6:5000/token'],
    // Names under a public suffix have different owners.
    ...['duckdns.org', 'synology.me', 'ts.net', 'ddns.net', 'web.app', 'azurecontainerapps.io'].flatMap(
      (suffix): (typeof rows)[number][] => [
        [false, registryHost('https', `one.${suffix}`), `https://two.${suffix}/token`],
        [false, registryHost('http', `one.${suffix}:5000`), `http://two.${suffix}/token`],
        [false, registryHost('https', `one.${suffix}`), `https://${suffix}/token`],
        [true, registryHost('https', `one.${suffix}`), `https://one.${suffix}/token`],
        [true, registryHost('https', `one.${suffix}`), `https://two.${suffix}/token`, `two.${suffix}`],
      ],
    ),
  ];
  for (const [isAllowed, host, realm, trusted] of rows) {
    const list = trusted === undefined ? '' : `, with ${trusted} in the list`;
    test(`${isAllowed ? 'may' : 'must not'} be ${realm} for Basic of ${host.origin}${list}`, () => {
      const patterns = trusted === undefined ? [] : [parseHostPattern(trusted)];
      assert.equal(mayReachRealm(host, new URL(realm), patterns), isAllowed);
    });
  }
});

test('Basic is base64 of user name and password in UTF-8, or in the bytes that a client has sent', () => {
  // The examples of RFC 7617, sections 2 and 2.1; the last one is the second in Latin-1.
  for (const [username, password, encoding, value, secrets] of [
    ['Aladdin', 'open sesame', undefined, 'QWxhZGRpbjpvcGVuIHNlc2FtZQ==', ['open sesame']],
    ['test', '123£', undefined, 'dGVzdDoxMjPCow==', ['123£', '123Â£']],
    ['test', '123£', 'latin1', 'dGVzdDoxMjOj', ['123£', '123\ufffd']],
  ] as const) {
    assert.equal(basicAuthorization({ username, password, encoding }), `Basic ${value}`);
    assert.deepEqual(basicSecrets({ username, password, encoding }), [value, ...secrets]);
  }
});

test('work for an account is known by its credentials, without telling them', () => {
  const account = (username: string, password: string, source: 'client' | 'environment' = 'client') =>
    accountOf({ type: 'basic', basic: { username, password }, source });
  const one = account('me', 'secret');
  assert.equal(account('me', 'secret'), one);
  for (const other of [account('me', 'other'), account('you', 'secret')]) assert.notEqual(other, one);
  assert.doesNotMatch(String(one), /secret|bWU6c2VjcmV0/);
  // All clients share the rights of the operator, and those of an anonymous request.
  for (const shared of [account('me', 'secret', 'environment'), accountOf(NONE), accountOf(TOKEN)]) {
    assert.equal(shared, undefined);
  }
});
