/** A limit or a policy that changes holds for cached archives, too. */

import assert from 'node:assert/strict';
import test from 'node:test';
import { APP, APP_FILE, startScene } from '../../support/cached.ts';
import { makeImage, makeLayer } from '../../support/image.ts';
import { firstLine } from '../../support/reading.ts';
import { startScriptedServer } from '../../support/scripted-server.ts';

const COMPRESSED = APP.layers.reduce((sum, { blob }) => sum + blob.length, 0);

const PATHS = [APP_FILE, '/docker/team_app_1.tgz', '/oci/team_app_1.tgz'];

const LIMITS: readonly [variable: string, value: string, paths: readonly string[], why: RegExp][] = [
  ['MAX_COMPRESSED_BYTES', `${COMPRESSED - 1}`, PATHS, /bytes compressed, more than/],
  ['MAX_IMAGE_BYTES', '1000', PATHS.slice(0, 2), /more than 1000 bytes uncompressed/],
];
for (const [variable, value, paths, why] of LIMITS) {
  test(`${variable} is checked when the archive is in CACHE_DIR`, async () => {
    await using scene = await startScene();
    const env = { CACHE_DIR: scene.directory };
    {
      await using service = await scene.start(env);
      for (const path of paths) assert.equal((await service.request(path)).status, 200, path);
    }
    await using service = await scene.start({ ...env, [variable]: value });
    for (const path of paths) {
      const reply = await service.request(path);
      assert.equal(reply.status, 507, path);
      assert.match(firstLine(reply), why, path);
    }
  });
}

test('REGISTRY_FOREIGN_LAYERS=refuse holds for archives that were made before', async () => {
  await using scene = await startScene();
  const tar = makeLayer({ base: 'base' });
  await using elsewhere = await startScriptedServer((_, response) => {
    response.end(image.layers[0]?.blob);
  });
  const image = makeImage({
    mediaTypes: 'docker',
    layers: [
      {
        tar,
        mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
        descriptor: { urls: [`${elsewhere.origin}/base`] },
      },
    ],
  });
  scene.registry.push('lab/foreign', '1', image);
  const paths = ['/docker/lab_foreign_1.tgz', '/oci/lab_foreign_1.tgz'];
  const env = { CACHE_DIR: scene.directory };
  {
    await using service = await scene.start({ ...env, REGISTRY_FOREIGN_LAYERS: 'fetch' });
    for (const path of paths) assert.equal((await service.request(path)).status, 200, path);
  }
  await using service = await scene.start(env);
  for (const path of paths) {
    const reply = await service.request(path);
    assert.equal(reply.status, 502, path);
    assert.match(
      firstLine(reply),
      /it lies outside of the registry; set REGISTRY_FOREIGN_LAYERS=fetch/,
      path,
    );
  }
});
