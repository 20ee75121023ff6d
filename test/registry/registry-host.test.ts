import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isPassthroughError } from '../../src/errors.ts';
import { DOCKER_HUB, parseHost, registryHost } from '../../src/registry/registry-host.ts';

describe('Docker Hub', () => {
  test('is meant by its three names, with either scheme', () => {
    for (const host of ['docker.io', 'index.docker.io', 'registry-1.docker.io', 'DOCKER.io', 'docker.io.']) {
      for (const scheme of ['http', 'https']) assert.deepEqual(registryHost(scheme, host), DOCKER_HUB, host);
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

  test('is not meant on another port, or by a similar name', () => {
    for (const host of ['docker.io:5000', 'docker.io:80', 'www.docker.io', 'docker.io.example.com']) {
      const { origin, tokenEndpoint } = registryHost('https', host);
      assert.deepEqual([origin, tokenEndpoint], [`https://${host}`, 'discover']);
    }
  });
});

describe('a registry', () => {
  const rows: [scheme: string, host: string, origin: string, name: string][] = [
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
  for (const [scheme, host, origin, name] of rows) {
    test(`at ${scheme}://${host} has the origin ${origin}`, () => {
      const expected = { name, origin, tokenEndpoint: 'discover', service: name, defaultNamespace: '' };
      assert.deepEqual(registryHost(scheme, host), expected);
    });
  }

  test('must have the scheme http or https', () => {
    for (const scheme of ['', 'ftp', 'HTTPS', 'https:', 'file']) {
      assert.throws(() => registryHost(scheme, 'example.com'), {
        code: 'INVALID_REGISTRY',
        message: `Cannot parse registry scheme ${JSON.stringify(scheme)}: expected http or https`,
      });
    }
  });
});

describe('a host', () => {
  const label = 'a'.repeat(63);
  const longest = `${label}.${label}.${label}.${'a'.repeat(61)}`;

  test('is parsed into name and port', () => {
    const rows: [host: string, hostname: string, port?: number][] = [
      ['localhost', 'localhost'],
      ['localhost:1', 'localhost', 1],
      ['a.b-c.d:65535', 'a.b-c.d', 65_535],
      ['Example.COM.', 'example.com'],
      ['1.2.3.4', '1.2.3.4'],
      ['[::1]:80', '[::1]', 80],
      ['[0:0:0:0:0:0:0:1]', '[::1]'],
      ['1password.example', '1password.example'],
      [longest, longest],
    ];
    for (const [host, hostname, port] of rows) assert.deepEqual(parseHost(host), { hostname, port }, host);
  });

  const tooLong = [`${'a'.repeat(64)}.example`, 'a.'.repeat(127)];
  const control = ['exa mple.com', 'example.com\0', 'example.com\n', 'exa\tmple.com'];
  // A URL parser would read these as IPv4 addresses: the first is 169.254.169.254.
  const numbers = `2852039166 0xa9fea9fe 025177524776 0xa9.0xfe.0xa9.0xfe 0251.0376.0251.0376 169.254.43518
    169.254.169.0xfe 169.254.169.254. 1 0 0x 256.1.1.1 1.2.3.4.5 example.1 example.0x1`;
  const others = `example.com/path example.com?x example.com#x example.com\\x %65xample.com bücher.example
    .example.com a..b . :5000 -a.example a-.example [::1 [::1]x [] [1.2.3.4] [fe80::1%25eth0]`;
  const refused: [why: RegExp, hosts: readonly string[]][] = [
    [/it is empty/, ['']],
    [/credentials do not belong in the address/, ['user:hunter2@example.com', 'user@example.com', '@']],
    [/an IPv6 address must stand in brackets/, ['::1', '2001:db8::1']],
    [
      /the port must be a number from 1 to 65535/,
      ['a:', 'a:0', 'a:65536', 'a:+80', 'a:8e3', 'a: 80', 'a:80:80', '[::1]:99999'],
    ],
    [
      /expected a DNS name or an IP address/,
      [...others.split(/\s+/), ...numbers.split(/\s+/), ...control, ...tooLong],
    ],
  ];
  for (const [why, hosts] of refused) {
    test(`is refused because ${why.source}`, () => {
      for (const host of hosts) {
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
  }
});
