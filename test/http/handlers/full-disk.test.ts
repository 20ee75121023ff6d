/** A disk that is too small for two images at once. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { testOnSmallDisk } from '../../storage/folder.ts';
import { APP_FILE, assertHolds, startScene, TOOL_FILE } from '../../support/cached.ts';
import { makeImage, makeLayer } from '../../support/image.ts';

const MIB = 1024 ** 2;

function imageOf(bytes: number) {
  return makeImage({
    layers: [1, 2, 3].map((at) => ({ tar: makeLayer({ [`${at}`]: randomBytes(bytes / 3) }) })),
  });
}

testOnSmallDisk('two images that fit one after the other are both served', [10 * MIB], async (disk) => {
  const [app, tool] = [imageOf(7 * MIB), imageOf(7 * MIB)];
  await using scene = await startScene();
  scene.registry.push('team/app', '1', app);
  scene.registry.push('org/tool', '1', tool);
  for (const env of [{ CACHE_DIR: disk }, { CACHE_DIR: disk, CACHE_MAX_BYTES: '0' }]) {
    await using service = await scene.start(env);
    for (let round = 0; round < 3; round += 1) {
      const [one, other] = await Promise.all([service.request(APP_FILE), service.request(TOOL_FILE)]);
      assertHolds(one, app);
      assertHolds(other, tool);
    }
  }
});

testOnSmallDisk('an image that does not fit gets 507 at once', [4 * MIB], async (disk) => {
  await using scene = await startScene();
  scene.registry.push('team/app', '1', imageOf(7 * MIB));
  await using service = await scene.start({ CACHE_DIR: disk });
  assert.equal((await service.request(APP_FILE)).status, 507);
});
