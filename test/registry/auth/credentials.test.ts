import assert from 'node:assert/strict';
import test from 'node:test';
import {
  basicAuthorization,
  type Credential,
  chooseCredential,
  mayReachRealm,
  type StaticCredentials,
} from '../../../src/registry/auth/credentials.ts';
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

test('the static token comes first, then the client, then the static user, then nobody', () => {
  const both = fixed({ bearerToken: 'fixed', basic: OWN });
  const user = fixed({ basic: OWN });
  assert.deepEqual(chooseCredential(HOME, CLIENTS, both), TOKEN);
  assert.deepEqual(chooseCredential(HOME, undefined, both), TOKEN);
  assert.deepEqual(chooseCredential(HOME, CLIENTS, user), CLIENT);
  assert.deepEqual(chooseCredential(HOME, undefined, user), OPERATOR);
  assert.deepEqual(chooseCredential(HOME, CLIENTS, fixed({})), CLIENT);
  assert.deepEqual(chooseCredential(HOME, undefined, fixed({})), NONE);
});

test('static credentials that are bound go to their registry and the listed hosts alone', () => {
  const hosts = [
    'mirror.example.org',
    '*.internal.example',
    'lab:5000',
    'http://old.example.org',
    'docker.io',
  ];
  const bound = { boundTo: HOME.origin, hosts: hosts.map(parseHostPattern) };
  const cases: [scheme: string, host: string, mayUse: boolean][] = [
    ['https', 'registry.example.com', true],
    ['https', 'registry.example.com:443', true],
    ['https', 'registry.example.com:8443', false],
    ['http', 'registry.example.com', false],
    ['https', 'auth.example.com', false],
    ['https', 'evil.test', false],
    ['https', 'mirror.example.org', true],
    ['https', 'mirror.example.org:8443', true],
    ['https', 'a.internal.example', true],
    ['https', 'internal.example', false],
    ['https', 'docker.io', true],
    ['https', 'docker.io:5000', false],
    ['https', 'lab:5000', true],
    ['http', 'lab:5000', true],
    ['http', 'lab', false],
    ['http', 'old.example.org', true],
    ['https', 'old.example.org', false],
  ];
  for (const [scheme, host, mayUse] of cases) {
    const target = registryHost(scheme, host);
    const where = `${scheme} ${host}`;
    assert.deepEqual(
      chooseCredential(target, undefined, fixed({ basic: OWN, ...bound })),
      mayUse ? OPERATOR : NONE,
      where,
    );
    assert.deepEqual(chooseCredential(target, CLIENTS, fixed({ basic: OWN, ...bound })), CLIENT, where);
    assert.deepEqual(
      chooseCredential(target, CLIENTS, fixed({ bearerToken: 'fixed', ...bound })),
      mayUse ? TOKEN : CLIENT,
      where,
    );
  }
});

test('a listed host is not talked out of https by the scheme of a request', () => {
  for (const entry of ['mirror.example.org', '*.example.org', 'https://mirror.example.org']) {
    const bound = fixed({ basic: OWN, boundTo: HOME.origin, hosts: [parseHostPattern(entry)] });
    assert.deepEqual(
      chooseCredential(registryHost('https', 'mirror.example.org'), undefined, bound),
      OPERATOR,
    );
    assert.deepEqual(chooseCredential(registryHost('http', 'mirror.example.org'), undefined, bound), NONE);
  }
});

test('a registry that is configured with http gets its credentials over http', () => {
  const lab = registryHost('http', 'lab.example.com');
  const bound = fixed({ basic: OWN, boundTo: lab.origin });
  assert.deepEqual(chooseCredential(lab, undefined, bound), OPERATOR);
});

test('static credentials that are not bound serve whichever registry a request names', () => {
  for (const [scheme, host] of [
    ['https', 'anywhere.test'],
    ['http', '10.0.0.5:5000'],
  ] as const) {
    assert.deepEqual(
      chooseCredential(registryHost(scheme, host), undefined, fixed({ basic: OWN })),
      OPERATOR,
    );
  }
});

test('Basic credentials reach a realm only over a safe way and with a reason', () => {
  const secure = HOME;
  const plain = registryHost('http', 'registry.example.com:5000');
  const configured = (url: string, target: RegistryHost): RegistryHost => ({
    ...target,
    tokenEndpoint: new URL(url),
  });
  const cases: [name: string, target: RegistryHost, realm: string, trusted: string[], expected: boolean][] = [
    ['the same host', secure, 'https://registry.example.com/token', [], true],
    ['the same host on another port', secure, 'https://registry.example.com:8443/token', [], true],
    ['a sibling', secure, 'https://auth.example.com/token', [], true],
    ['another domain', secure, 'https://auth.example.org/token', [], false],
    ['a name that ends alike', secure, 'https://evilexample.com/token', [], false],
    ['a name that begins alike', secure, 'https://registry.example.com.evil.test/token', [], false],
    ['a trusted host', secure, 'https://auth.example.org/token', ['auth.example.org'], true],
    ['a trusted wildcard', secure, 'https://auth.example.org/token', ['*.example.org'], true],
    [
      'a trusted host on another port',
      secure,
      'https://auth.example.org/token',
      ['auth.example.org:8443'],
      false,
    ],
    ['a sibling of a trusted host', secure, 'https://x.example.org/token', ['auth.example.org'], false],
    ['Docker Hub', DOCKER_HUB, 'https://auth.docker.io/token', [], true],
    [
      'another realm than Docker Hub is known to have',
      DOCKER_HUB,
      'https://auth.example.org/token',
      [],
      false,
    ],
    ['a configured realm', configured('https://sso.test/t', secure), 'https://sso.test/t', [], true],
    [
      'another path than configured',
      configured('https://sso.test/t', secure),
      'https://sso.test/u',
      [],
      false,
    ],
    ['the same host over http', secure, 'http://registry.example.com/token', [], false],
    ['a trusted host over http', secure, 'http://auth.example.org/token', ['http://auth.example.org'], false],
    ['a configured realm over http', configured('http://sso.test/t', secure), 'http://sso.test/t', [], false],
    ['http where the registry is http', plain, 'http://registry.example.com/token', [], true],
    ['https where the registry is http', plain, 'https://registry.example.com/token', [], true],
    ['a sibling over http where the registry is http', plain, 'http://auth.example.com/token', [], true],
    ['another domain where the registry is http', plain, 'http://auth.example.org/token', [], false],
    ['an address', registryHost('http', '10.0.0.5:5000'), 'http://10.0.0.5:5001/token', [], true],
    ['another address', registryHost('http', '10.0.0.5:5000'), 'http://10.0.0.6:5000/token', [], false],
  ];
  for (const [name, target, realm, trusted, expected] of cases) {
    assert.equal(mayReachRealm(target, new URL(realm), trusted.map(parseHostPattern)), expected, name);
  }
});

test('Basic is base64 of UTF-8, the first colon being the border', () => {
  // RFC 7617, sections 2 and 2.1: their examples.
  const cases: [username: string, password: string, expected: string][] = [
    ['Aladdin', 'open sesame', 'Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=='],
    ['test', '123£', 'Basic dGVzdDoxMjPCow=='],
  ];
  for (const [username, password, expected] of cases) {
    assert.equal(basicAuthorization({ username, password }), expected);
  }
});
