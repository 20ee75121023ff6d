import assert from 'node:assert/strict';
import test from 'node:test';
import { isSameOwner, registrableDomain } from '../../../src/registry/auth/registrable-domain.ts';

test('the registrable domain is the registered part of a name', () => {
  const rows: [domain: string | undefined, ...hostnames: string[]][] = [
    [
      'example.com',
      'example.com',
      'auth.example.com',
      'a.b.c.example.com',
      'example.com.',
      'auth.example.com.',
    ],
    ['ghcr.io', 'ghcr.io'],
    ['example.de', 'registry.example.de'],
    ['example.co.uk', 'registry.example.co.uk', 'example.co.uk'],
    ['example.com.au', 'registry.example.com.au'],
    ['example.gouv.fr', 'registry.example.gouv.fr'],
    [undefined, 'co.uk', 'com', 'localhost', '127.0.0.1', '10.0.0.5', '[::1]', '', '.'],
    [undefined, 'one.jfrog.io', 'jfrog.io', '1234.dkr.ecr.eu-central-1.amazonaws.com', 'us-docker.pkg.dev'],
  ];
  for (const [domain, ...hostnames] of rows) {
    for (const hostname of hostnames) assert.equal(registrableDomain(hostname), domain, hostname);
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
      ...['localhost', '10.0.0.5', '[::1]', 'one.jfrog.io'].map((host): [string, string] => [host, host]),
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
    ],
  ];
  for (const [isOne, ...pairs] of rows) {
    for (const [a, b] of pairs) {
      assert.deepEqual([isSameOwner(a, b), isSameOwner(b, a)], [isOne, isOne], `${a} ${b}`);
    }
  }
});
