import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { findRoute } from '../../../src/http/routes.ts';
import type { Route, WrittenImage } from '../../../src/http/routing/route.ts';
import { testRefusals } from './refusals.ts';

type Of<Kind extends Route['kind']> = Omit<Extract<Route, { kind: Kind }>, 'kind'>;

const HEX = 'a'.repeat(64);

describe('a filename', () => {
  for (const [target, filename] of [
    ['/docker/nginx%5F1%2E25%2etar', 'nginx_1.25.tar'],
    ['/docker/a%2541_1.tar', 'a%41_1.tar'],
  ] as const) {
    test(`is decoded once: ${target}`, () => {
      const { route } = findRoute(target);
      assert.equal('filename' in route && route.filename, filename);
    });
  }

  testRefusals('INVALID_FILENAME', [
    ['/docker', /filename "": it is empty/],
    ['/docker/', /filename "": it is empty/],
    ['/docker/%ZZ_1.tar', /filename "%ZZ_1.tar": malformed percent-encoding/],
    ['/docker/..', /filename "\.\.": dot segments/],
    ['/docker/../docker/nginx_1.tar', /slash/],
    ['/docker/org/nginx_1.tar', /written "__"/],
    ['/docker//nginx_1.tar', /slash/],
    ['/registry/https/host/docker/', /filename "": it is empty/],
    ['/registry/https/host/docker/..', /dot segments/],
  ]);
});

describe('a registry', () => {
  for (const colon of ['%3A', '%3a']) {
    test(`is decoded: ${colon}`, () => {
      const { route } = findRoute(`/registry/https/registry.example${colon}5000/docker/nginx_1.25.tar`);
      const registry = { scheme: 'https', host: 'registry.example:5000' };
      assert.deepEqual('registry' in route && route.registry, registry);
    });
  }

  testRefusals('INVALID_REGISTRY', [
    ['/registry//host/docker/nginx_1.tar', /registry scheme "": it is empty/],
    ['/registry/https//docker/nginx_1.tar', /registry host "": it is empty/],
    ['/registry/https/../docker/nginx_1.tar', /registry host .*dot segments/],
    ['/registry/https/ho%zzst/docker/nginx_1.tar', /registry host .*malformed/],
    ['/registry/https/ho%00st/docker/nginx_1.tar', /registry host .*control/],
    ['/registry/https/host%2Fpath/docker/nginx_1.tar', /registry host .*slash/],
    ['/registry/https/host/path/docker/nginx_1.tar', /the host holds a slash/],
    ['/registry/https://host/docker/nginx_1.tar', /slash/],
  ]);
});

describe('a reference', () => {
  const REFERENCE: Of<'reference'> = {
    template: '/{reference}',
    platform: undefined,
    layout: 'docker',
    reference: 'alpine',
    name: undefined,
    compression: 'gzip',
    start: undefined,
    since: undefined,
  };
  const MANIFEST: Of<'manifest'> = {
    template: '/manifest/{reference}',
    platform: undefined,
    reference: 'alpine',
    type: undefined,
    comparison: undefined,
  };

  for (const [path, reference] of [
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
    ['Docker/nginx_1.tar', 'Docker/nginx_1.tar'],
    ['bundle.tar/app', 'bundle.tar/app'],
  ] as const) {
    test(`${path.slice(0, 60)} is decoded in / and /manifest/`, () => {
      assert.deepEqual(findRoute(`/${path}`).route, { kind: 'reference', ...REFERENCE, reference });
      const manifest = { kind: 'manifest', ...MANIFEST, reference };
      assert.deepEqual(findRoute(`/manifest/${path}`).route, manifest);
    });
  }

  const queries: readonly [query: string, expected: Partial<Of<'reference'>>][] = [
    ['', {}],
    ['utm_source=x', {}],
    ['platform=linux/arm64', { platform: 'linux/arm64' }],
    ['layout=docker-gzip', { layout: 'docker-gzip' }],
    ['format=tar', { compression: 'none' }],
    ['name=my-alpine', { name: 'my-alpine' }],
    ['since=3.19', { since: '3.19' }],
    [`since=sha256=${HEX}`, { since: `sha256=${HEX}` }],
    [`since=alpine@sha256:${HEX}`, { since: `alpine@sha256:${HEX}` }],
    ['since=org/base:1', { since: 'org/base:1' }],
    ['name=org/app%3A2', { name: 'org/app:2' }],
    ['name=my-alpine&format=tar&layout=oci', { name: 'my-alpine', compression: 'none', layout: 'oci' }],
  ];
  for (const [query, expected] of queries) {
    test(`has the parameters ?${query}`, () => {
      assert.deepEqual(findRoute(`/alpine?${query}`).route, { kind: 'reference', ...REFERENCE, ...expected });
    });
  }

  const manifests: readonly [query: string, expected: Partial<Of<'manifest'>>][] = [
    ['type=index', { type: 'index' }],
    ['type=image', { type: 'image' }],
    ['since=3.19', { comparison: { since: '3.19', layout: 'docker' } }],
    ['since=3.19&layout=oci', { comparison: { since: '3.19', layout: 'oci' } }],
    ['type=image&platform=linux/arm64', { type: 'image', platform: 'linux/arm64' }],
  ];
  for (const [query, expected] of manifests) {
    test(`in /manifest/ has the parameters ?${query}`, () => {
      const manifest = { kind: 'manifest', ...MANIFEST, ...expected };
      assert.deepEqual(findRoute(`/manifest/alpine?${query}`).route, manifest);
    });
  }

  testRefusals('INVALID_REFERENCE', [
    ['//docker/nginx_1.tar', /reference "": it is empty/],
    ['/../docker/nginx_1.tar', /dot segments/],
    ['*', /reference/],
    ['/app//x', /reference "": it is empty/],
    ['/app/', /reference "": it is empty/],
    ['/app/../x', /dot segments/],
    ['/org%2Fapp', /slash/],
    ['/app%00', /control character/],
    ['/app%ff', /malformed/],
    ['/%zz', /reference "%zz": malformed/],
    ['/manifest', /it is empty/],
    ['/manifest/alpine?layout=oci', /layout is for the comparison with since=/],
    ['/manifest/alpine?type=index&since=1', /type and since exclude each other/],
    ['/alpine?since=', /Cannot use since: expected it once, and not empty/],
    ['/alpine?since=1&since=2', /Cannot use since: expected it once, and not empty/],
    ['/alpine?since=user:secret@1', /Cannot parse since: it holds an @/],
    ['/manifest/', /it is empty/],
    ['/tags', /it is empty/],
    ['/tags/', /it is empty/],
  ]);
});

/** Images without a base. */
function written(...references: readonly string[]): readonly WrittenImage[] {
  return references.map((reference) => ({ reference, since: undefined }));
}

describe('a bundle', () => {
  const BUNDLE: Of<'bundle'> = {
    template: '/bundle.{ending}',
    platform: undefined,
    layout: 'docker',
    start: undefined,
    images: [],
    filename: 'bundle.tar',
  };
  const bundles: readonly [target: string, expected: Partial<Of<'bundle'>>][] = [
    ['/bundle.tar', {}],
    ['/bundle.tar?image=nginx:1.25&image=redis:7', { images: written('nginx:1.25', 'redis:7') }],
    ['/bundle.tar?image=ghcr.io%2Forg%2Fapp%3A1', { images: written('ghcr.io/org/app:1') }],
    [
      '/bundle.tar?image=a:2&since=1&image=b&image=c:2&since=org/c:1',
      {
        images: [
          { reference: 'a:2', since: '1' },
          { reference: 'b', since: undefined },
          { reference: 'c:2', since: 'org/c:1' },
        ],
      },
    ],
    ['/bundle.tgz?image=a', { images: written('a'), filename: 'bundle.tgz' }],
    ['/bundle.tgz.sha256?image=a', { images: written('a'), filename: 'bundle.tgz.sha256' }],
    ['/bundle.tar?image=a&layout=oci&platform=all', { images: written('a'), layout: 'oci', platform: 'all' }],
    [
      '/platform/linux/arm64/bundle.tar?image=a',
      { images: written('a'), platform: 'linux/arm64', template: '/platform/{os}/{arch}/bundle.{ending}' },
    ],
    [
      '/platform/cat9k/bundle.tar?image=a',
      { images: written('a'), platform: 'cat9k', template: '/platform/{device}/bundle.{ending}' },
    ],
  ];
  for (const [target, expected] of bundles) {
    test(`is parsed from ${target}`, () => {
      assert.deepEqual(findRoute(target).route, { kind: 'bundle', ...BUNDLE, ...expected });
    });
  }

  testRefusals('INVALID_REFERENCE', [
    ['/bundle.tar?since=1&image=a:2', /Cannot use since="1": expected one base behind an image/],
    ['/bundle.tar?image=a:2&since=1&since=0', /Cannot use since="0": expected one base behind an image/],
    ['/bundle.tar?image=a:2&since=', /Cannot use since="": expected one base behind an image/],
    ['/bundle.tar?image=a:2&since=user:secret@b', /Cannot parse since: it holds an @/],
    ['/since/1/bundle.tar?image=a:2', /Cannot parse since "1": expected \/since\/\{tag\}\/ before docker/],
  ]);
});

for (const repository of ['alpine', 'library/alpine', 'ghcr.io/org/app', 'localhost:5000/app']) {
  test(`a repository is parsed from /tags/${repository}`, () => {
    const template = '/tags/{repository}';
    assert.deepEqual(findRoute(`/tags/${repository}`).route, { kind: 'tags', template, repository });
  });
}

/** Targets with a password where it does not belong, also in parts that cannot be parsed. */
const WITH_PASSWORD = `
  /registry/https/user:hunter2@host/docker/nginx_1.tar
  /registry/https/user:hunter2%zz@host/docker/nginx_1.tar
  /registry/https/user:hunter2%00@host/docker/nginx_1.tar
  /registry/https/user:hunter2%2Fx@host/docker/nginx_1.tar
  /registry/https/user:hunter2%2Fx%40host/docker/nginx_1.tar
  /registry/https/user:hunter2/x@host/docker/nginx_1.tar
  /registry/https/user%3Ahunter2%40host/%zz/nginx_1.tar
  /registry/user:hunter2%zz@host/x/docker/nginx_1.tar
  /registry/https/host/user:hunter2@host/nginx_1.tar
  /registry/https://user:hunter2@host/docker/nginx_1.tar
  /registry/https/user:hunter2@host
  /registry/https/host/oci/user:hunter2@host
  /docker/https://user:hunter2@host/nginx_1.tar
  /docker/user:hunter2@host%2Fnginx_1.tar
  /docker/user:hunter2%zz%40host_1.tar
  /oci/user:hunter2@host_1.tar
  /platform/linux/user:hunter2@host
  /platform/linux/user:hunter2%zz@host/docker/nginx_1.tar
  /docker/nginx_1.tar?platform=https://user:hunter2@host&arch=linux/amd64
  /https://user:hunter2@host/nginx_1.tar
  /https://user:hunter2@host/app
  /user:hunter2%zz@host
  ftp://user:hunter2@host/%zz
  /user:hunter2@host/app
  /user:hunter2@host/app:1
  /user%3Ahunter2%40host/app
  /user%253Ahunter2%2540host/app
  /user:hunter2@host/app@sha256:${HEX}
  /manifest/user:hunter2@host/app
  /manifest/user:hunter2%zz@host/app
  /tags/user:hunter2@host/app
  /manifest/app?type=user:hunter2@host
  /app?name=user:hunter2@host/app
  /app?name=user%3Ahunter2%40host
  /app?format=user:hunter2@host
  /app?layout=user:hunter2@host
  /app?platform=user:hunter2@host
  /app?arch=user:hunter2%2540host
  /bundle.tar?image=user:hunter2@host/app
  /bundle.tar?image=app&image=user%3Ahunter2%40host%2Fapp
  /bundle.user:hunter2@host?image=app`;

describe('a target with a password', () => {
  for (const target of WITH_PASSWORD.trim().split(/\s+/)) {
    test(`is refused, and the error does not repeat it: ${target.slice(0, 70)}`, () => {
      assert.throws(
        () => findRoute(target),
        (error: Error) => error.name === 'PassthroughError' && !error.message.includes('hunter2'),
      );
    });
  }
});
