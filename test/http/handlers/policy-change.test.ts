/** Limits and policies that change apply to cached archives, too. */

import assert from 'node:assert/strict';
import test from 'node:test';
import { APP, APP_FILE, startScene } from '../../support/cached.ts';
import { makeImage, makeLayer } from '../../support/image.ts';
import { assertError } from '../../support/reading.ts';
import { startScriptedServer } from '../../support/scripted-server.ts';

const COMPRESSED = APP.layers.reduce((sum, { blob }) => sum + blob.length, 0);
const PATHS = [APP_FILE, '/docker/team_app_1.tgz', '/oci/team_app_1.tgz'];
const FOREIGN = ['/docker/lab_foreign_1.tgz', '/oci/lab_foreign_1.tgz'];

type Env = Readonly<Record<string, string>>;
const FETCH = { REGISTRY_FOREIGN_LAYERS: 'fetch' };

const CHANGES: readonly [before: Env, after: Env, paths: readonly string[], status: number, line: RegExp][] =
  [
    [{}, { MAX_COMPRESSED_BYTES: `${COMPRESSED - 1}` }, PATHS, 507, /bytes compressed, more than/],
    [{}, { MAX_IMAGE_BYTES: '1000' }, PATHS.slice(0, 2), 507, /more than 1000 bytes uncompressed/],
    [
      FETCH,
      { REGISTRY_FOREIGN_LAYERS: 'refuse' },
      FOREIGN,
      502,
      /it lies outside of the registry; set REGISTRY_FOREIGN_LAYERS=fetch/,
    ],
  ];
for (const [before, after, paths, status, line] of CHANGES) {
  test(`${Object.keys(after)} is checked for archives in CACHE_DIR`, async () => {
    await using scene = await startScene();
    await using elsewhere = await startScriptedServer((_, response) => {
      response.end(image.layers[0]?.blob);
    });
    const tar = makeLayer({ base: 'base' });
    const mediaType = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';
    const descriptor = { urls: [`${elsewhere.origin}/base`] };
    const image = makeImage({ mediaTypes: 'docker', layers: [{ tar, mediaType, descriptor }] });
    scene.registry.push('lab/foreign', '1', image);
    const env = { CACHE_DIR: scene.directory };
    {
      await using service = await scene.start({ ...env, ...before });
      for (const path of paths) assert.equal((await service.request(path)).status, 200, path);
    }
    await using service = await scene.start({ ...env, ...after });
    for (const path of paths) assertError(await service.request(path), status, line, path);
  });
}
