import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { LayoutName } from '../../../src/archive/archive.ts';
import { type ErrorCode, isPassthroughError } from '../../../src/errors.ts';
import { findRoute } from '../../../src/http/routes.ts';
import type { ArchiveRoute } from '../../../src/http/routing/route.ts';

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

const READ: readonly [target: string, expected: Expected][] = [
  ...ROOTS,
  ...ROOTS.map(([path, expected]): [string, Expected] => [
    `/platform/linux/arm64${path}`,
    { ...expected, platform: 'linux/arm64', template: `/platform/{os}/{arch}${expected.template}` },
  ]),
  ...ROOTS.map(([path, expected]): [string, Expected] => [
    `/platform/linux/arm/v7${path}`,
    {
      ...expected,
      platform: 'linux/arm/v7',
      template: `/platform/{os}/{arch}/{variant}${expected.template}`,
    },
  ]),
  ...ROOTS.flatMap(([path, expected]) =>
    ['platform', 'arch'].flatMap((name): [string, Expected][] => [
      [`${path}?${name}=linux/arm64`, { ...expected, platform: 'linux/arm64' }],
      [`${path}?${name}=linux%2Farm%2Fv7`, { ...expected, platform: 'linux/arm/v7' }],
    ]),
  ),
  // A layout stands in the place of docker.
  ...['docker-gzip', 'oci'].flatMap((layout) =>
    ROOTS.map(([path, expected]): [string, Expected] => [
      path.replace('/docker/', `/${layout}/`),
      {
        ...expected,
        layout: layout as LayoutName,
        template: expected.template.replace('/docker/', `/${layout}/`),
      },
    ]),
  ),
  // One part is a device, or all; whether there is such a device is said later.
  ...['ir1101', 'cat9k', 'linux', 'all'].map((device): [string, Expected] => [
    `/platform/${device}/docker/nginx_1.25.tar`,
    { ...PLAIN, platform: device, template: '/platform/{device}/docker/{filename}' },
  ]),
  [
    '/platform/all/oci/nginx_1.25.tar',
    { ...PLAIN, layout: 'oci', platform: 'all', template: '/platform/{device}/oci/{filename}' },
  ],
  [
    '/platform/all/registry/https/registry.example:5000/oci/nginx_1.25.tar',
    {
      ...NAMED,
      layout: 'oci',
      platform: 'all',
      template: '/platform/{device}/registry/{scheme}/{host}/oci/{filename}',
    },
  ],
  // Each segment is decoded once.
  ['/docker/nginx%5F1%2E25%2etar', PLAIN],
  ['/registry/https/registry.example%3A5000/docker/nginx_1.25.tar', NAMED],
  ['/registry/https/registry.example%3a5000/docker/nginx_1.25.tar', NAMED],
  ['/docker/a%2541_1.tar', { ...PLAIN, filename: 'a%41_1.tar' }],
  // What follows belongs to the query, and what is unknown there is none of our business.
  ['/docker/nginx_1.25.tar?', PLAIN],
  ['/docker/nginx_1.25.tar?name=x&%zz', PLAIN],
  ['/docker/nginx_1.25.tar?platform=linux/arm64?x', { ...PLAIN, platform: 'linux/arm64?x' }],
  // Twice the same is no contradiction.
  [
    '/platform/linux/arm64/docker/nginx_1.25.tar?platform=linux/arm64&arch=linux/arm64',
    { ...PLAIN, platform: 'linux/arm64', template: '/platform/{os}/{arch}/docker/{filename}' },
  ],
  // Absolute form, as clients send it to a proxy.
  ['http://service.example:8080/docker/nginx_1.25.tar', PLAIN],
  ['HTTP://user:secret@service.example/docker/nginx_1.25.tar', PLAIN],
];

const REFUSED: readonly [target: string, code: ErrorCode, says: RegExp][] = [
  ['/favicon.ico', 'NOT_FOUND', /GET \//],
  ['/registry', 'NOT_FOUND', /\/registry\/\{scheme\}\/\{host\}\/docker\/\{filename\}/],
  ['/registry/https/host/nginx_1.tar', 'NOT_FOUND', /\{host\}/],
  ['/registry-auth/https/host', 'NOT_FOUND', /\/registry-auth\/\{scheme\}/],
  ['/registry/https/host/tar/nginx_1.tar', 'NOT_FOUND', /layout "tar"/],
  ['/health/', 'NOT_FOUND', /No route/],
  ['/ready/now', 'NOT_FOUND', /No route/],

  ['/docker', 'INVALID_FILENAME', /filename "": it is empty/],
  ['/docker/', 'INVALID_FILENAME', /filename "": it is empty/],
  ['/docker/%ZZ_1.tar', 'INVALID_FILENAME', /filename "%ZZ_1.tar": malformed percent-encoding/],
  ['/docker/%', 'INVALID_FILENAME', /malformed/],
  ['/docker/%ff_1.tar', 'INVALID_FILENAME', /malformed/],
  ['/docker/%c0%af_1.tar', 'INVALID_FILENAME', /malformed/],
  ['/docker/nginx%00_1.tar', 'INVALID_FILENAME', /filename .*control character/],
  ['/docker/nginx%0a_1.tar', 'INVALID_FILENAME', /control character/],
  ['/docker/nginx%c2%85_1.tar', 'INVALID_FILENAME', /control character/],
  ['/docker/..', 'INVALID_FILENAME', /filename "\.\.": dot segments/],
  ['/docker/%2e%2e', 'INVALID_FILENAME', /dot segments/],
  ['/docker/.', 'INVALID_FILENAME', /dot segments/],
  ['/docker/../docker/nginx_1.tar', 'INVALID_FILENAME', /slash/],
  ['/docker/org/nginx_1.tar', 'INVALID_FILENAME', /written "__"/],
  ['/docker//nginx_1.tar', 'INVALID_FILENAME', /slash/],
  ['/docker/org%2Fnginx_1.tar', 'INVALID_FILENAME', /slash/],
  ['/docker/org%5Cnginx_1.tar', 'INVALID_FILENAME', /slash/],

  ['/registry//host/docker/nginx_1.tar', 'INVALID_REGISTRY', /registry scheme "": it is empty/],
  ['/registry/https//docker/nginx_1.tar', 'INVALID_REGISTRY', /registry host "": it is empty/],
  ['/registry/https/../docker/nginx_1.tar', 'INVALID_REGISTRY', /registry host .*dot segments/],
  ['/registry/https/ho%zzst/docker/nginx_1.tar', 'INVALID_REGISTRY', /registry host .*malformed/],
  ['/registry/https/ho%00st/docker/nginx_1.tar', 'INVALID_REGISTRY', /registry host .*control/],
  ['/registry/https/host%2Fpath/docker/nginx_1.tar', 'INVALID_REGISTRY', /registry host .*slash/],
  ['/registry/https/host/path/docker/nginx_1.tar', 'INVALID_REGISTRY', /the host holds a slash/],
  ['/registry/https://host/docker/nginx_1.tar', 'INVALID_REGISTRY', /slash/],
  ['/registry/https/host/docker/', 'INVALID_FILENAME', /filename "": it is empty/],
  ['/registry/https/host/docker/..', 'INVALID_FILENAME', /dot segments/],

  ['/platform/linux/arm/v7/x/docker/nginx_1.tar', 'INVALID_PLATFORM', /expected \/platform/],
  ['/platform/docker/nginx_1.tar', 'INVALID_PLATFORM', /expected \/platform\/\{os\}\/\{arch\}/],
  ['/platform/linux/amd64/alpine:1', 'INVALID_PLATFORM', /expected \/platform\/\{os\}\/\{arch\}/],
  ['/platform/linux/amd64/manifest/alpine', 'INVALID_PLATFORM', /expected \/platform/],
  ['/platform//docker/nginx_1.tar', 'INVALID_PLATFORM', /platform "": it is empty/],
  ['/platform', 'INVALID_PLATFORM', /expected \/platform/],
  ['/platform//amd64/docker/nginx_1.tar', 'INVALID_PLATFORM', /platform "": it is empty/],
  ['/platform/linux/%2e%2e/docker/nginx_1.tar', 'INVALID_PLATFORM', /dot segments/],
  ['/platform/linux/a%2fb/docker/nginx_1.tar', 'INVALID_PLATFORM', /slash/],
  ['/platform/linux/%zz/docker/nginx_1.tar', 'INVALID_PLATFORM', /malformed/],
  [
    '/platform/linux/arm64/docker/nginx_1.tar?platform=linux/amd64',
    'INVALID_PLATFORM',
    /"linux\/arm64" and "linux\/amd64"/,
  ],
  ['/docker/nginx_1.tar?platform=linux/arm64&arch=linux/amd64', 'INVALID_PLATFORM', /names/],

  ['//docker/nginx_1.tar', 'INVALID_REFERENCE', /reference "": it is empty/],
  ['/../docker/nginx_1.tar', 'INVALID_REFERENCE', /dot segments/],
  ['/%zz', 'INVALID_REFERENCE', /reference "%zz": malformed/],
  ['/%00', 'INVALID_REFERENCE', /control character/],
  ['*', 'INVALID_REFERENCE', /reference/],
  [`/docker/${'a'.repeat(2_048)}`, 'INVALID_REFERENCE', /path: it is longer than 2048 characters$/],
];

/** Where a password may stand by mistake, and with what that makes the part unreadable. */
const WITH_PASSWORD = [
  '/registry/https/user:hunter2@host/docker/nginx_1.tar',
  '/registry/https/user:hunter2%zz@host/docker/nginx_1.tar',
  '/registry/https/user:hunter2%00@host/docker/nginx_1.tar',
  '/registry/https/user:hunter2%2Fx@host/docker/nginx_1.tar',
  '/registry/https/user:hunter2%2Fx%40host/docker/nginx_1.tar',
  '/registry/https/user:hunter2/x@host/docker/nginx_1.tar',
  '/registry/https/user%3Ahunter2%40host/%zz/nginx_1.tar',
  '/registry/user:hunter2%zz@host/x/docker/nginx_1.tar',
  '/registry/https/host/user:hunter2@host/nginx_1.tar',
  '/registry/https://user:hunter2@host/docker/nginx_1.tar',
  '/registry/https/user:hunter2@host',
  '/docker/https://user:hunter2@host/nginx_1.tar',
  '/docker/user:hunter2@host%2Fnginx_1.tar',
  '/docker/user:hunter2%zz%40host_1.tar',
  '/platform/linux/user:hunter2@host',
  '/platform/linux/user:hunter2%zz@host/docker/nginx_1.tar',
  '/docker/nginx_1.tar?platform=https://user:hunter2@host&arch=linux/amd64',
  '/oci/user:hunter2@host_1.tar',
  '/registry/https/host/oci/user:hunter2@host',
  '/https://user:hunter2@host/nginx_1.tar',
  '/user:hunter2%zz@host',
  'ftp://user:hunter2@host/%zz',
];

describe('findRoute', () => {
  test('knows the routes without an archive', () => {
    for (const [target, kind] of [
      ['/', 'usage'],
      ['/health', 'health'],
      ['/ready', 'ready'],
      ['/?x=1', 'usage'],
      ['/health?x=1', 'health'],
      ['http://service.example', 'usage'],
      ['http://service.example/ready', 'ready'],
    ] as const) {
      assert.equal(findRoute(target).route.kind, kind, target);
    }
  });

  for (const [target, expected] of READ) {
    test(`reads ${target}`, () => {
      assert.deepEqual(findRoute(target).route, { kind: 'archive', ...expected });
    });
  }

  for (const [target, code, says] of REFUSED) {
    test(`refuses ${target.slice(0, 70)} with ${code}`, () => {
      assert.throws(
        () => findRoute(target).route,
        (error) => {
          assert.ok(isPassthroughError(error, code), String(error));
          assert.match(error.message, says);
          return true;
        },
      );
    });
  }

  for (const target of WITH_PASSWORD) {
    test(`does not repeat the password in ${target.replace('hunter2', 'PASSWORD')}`, () => {
      assert.throws(
        () => findRoute(target).route,
        (error) => {
          assert.ok(isPassthroughError(error), String(error));
          assert.doesNotMatch(error.message, /hunter2/);
          return true;
        },
      );
    });
  }
});

test('a path of 2048 characters is read, a longer one is refused', () => {
  const path = '/docker/'.padEnd(2048, 'a');
  assert.equal(findRoute(path).kind, 'archive');
  assert.throws(() => findRoute(`${path}a`), { code: 'INVALID_REFERENCE' });
});
