import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { LayoutName } from '../../../src/archive/archive.ts';
import { findRoute, ROUTES } from '../../../src/http/routes.ts';
import { IGNORED_PARAMETERS } from '../../../src/http/routing/parameters.ts';
import type { ArchiveRoute } from '../../../src/http/routing/route.ts';
import { testRefusals } from './refusals.ts';

type Expected = Omit<ArchiveRoute, 'kind'>;

const PLAIN: Expected = {
  template: '/docker/{filename}',
  layout: 'docker',
  registry: undefined,
  requiresCredentials: false,
  platform: undefined,
  start: undefined,
  filename: 'nginx_1.25.tar',
  since: undefined,
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

/** A route behind a base, and further prefixes. */
function since(base: string, prefixes: string, route: Expected): Expected {
  return { ...route, since: base, template: `/since/{tag}${prefixes}${route.template}` };
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
    [`/since/1.24${path}`, since('1.24', '', route)],
    // A tag may be called as a route or a prefix is.
    [`/since/docker${path}`, since('docker', '', route)],
    [`/since/platform${path}`, since('platform', '', route)],
    [`${path}?since=1.24`, { ...route, since: '1.24' }],
    [`/since/1.24${path}?since=1.24`, since('1.24', '', route)],
    [
      `/since/1.24/platform/linux/arm64${path}`,
      since('1.24', '/platform/{os}/{arch}', { ...route, platform: 'linux/arm64' }),
    ],
    [
      `/platform/ir1101/since/1.24${path}`,
      {
        ...since('1.24', '', behind('ir1101', '{device}', route)),
        template: `/platform/{device}/since/{tag}${route.template}`,
      },
    ],
    [
      `/platform/linux/arm/v7/since/1.24${path}`,
      {
        ...since('1.24', '', behind('linux/arm/v7', '{os}/{arch}/{variant}', route)),
        template: `/platform/{os}/{arch}/{variant}/since/{tag}${route.template}`,
      },
    ],
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
  ['/?utm_source=x', '/'],
  ['/health?x=1', '/health'],
  ['http://service.example', '/'],
  ['http://service.example/ready', '/ready'],
  // Docker takes a first segment with a capital letter for a host.
  ['/Docker/nginx_1.tar', '/{reference}'],
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
    ['/since/1/platform/linux/arm64/bundle.tar', /No route.*GET \//],
    ['/sinc/1/docker/nginx_2.tar', /did you mean \/since\/1\/docker\/nginx_2\.tar\?/],
  ]);
});

describe('a parameter that the route does not take', () => {
  testRefusals('UNKNOWN_PARAMETER', [
    ['/docker/a_1.tar?platfrom=linux/arm64', /parameter "platfrom": did you mean platform\?$/],
    ['/docker/a_1.tar?Platform=linux/arm64', /parameter "Platform": did you mean platform\?$/],
    ['/docker/a_1.tar?arhc=linux/arm64', /parameter "arhc": did you mean arch\?$/],
    [
      '/docker/a_1.tar?platform=linux/arm64&x=1',
      /parameter "x": this route takes platform, arch, since, start, profile, cpu, memory, disk$/,
    ],
    [
      '/docker/a_1.tar?type=index',
      /parameter "type": this route takes platform, arch, since, start, profile, cpu, memory, disk$/,
    ],
    [
      '/docker/a_1.tar?layout=oci',
      /parameter "layout": this route takes platform, arch, since, start, profile, cpu, memory, disk$/,
    ],
    ['/registry/https/a.example/docker/a_1.tar?layuot=oci', /parameter "layuot"/],
    ['/alpine:latest?formt=tar', /did you mean format\?$/],
    ['/bundle.tar?images=a:1', /did you mean image\?$/],
    ['/manifest/alpine?tpye=index', /did you mean type\?$/],
    ['/tags/alpine?n=5', /parameter "n": this route takes none$/],
    ['/preparations/1?x', /parameter "x": this route takes none$/],
    ['/prepare/docker/a_1.tar?platfrom=linux/arm64', /did you mean platform\?$/],
    ['/?x=1', /parameter "x": this route takes service, image, /],
    // A name may be a secret in the wrong place.
    [
      '/docker/a_1.tar?hunter2:pw=1',
      /^Cannot use parameter: this route takes platform, arch, since, start, profile, cpu, memory, disk$/,
    ],
    [`/docker/a_1.tar?${'x'.repeat(33)}=1`, /^Cannot use parameter: this/],
    ['/docker/a_1.tar?key-7=1', /^Cannot use parameter: this/],
    ['/docker/a_1.tar?=1', /^Cannot use parameter: this/],
  ]);

  const signed = Object.values(IGNORED_PARAMETERS).flat();
  test('is ignored if it signs or tracks a URL', () => {
    assert.ok(signed.length > 50);
    for (const name of signed.map((text) => text.replace('*', 'anything'))) {
      for (const path of ['/docker/a_1.tar', '/alpine:latest', '/tags/alpine', '/']) {
        for (const spelled of [name, name.toLowerCase(), name.toUpperCase()]) {
          assert.ok(findRoute(`${path}?${spelled}=x&${spelled}`).row, spelled);
        }
      }
    }
  });

  test('is never one that a route takes', () => {
    const own = ROUTES.flatMap(({ parameters }) => parameters);
    const ignored = signed.map((text) => text.toLowerCase());
    for (const name of [...own, 'since', 'start', 'profile', 'cpu', 'memory', 'disk']) {
      const isIgnored = ignored.some((one) =>
        one.endsWith('*') ? name.startsWith(one.slice(0, -1)) : name === one,
      );
      assert.equal(isIgnored, false, name);
    }
  });

  test('is ignored by the routes for monitors', () => {
    for (const path of ['/health?t=1', '/ready?x&y=2']) assert.ok(findRoute(path).row.isProbe);
  });
});

describe('a target with a malformed platform', () => {
  testRefusals('INVALID_PLATFORM', [
    ['/since/1/platform/linux/arm64/alpine:1', /expected \/platform/],
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
    ['/since', /Cannot parse since "": it is empty/],
    ['/since/1', /Cannot parse since "1": expected \/since\/\{tag\}\//],
    ['/since/1/alpine:2', /Cannot parse since "1": expected \/since\/\{tag\}\//],
    ['/since/1/manifest/alpine', /Cannot parse since "1": expected \/since\/\{tag\}\//],
    ['/since/a%2fb/docker/nginx_1.tar', /Cannot parse since "a%2fb": it holds a slash/],
    ['/since/1/since/2/docker/nginx_1.tar', /it has \/since\/ twice/],
    ['/since/1/docker/nginx_2.tar?since=0', /the request names "1" and "0"/],
    ['/docker/'.padEnd(2_049, 'a'), /path: it is longer than 2048 characters$/],
  ]);
});
