/** A disk that is too small for two images at once. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemErrorCode } from '../../../src/util/system-error.ts';
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

for (const variable of ['CACHE_DIR', 'WORKSPACE_DIR']) {
  testOnSmallDisk(
    `an image that does not fit gets 507 at once, with ${variable}, its path and size`,
    [4 * MIB],
    async (disk) => {
      await using scene = await startScene();
      scene.registry.push('team/app', '1', imageOf(7 * MIB));
      await using service = await scene.start({ [variable]: disk });
      const { status, body } = await service.request(APP_FILE);
      assert.equal(status, 507);
      const [, says = ''] = body.toString().split('\n\n');
      const place = `${variable} is "${disk}": `;
      assert.ok(says.startsWith(place), says);
      assert.match(says.slice(place.length), /^\d[\d.]* k?B of 4\.19 MB are free\n/);
    },
  );
}

testOnSmallDisk('a disk that holds no more files says so', [4 * MIB, 12], async (disk) => {
  await using scene = await startScene();
  scene.registry.push('team/app', '1', imageOf(MIB));
  await using service = await scene.start({ CACHE_DIR: disk });
  const others = await fillWithFiles(disk);
  const { status, body } = await service.request(APP_FILE);
  assert.ok(others > 0);
  assert.equal(status, 507);
  assert.match(body.toString(), / of 4\.19 MB are free, and no more files can be created\n/);
});

/** Creates empty files until there can be no more. @returns how many */
async function fillWithFiles(folder: string): Promise<number> {
  for (let count = 0; ; count += 1) {
    try {
      await writeFile(join(folder, `other-${count}`), '');
    } catch (error) {
      assert.equal(systemErrorCode(error), 'ENOSPC');
      return count;
    }
  }
}
