/** Who takes much, or takes long, does not keep the others from theirs. */

import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { describe, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { ReadBudget } from '../../../src/storage/read-budget.ts';
import { APP, APP_FILE, assertHolds, layerOf, startScene, TOOL } from '../../support/cached.ts';
import { startFakeRegistry } from '../../support/fake-registry.ts';
import { makeGzipBombLayer, makeImage } from '../../support/image.ts';
import { within } from '../../support/within.ts';

const MIB = 1024 ** 2;

const SIX = makeImage({ layers: Array.from({ length: 6 }, (_, at) => layerOf(`six ${at}`, 5_000)) });

describe('downloads at one registry', () => {
  test('are no more at once than MAX_CONCURRENT_DOWNLOADS, and no other registry waits for them', async () => {
    await using scene = await startScene();
    await using elsewhere = await startFakeRegistry();
    elsewhere.push('team/app', '1', APP);
    const { registry } = scene;
    registry.push('team/six', '1', SIX);
    await using service = await scene.start({
      CACHE_MAX_BYTES: '0',
      MAX_CONCURRENT_DOWNLOADS: '2',
      MAX_CONCURRENT_LAYERS: '6',
    });
    const layers = new RegExp(`GET .*/blobs/(?:${SIX.layers.map(({ digest }) => digest).join('|')})`);
    registry.defects.stallRequests = { pattern: layers };
    const reply = service.request('/docker/team_six_1.tar');
    for (let begun = 2; begun <= SIX.layers.length; begun += 2) {
      await within(registry.waitForRequest(layers, begun), `${begun} layers that are asked for`);
      await scene.untilStalled(2);
      // Time enough for a third one to be asked for; the other registry has all its places.
      assertHolds(await service.request(`/registry/http/${elsewhere.host}${APP_FILE}`), APP);
      assert.equal(registry.countRequests(layers), begun);
      registry.releaseStalled();
    }
    assertHolds(await reply, SIX);
    assert.equal(registry.countRequests(layers), 6);
    assert.equal(elsewhere.countRequests(/^GET .*\/blobs\//), 3 * APP.blobs.size);
  });

  test('are bounded for all images of it together', async () => {
    await using scene = await startScene();
    const { registry } = scene;
    await using service = await scene.start({ CACHE_MAX_BYTES: '0', MAX_CONCURRENT_DOWNLOADS: '1' });
    const layers = new RegExp(
      `GET .*/blobs/(?:${[...APP.layers, ...TOOL.layers].map(({ digest }) => digest).join('|')})`,
    );
    registry.defects.stallRequests = { pattern: layers, times: 1 };
    const app = service.request(APP_FILE);
    await scene.untilStalled();
    const tool = service.request('/docker/org_tool_1.tar');
    // Its config, which is asked for along with its layers, needs no place.
    await within(registry.waitForRequest(new RegExp(TOOL.config.digest)), 'the request for a config');
    await within(service.request('/health'), 'an answer');
    assert.equal(registry.countRequests(layers), 1);
    registry.releaseStalled();
    assertHolds(await app, APP);
    assertHolds(await tool, TOOL);
  });
});

/** What so many readers may have that come one after the other: each two pieces of the size that there was when it came. */
function readersBytes(count: number): number {
  const budget = new ReadBudget(24 * MIB);
  let bytes = 0;
  for (let readers = 0; readers < count; readers += 1) {
    budget.enter();
    bytes += 2 * budget.readBytes;
  }
  return bytes;
}

describe('clients that take one byte and then nothing', () => {
  const STALLED = 40;
  const IMAGE_BYTES = 30 * MIB;
  /** Room for each to be where no other is. */
  const LONG_BYTES = STALLED * 3 * MIB + IMAGE_BYTES;
  /** What is kept for those who read the same. */
  const KEPT_BYTES = 12 * MIB;
  /** The client's own end, which is in this process too. */
  const CLIENT_BYTES = 256 * 1024;
  const LARGE_FILE = '/docker/team_large_1.tar';

  /** Opens an archive and takes a byte of it. */
  async function takeOne(response: IncomingMessage): Promise<void> {
    const first = Promise.withResolvers<void>();
    response.once('readable', () => {
      if (response.read(1) !== null) first.resolve();
    });
    await within(first.promise, 'a byte');
  }

  test('hold no place, and of memory no more than all readers share', async () => {
    await using scene = await startScene();
    scene.registry.push('team/large', '1', makeImage({ layers: [await makeGzipBombLayer(LONG_BYTES)] }));
    await using service = await scene.start({
      CACHE_MAX_BYTES: '0',
      MAX_CONCURRENT_PREPARATIONS: '1',
      MAX_QUEUED_PREPARATIONS: '0',
    });
    setFlagsFromString('--expose-gc');
    const collectGarbage = runInNewContext('gc') as () => void;
    const bytesHeld = (): number => {
      collectGarbage();
      const { external, arrayBuffers } = process.memoryUsage();
      return external + arrayBuffers;
    };
    const first = await service.open(LARGE_FILE);
    await takeOne(first);
    const before = bytesHeld();
    // Each at another place of the archive, so that none has what another one has read.
    const { etag = '' } = first.headers;
    const clients = await Promise.all(
      Array.from({ length: STALLED }, (_, at) =>
        service.open(LARGE_FILE, { headers: { 'if-range': etag, range: `bytes=${at * 3 * MIB}-` } }),
      ),
    );
    assert.ok(clients.every(({ statusCode }) => statusCode === 206));
    await Promise.all(clients.map(takeOne));
    // A preparation of another image has its place, and gives the service time for whatever it would do ahead.
    for (let turn = 0; turn < 5; turn += 1) assertHolds(await service.request(APP_FILE), APP);
    // Array buffers stand in both sums.
    const held = (bytesHeld() - before) / 2;
    const most = KEPT_BYTES + readersBytes(STALLED + 1) + STALLED * CLIENT_BYTES;
    assert.ok(held < most, `${held} bytes were held for ${STALLED} clients, more than ${most}`);
    for (const client of [first, ...clients]) client.destroy();
    await service.waitForLog({ event: 'request', outcome: 'aborted' }, STALLED + 1);
    assert.equal(await service.openFiles(), 0);
  });

  test('do not keep others from the same archive', async () => {
    await using scene = await startScene();
    const image = makeImage({ layers: [await makeGzipBombLayer(IMAGE_BYTES)] });
    scene.registry.push('team/large', '1', image);
    await using service = await scene.start({
      CACHE_MAX_BYTES: '0',
      MAX_CONCURRENT_PREPARATIONS: '1',
      MAX_QUEUED_PREPARATIONS: '0',
    });
    const slow = await service.open(LARGE_FILE);
    await takeOne(slow);
    assertHolds(await service.request(LARGE_FILE), image);
    slow.destroy();
  });
});
