import assert from 'node:assert/strict';
import test from 'node:test';
import { isSameOwner, registrableDomain } from '../../../src/registry/auth/registrable-domain.ts';

test('the registrable domain is the public suffix and one label more', () => {
  const rows: [domain: string | undefined, ...hostnames: string[]][] = [
    [
      'example.com',
      'example.com',
      'auth.example.com',
      'a.b.c.example.com',
      'example.com.',
      'auth.example.com.',
      'Auth.EXAMPLE.com',
    ],
    ['ghcr.io', 'ghcr.io'],
    ['example.de', 'registry.example.de'],
    ['example.co.uk', 'registry.example.co.uk', 'example.co.uk'],
    ['example.com.au', 'registry.example.com.au'],
    ['example.gouv.fr', 'registry.example.gouv.fr'],
    ['example.blog.br', 'registry.example.blog.br'],
    // A top-level domain that is in no list is a suffix all the same.
    ['example.lan', 'registry.example.lan'],
    // A wildcard: every name below is a suffix, but for the exception.
    ['example.co.ck', 'registry.example.co.ck'],
    ['www.ck', 'www.ck', 'registry.www.ck'],
    ['city.kobe.jp', 'registry.city.kobe.jp'],
    ['example.c.kobe.jp', 'registry.example.c.kobe.jp'],
    // Rules in other scripts stand in the form of URL.hostname.
    ['example.xn--55qx5d.cn', new URL('http://registry.example.公司.cn').hostname],
    ['xn--bcher-kva.example', new URL('http://Registry.bücher.example').hostname],
    // The private section: each customer owns a name.
    ['one.duckdns.org', 'registry.one.duckdns.org'],
    ['one.github.io', 'registry.one.github.io'],
    ['tail1.ts.net', 'host.tail1.ts.net'],
    ['one.eu.ngrok.io', 'registry.one.eu.ngrok.io'],
    [undefined, 'co.uk', 'com', 'localhost', '127.0.0.1', '10.0.0.5', '[::1]', '', '.', 'a..com', 'com..'],
    [undefined, 'ck', 'co.ck', 'duckdns.org', 'github.io', 'blob.core.windows.net', 'compute.amazonaws.com'],
    [undefined, 'one.jfrog.io', 'jfrog.io', '1234.dkr.ecr.eu-central-1.amazonaws.com', 'us-docker.pkg.dev'],
    [undefined, 'app.env.westeurope.azurecontainerapps.io', 'one.azurecr.io'],
  ];
  for (const [domain, ...hostnames] of rows) {
    for (const hostname of hostnames) assert.equal(registrableDomain(hostname), domain, hostname);
  }
});

test('two customers of one suffix are two owners', () => {
  const suffixes = [
    'appspot.com',
    'azurecontainerapps.io',
    'azurewebsites.net',
    'co.uk',
    'ddns.net',
    'duckdns.org',
    'dyndns.org',
    'fly.dev',
    'github.io',
    'herokuapp.com',
    'myqnapcloud.com',
    'ngrok-free.app',
    'no-ip.org',
    'onrender.com',
    's3.amazonaws.com',
    'synology.me',
    'ts.net',
    'web.app',
    'workers.dev',
  ];
  for (const suffix of suffixes) {
    assert.ok(!isSameOwner(`one.${suffix}`, `two.${suffix}`), suffix);
    assert.ok(!isSameOwner(`registry.one.${suffix}`, `auth.two.${suffix}`), suffix);
    assert.ok(!isSameOwner(`one.${suffix}`, suffix), suffix);
    assert.ok(isSameOwner(`one.${suffix}`, `one.${suffix}`), suffix);
  }
});

test('hosts have one owner if they are equal or lie under one registrable domain', () => {
  const rows: [isOne: boolean, ...pairs: [a: string, b: string][]][] = [
    [
      true,
      ['registry.example.com', 'auth.example.com'],
      ['example.com', 'auth.example.com'],
      ['registry-1.docker.io', 'auth.docker.io'],
      ['a.b.example.co.uk', 'example.co.uk'],
      ['registry.example.com', 'auth.example.com.'],
      ['registry.one.synology.me', 'auth.one.synology.me'],
      ['one.jfrog.io', 'one.jfrog.io.'],
      ...['localhost', '10.0.0.5', '[::1]', 'one.jfrog.io', 'github.io', 'com'].map(
        (host): [string, string] => [host, host],
      ),
    ],
    [
      false,
      ['registry.example.com', 'auth.example.org'],
      ['example.com', 'notexample.com'],
      ['example.com', 'example.com.evil.test'],
      ['one.co.uk', 'two.co.uk'],
      ['one.com.', 'two.com.'],
      ['one.jfrog.io', 'two.jfrog.io'],
      ['one.azurecr.io', 'two.azurecr.io'],
      ['10.0.0.5', '11.0.0.5'],
      ['localhost', '127.0.0.1'],
      ['registry', 'auth'],
      ['registry', 'registry.local'],
      ['.example.com', 'auth.example.com'],
    ],
  ];
  for (const [isOne, ...pairs] of rows) {
    for (const [a, b] of pairs) {
      assert.deepEqual([isSameOwner(a, b), isSameOwner(b, a)], [isOne, isOne], `${a} ${b}`);
    }
  }
});
