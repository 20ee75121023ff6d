/** Targets that name an image as `docker pull` does: alone, in a bundle, or to look at. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type ErrorCode, isPassthroughError } from '../../../src/errors.ts';
import { parseRoute } from '../../../src/http/routing/parse-route.ts';
import type { Route } from '../../../src/http/routing/route.ts';

type Of<Kind extends Route['kind']> = Omit<Extract<Route, { kind: Kind }>, 'kind'>;

const HEX = 'a'.repeat(64);

const REFERENCE: Of<'reference'> = {
  template: '/{reference}',
  platform: undefined,
  layout: 'docker',
  reference: 'alpine',
  name: undefined,
  compression: 'gzip',
};
const BUNDLE: Of<'bundle'> = {
  template: '/bundle.{ending}',
  platform: undefined,
  layout: 'docker',
  references: [],
  filename: 'bundle.tar',
};
const MANIFEST: Of<'manifest'> = {
  template: '/manifest/{reference}',
  platform: undefined,
  reference: 'alpine',
  type: undefined,
};

/** As they stand in the path, and what is meant. */
const REFERENCES: readonly [path: string, reference: string][] = [
  ['alpine', 'alpine'],
  ['alpine:latest', 'alpine:latest'],
  ['alpine:3.20_rc_1', 'alpine:3.20_rc_1'],
  ['library/alpine:latest', 'library/alpine:latest'],
  ['ghcr.io/org/team/app:1.2', 'ghcr.io/org/team/app:1.2'],
  ['localhost:5000/app', 'localhost:5000/app'],
  [`localhost:5000/app@sha256:${HEX}`, `localhost:5000/app@sha256:${HEX}`],
  [`alpine:1@sha256:${HEX}`, `alpine:1@sha256:${HEX}`],
  [`alpine@sha256%3A${HEX}`, `alpine@sha256:${HEX}`],
  [`alpine%40sha256:${HEX}`, `alpine@sha256:${HEX}`],
  [`alpine%40sha256%3a${HEX}`, `alpine@sha256:${HEX}`],
  ['[::1]:5000/app:1', '[::1]:5000/app:1'],
  ['registry.example%3A5000/app%3A1', 'registry.example:5000/app:1'],
  ['al%70ine:1', 'alpine:1'],
  // Docker takes a name with a capital letter for a host: what it is, is said later.
  ['Docker/nginx_1.tar', 'Docker/nginx_1.tar'],
  ['nginx_1.tar', 'nginx_1.tar'],
  ['bundle', 'bundle'],
  ['bundle.tar/app', 'bundle.tar/app'],
  ['healthy', 'healthy'],
  ['tags:1', 'tags:1'],
];

const QUERIES: readonly [query: string, expected: Partial<Of<'reference'>>][] = [
  ['', {}],
  ['unknown=1', {}],
  ['platform=linux/arm64', { platform: 'linux/arm64' }],
  ['arch=linux%2Farm64%2Fv8', { platform: 'linux/arm64/v8' }],
  ['arch=linux/arm64&platform=linux/arm64', { platform: 'linux/arm64' }],
  ['platform=ir1101', { platform: 'ir1101' }],
  ['platform=all&layout=oci', { platform: 'all', layout: 'oci' }],
  ['layout=docker', {}],
  ['layout=docker-gzip', { layout: 'docker-gzip' }],
  ['layout=OCI', { layout: 'oci' }],
  ['format=tar', { compression: 'none' }],
  ['format=TAR', { compression: 'none' }],
  ['format=tgz', {}],
  ['format=tar.gz', {}],
  ['name=my-alpine', { name: 'my-alpine' }],
  ['name=org/app%3A2', { name: 'org/app:2' }],
  ['name=my-alpine&format=tar&layout=oci', { name: 'my-alpine', compression: 'none', layout: 'oci' }],
];

const BUNDLES: readonly [target: string, expected: Partial<Of<'bundle'>>][] = [
  ['/bundle.tar', {}],
  ['/bundle.tar?image=nginx:1.25&image=redis:7', { references: ['nginx:1.25', 'redis:7'] }],
  ['/bundle.tar?image=ghcr.io%2Forg%2Fapp%3A1', { references: ['ghcr.io/org/app:1'] }],
  ['/bundle.tgz?image=a', { references: ['a'], filename: 'bundle.tgz' }],
  ['/bundle.tgz.sha256?image=a', { references: ['a'], filename: 'bundle.tgz.sha256' }],
  ['/bundle.tar?image=a&layout=oci&platform=all', { references: ['a'], layout: 'oci', platform: 'all' }],
  [
    '/platform/linux/arm64/bundle.tar?image=a',
    { references: ['a'], platform: 'linux/arm64', template: '/platform/{os}/{arch}/bundle.{ending}' },
  ],
  [
    '/platform/cat9k/bundle.tar?image=a',
    { references: ['a'], platform: 'cat9k', template: '/platform/{device}/bundle.{ending}' },
  ],
];

const MANIFESTS: readonly [target: string, expected: Partial<Of<'manifest'>>][] = [
  ['alpine', {}],
  ['alpine?type=index', { type: 'index' }],
  ['alpine?type=image', { type: 'image' }],
  ['alpine?type=image&platform=linux/arm64', { type: 'image', platform: 'linux/arm64' }],
  ['ghcr.io/org/app:1', { reference: 'ghcr.io/org/app:1' }],
  [`ghcr.io/org/app@sha256:${HEX}`, { reference: `ghcr.io/org/app@sha256:${HEX}` }],
];

const REFUSED: readonly [target: string, code: ErrorCode, says: RegExp][] = [
  ...['favicon.ico', 'robots.txt', '.well-known/security.txt', 'health/', 'ready/now'].map(
    (path): [string, ErrorCode, RegExp] => [`/${path}`, 'NOT_FOUND', /GET \//],
  ),
  ['/app//x', 'INVALID_REFERENCE', /reference "": it is empty/],
  ['/app/', 'INVALID_REFERENCE', /reference "": it is empty/],
  ['/app/../x', 'INVALID_REFERENCE', /dot segments/],
  ['/org%2Fapp', 'INVALID_REFERENCE', /slash/],
  ['/app%00', 'INVALID_REFERENCE', /control character/],
  ['/app%ff', 'INVALID_REFERENCE', /malformed/],
  ['/manifest', 'INVALID_REFERENCE', /it is empty/],
  ['/manifest/', 'INVALID_REFERENCE', /it is empty/],
  ['/tags', 'INVALID_REFERENCE', /it is empty/],
  ['/tags/', 'INVALID_REFERENCE', /it is empty/],
  ['/alpine?format=zip', 'INVALID_REFERENCE', /format="zip": expected one of tgz, tar\.gz, tar$/],
  ['/alpine?format=', 'INVALID_REFERENCE', /format: expected it once, and not empty/],
  ['/alpine?format=tar&format=tgz', 'INVALID_REFERENCE', /format: expected it once/],
  ['/alpine?layout=tar', 'INVALID_REFERENCE', /layout="tar": expected one of docker, docker-gzip, oci$/],
  ['/alpine?name=', 'INVALID_REFERENCE', /name: expected it once, and not empty/],
  ['/alpine?name=a&name=b', 'INVALID_REFERENCE', /name: expected it once/],
  ['/alpine?platform=linux/arm64&arch=linux/amd64', 'INVALID_PLATFORM', /names/],
  ['/bundle.tar?image=a&layout=zip', 'INVALID_REFERENCE', /layout="zip"/],
  ['/manifest/alpine?type=list', 'INVALID_REFERENCE', /type="list": expected one of index, image$/],
  ['/manifest/alpine?type=index&type=image', 'INVALID_REFERENCE', /type: expected it once/],
];

/** Where a password may stand by mistake. */
const WITH_PASSWORD = [
  '/user:hunter2@host/app',
  '/user:hunter2@host/app:1',
  '/user%3Ahunter2%40host/app',
  '/user%253Ahunter2%2540host/app',
  '/https://user:hunter2@host/app',
  `/user:hunter2@host/app@sha256:${HEX}`,
  '/manifest/user:hunter2@host/app',
  '/manifest/user:hunter2%zz@host/app',
  '/tags/user:hunter2@host/app',
  '/manifest/app?type=user:hunter2@host',
  '/app?name=user:hunter2@host/app',
  '/app?name=user%3Ahunter2%40host',
  '/app?format=user:hunter2@host',
  '/app?layout=user:hunter2@host',
  '/app?platform=user:hunter2@host',
  '/app?arch=user:hunter2%2540host',
  '/bundle.tar?image=user:hunter2@host/app',
  '/bundle.tar?image=app&image=user%3Ahunter2%40host%2Fapp',
  '/bundle.user:hunter2@host?image=app',
];

describe('a reference in the path', () => {
  for (const [path, reference] of REFERENCES) {
    test(`/${path.slice(0, 60)} is read`, () => {
      assert.deepEqual(parseRoute(`/${path}`), { kind: 'reference', ...REFERENCE, reference });
    });

    test(`/manifest/${path.slice(0, 60)} asks for its manifest`, () => {
      assert.deepEqual(parseRoute(`/manifest/${path}`), { kind: 'manifest', ...MANIFEST, reference });
    });
  }

  for (const [query, expected] of QUERIES) {
    test(`takes ?${query}`, () => {
      assert.deepEqual(parseRoute(`/alpine?${query}`), { kind: 'reference', ...REFERENCE, ...expected });
    });
  }
});

describe('a bundle', () => {
  for (const [target, expected] of BUNDLES) {
    test(`is ${target}`, () => {
      assert.deepEqual(parseRoute(target), { kind: 'bundle', ...BUNDLE, ...expected });
    });
  }
});

describe('an inspection', () => {
  for (const [target, expected] of MANIFESTS) {
    test(`is /manifest/${target.slice(0, 60)}`, () => {
      assert.deepEqual(parseRoute(`/manifest/${target}`), { kind: 'manifest', ...MANIFEST, ...expected });
    });
  }

  for (const repository of ['alpine', 'library/alpine', 'ghcr.io/org/app', 'localhost:5000/app']) {
    test(`is /tags/${repository}`, () => {
      assert.deepEqual(parseRoute(`/tags/${repository}`), {
        kind: 'tags',
        template: '/tags/{repository}',
        repository,
      });
    });
  }
});

describe('a target that names an image', () => {
  for (const [target, code, says] of REFUSED) {
    test(`is refused as ${target} with ${code}`, () => {
      assert.throws(
        () => parseRoute(target),
        (error) => {
          assert.ok(isPassthroughError(error, code), String(error));
          assert.match(error.message, says);
          return true;
        },
      );
    });
  }

  for (const target of WITH_PASSWORD) {
    test(`is refused without its password: ${target.replace('hunter2', 'PASSWORD').slice(0, 70)}`, () => {
      assert.throws(
        () => parseRoute(target),
        (error) => {
          assert.ok(isPassthroughError(error), String(error));
          assert.doesNotMatch(error.message, /hunter2/);
          return true;
        },
      );
    });
  }
});
