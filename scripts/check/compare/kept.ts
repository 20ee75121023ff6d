/** Scenarios: what is kept, for how long, and what becomes of it when the disk or the registry fails. */

import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { IMAGES } from './images.ts';
import { APP, JSON_PLEASE, ONE, RIGHT, type Scenario, words } from './scenario.ts';
import type { EnvironmentOf } from './side.ts';
import type { Visit } from './visit.ts';

const FILES = [
  APP,
  '/docker/team_app_1.tgz',
  '/oci/team_app_1.tar',
  '/docker-gzip/team_app_1.tgz',
  `${APP}.sha256`,
];

const CACHE: EnvironmentOf = (_, folder) => ({ CACHE_DIR: join(folder, 'cache') });

/** Prepared files are larger than any lock or note. */
const LEAST_BYTES = 1_000;

/** Does something to every prepared file. */
async function eachFile(visit: Visit, change: (path: string, bytes: Buffer) => Promise<void>): Promise<void> {
  const entries = await readdir(join(visit.folder, 'cache'), { recursive: true, withFileTypes: true });
  for (const entry of entries.filter((one) => one.isFile())) {
    const path = join(entry.parentPath, entry.name);
    const bytes = await readFile(path);
    if (bytes.length > LEAST_BYTES) await change(path, bytes);
  }
}

const DAMAGES = {
  'are changed': (path: string, bytes: Buffer) => {
    const middle = Math.floor(bytes.length / 2);
    bytes.writeUInt8(bytes.readUInt8(middle) ^ 0xff, middle);
    return writeFile(path, bytes);
  },
  'are cut': (path: string, bytes: Buffer) =>
    writeFile(path, bytes.subarray(0, Math.floor(bytes.length / 2))),
  'are gone': (path: string) => rm(path),
};

/** Archives that are prepared beforehand, or cannot be. */
const PREPARED = words(`/docker/team_app_1.tar /oci/team_app_1.tgz /team/app:1?arch=linux/arm64
  /docker/team_app_1.tar.sha256 /registry/http/{registry}/docker/team_app_1.tar
  /platform/linux/arm64/docker/lab_hello_1.tar /bundle.tar?image=team/app:1&image=lab/hello:1 /docker/team_none_1.tar
  /docker/odd_wrong-diff-id_1.tar`);

/** Scenarios of this file. */
export const KEPT_SCENARIOS: readonly Scenario[] = [
  {
    name: 'a cache that outlives the service',
    env: CACHE,
    run: async (visit) => {
      await visit.getAll([...FILES, ...FILES]);
      await visit.getAll(FILES, { method: 'HEAD' });
      // A folder belongs to one process.
      await visit.command(['serve'], { HTTP_PORT: '0', CACHE_DIR: join(visit.folder, 'cache') });
      await visit.stop();
      await visit.start();
      await visit.getAll([...FILES, '/docker/team_tool_1.tar', '/ready']);
      await visit.kill();
      await visit.start();
      await visit.getAll(FILES);
    },
  },
  {
    name: 'a cache that is too small',
    env: (world, folder) => ({ ...CACHE(world, folder), CACHE_MAX_BYTES: '200000' }),
    run: async (visit) => {
      for (let turn = 0; turn < 2; turn += 1)
        await visit.getAll([APP, ONE, '/docker/team_data_1.tar', '/oci/team_one_1.tgz']);
    },
  },
  ...Object.entries(DAMAGES).map(
    ([name, change]): Scenario => ({
      name: `prepared files that ${name}`,
      env: CACHE,
      run: async (visit) => {
        const files = [ONE, '/docker/team_one_1.tgz', '/oci/team_one_1.tar', '/docker/team_data_1.tar'];
        await visit.getAll(files);
        await visit.stop();
        await eachFile(visit, change);
        await visit.start();
        await visit.getAll(files);
        await eachFile(visit, change);
        await visit.getAll(files.toReversed());
      },
    }),
  ),
  {
    name: 'prepared files that are changed, and cannot be fetched again',
    env: CACHE,
    hasUnevenBytes: true,
    run: async (visit) => {
      const files = ['/docker/team_data_1.tar', '/docker/team_data_1.tgz', '/oci/team_data_1.tar'];
      await visit.getAll(files);
      await visit.stop();
      await eachFile(visit, DAMAGES['are changed']);
      visit.world.registry.defects.dropBlob = true;
      await visit.start();
      await visit.getAll(files);
      delete visit.world.registry.defects.dropBlob;
      await visit.getAll(files);
    },
  },
  {
    name: 'a registry that is down, and what is stale',
    env: (world, folder) => ({ ...CACHE(world, folder), CACHE_SERVE_STALE: '3600' }),
    run: async (visit) => {
      const { registry } = visit.world;
      const all = [
        ...FILES,
        '/team/app:1',
        '/manifest/team/app:1',
        '/tags/team/app',
        '/bundle.tar?image=team/app:1',
      ];
      await visit.getAll(all);
      registry.auth.mode = 'basic';
      await visit.get('/docker/team_tool_1.tar', RIGHT);
      registry.auth.mode = 'none';
      registry.defects.failWith = { status: 429, headers: { 'Retry-After': '60' } };
      await visit.getAll([...all, ONE]);
      await visit.get('/docker/team_tool_1.tar', RIGHT);
      await visit.get('/platform/linux/arm64/docker/team_app_1.tar');
      await visit.get(APP, { headers: { range: 'bytes=100-' } });
      await visit.get(APP, { method: 'HEAD' });
      registry.defects.failWith = { status: 404 };
      await visit.get(APP);
      registry.defects.failWith = { status: 401 };
      await visit.get(APP);
      delete registry.defects.failWith;
      registry.defects.resetConnections = {};
      await visit.get(APP);
      await visit.stop();
      await visit.start();
      await visit.getAll([APP, '/docker/team_tool_1.tar']);
      delete registry.defects.resetConnections;
      registry.push('team/app', '1', IMAGES.ONE);
      await visit.getAll([APP, APP]);
      registry.defects.failWith = { status: 429, headers: { 'Retry-After': '60' } };
      await visit.getAll([APP, '/docker/team_tool_1.tar']);
    },
  },
  {
    name: 'a registry that is down, where nothing may be stale',
    run: async (visit) => {
      await visit.get(APP);
      visit.world.registry.defects.failWith = { status: 503, headers: { 'Retry-After': '60' } };
      await visit.get(APP);
      await visit.get(APP, JSON_PLEASE);
    },
  },
  {
    name: 'preparations',
    run: async (visit) => {
      const { registry } = visit.world;
      const layer = IMAGES.ONE.layers[0]?.digest ?? '';
      for (const path of PREPARED) {
        const location = await visit.prepare(path);
        await visit.get(location);
        await visit.get(location, { method: 'HEAD' });
        await visit.get(location, { method: 'POST' });
      }
      await visit.get(APP);
      await visit.prepare('/bundle.tar', { body: 'team/app:1\nlab/hello:1\n' });
      for (const path of words(
        '/docker/nginx.tar /health /registry-auth/http/{registry}/docker/team_app_1.tar /a@b',
      )) {
        await visit.prepare(path);
      }
      await visit.get('/prepare/docker/team_app_1.tar');
      registry.defects.stallBlob = { digest: layer, afterBytes: 0 };
      visit.isStalling = true;
      const before = registry.requests.length;
      const location = await visit.prepare(
        ONE,
        JSON_PLEASE,
        (body) =>
          /"state":"fetching","layers":{"done":0,"total":1}/.test(body) &&
          registry.requests.some(({ path }, at) => at >= before && path.endsWith(layer)),
      );
      await visit.get(location);
      visit.isStalling = false;
      await visit.get(location, { method: 'DELETE' });
      await visit.get(location);
      await visit.get(location, { method: 'DELETE' });
      await visit.get(location);
      await visit.get(location, { method: 'DELETE', ...JSON_PLEASE });
    },
  },
  {
    name: 'preparations, where nothing is kept',
    env: () => ({ CACHE_MAX_BYTES: '0' }),
    run: async (visit) => {
      await visit.get(`/prepare${APP}`, { method: 'POST' });
      await visit.get('/prepare/docker/nginx.tar', { method: 'POST', ...JSON_PLEASE });
    },
  },
];
