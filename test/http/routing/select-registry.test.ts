import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { loadConfig } from '../../../src/config/config.ts';
import { isPassthroughError } from '../../../src/errors.ts';
import { selectRegistry } from '../../../src/http/routing/select-registry.ts';

function select(scheme: string, host: string, env: Readonly<Record<string, string>> = {}) {
  return selectRegistry({ scheme, host }, loadConfig(env).registry);
}

const MIRROR = {
  REGISTRY_URL: 'https://mirror.example',
  REGISTRY_NAME: 'mirror',
  REGISTRY_AUTH_URL: 'https://auth.example/token',
  REGISTRY_DEFAULT_NAMESPACE: 'base',
};

describe('selectRegistry', () => {
  test('a request that names none gets the configured one', () => {
    const { registry } = loadConfig(MIRROR);
    assert.equal(selectRegistry(undefined, registry), registry.target);
  });

  test('the configured one, named by its address, is the configured one', () => {
    const { registry } = loadConfig(MIRROR);
    assert.equal(selectRegistry({ scheme: 'https', host: 'MIRROR.example:443' }, registry), registry.target);
  });

  test('the same host over another scheme or port is another registry', () => {
    for (const [scheme, host] of [
      ['http', 'mirror.example'],
      ['https', 'mirror.example:8443'],
    ] as const) {
      const { name, tokenEndpoint } = select(scheme, host, MIRROR);
      assert.notEqual(name, 'mirror');
      assert.equal(tokenEndpoint, 'discover');
    }
  });

  for (const host of ['docker.io', 'index.docker.io', 'registry-1.docker.io', 'Docker.IO']) {
    test(`${host} is Docker Hub, over either scheme`, () => {
      for (const scheme of ['http', 'https']) {
        const target = select(scheme, host, MIRROR);
        assert.equal(target.origin, 'https://registry-1.docker.io');
        assert.equal(target.name, 'docker.io');
        assert.equal(target.defaultNamespace, 'library');
      }
    });
  }

  test('the default namespace is added elsewhere only where one is configured', () => {
    assert.equal(select('https', 'other.example').defaultNamespace, '');
    assert.equal(select('https', 'other.example', MIRROR).defaultNamespace, 'base');
  });

  const addresses: readonly [host: string, origin: string][] = [
    ['10.0.0.5:5000', 'http://10.0.0.5:5000'],
    ['[::1]:5000', 'http://[::1]:5000'],
    ['[2001:DB8::1]', 'http://[2001:db8::1]'],
    ['registry.lab.:80', 'http://registry.lab'],
  ];
  for (const [host, origin] of addresses) {
    test(`${host} is the registry at ${origin}`, () => {
      assert.equal(select('http', host).origin, origin);
    });
  }

  const allowed = { REGISTRY_ALLOWED_HOSTS: 'one.example, *.two.example, three.example:5000' };
  const policy: readonly [host: string, isAllowed: boolean][] = [
    ['one.example', true],
    ['ONE.example.', true],
    ['sub.one.example', false],
    ['a.two.example', true],
    ['two.example', false],
    ['atwo.example', false],
    ['three.example:5000', true],
    ['three.example:5001', false],
    ['three.example', false],
    ['docker.io', false],
    ['127.0.0.1', false],
  ];
  for (const [host, isAllowed] of policy) {
    test(`policy ${isAllowed ? 'allows' : 'forbids'} ${host}`, () => {
      if (isAllowed) {
        assert.ok(select('https', host, allowed));
        return;
      }
      assert.throws(
        () => select('https', host, allowed),
        (error) => isPassthroughError(error, 'REGISTRY_NOT_ALLOWED'),
      );
    });
  }

  test('policy is about registries that a request names, not about the configured one', () => {
    const { registry } = loadConfig({ ...allowed, ...MIRROR });
    assert.equal(selectRegistry(undefined, registry), registry.target);
  });

  test('an address that cannot be read is refused before policy is asked', () => {
    assert.throws(
      () => select('https', 'not a host', allowed),
      (error) => isPassthroughError(error, 'INVALID_REGISTRY'),
    );
  });
});
