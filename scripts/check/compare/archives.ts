/** Scenarios: archives and documents that are answered as they should be, by every route of the README. */

import { IMAGES, ODD_NAMES } from './images.ts';
import { APP, CHECKSUMS, ENDINGS, LAYOUTS, RIGHT, type Scenario, words } from './scenario.ts';

/** Each layout, each ending, and each checksum of it. */
const ARCHIVES = LAYOUTS.flatMap((layout) =>
  ENDINGS.flatMap((ending) =>
    ['', ...CHECKSUMS.map((checksum) => `.${checksum}`)].map(
      (checksum) => `/${layout}/team_app_1.${ending}${checksum}`,
    ),
  ),
);

const DEVICES =
  words(`cat9k cat9300 cat9400 cat9500 cat9600 ir8340 ic3000 ir800 ir809 ir829 ir1101 ir1800 ir1821
  ir1831 ir1833 ir1835 CAT9K`);

const PLATFORMS =
  words(`linux/amd64 linux/arm64 linux/arm64/v8 linux/arm/v7 linux/arm/v6 linux/arm/v5 linux/386
  linux/x86_64 linux/aarch64 linux/s390x windows/amd64 windows(10.0.17763.1)/amd64`);

const NAMED = ['/registry/http/{registry}', '/registry-auth/http/{registry}'];

/** Every route that gives an archive, for a platform. */
const FOR_PLATFORMS = [
  ...PLATFORMS.map((platform) => `/platform/${platform}${APP}`),
  ...PLATFORMS.map((platform) => `/docker-gzip/team_app_1.tar?platform=${platform}`),
  ...PLATFORMS.map((platform) => `/team/app:1?arch=${platform}&format=tar`),
  ...DEVICES.map((device) => `/platform/${device}/docker-gzip/team_app_1.tar`),
  ...NAMED.flatMap((root) =>
    words(`/platform/linux/arm64${root}/docker/team_app_1.tar /platform/linux/arm/v7${root}/oci/team_app_1.tgz
    /platform/ir1101${root}/docker-gzip/team_app_1.tar /platform/all${root}/oci/team_app_1.tar
    ${root}/docker/team_app_1.tar?arch=linux/arm64`),
  ),
  '/platform/all/oci/team_app_1.tar',
  '/platform/all/oci/team_app_1.tgz.sha256',
  '/platform/all/oci/lab_hello_1.tar',
  '/platform/all/bundle.tar?image=team/app:1&image=lab/hello:1&layout=oci',
  '/oci/team_app_1.tar?platform=all',
  '/team/app:1?platform=all&layout=oci',
  '/platform/linux/arm64/bundle.tar?image=team/app:1',
  '/platform/cat9k/bundle.tgz?image=team/app:1&image=lab/hello:1',
  '/docker/odd_nearest_1.tar',
  '/platform/linux/arm64/docker/odd_nearest_1.tar',
  '/docker/odd_nested_1.tar',
];

const FILENAMES =
  words(`nginx_latest nginx_1.25 library_nginx_latest my_great_app_1 team__platform__api_2026.06
  team_mixed_1 lab_hello_1 team_tool_1 odd_history_1 odd_docker-list_1`);

const { APP: INDEX, ARM64 } = IMAGES;
const BY_DIGEST = [INDEX, ARM64].flatMap(({ manifest: { digest } }) => [
  `/docker/team_app_${digest.replace(':', '=')}.tar`,
  `/oci/team_app_${digest.replace(':', '%3D')}.tgz`,
  `/team/app@${digest}?format=tar`,
  `/team/app:1@${digest}?layout=docker-gzip`,
  `/{registry}/team/app%40${digest.replace(':', '%3A')}`,
  `/bundle.tar?image=team/app@${digest}`,
  `/manifest/team/app@${digest}`,
]);

const PARAMETERS =
  words(`layout=OCI format=TAR unknown=1 platform=linux/arm64 platform=ir1101 arch=linux/arm64/v8
  name=my-app name=my-app:2 name=org/my-app name=org/my-app:2&format=tar name=My name=a@b name=host.example/app
  name=a:b:c arch=linux/arm64&platform=linux/arm64 name=a&layout=oci&format=tar`);

const REFERENCES = [
  ...words(`/team/app /team/app:1 /team/app:rc_1 /lab/hello:1 /nginx /nginx:1.25 /library/nginx:latest
    /{registry}/team/app:1 /{registry}/nginx /{other}/team/tool:2 /team/platform/api:2026.06`),
  ...LAYOUTS.flatMap((layout) =>
    ['tar', 'tgz', 'tar.gz'].map((form) => `/team/app:1?layout=${layout}&format=${form}`),
  ),
  ...PARAMETERS.map((query) => `/team/app:1?${query}`),
];

const MANIFESTS = words('team/app:1 lab/hello:1 team/app nginx {registry}/team/app:1 odd/nested:1').flatMap(
  (reference) =>
    [
      '',
      '?type=index',
      '?type=image',
      '?platform=linux/arm64',
      '?type=image&platform=linux/arm/v7',
      '?arch=ir1101',
    ].map((query) => `/manifest/${reference}${query}`),
);

const DOCUMENTS = [
  ...MANIFESTS,
  ...words('?platform=all ?platform=linux/s390x ?type=IMAGE ?type=index&platform=linux/arm64 ?x=1').map(
    (query) => `/manifest/team/app:1${query}`,
  ),
  ...ODD_NAMES.flatMap((name) => [`/manifest/odd/${name}:1`, `/manifest/odd/${name}:1?type=image`]),
  ...words('team/tool nginx {registry}/team/app {other}/team/tool team/none team/tool:1').map(
    (repository) => `/tags/${repository}`,
  ),
  `/tags/team/app@${INDEX.manifest.digest}`,
  '/manifest/team/none:1',
  '/manifest/team/app:none',
  `/manifest/team/app@sha256:${'0'.repeat(64)}`,
];

const BUNDLE = '/bundle.tar?image=team/app:1&image=lab/hello:1&image=team/tool:1';

const MANY = Array.from({ length: 32 }, (_, at) => `team/tool:${(at % 5) + 1}`);

/** Bodies of a POST to a bundle. */
const LISTS = [
  'team/app:1\nlab/hello:1\nteam/tool:1\n',
  'team/app:1\r\nlab/hello:1\r\n\r\n  team/tool:1  \r\n',
  '# a list\nteam/app:1 # an image\n\n#lab/hello:1\n',
  '{registry}/team/app:1\n{other}/team/tool:1',
  MANY.join('\n'),
  [...MANY, 'team/app:1'].join('\n'),
  '',
  '# nothing',
  'team/app:1\nteam/app:1',
  'Team/App:1',
  'user:hunter2@host/app',
  'team/app:1\u0000',
  'team/app:1\n'.repeat(4_000),
];

/** Makes each request, and the same as HEAD. */
function withHeads(paths: readonly string[]): Scenario['run'] {
  return async (visit) => {
    await visit.getAll(paths);
    await visit.getAll(paths, { method: 'HEAD' });
  };
}

/** Scenarios of this file. */
export const ARCHIVE_SCENARIOS: readonly Scenario[] = [
  { name: 'archives of each layout, ending and checksum', run: withHeads(ARCHIVES) },
  {
    name: 'archives, where nothing is kept',
    env: () => ({ CACHE_MAX_BYTES: '0' }),
    run: withHeads(ARCHIVES.filter((path) => !/md5|sha512|\.tar\.gz/.test(path))),
  },
  {
    name: 'HEAD before GET',
    run: async (visit) => {
      for (const path of ARCHIVES.filter((one) => /tgz|tar\.gz\.sha256|tar$/.test(one))) {
        await visit.get(path, { method: 'HEAD' });
        await visit.get(path);
      }
    },
  },
  {
    name: 'file names and layouts',
    run: async (visit) => {
      const paths = FILENAMES.flatMap((name) => LAYOUTS.flatMap((layout) => [`/${layout}/${name}.tar`]));
      await visit.getAll(paths);
      await visit.getAll(FILENAMES.flatMap((name) => LAYOUTS.map((layout) => `/${layout}/${name}.tgz`)));
      await visit.getAll(FILENAMES.map((name) => `/registry/http/{registry}/docker/${name}.tar.sha256`));
    },
  },
  {
    name: 'platforms and devices',
    run: (visit) => visit.getAll(FOR_PLATFORMS, RIGHT),
  },
  {
    name: 'platforms, where nothing is kept',
    env: () => ({ CACHE_MAX_BYTES: '0', DEFAULT_PLATFORM: 'linux/arm64', REGISTRY_NAME: 'registry.example' }),
    run: (visit) =>
      visit.getAll(
        [
          ...FOR_PLATFORMS.filter((_, at) => at % 4 === 0),
          ...[APP, '/docker/lab_hello_1.tar', '/team/app:1', '/manifest/team/app:1?type=image'],
          ...['/platform/linux/arm64/docker/lab_hello_1.tar', '/platform/linux/amd64/oci/lab_hello_1.tgz'],
          ...['/lab/hello:1?arch=linux/arm64', '/bundle.tar?image=lab/hello:1&platform=linux/arm64'],
        ],
        RIGHT,
      ),
  },
  {
    // The order matters: what was prepared for one platform must not be given for another.
    name: 'an image for a single platform, without an index',
    run: (visit) =>
      visit.getAll(
        ['docker', 'docker-gzip', 'oci'].flatMap((layout) =>
          ['tgz', 'tar', 'tgz.sha256'].flatMap((ending) =>
            words(`/platform/linux/arm64/${layout}/lab_hello_1.${ending} /${layout}/lab_hello_1.${ending}
    /platform/linux/arm64/${layout}/lab_hello_1.${ending}
    /platform/ir1101/${layout}/lab_hello_1.${ending}
    /platform/linux/amd64/${layout}/lab_hello_1.${ending} /lab/hello:1?arch=linux/arm64&layout=${layout}
    /platform/linux/arm64/bundle.${ending}?image=lab/hello:1&layout=${layout}
    /manifest/lab/hello:1?platform=linux/arm64`),
          ),
        ),
      ),
  },
  { name: 'by digest', run: (visit) => visit.getAll(BY_DIGEST) },
  { name: 'references and their parameters', run: (visit) => visit.getAll(REFERENCES) },
  {
    name: 'bundles',
    run: async (visit) => {
      for (const ending of [...ENDINGS, 'tar.sha256', 'tgz.md5', 'zip', '']) {
        for (const layout of LAYOUTS) {
          await visit.get(`${BUNDLE.replace('.tar', ending === '' ? '' : `.${ending}`)}&layout=${layout}`);
        }
      }
      for (const body of LISTS) await visit.get('/bundle.tar', { method: 'POST', body });
      await visit.get('/bundle.tgz?image=lab/hello:1&layout=oci', { method: 'POST', body: 'team/app:1' });
      await visit.get('/platform/linux/arm64/bundle.tar', { method: 'POST', body: 'team/app:1\n' });
      await visit.getAll([
        BUNDLE,
        '/bundle.tar',
        '/bundle.tar?image=team/app:1&image=team/none:1',
        '/bundle.tar?image=team/app:1&image=team/app:1&image={registry}/team/app:1',
        '/bundle.tar?image={other}/team/tool:1&image=team/tool:1',
        '/bundle.tar?image=lab/hello:1&image=team/app:1',
      ]);
      await visit.get(BUNDLE, { method: 'HEAD' });
    },
  },
  {
    name: 'manifests and tags',
    run: async (visit) => {
      await visit.getAll(DOCUMENTS);
      await visit.getAll(
        DOCUMENTS.filter((_, at) => at % 5 === 0),
        { method: 'HEAD' },
      );
      const etag = `"${INDEX.manifest.digest}"`;
      for (const tag of [etag, '*', '"other"', `W/${etag}`, `"a", ${etag}`]) {
        await visit.get('/manifest/team/app:1', { headers: { 'if-none-match': tag } });
      }
      visit.world.registry.defects.tagPageSize = 2;
      await visit.get('/tags/team/tool');
      visit.world.registry.defects.tagLink = () => 'http://127.0.0.1:1/elsewhere; rel="next"';
      await visit.get('/tags/team/tool');
    },
  },
];
