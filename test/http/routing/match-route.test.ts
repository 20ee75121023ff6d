import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { LayoutName } from '../../../src/archive/archive.ts';
import { findRoute } from '../../../src/http/routes.ts';
import type { ArchiveRoute } from '../../../src/http/routing/route.ts';
import { testRefusals } from './refusals.ts';

type Expected = Omit<ArchiveRoute, 'kind'>;

const PLAIN: Expected = {
  template: '/docker/{filename}',
  layout: 'docker',
  registry: undefined,
  requiresCredentials: false,
  platform: undefined,
  filename: 'nginx_1.25.tar',
};
const NAMED: Expected = {
  ...PLAIN,
  template: '/registry/{scheme}/{host}/docker/{filename}',
  registry: { scheme: 'https', host: 'registry.example:5000' },
};
const AUTH: Expected = {
  ...NAMED,
  template: '/registry-auth/{scheme}/{host}/docker/{filename}',
  requiresCredentials: true,
};
const ROOTS: readonly [path: string, expected: Expected][] = [
  ['/docker/nginx_1.25.tar', PLAIN],
  ['/registry/https/registry.example:5000/docker/nginx_1.25.tar', NAMED],
  ['/registry-auth/https/registry.example:5000/docker/nginx_1.25.tar', AUTH],
];

/** A route behind a platform. */
function behind(platform: string, names: string, route: Expected): Expected {
  return { ...route, platform, template: `/platform/${names}${route.template}` };
}

/** A route with another layout in the place of `docker`. */
function inLayout(layout: LayoutName, route: Expected): Expected {
  return { ...route, layout, template: route.template.replace('/docker/', `/${layout}/`) };
}

const ARCHIVES: readonly [target: string, expected: Expected][] = ROOTS.flatMap(
  ([path, route]): [string, Expected][] => [
    [path, route],
    [`/platform/linux/arm64${path}`, behind('linux/arm64', '{os}/{arch}', route)],
    [`/platform/linux/arm/v7${path}`, behind('linux/arm/v7', '{os}/{arch}/{variant}', route)],
    // One segment is a device or `all`. Whether the device is known is checked later.
    ...['ir1101', 'linux', 'all'].map((device): [string, Expected] => [
      `/platform/${device}${path}`,
      behind(device, '{device}', route),
    ]),
    ...(['docker-gzip', 'oci'] as const).flatMap((layout): [string, Expected][] => [
      [path.replace('/docker/', `/${layout}/`), inLayout(layout, route)],
      [
        `/platform/all${path.replace('/docker/', `/${layout}/`)}`,
        behind('all', '{device}', inLayout(layout, route)),
      ],
    ]),
    // Absolute form, as clients send it to a proxy.
    [`http://service.example:8080${path}`, route],
    [`HTTP://user:secret@service.example${path}`, route],
  ],
);

/** A host with the name of a layout. The shortest platform counts. */
const HOST_OCI = { ...NAMED, registry: { scheme: 'https', host: 'oci' } };
const AMBIGUOUS = [
  ['/platform/ir1101/registry/https/oci/docker/nginx_1.25.tar', behind('ir1101', '{device}', HOST_OCI)],
] as const;

for (const [target, expected] of [...ARCHIVES, ...AMBIGUOUS]) {
  test(`${target} is an archive with the template ${expected.template}`, () => {
    assert.deepEqual(findRoute(target).route, { kind: 'archive', ...expected });
  });
}

const PATTERNS: readonly [target: string, pattern: string][] = [
  ['/', '/'],
  ['/health', '/health'],
  ['/ready', '/ready'],
  ['/?x=1', '/'],
  ['/health?x=1', '/health'],
  ['http://service.example', '/'],
  ['http://service.example/ready', '/ready'],
  // Docker takes a first segment with a capital letter for a host.
  ['/Docker/nginx_1.tar', '/{reference}'],
  ['/nginx_1.tar', '/{reference}'],
  ['/healthy', '/{reference}'],
  ['/tags:1', '/{reference}'],
  ['/bundle', '/{reference}'],
  ['/bundle.tar/app', '/{reference}'],
  ['/bundle.tar', '/bundle.{ending}'],
];
for (const [target, pattern] of PATTERNS) {
  test(`${target} is ${pattern}`, () => assert.equal(findRoute(target).row.pattern, pattern));
}

describe('a target without a route', () => {
  testRefusals('NOT_FOUND', [
    ...['favicon.ico', 'robots.txt', '.well-known/security.txt', 'health/', 'ready/now'].map(
      (path) => [`/${path}`, /No route.*GET \//] as const,
    ),
    ['/registry', /\/registry\/\{scheme\}\/\{host\}\/docker\/\{filename\}/],
    ['/registry/https/host/nginx_1.tar', /\{host\}/],
    ['/registry-auth/https/host', /\/registry-auth\/\{scheme\}/],
    ['/registry/https/host/tar/nginx_1.tar', /layout "tar"/],
  ]);
});

describe('a target with a malformed platform', () => {
  testRefusals('INVALID_PLATFORM', [
    ['/platform/linux/arm/v7/x/docker/nginx_1.tar', /expected \/platform/],
    ['/platform/docker/nginx_1.tar', /expected \/platform\/\{os\}\/\{arch\}/],
    ['/platform/linux/amd64/alpine:1', /expected \/platform\/\{os\}\/\{arch\}/],
    ['/platform/linux/amd64/manifest/alpine', /expected \/platform/],
    ['/platform//docker/nginx_1.tar', /platform "": it is empty/],
    ['/platform', /expected \/platform/],
    ['/platform//amd64/docker/nginx_1.tar', /platform "": it is empty/],
    ['/platform/linux/%2e%2e/docker/nginx_1.tar', /dot segments/],
    ['/platform/linux/a%2fb/docker/nginx_1.tar', /slash/],
    ['/platform/linux/%zz/docker/nginx_1.tar', /malformed/],
  ]);
});

test('a path of 2048 characters is matched', () => {
  assert.equal(findRoute('/docker/'.padEnd(2_048, 'a')).row.pattern, '/{layout}/{filename}');
});

describe('a target that is too long', () => {
  testRefusals('INVALID_REFERENCE', [
    ['/docker/'.padEnd(2_049, 'a'), /path: it is longer than 2048 characters$/],
  ]);
});
