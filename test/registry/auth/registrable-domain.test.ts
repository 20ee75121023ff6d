import assert from 'node:assert/strict';
import test from 'node:test';
import { isSameOwner, registrableDomain } from '../../../src/registry/auth/registrable-domain.ts';

test('the registrable domain is what somebody registered', () => {
  const cases: [hostname: string, domain: string | undefined][] = [
    ['example.com', 'example.com'],
    ['auth.example.com', 'example.com'],
    ['a.b.c.example.com', 'example.com'],
    ['example.com.', 'example.com'],
    ['auth.example.com.', 'example.com'],
    ['ghcr.io', 'ghcr.io'],
    ['registry.example.co.uk', 'example.co.uk'],
    ['example.co.uk', 'example.co.uk'],
    ['co.uk', undefined],
    ['registry.example.com.au', 'example.com.au'],
    ['registry.example.gouv.fr', 'example.gouv.fr'],
    ['registry.example.de', 'example.de'],
    ['com', undefined],
    ['localhost', undefined],
    ['127.0.0.1', undefined],
    ['10.0.0.5', undefined],
    ['[::1]', undefined],
    ['one.jfrog.io', undefined],
    ['jfrog.io', undefined],
    ['1234.dkr.ecr.eu-central-1.amazonaws.com', undefined],
    ['us-docker.pkg.dev', undefined],
    ['', undefined],
    ['.', undefined],
  ];
  for (const [hostname, domain] of cases) assert.equal(registrableDomain(hostname), domain, hostname);
});

test('hosts have one owner when they are the same or lie under one registrable domain', () => {
  const cases: [a: string, b: string, expected: boolean][] = [
    ['registry.example.com', 'auth.example.com', true],
    ['example.com', 'auth.example.com', true],
    ['registry-1.docker.io', 'auth.docker.io', true],
    ['a.b.example.co.uk', 'example.co.uk', true],
    ['registry.example.com', 'auth.example.com.', true],
    ['localhost', 'localhost', true],
    ['10.0.0.5', '10.0.0.5', true],
    ['[::1]', '[::1]', true],
    ['one.jfrog.io', 'one.jfrog.io', true],
    ['registry.example.com', 'auth.example.org', false],
    ['example.com', 'notexample.com', false],
    ['example.com', 'example.com.evil.test', false],
    ['one.co.uk', 'two.co.uk', false],
    ['one.com.', 'two.com.', false],
    ['one.jfrog.io', 'two.jfrog.io', false],
    ['one.azurecr.io', 'two.azurecr.io', false],
    ['10.0.0.5', '11.0.0.5', false],
    ['localhost', '127.0.0.1', false],
    ['registry', 'auth', false],
    ['registry', 'registry.local', false],
  ];
  for (const [a, b, expected] of cases) {
    assert.equal(isSameOwner(a, b), expected, `${a} ${b}`);
    assert.equal(isSameOwner(b, a), expected, `${b} ${a}`);
  }
});
