import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  isIdentityOf,
  isRequired,
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
    ['*:5000*', 'http://lab:5000', 'app', true],
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

test('the name that the operator gives to a registry is one of its names', () => {
  const host = { ...registryHost('http', 'mirror:5000'), name: 'docker.io' };
  const names = namesOf({ host, repository: 'library/nginx' });
  for (const pattern of ['docker.io/nginx', 'index.docker.io/library/*', 'mirror:5000/*'])
    assert.ok(isRequired([pattern], names), pattern);
  assert.ok(!isRequired(['mirror/*'], names));
  const odd = { host: { ...host, name: 'a name of a program' }, repository: 'app' };
  assert.deepEqual(namesOf(odd), ['mirror:5000/app']);
});

describe('a pattern that can match nothing is refused', () => {
  const table: readonly [text: string, why: RegExp][] = [
    ['ghcr.io', /^expected host\/repository, such as/],
    ['ghcr.io/a b', /^expected host\/repository, such as/],
    ['', /^expected host\/repository, such as/],
    [`ghcr.io/${'a'.repeat(600)}`, /^expected host\/repository, such as/],
    ['https://ghcr.io/org/*', /without a scheme/],
    ['docker://ghcr.io/org/app', /without a scheme/],
    [`ghcr.io/org/app@sha256:${'0'.repeat(64)}`, /without a digest/],
    ['ghcr.io/org/app:1.2', /without a tag/],
    ['lab:5000/app:1', /without a tag/],
    ['ghcr.io/org/*:1', /without a tag/],
    ['*:1.2', /without a tag/],
    ['docker.io/nginx:*', /without a tag/],
    ['ghcr.io/', /without empty parts/],
    ['/org/app', /without empty parts/],
    ['ghcr.io//app', /without empty parts/],
  ];
  for (const [text, why] of table)
    test(text, () => assert.throws(() => parseRepositoryPattern(text), { message: why }));
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
