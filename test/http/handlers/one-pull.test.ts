/** Concurrent requests for the same archive share one pull. These services have no cache. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  APP,
  APP_FILE,
  assertHolds,
  BASE_DIGEST,
  BASE_STALLS,
  type Scene,
  startScene,
  storedFiles,
  TOOL,
  wholePull,
} from '../../support/cached.ts';
import { readAll } from '../../support/collect.ts';
import { makeGzipBombLayer, makeImage, makeIndex } from '../../support/image.ts';
import { basic } from '../../support/pair.ts';
import { assertError, firstLine } from '../../support/reading.ts';
import type { Reply, RequestOptions, TestService } from '../../support/service.ts';
import { LARGE_BYTES } from '../../support/two-sizes.ts';
import { within } from '../../support/within.ts';

/** Room for one preparation, without a queue and without a cache. */
const ONE = { CACHE_MAX_BYTES: '0', MAX_CONCURRENT_PREPARATIONS: '1', MAX_QUEUED_PREPARATIONS: '0' };

/** How requests are gathered. */
interface Gathering {
  readonly path?: string;
  /** Number of requests to the service before. */
  readonly before?: number;
}

/** Sends requests for the same archive. Resolves when all of them wait for one preparation. */
async function gather(
  { registry, untilStalled }: Scene,
  service: TestService,
  options: readonly RequestOptions[],
  { path = APP_FILE, before = 0 }: Gathering = {},
): Promise<readonly Promise<Reply>[]> {
  registry.defects.stallRequests = { pattern: /manifests/, times: 1 };
  const replies = options.map((one) => service.request(path, one));
  // The caller handles the rejections of clients that leave later.
  for (const reply of replies) reply.catch(() => undefined);
  await service.waitForCallers('manifests', before + options.length);
  await untilStalled();
  registry.releaseStalled();
  await service.waitForCallers('files', before + options.length);
  return replies;
}

/** Checks that an archive is closed and removed after the requests for it. */
async function assertNothingStored(service: TestService): Promise<void> {
  assert.equal(await service.openFiles(), 0);
  assert.deepEqual(await storedFiles(service.workspace), []);
}

describe('concurrent requests', () => {
  for (const path of [APP_FILE, '/team/app:1?format=tar']) {
    test(`share one pull and one place: ${path}`, async () => {
      await using scene = await startScene();
      await using service = await scene.start(ONE);
      const alone = await service.request(path);
      scene.takeRequests();
      const replies = await gather(scene, service, Array(50).fill({}), { path, before: 1 });
      for (const reply of await Promise.all(replies)) {
        assert.equal(reply.status, 200, firstLine(reply));
        assert.ok(reply.body.equals(alone.body));
        assert.equal(reply.headers.etag, alone.headers.etag);
      }
      assertHolds(alone, APP);
      assert.deepEqual(scene.takeRequests().toSorted(), wholePull('team/app', '1', APP));
    });
  }

  test('share the requests for an index and its image', async () => {
    await using scene = await startScene();
    const arm64 = { os: 'linux', architecture: 'arm64' };
    scene.registry.push('team/multi', '1', makeIndex([{ image: APP }, { image: TOOL, platform: arm64 }]));
    await using service = await scene.start(ONE);
    const replies = await gather(scene, service, Array(10).fill({}), { path: '/docker/team_multi_1.tar' });
    for (const reply of await Promise.all(replies)) assertHolds(reply, APP);
    assert.deepEqual(
      scene.takeRequests().toSorted(),
      [`GET team/multi/manifests/${APP.manifest.digest}`, ...wholePull('team/multi', '1', APP)].toSorted(),
    );
  });

  test('are served also if the client of the first one leaves', async () => {
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
    assert.deepEqual(scene.takeRequests().toSorted(), wholePull('team/app', '1', APP));
  });

  test('end their pull and remove its files when all clients leave', async () => {
    await using scene = await startScene();
    await using service = await scene.start(ONE);
    scene.registry.defects.stallBlob = BASE_STALLS;
    const clients = new AbortController();
    const replies = await gather(scene, service, Array(3).fill({ signal: clients.signal }));
    await scene.untilStalled();
    assert.notEqual((await storedFiles(service.workspace)).length, 0);
    clients.abort();
    for (const reply of replies) await assert.rejects(reply, { name: 'AbortError' });
    await service.waitForLog({ event: 'request', outcome: 'aborted' }, 3);
    await scene.untilQuiet();
    await assertNothingStored(service);
    scene.registry.defects.stallBlob = undefined;
    assertHolds(await service.request(APP_FILE), APP);
  });

  test('all get the failure of their pull, and the next request starts a new one', async () => {
    await using scene = await startScene();
    await using service = await scene.start(ONE);
    scene.registry.defects.wrongBlobDigest = { digest: BASE_DIGEST, times: 1 };
    for (const reply of await Promise.all(await gather(scene, service, [{}, {}, {}]))) {
      assertError(reply, 502, 'VERIFICATION_FAILED');
    }
    await assertNothingStored(service);
    const base = `GET team/app/blobs/${BASE_DIGEST}`;
    assert.equal(scene.takeRequests().filter((line) => line === base).length, 1);
    assertHolds(await service.request(APP_FILE), APP);
    assert.deepEqual(scene.takeRequests().toSorted(), wholePull('team/app', '1', APP));
  });

  test('with other credentials than the first one are served if the registry refuses the first one', async () => {
    const users = new Map([
      ['one', 'a'],
      ['two', 'b'],
    ]);
    await using scene = await startScene({ auth: { mode: 'basic', users } });
    const { registry } = scene;
    await using service = await scene.start({ ...ONE, MAX_CONCURRENT_LAYERS: '1' });
    registry.defects.stallRequests = { pattern: /blobs/, times: 2 };
    const one = service.request(APP_FILE, { headers: { authorization: basic('one', 'a') } });
    await service.waitForCallers('files', 1);
    const two = service.request(APP_FILE, { headers: { authorization: basic('two', 'b') } });
    await service.waitForCallers('files', 2);
    await scene.untilStalled(2);
    registry.auth.users.delete('one');
    registry.releaseStalled();
    assertError(await one, 502, 'REGISTRY_DENIED');
    assertHolds(await two, APP);
  });

  test('share the archive as long as one client still reads it', async () => {
    await using scene = await startScene();
    const image = makeImage({ layers: [await makeGzipBombLayer(LARGE_BYTES)] });
    scene.registry.push('team/large', '1', image);
    await using service = await scene.start(ONE);
    const slow = await service.open('/docker/team_large_1.tar');
    scene.takeRequests();
    const later = await service.request('/docker/team_large_1.tar');
    assertHolds(later, image);
    assert.deepEqual(scene.takeRequests(), ['GET team/large/manifests/1']);
    assert.ok((await within(readAll(slow), 'the first archive')).equals(later.body));
    await service.waitForLog({ event: 'request', outcome: 'ok' }, 2);
    await assertNothingStored(service);
  });
});
