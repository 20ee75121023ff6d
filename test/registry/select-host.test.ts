import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseHostPattern } from '../../src/registry/host-pattern.ts';
import { DOCKER_HUB, registryHost } from '../../src/registry/registry-host.ts';
import {
  type HostPolicy,
  registryHostOfName,
  selectHost,
  selectHostOfReference,
} from '../../src/registry/select-host.ts';

/** A default registry with settings that no other registry has. */
const MIRROR = Object.freeze({
  ...registryHost('https', 'mirror.example'),
  name: 'mirror',
  tokenEndpoint: new URL('https://auth.example/token'),
  defaultNamespace: 'base',
});

const DOCKER_HUB_NAMES = [
  'docker.io',
  'index.docker.io',
  'registry-1.docker.io',
  'Docker.IO',
  'docker.io:443',
];

const policyOf = (fields: Partial<HostPolicy> = {}): HostPolicy => ({
  defaultHost: MIRROR,
  defaultNamespace: undefined,
  allowedHosts: undefined,
  plainHttpHosts: [],
  ...fields,
});

const notAllowed = (name: string) => ({
  code: 'REGISTRY_NOT_ALLOWED',
  message: `Cannot use registry "${name}": it is not in the list of allowed registries`,
  details: { setting: 'allowedHosts' },
});

describe('the registry of a request', () => {
  const select = (scheme: string, host: string, fields?: Partial<HostPolicy>) =>
    selectHost({ scheme, host }, policyOf(fields));

  test('is the default one if the request names none, even if it is not in the list', () => {
    assert.equal(selectHost(undefined, policyOf({ allowedHosts: [] })), MIRROR);
    assert.equal(selectHostOfReference(undefined, policyOf({ allowedHosts: [] })), MIRROR);
  });

  test('is the default one with its settings if the request names its address', () => {
    assert.equal(select('https', 'MIRROR.example:443'), MIRROR);
  });

  test('has no setting of the default one on another scheme or port', () => {
    for (const [scheme, host] of [
      ['http', 'mirror.example'],
      ['https', 'mirror.example:8443'],
    ] as const) {
      assert.deepEqual(select(scheme, host), registryHost(scheme, host));
    }
  });

  test("is Docker Hub for Docker Hub's names over either scheme, with its own namespace", () => {
    for (const host of ['docker.io', 'index.docker.io', 'registry-1.docker.io', 'Docker.IO']) {
      for (const scheme of ['http', 'https']) {
        assert.deepEqual(select(scheme, host, { defaultNamespace: 'base' }), DOCKER_HUB, `${scheme} ${host}`);
      }
    }
  });

  test('has the configured default namespace', () => {
    assert.equal(select('https', 'other.example').defaultNamespace, '');
    assert.equal(select('https', 'other.example', { defaultNamespace: 'base' }).defaultNamespace, 'base');
  });

  test('is at the origin that scheme and host name', () => {
    for (const [host, origin] of [
      ['10.0.0.5:5000', 'http://10.0.0.5:5000'],
      ['[::1]:5000', 'http://[::1]:5000'],
      ['[2001:DB8::1]', 'http://[2001:db8::1]'],
      ['registry.lab.:80', 'http://registry.lab'],
    ] as const) {
      assert.equal(select('http', host).origin, origin);
    }
  });

  const allowedHosts = ['one.example', '*.two.example', 'lab:5000', 'docker.io'].map(parseHostPattern);
  const table: readonly [host: string, isAllowed: boolean][] = [
    ['one.example', true],
    ['ONE.example.', true],
    ['sub.one.example', false],
    ['one.example.evil.test', false],
    ['a.two.example', true],
    ['two.example', false],
    ['atwo.example', false],
    ['lab:5000', true],
    ['lab:5001', false],
    ['lab', false],
    ['registry-1.docker.io', true],
    ['127.0.0.1', false],
    ['mirror.example', false],
  ];
  for (const [host, isAllowed] of table) {
    test(`${isAllowed ? 'may' : 'must not'} be ${host} by the list of allowed registries`, () => {
      for (const scheme of ['http', 'https']) {
        const { origin, name } = registryHost(scheme, host);
        if (isAllowed) assert.equal(select(scheme, host, { allowedHosts }).origin, origin);
        else assert.throws(() => select(scheme, host, { allowedHosts }), notAllowed(name));
      }
    });
  }

  test('must not be Docker Hub if the list of allowed registries lacks it', () => {
    assert.throws(() => select('https', 'docker.io', { allowedHosts: [] }), notAllowed('docker.io'));
  });

  test('is refused as unreadable before the list is consulted', () => {
    assert.throws(() => select('https', 'not a host', { allowedHosts }), { code: 'INVALID_REGISTRY' });
  });
});

describe('the registry of a reference', () => {
  test('is the default one with its scheme and settings if the reference names its host', () => {
    const plain = { ...MIRROR, origin: 'http://mirror.example' };
    for (const defaultHost of [MIRROR, plain]) {
      assert.equal(selectHostOfReference('mirror.EXAMPLE', policyOf({ defaultHost })), defaultHost);
    }
  });

  test('has the scheme and the default namespace that policy gives it', () => {
    const policy = policyOf({ defaultNamespace: 'base', plainHttpHosts: [parseHostPattern('lab')] });
    for (const [host, origin] of [
      ['other.example', 'https://other.example'],
      ['lab:5000', 'http://lab:5000'],
      ['localhost:5000', 'http://localhost:5000'],
      ['mirror.example:8443', 'https://mirror.example:8443'],
    ] as const) {
      const selected = selectHostOfReference(host, policy);
      assert.deepEqual([selected.origin, selected.defaultNamespace], [origin, 'base']);
    }
    assert.deepEqual(selectHostOfReference('docker.io', policy), DOCKER_HUB);
  });

  test('must be in the list of allowed registries, the default one too if it is named', () => {
    const policy = policyOf({ allowedHosts: [parseHostPattern('one.example')] });
    assert.equal(selectHostOfReference('one.example', policy).origin, 'https://one.example');
    assert.throws(() => selectHostOfReference('two.example', policy), notAllowed('two.example'));
    assert.throws(() => selectHostOfReference('mirror.example', policy), notAllowed('mirror'));
  });
});

describe('a host without a scheme', () => {
  /** Hosts that keep their form. */
  const https = `ghcr.io registry.local:5000 10.0.0.5:5000 192.168.0.1 [2001:db8::1]:5000
    localhost.example.com mylocalhost 127.0.0.1.example.com 128.0.0.1 [::2]`;
  const loopback = `localhost localhost:5000 registry.localhost:5000 127.0.0.1:5000 127.255.255.254
    [::1]:5000 [::1]`;
  const rows: readonly [host: string, origin: string, ...plainHttpHosts: string[]][] = [
    ...https.split(/\s+/).map((host): [string, string] => [host, `https://${host}`]),
    ...loopback.split(/\s+/).map((host): [string, string] => [host, `http://${host}`]),
    ['GHCR.io:443', 'https://ghcr.io'],
    ['LOCALHOST.:5000', 'http://localhost:5000'],
    ['[0:0:0:0:0:0:0:1]:5000', 'http://[::1]:5000'],
    ['[::ffff:127.0.0.1]', 'http://[::ffff:7f00:1]'],
    ['lab.example.com', 'http://lab.example.com', 'lab.example.com'],
    ['lab.example.com:5000', 'http://lab.example.com:5000', 'lab.example.com'],
    ['lab.example.com:5000', 'http://lab.example.com:5000', '*.example.com'],
    ['lab.example.com:5000', 'http://lab.example.com:5000', 'http://lab.example.com:5000'],
    ['lab.example.com:5001', 'https://lab.example.com:5001', 'lab.example.com:5000'],
    ['lab.example.com', 'http://lab.example.com', 'lab.example.com:80'],
    ['10.0.0.5:5000', 'http://10.0.0.5:5000', 'ghcr.io', '10.0.0.5'],
  ];
  for (const [host, origin, ...plainHttpHosts] of rows) {
    const list = plainHttpHosts.length > 0 ? ` if ${plainHttpHosts.join(' and ')} may be http` : '';
    test(`${host} is ${origin}${list}`, () => {
      const { protocol, host: name } = new URL(origin);
      assert.deepEqual(
        registryHostOfName(host, plainHttpHosts.map(parseHostPattern)),
        registryHost(protocol.slice(0, -1), name),
      );
    });
  }

  test("is Docker Hub for Docker Hub's names, even if they are listed", () => {
    for (const host of DOCKER_HUB_NAMES) assert.deepEqual(registryHostOfName(host, []), DOCKER_HUB, host);
    const listed = ['docker.io', '*.docker.io'].map(parseHostPattern);
    assert.deepEqual(registryHostOfName('docker.io', listed), DOCKER_HUB);
  });

  test('is refused if it is no host', () => {
    for (const host of ['', 'user@host', 'host/path', 'host:0', '::1']) {
      assert.throws(() => registryHostOfName(host, []), { code: 'INVALID_REGISTRY' }, host);
    }
  });
});
