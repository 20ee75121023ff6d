import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AuthTable } from '../../../src/registry/auth/auth-key.ts';
import { registryHost } from '../../../src/registry/registry-host.ts';

const match = (keys: readonly string[], origin: string, repository: string, allowsPlainHttp = false) => {
  const [scheme = '', host = ''] = origin.split('://');
  const table = new AuthTable(new Map(keys.map((key) => [key, {}])));
  return table.matching(registryHost(scheme, host), repository, { allowsPlainHttp });
};

describe('a key', () => {
  const rows: readonly [key: string, origin: string, repository: string, isMatch: boolean][] = [
    ['ghcr.io', 'https://ghcr.io', 'org/app', true],
    ['GHCR.io', 'https://ghcr.io', 'org/app', true],
    ['ghcr.io/', 'https://ghcr.io', 'org/app', true],
    ['ghcr.io', 'https://ghcr.io.evil.test', 'org/app', false],
    ['evil.test/ghcr.io', 'https://ghcr.io', 'org/app', false],
    ['io', 'https://ghcr.io', 'org/app', false],
    ['', 'https://ghcr.io', 'org/app', false],
    ['*', 'https://ghcr.io', 'org/app', false],
    ['user@ghcr.io', 'https://ghcr.io', 'org/app', false],
    // Paths of repositories
    ['ghcr.io/org', 'https://ghcr.io', 'org/app', true],
    ['ghcr.io/org/', 'https://ghcr.io', 'org/app', true],
    ['ghcr.io/org/app', 'https://ghcr.io', 'org/app', true],
    ['ghcr.io/org/app/deep', 'https://ghcr.io', 'org/app', false],
    ['ghcr.io/or', 'https://ghcr.io', 'org/app', false],
    ['ghcr.io/org', 'https://ghcr.io', 'organization/app', false],
    // Ports
    ['ghcr.io:443', 'https://ghcr.io', 'org/app', true],
    ['ghcr.io:5000', 'https://ghcr.io', 'org/app', false],
    ['lab:5000', 'https://lab:5000', 'app', true],
    ['lab', 'https://lab:5000', 'app', false],
    ['[::1]:5000', 'http://[::1]:5000', 'app', true],
    // Legacy keys: their path is that of an API
    ['https://ghcr.io', 'https://ghcr.io', 'org/app', true],
    ['https://ghcr.io/v1/', 'https://ghcr.io', 'org/app', true],
    ['https://ghcr.io/v2/', 'https://ghcr.io', 'org/app', true],
    ['ghcr.io/v2/', 'https://ghcr.io', 'org/app', true],
    ['https://lab:5000/v1/', 'https://lab:5000', 'app', true],
    // Plain http
    ['lab', 'http://lab', 'app', false],
    ['https://lab', 'http://lab', 'app', false],
    ['http://lab', 'http://lab', 'app', true],
    ['https://lab:5000', 'http://lab:5000', 'app', false],
    ['http://lab:5000', 'http://lab:5000', 'app', true],
    ['lab:80', 'http://lab', 'app', true],
    ['lab:5000', 'http://lab:5000', 'app', true],
    // Docker Hub
    ...[
      'https://index.docker.io/v1/',
      'https://index.docker.io/v1',
      'index.docker.io/v1/',
      'index.docker.io',
      'docker.io',
      'registry-1.docker.io',
      'https://registry-1.docker.io',
      'docker.io/library',
      'docker.io/library/nginx',
    ].map((key): [string, string, string, boolean] => [key, 'https://docker.io', 'library/nginx', true]),
    ['docker.io/bitnami', 'https://docker.io', 'library/nginx', false],
    ['hub.docker.com', 'https://docker.io', 'library/nginx', false],
    ['docker.io:5000', 'https://docker.io', 'library/nginx', false],
    ['docker.io', 'https://mirror.docker.io', 'library/nginx', false],
  ];
  for (const [key, origin, repository, isMatch] of rows) {
    test(`${JSON.stringify(key)} ${isMatch ? 'fits' : 'does not fit'} ${origin}/${repository}`, () => {
      assert.deepEqual(match([key], origin, repository), isMatch ? [key] : []);
    });
  }

  test('without a port fits a registry over http if the user chooses the scheme', () => {
    assert.deepEqual(match(['lab', 'https://lab'], 'http://lab', 'app', true), ['lab', 'https://lab']);
  });
});

test('of several keys the longest path is first, then those without a scheme', () => {
  const keys = ['https://docker.io', 'docker.io', 'docker.io/org', 'ghcr.io', 'docker.io/org/app'];
  assert.deepEqual(match(keys, 'https://docker.io', 'org/app'), [
    'docker.io/org/app',
    'docker.io/org',
    'docker.io',
    'https://docker.io',
  ]);
});
