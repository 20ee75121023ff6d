import assert from 'node:assert/strict';
import test from 'node:test';
import { isPassthroughError } from '../../src/errors.ts';
import { DOCKER_HUB, parseHost, registryHost } from '../../src/registry/registry-host.ts';

test('all names of Docker Hub mean its API, whatever the scheme', () => {
  for (const scheme of ['http', 'https']) {
    for (const host of ['docker.io', 'index.docker.io', 'registry-1.docker.io', 'DOCKER.io', 'docker.io.']) {
      assert.deepEqual(registryHost(scheme, host), DOCKER_HUB, host);
    }
  }
  assert.deepEqual(registryHost('https', 'docker.io:443'), DOCKER_HUB);
  assert.deepEqual(registryHost('http', 'docker.io:80'), DOCKER_HUB);
  assert.deepEqual(DOCKER_HUB, {
    name: 'docker.io',
    origin: 'https://registry-1.docker.io',
    tokenEndpoint: new URL('https://auth.docker.io/token'),
    service: 'registry.docker.io',
    defaultNamespace: 'library',
  });
});

test('Docker Hub on another port, and names that only look like it, are other registries', () => {
  for (const host of ['docker.io:5000', 'docker.io:80', 'www.docker.io', 'docker.io.example.com']) {
    assert.equal(registryHost('https', host).origin, `https://${host}`);
    assert.equal(registryHost('https', host).tokenEndpoint, 'discover');
  }
});

test('any other host is the API at its origin, and its challenge will name the token endpoint', () => {
  const cases: [scheme: string, host: string, origin: string, name: string][] = [
    ['https', 'ghcr.io', 'https://ghcr.io', 'ghcr.io'],
    ['https', 'GHCR.IO', 'https://ghcr.io', 'ghcr.io'],
    ['http', 'registry.local:5000', 'http://registry.local:5000', 'registry.local:5000'],
    ['https', 'registry.local:443', 'https://registry.local', 'registry.local'],
    ['http', 'registry.local:443', 'http://registry.local:443', 'registry.local:443'],
    ['http', '10.0.0.5:80', 'http://10.0.0.5', '10.0.0.5'],
    ['http', '10.0.0.5:5000', 'http://10.0.0.5:5000', '10.0.0.5:5000'],
    ['https', '[2001:DB8::1]:5000', 'https://[2001:db8::1]:5000', '[2001:db8::1]:5000'],
    ['https', '[::1]', 'https://[::1]', '[::1]'],
    ['http', 'my_registry', 'http://my_registry', 'my_registry'],
  ];
  for (const [scheme, host, origin, name] of cases) {
    assert.deepEqual(
      registryHost(scheme, host),
      { name, origin, tokenEndpoint: 'discover', service: name, defaultNamespace: '' },
      `${scheme} ${host}`,
    );
  }
});

test('a host is read into name and port', () => {
  const label = 'a'.repeat(63);
  const longest = `${label}.${label}.${label}.${'a'.repeat(61)}`;
  const cases: [host: string, hostname: string, port: number | undefined][] = [
    ['localhost', 'localhost', undefined],
    ['localhost:1', 'localhost', 1],
    ['a.b-c.d:65535', 'a.b-c.d', 65_535],
    ['Example.COM.', 'example.com', undefined],
    ['1.2.3.4', '1.2.3.4', undefined],
    ['[::1]:80', '[::1]', 80],
    ['[0:0:0:0:0:0:0:1]', '[::1]', undefined],
    ['1password.example', '1password.example', undefined],
    [longest, longest, undefined],
  ];
  for (const [host, hostname, port] of cases) assert.deepEqual(parseHost(host), { hostname, port }, host);
});

test('what is no host is refused, and the message says why', () => {
  const grammar = /expected a DNS name or an IP address/;
  const port = /the port must be a number from 1 to 65535/;
  const cases: [host: string, why: RegExp][] = [
    ['', /it is empty/],
    ['user:hunter2@example.com', /credentials do not belong in the address/],
    ['user@example.com', /credentials do not belong in the address/],
    ['@', /credentials do not belong in the address/],
    ['example.com/path', grammar],
    ['example.com?x', grammar],
    ['example.com#x', grammar],
    ['example.com\\x', grammar],
    ['exa mple.com', grammar],
    ['example.com\0', grammar],
    ['example.com\n', grammar],
    ['exa\tmple.com', grammar],
    ['%65xample.com', grammar],
    ['bücher.example', grammar],
    ['.example.com', grammar],
    ['a..b', grammar],
    ['.', grammar],
    [':5000', grammar],
    ['-a.example', grammar],
    ['a-.example', grammar],
    [`${'a'.repeat(64)}.example`, grammar],
    [`${'a.'.repeat(127)}`, grammar],
    ['a:', port],
    ['a:0', port],
    ['a:65536', port],
    ['a:+80', port],
    ['a:8e3', port],
    ['a: 80', port],
    ['a:80:80', port],
    ['::1', /an IPv6 address must stand in brackets/],
    ['2001:db8::1', /an IPv6 address must stand in brackets/],
    ['[::1', grammar],
    ['[::1]x', grammar],
    ['[]', grammar],
    ['[1.2.3.4]', grammar],
    ['[fe80::1%25eth0]', grammar],
    ['[::1]:99999', port],
  ];
  for (const [host, why] of cases) {
    assert.throws(
      () => registryHost('https', host),
      (error) => {
        assert.ok(isPassthroughError(error, 'INVALID_REGISTRY'), host);
        assert.match(error.message, why);
        assert.doesNotMatch(error.message, /hunter2/);
        return true;
      },
      JSON.stringify(host),
    );
  }
});

test('an IPv4 address counts in its dotted form alone: what a URL parser would make one is refused', () => {
  const spellings = [
    '2852039166', // 169.254.169.254
    '0xa9fea9fe',
    '025177524776',
    '0xa9.0xfe.0xa9.0xfe',
    '0251.0376.0251.0376',
    '169.254.43518',
    '169.254.169.0xfe',
    '169.254.169.254.',
    '1',
    '0',
    '0x',
    '256.1.1.1',
    '1.2.3.4.5',
    'example.1',
    'example.0x1',
  ];
  for (const host of spellings) {
    assert.throws(() => registryHost('http', host), { code: 'INVALID_REGISTRY' }, host);
  }
});

test('a scheme is http or https, nothing else', () => {
  for (const scheme of ['', 'ftp', 'HTTPS', 'https:', 'file']) {
    assert.throws(() => registryHost(scheme, 'example.com'), {
      code: 'INVALID_REGISTRY',
      message: `Cannot parse registry scheme ${JSON.stringify(scheme)}: expected http or https`,
    });
  }
});
