import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  isIdentityOf,
  matchesPattern,
  namesOf,
  parseRepositoryPattern,
} from '../../../src/pull/signatures/repositories.ts';
import { registryHost } from '../../../src/registry/registry-host.ts';

describe('a rule holds for a repository', () => {
  const table: readonly [
    pattern: string,
    origin: string,
    repository: string,
    isMatch: boolean,
    namespace?: string,
  ][] = [
    ['*', 'https://ghcr.io', 'org/app', true],
    ['ghcr.io/*', 'https://ghcr.io', 'org/app', true],
    ['GHCR.io/org/*', 'https://ghcr.io', 'org/deep/app', true],
    ['ghcr.io/org/app', 'https://ghcr.io', 'org/app', true],
    ['ghcr.io/org/app', 'https://ghcr.io', 'org/app2', false],
    ['ghcr.io/org/*', 'https://ghcr.io', 'organisation/app', false],
    ['ghcr.io/*/app', 'https://ghcr.io', 'a/b/app', true],
    ['*/app', 'https://ghcr.io', 'a/b/app', true],
    ['*app*', 'https://ghcr.io', 'a/app-x', true],
    ['ghcr.io/a*a', 'https://ghcr.io', 'a', false],
    ['ghcr.io/a*b*b', 'https://ghcr.io', 'ab', false],
    ['ghcr.io/a*b*b', 'https://ghcr.io', 'axbyb', true],
    // Every name of a registry is meant by each of them.
    ['ghcr.io:443/*', 'https://ghcr.io', 'org/app', true],
    ['ghcr.io:80/*', 'https://ghcr.io', 'org/app', false],
    ['lab:80/*', 'http://lab', 'app', true],
    ['lab:5000/*', 'http://lab:5000', 'app', true],
    ['lab/*', 'http://lab:5000', 'app', false],
    ['docker.io/library/nginx', 'https://docker.io', 'library/nginx', true],
    ['docker.io/nginx', 'https://docker.io', 'library/nginx', true],
    ['index.docker.io/*', 'https://registry-1.docker.io', 'org/app', true],
    ['registry-1.docker.io/*', 'https://docker.io', 'org/app', true],
    ['[::1]:5000/*', 'http://[::1]:5000', 'app', true],
    // A mirror that is asked for a namespace stands for its registry.
    ['docker.io/nginx', 'https://mirror', 'library/nginx', true, 'docker.io'],
    ['ghcr.io/*', 'https://mirror', 'org/app', true, 'ghcr.io'],
    ['mirror/*', 'https://mirror', 'org/app', true, 'ghcr.io'],
    ['quay.io/*', 'https://mirror', 'org/app', false, 'ghcr.io'],
  ];
  for (const [pattern, origin, repository, isMatch, namespace] of table) {
    test(`${pattern} ${isMatch ? 'for' : 'not for'} ${origin}/${repository} ${namespace ?? ''}`, () => {
      const { protocol, host } = new URL(origin);
      const names = namesOf({ host: registryHost(protocol.slice(0, -1), host), repository, namespace });
      const parsed = parseRepositoryPattern(pattern);
      assert.equal(
        names.some((name) => matchesPattern(parsed, name)),
        isMatch,
      );
    });
  }
});

test('a pattern that can match nothing is refused', () => {
  for (const text of ['ghcr.io', 'https://ghcr.io/x?y', 'ghcr.io/a b', '', `ghcr.io/${'a'.repeat(600)}`])
    assert.throws(() => parseRepositoryPattern(text), /expected host\/repository/, text);
});

describe('an identity', () => {
  const names = ['ghcr.io/org/app', 'ghcr.io:443/org/app'];
  const table: readonly [identity: string, isMatch: boolean][] = [
    ['ghcr.io/org/app', true],
    ['ghcr.io:443/org/app', true],
    ['ghcr.io/org/app:1.2', true],
    [`ghcr.io/org/app@sha256:${'0'.repeat(64)}`, true],
    [`ghcr.io/org/app:1@sha256:${'0'.repeat(64)}`, true],
    ['ghcr.io/org/app2', false],
    ['ghcr.io/org', false],
    ['org/app', false],
    ['', false],
  ];
  for (const [identity, isMatch] of table)
    test(`${identity} ${isMatch ? 'is' : 'is not'} that of ghcr.io/org/app`, () =>
      assert.equal(isIdentityOf(identity, names), isMatch));
});
