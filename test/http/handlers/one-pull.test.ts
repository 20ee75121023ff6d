/** One pull for all who ask for the same at the same time. Nothing is kept here for who comes later. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import {
  APP,
  APP_FILE,
  assertHolds,
  BASE_DIGEST,
  type Scene,
  startScene,
  storedFiles,
  TOOL,
  wholePull,
} from '../../support/cached.ts';
import { readAll, sha256 } from '../../support/collect.ts';
import { makeGzipBombLayer, makeImage, makeIndex } from '../../support/image.ts';
import { basic } from '../../support/pair.ts';
import { firstLine, hexOf } from '../../support/reading.ts';
import type { Reply, RequestOptions, TestService } from '../../support/service.ts';
import { LARGE_BYTES } from '../../support/two-sizes.ts';
import { within } from '../../support/within.ts';

/** Room for one preparation and nobody who waits, and nothing kept. */
const ONE = { CACHE_MAX_BYTES: '0', MAX_CONCURRENT_PREPARATIONS: '1', MAX_QUEUED_PREPARATIONS: '0' };

const BASE_STALLS = { digest: BASE_DIGEST, afterBytes: 1000 };

/**
 * Lets several ask for the same, the first first, and resolves once all of them wait for one preparation.
 *
 * @param before how many have asked the service before
 */
async function gather(
  { registry, untilStalled }: Scene,
  service: TestService,
  options: readonly RequestOptions[],
  path = APP_FILE,
  before = 0,
): Promise<readonly Promise<Reply>[]> {
  registry.defects.stallRequests = { pattern: /manifests/, times: 1 };
  const replies = options.map((one) => service.request(path, one));
  // Whoever leaves is looked at later.
  for (const reply of replies) reply.catch(() => undefined);
  await service.waitForAskers('flights', before + options.length);
  await untilStalled();
  registry.releaseStalled();
  await service.waitForAskers('deliveries', before + options.length);
  return replies;
}

describe('clients that come at once', () => {
  for (const [what, path] of [
    ['by file name', APP_FILE],
    ['by reference', '/team/app:1?format=tar'],
  ] as const) {
    test(`share one pull, and one place for it (${what})`, async () => {
      await using scene = await startScene();
      await using service = await scene.start(ONE);
      const alone = await service.request(path);
      scene.asked();
      const replies = await Promise.all(await gather(scene, service, new Array(50).fill({}), path, 1));
      for (const reply of replies) {
        assert.equal(reply.status, 200, firstLine(reply));
        assert.ok(reply.body.equals(alone.body));
        assert.equal(reply.headers.etag, alone.headers.etag);
      }
      assertHolds(alone, APP);
      assert.deepEqual(scene.asked().toSorted(), wholePull('team/app', '1', APP));
    });
  }

  test('share the way through an index', async () => {
    await using scene = await startScene();
    const index = makeIndex([
      { image: APP },
      { image: TOOL, platform: { os: 'linux', architecture: 'arm64' } },
    ]);
    scene.registry.push('team/multi', '1', index);
    await using service = await scene.start(ONE);
    const path = '/docker/team_multi_1.tar';
    const replies = await Promise.all(await gather(scene, service, new Array(10).fill({}), path));
    for (const reply of replies) assertHolds(reply, APP);
    assert.deepEqual(
      scene.asked().toSorted(),
      [`GET team/multi/manifests/${APP.manifest.digest}`, ...wholePull('team/multi', '1', APP)].toSorted(),
    );
  });

  test('get it also when the one who came first leaves', async () => {
    await using scene = await startScene();
    await using service = await scene.start(ONE);
    scene.registry.defects.stallBlob = BASE_STALLS;
    const first = new AbortController();
    const [gone, ...others] = await gather(scene, service, [{ signal: first.signal }, {}, {}]);
    await scene.untilStalled();
    first.abort();
    await assert.rejects(gone ?? Promise.resolve(), { name: 'AbortError' });
    await service.waitForLog({ event: 'request', outcome: 'aborted' });
    scene.registry.releaseStalled();
    for (const reply of await Promise.all(others)) assertHolds(reply, APP);
    assert.deepEqual(scene.asked().toSorted(), wholePull('team/app', '1', APP));
  });

  test('and all leave take the pull along, and nothing is left of it', async () => {
    await using scene = await startScene();
    await using service = await scene.start(ONE);
    scene.registry.defects.stallBlob = BASE_STALLS;
    const clients = new AbortController();
    const replies = await gather(scene, service, new Array(3).fill({ signal: clients.signal }));
    await scene.untilStalled();
    assert.notEqual((await storedFiles(service.workspace)).length, 0);
    clients.abort();
    for (const reply of replies) await assert.rejects(reply, { name: 'AbortError' });
    await service.waitForLog({ event: 'request', outcome: 'aborted' }, 3);
    await scene.untilQuiet();
    assert.equal(await service.openFiles(), 0);
    assert.deepEqual(await storedFiles(service.workspace), []);
    scene.registry.defects.stallBlob = undefined;
    assertHolds(await service.request(APP_FILE), APP);
  });

  test('all get its failure, and who comes next begins anew', async () => {
    await using scene = await startScene();
    await using service = await scene.start(ONE);
    scene.registry.defects.wrongBlobDigest = { digest: BASE_DIGEST, times: 1 };
    for (const reply of await Promise.all(await gather(scene, service, [{}, {}, {}]))) {
      assert.equal(reply.status, 502);
      assert.match(reply.body.toString(), /^error: VERIFICATION_FAILED$/m);
    }
    await service.openFiles();
    const base = `GET team/app/blobs/${BASE_DIGEST}`;
    assert.equal(scene.asked().filter((line) => line === base).length, 1);
    assert.deepEqual(await storedFiles(service.workspace), []);
    assertHolds(await service.request(APP_FILE), APP);
    assert.deepEqual(scene.asked().toSorted(), wholePull('team/app', '1', APP));
  });

  test('with other credentials than the first, who is refused, get it all the same', async () => {
    await using scene = await startScene({
      auth: {
        mode: 'basic',
        users: new Map([
          ['one', 'a'],
          ['two', 'b'],
        ]),
      },
    });
    const { registry } = scene;
    await using service = await scene.start({ ...ONE, MAX_CONCURRENT_LAYERS: '1' });
    registry.defects.stallRequests = { pattern: /blobs/, times: 2 };
    const one = service.request(APP_FILE, { headers: { authorization: basic('one', 'a') } });
    await service.waitForAskers('deliveries', 1);
    const two = service.request(APP_FILE, { headers: { authorization: basic('two', 'b') } });
    await service.waitForAskers('deliveries', 2);
    await scene.untilStalled(2);
    registry.auth.users.delete('one');
    registry.releaseStalled();
    const refused = await one;
    assert.equal(refused.status, 502);
    assert.match(refused.body.toString(), /^error: REGISTRY_DENIED$/m);
    assertHolds(await two, APP);
  });

  test('and later ones have the archive while somebody still takes it', async () => {
    await using scene = await startScene();
    const image = makeImage({ layers: [await makeGzipBombLayer(LARGE_BYTES)] });
    scene.registry.push('team/large', '1', image);
    await using service = await scene.start(ONE);
    const slow = await service.open('/docker/team_large_1.tar');
    scene.asked();
    const later = await service.request('/docker/team_large_1.tar');
    assertHolds(later, image);
    assert.deepEqual(scene.asked(), ['GET team/large/manifests/1']);
    assert.ok((await within(readAll(slow), 'the first archive')).equals(later.body));
    await service.waitForLog({ event: 'request', outcome: 'ok' }, 2);
    assert.equal(await service.openFiles(), 0);
    assert.deepEqual(await storedFiles(service.workspace), []);
  });
});

describe('a compressed archive', () => {
  test('is made once for all, and its checksum is known to each', async () => {
    let made = 0;
    await using scene = await startScene();
    await using service = await scene.start(ONE, {
      tamper: (file, key) => {
        if (key.startsWith('gzip') && file.source === 'made') made += 1;
        return file;
      },
    });
    const plain = await service.request(APP_FILE);
    const path = '/docker/team_app_1.tgz';
    for (const { status, body, headers } of await Promise.all(
      await gather(scene, service, new Array(10).fill({}), path, 1),
    )) {
      assert.equal(status, 200);
      assert.ok(gunzipSync(body).equals(plain.body));
      const digest = Buffer.from(hexOf(sha256(body)), 'hex').toString('base64');
      assert.equal(headers['repr-digest'], `sha-256=:${digest}:`);
    }
    assert.equal(made, 1);
  });

  for (const path of ['/docker/team_app_1.tar', '/docker/team_app_1.tgz']) {
    test(`and its line of checksum cost one reading for all (${path})`, async () => {
      const reads = new Map<string, number>();
      await using scene = await startScene();
      await using service = await scene.start(ONE, {
        tamper: (file, key) => {
          const read = file.read.bind(file);
          file.read = (range) => {
            reads.set(key, (reads.get(key) ?? 0) + 1);
            return read(range);
          };
          return file;
        },
      });
      const { body } = await service.request(path);
      reads.clear();
      const checksums = await Promise.all(
        await gather(scene, service, new Array(10).fill({}), `${path}.sha256`, 1),
      );
      for (const checksum of checksums) assert.equal(firstLine(checksum).split(' ')[0], hexOf(sha256(body)));
      assert.notEqual(reads.size, 0);
      for (const [key, count] of reads) assert.equal(count, 1, `${key} was read ${count} times`);
    });
  }
});
