/** Scenarios: registries that fail, images that are not as they should be, and limits. */

import type { Defects } from '../../../test/support/defects.ts';
import { IMAGES, ODD_NAMES } from './images.ts';
import { APP, JSON_PLEASE, LAYOUTS, ONE, RIGHT, type Scenario, words } from './scenario.ts';
import type { Visit } from './visit.ts';

/** Nothing is kept, so that each request meets the failure; layers come one after the other. */
const UNKEPT = { CACHE_MAX_BYTES: '0', MAX_CONCURRENT_LAYERS: '1' };

const { ONE: IMAGE } = IMAGES;
const LAYER = IMAGE.layers[0]?.digest ?? '';
const CONFIG = IMAGE.config.digest;
const HALF = Math.floor((IMAGE.layers[0]?.blob.length ?? 0) / 2);

type Fault = readonly [name: string, defects: () => Defects];

/** Statuses that pass at the first attempt but for those with a time that is short. */
const STATUSES: readonly (readonly [status: number, headers: Readonly<Record<string, string>>])[] = [
  ...[400, 401, 403, 404, 405, 418].map((status) => [status, {}] as const),
  [429, { 'Retry-After': '7' }],
  [429, { 'Retry-After': '120' }],
  [429, { 'Retry-After': 'Thu, 01 Jan 1970 00:00:00 GMT' }],
  [500, { 'Retry-After': '30' }],
  [501, {}],
  [503, { 'Retry-After': '9' }],
  [504, { 'Retry-After': '0' }],
];

const REFUSALS: readonly Fault[] = STATUSES.flatMap(([status, headers]) =>
  [/\/manifests\//, /\/blobs\//, /\/tags\//].map(
    (pattern): Fault => [
      `says ${status} ${JSON.stringify(headers)} to ${pattern.source}`,
      () => ({ failWith: { status, headers, pattern } }),
    ],
  ),
);

const BODIES: readonly Fault[] = [
  ['says 404 in HTML', () => ({ failWith: { status: 404, body: '<html>not here</html>' } })],
  [
    'says 403 with a control character',
    () => ({ failWith: { status: 403, body: '{"errors":[{"code":"A\\u001b[31m","message":"m\\nX"}]}' } }),
  ],
  [
    'says 403 at length',
    () => ({
      failWith: {
        status: 403,
        body: JSON.stringify({ errors: [{ code: 'DENIED', message: 'a'.repeat(5_000) }] }),
      },
    }),
  ],
  [
    'says 400 and repeats what it was sent',
    () => ({ failWith: { status: 400 }, echoAuthorizationInErrors: true }),
  ],
  ['says 404 with a huge body', () => ({ failWith: { status: 404 }, hugeErrorBody: { bytes: 200_000 } })],
  [
    'says 404 after it has looked at credentials',
    () => ({ failWith: { status: 404, afterAuthorization: true } }),
  ],
];

const DAMAGES: readonly Fault[] = [
  ['flips a byte of the layer', () => ({ wrongBlobDigest: { digest: LAYER } })],
  ['flips a byte of the config', () => ({ wrongBlobDigest: { digest: CONFIG } })],
  ['has a longer layer', () => ({ wrongBlobSize: { digest: LAYER, by: 10 } })],
  ['has a shorter layer', () => ({ wrongBlobSize: { digest: LAYER, by: -10 } })],
  [
    'has a longer layer, and does not say so',
    () => ({ wrongBlobSize: { digest: LAYER, by: 10, contentLength: 'none' } }),
  ],
  ['has a shorter config', () => ({ wrongBlobSize: { digest: CONFIG, by: -1 } })],
  ['has a huge config', () => ({ hugeConfig: { bytes: 20_000_000, contentLength: false } })],
  ['does not have the layer', () => ({ dropBlob: { digest: LAYER } })],
  ['does not have the config', () => ({ dropBlob: { digest: CONFIG } })],
  ['has another manifest', () => ({ wrongManifestDigest: { reference: '1' } })],
  ['says another digest', () => ({ wrongHeaderDigest: true })],
  ['says a digest that is none', () => ({ wrongHeaderDigest: 'nonsense' })],
  ['says no digest', () => ({ wrongHeaderDigest: null })],
  ['says no type', () => ({ manifestContentType: null })],
  ['says another type', () => ({ manifestContentType: 'text/html' })],
  ['says no length', () => ({ noContentLength: {} })],
  ['has a huge manifest', () => ({ hugeManifest: { bytes: 5_000_000 } })],
  ['breaks off in the layer once', () => ({ truncateBlob: { digest: LAYER, afterBytes: HALF, times: 1 } })],
  [
    'breaks off in the layer once and knows no ranges',
    () => ({ truncateBlob: { digest: LAYER, afterBytes: HALF, times: 1 }, noRange: true }),
  ],
  [
    'breaks off in the layer once and then lies',
    () => ({ truncateBlob: { digest: LAYER, afterBytes: HALF, times: 1 }, wrongContentRange: 'shifted' }),
  ],
  ['breaks off in the config once', () => ({ truncateBlob: { digest: CONFIG, afterBytes: 10, times: 1 } })],
  ['breaks off in the manifest once', () => ({ truncateManifest: { afterBytes: 10, times: 1 } })],
  [
    'says 503 to the layer once',
    () => ({ failWith: { status: 503, headers: { 'Retry-After': '0' }, pattern: /blobs/, times: 1 } }),
  ],
  ['resets one connection', () => ({ resetConnections: { times: 1 } })],
  ['resets every connection', () => ({ resetConnections: {} })],
  ['redirects to itself', () => ({ redirectLoop: { pattern: /blobs/ } })],
  ['redirects without end', () => ({ redirectLoop: { pattern: /manifests/, endless: true } })],
];

/** Makes requests with each fault in turn. */
async function withFaults(visit: Visit, faults: readonly Fault[], paths: readonly string[]): Promise<void> {
  const { defects } = visit.world.registry;
  for (const [name, make] of faults) {
    for (const path of paths) {
      const given = make();
      Object.assign(defects, given);
      visit.about = `the registry ${name}`;
      await visit.get(path);
      visit.about = '';
      for (const key of Object.keys(given)) delete defects[key as keyof Defects];
    }
  }
}

const ODD_PATHS = ODD_NAMES.flatMap((name) => LAYOUTS.map((layout) => `/${layout}/odd_${name}_1.tar`));

const FOREIGN = ['foreign', 'foreign-nowhere'].flatMap((name) =>
  LAYOUTS.flatMap((layout) => [`/${layout}/team_${name}_1.tar`, `/${layout}/team_${name}_1.tgz`]),
);

/** Limits, each too small for something. */
const LIMITS: readonly (readonly [name: string, env: Readonly<Record<string, string>>])[] = [
  ['unpacked bytes', { MAX_IMAGE_BYTES: '1000' }],
  ['compressed bytes', { MAX_COMPRESSED_BYTES: '1000' }],
  ['bytes of a manifest', { MAX_MANIFEST_BYTES: '300' }],
  ['bytes of a config', { MAX_CONFIG_BYTES: '200' }],
];

/** Scenarios of this file. */
export const FAILURE_SCENARIOS: readonly Scenario[] = [
  {
    name: 'a registry that refuses',
    env: () => UNKEPT,
    hasUnevenBytes: true,
    run: (visit) => withFaults(visit, REFUSALS, [ONE, '/tags/team/one']),
  },
  {
    name: 'a registry that refuses, by reference and in bundles',
    env: () => UNKEPT,
    hasUnevenBytes: true,
    run: async (visit) => {
      const paths = words(
        '/team/one:1 /bundle.tar?image=team/one:1&image=lab/hello:1 /manifest/team/one:1 /tags/team/one',
      );
      await withFaults(
        visit,
        REFUSALS.filter((_, at) => at % 3 === 0),
        paths,
      );
      await withFaults(visit, BODIES, [...paths, ONE]);
    },
  },
  {
    name: 'a registry that damages what it gives',
    env: () => UNKEPT,
    hasUnevenBytes: true,
    run: (visit) => withFaults(visit, DAMAGES, [ONE, '/docker-gzip/team_one_1.tgz', '/oci/team_one_1.tar']),
  },
  {
    name: 'a registry that damages what it gives, once it is cached',
    env: () => ({ MAX_CONCURRENT_LAYERS: '1' }),
    hasUnevenBytes: true,
    run: async (visit) => {
      await visit.get(ONE);
      await withFaults(visit, DAMAGES.slice(0, 16), [ONE]);
    },
  },
  {
    name: 'a registry that redirects',
    env: () => UNKEPT,
    auth: { mode: 'basic' },
    run: async (visit) => {
      const { registry, other } = visit.world;
      const { headers } = RIGHT;
      registry.defects.redirectBlobsTo = other.origin;
      await visit.getAll([ONE, APP], { headers });
      registry.defects.redirectBlobsTo = { to: () => 'http://user:hunter2@127.0.0.1:1/' };
      await visit.get(ONE, { headers });
      registry.defects.redirectBlobsTo = { to: () => 'nonsense://x' };
      await visit.get(ONE, { headers });
      registry.defects.redirectBlobsTo = { to: () => 'http://169.254.169.254/latest' };
      await visit.get(ONE, { headers });
      delete registry.defects.redirectBlobsTo;
      registry.defects.redirectManifestsTo = { to: other.origin, status: 302 };
      await visit.get(ONE, { headers });
    },
  },
  {
    name: 'a registry that cannot be reached',
    env: () => ({ REGISTRY_URL: 'http://127.0.0.1:1', REGISTRY_NAME: 'registry.example:5000' }),
    run: async (visit) => {
      await visit.getAll([
        APP,
        '/team/app:1',
        '/manifest/team/app:1',
        '/tags/team/app',
        '/bundle.tgz?image=team/app:1',
      ]);
      await visit.get(APP, JSON_PLEASE);
      await visit.getAll([
        '/registry/https/{registry}/docker/team_app_1.tar',
        '/registry/http/localhost:1/docker/a_1.tar',
      ]);
    },
  },
  {
    name: 'a registry whose certificate is not trusted',
    isOtherSecure: true,
    run: (visit) =>
      visit.getAll([
        '/registry/https/{other}/docker/team_app_1.tar',
        '/registry/http/{other}/docker/team_app_1.tar',
      ]),
  },
  {
    name: 'a registry that answers too late',
    env: () => ({ REGISTRY_RESPONSE_TIMEOUT: '1.5', REGISTRY_STALL_TIMEOUT: '1.5', ...UNKEPT }),
    hasUnevenBytes: true,
    run: (visit) =>
      withFaults(
        visit,
        [
          ['does not answer', () => ({ stallRequests: {} })],
          ['does not give the manifest', () => ({ stallManifest: true })],
          ['stops in the layer', () => ({ stallBlob: { digest: LAYER, afterBytes: HALF } })],
          ['stops in the layer once', () => ({ stallBlob: { digest: LAYER, afterBytes: HALF, times: 1 } })],
        ],
        [ONE, '/team/one:1'],
      ),
  },
  {
    name: 'a preparation that takes too long',
    env: () => ({ PREPARE_TIMEOUT: '2', ...UNKEPT }),
    hasUnevenBytes: true,
    run: (visit) =>
      withFaults(
        visit,
        [['stops in the layer', () => ({ stallBlob: { digest: LAYER, afterBytes: HALF } })]],
        [ONE],
      ),
  },
  { name: 'odd images', env: () => UNKEPT, hasUnevenBytes: true, run: (visit) => visit.getAll(ODD_PATHS) },
  {
    name: 'odd images, once more',
    hasUnevenBytes: true,
    run: async (visit) => {
      const paths = ODD_NAMES.map((name) => `/docker/odd_${name}_1.tgz`);
      await visit.getAll([...paths, ...paths]);
      await visit.getAll(ODD_NAMES.map((name) => `/odd/${name}:1?layout=oci&platform=linux/arm64`));
    },
  },
  { name: 'foreign layers', run: (visit) => visit.getAll(FOREIGN) },
  {
    name: 'foreign layers, which are fetched',
    env: () => ({ REGISTRY_FOREIGN_LAYERS: 'fetch' }),
    run: (visit) => visit.getAll(FOREIGN),
  },
  ...LIMITS.map(
    ([name, env]): Scenario => ({
      name: `limits: ${name}`,
      env: () => ({ ...UNKEPT, ...env }),
      hasUnevenBytes: true,
      run: async (visit) => {
        await visit.getAll(LAYOUTS.map((layout) => `/${layout}/team_one_1.tar`));
        await visit.getAll(
          words('/team/one:1 /bundle.tar?image=team/one:1 /manifest/team/one:1 /tags/team/one'),
        );
        await visit.get(ONE, JSON_PLEASE);
      },
    }),
  ),
];
