/** Clients and images that take much, or take long, do not delay the others. */

import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { describe, test } from 'node:test';
import { ReadBudget } from '../../../src/storage/read-budget.ts';
import { APP, APP_FILE, assertHolds, layerOf, startScene, TOOL, TOOL_FILE } from '../../support/cached.ts';
import { collectGarbage } from '../../support/collect-garbage.ts';
import { startFakeRegistry } from '../../support/fake-registry.ts';
import { makeGzipBombLayer, makeImage } from '../../support/image.ts';
import { LARGE_FILE } from '../../support/two-sizes.ts';
import { within } from '../../support/within.ts';

const MIB = 1024 ** 2;

const SIX = makeImage({ layers: Array.from({ length: 6 }, (_, at) => layerOf(`six ${at}`, 5_000)) });

/** Matches the requests for the layers of images. */
function layersOf(...images: readonly (typeof APP)[]): RegExp {
  const digests = images.flatMap(({ layers }) => layers.map(({ digest }) => digest));
  return new RegExp(`GET .*/blobs/(?:${digests.join('|')})`);
}

describe('concurrent downloads from a registry', () => {
  test('are limited by MAX_CONCURRENT_DOWNLOADS; other registries do not wait for them', async () => {
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
    const pattern = layersOf(SIX);
    registry.defects.stallRequests = { pattern };
    const reply = service.request('/docker/team_six_1.tar');
    for (let begun = 2; begun <= SIX.layers.length; begun += 2) {
      await within(registry.waitForRequest(pattern, begun), `${begun} requests for layers`);
      await scene.untilStalled(2);
      // A whole pull from the other registry is time enough for a third request.
      assertHolds(await service.request(`/registry/http/${elsewhere.host}${APP_FILE}`), APP);
      assert.equal(registry.countRequests(pattern), begun);
      registry.releaseStalled();
    }
    assertHolds(await reply, SIX);
    assert.equal(registry.countRequests(pattern), 6);
    assert.equal(elsewhere.countRequests(/^GET .*\/blobs\//), 3 * APP.blobs.size);
  });

  test('are limited for all images of the registry together', async () => {
    await using scene = await startScene();
    const { registry } = scene;
    await using service = await scene.start({ CACHE_MAX_BYTES: '0', MAX_CONCURRENT_DOWNLOADS: '1' });
    const pattern = layersOf(APP, TOOL);
    registry.defects.stallRequests = { pattern, times: 1 };
    const app = service.request(APP_FILE);
    await scene.untilStalled();
    const tool = service.request(TOOL_FILE);
    // The config is requested together with the layers and needs no permit.
    await within(registry.waitForRequest(new RegExp(TOOL.config.digest)), 'the request for the config');
    await within(service.request('/health'), 'an answer');
    assert.equal(registry.countRequests(pattern), 1);
    registry.releaseStalled();
    assertHolds(await app, APP);
    assertHolds(await tool, TOOL);
  });
});

/** Most bytes for readers that come one after the other: two chunks each, of the size at its arrival. */
function readersBytes(count: number): number {
  const budget = new ReadBudget(24 * MIB);
  let bytes = 0;
  for (let readers = 0; readers < count; readers += 1) {
    budget.enter();
    bytes += 2 * budget.readBytes;
  }
  return bytes;
}

describe('clients that read one byte and then stall', () => {
  const STALLED = 40;
  const IMAGE_BYTES = 30 * MIB;
  /** Room for ranges that do not overlap in what is read ahead. */
  const LONG_BYTES = STALLED * 3 * MIB + IMAGE_BYTES;
  /** The read cache, which readers of the same bytes share. */
  const READ_CACHE_BYTES = 12 * MIB;
  /** Buffers of the client, which is in this process, too. */
  const CLIENT_BYTES = 256 * 1024;
  const ONE = { CACHE_MAX_BYTES: '0', MAX_CONCURRENT_PREPARATIONS: '1', MAX_QUEUED_PREPARATIONS: '0' };

  async function takeOne(response: IncomingMessage): Promise<void> {
    const first = Promise.withResolvers<void>();
    response.once('readable', () => {
      if (response.read(1) !== null) first.resolve();
    });
    await within(first.promise, 'a byte');
  }

  /** A scene with a large image, and a service with one place for preparations. */
  async function startLarge(bytes: number) {
    await using stack = new AsyncDisposableStack();
    const scene = stack.use(await startScene());
    const image = makeImage({ layers: [await makeGzipBombLayer(bytes)] });
    scene.registry.push('team/large', '1', image);
    const service = stack.use(await scene.start(ONE));
    const all = stack.move();
    return { image, service, [Symbol.asyncDispose]: () => all.disposeAsync() };
  }

  test('occupy no place, and together no more memory than the budget of all readers', async () => {
    await using scene = await startLarge(LONG_BYTES);
    const { service } = scene;
    const bytesHeld = (): number => {
      collectGarbage();
      const { external, arrayBuffers } = process.memoryUsage();
      return external + arrayBuffers;
    };
    const first = await service.open(LARGE_FILE);
    await takeOne(first);
    const before = bytesHeld();
    const { etag = '' } = first.headers;
    const clients = await Promise.all(
      Array.from({ length: STALLED }, (_, at) =>
        service.open(LARGE_FILE, { headers: { 'if-range': etag, range: `bytes=${at * 3 * MIB}-` } }),
      ),
    );
    assert.ok(clients.every(({ statusCode }) => statusCode === 206));
    await Promise.all(clients.map(takeOne));
    // These pulls get the only place, and give the service time to read ahead as far as it ever does.
    for (let turn = 0; turn < 5; turn += 1) assertHolds(await service.request(APP_FILE), APP);
    // Array buffers are counted in both numbers.
    const held = (bytesHeld() - before) / 2;
    const most = READ_CACHE_BYTES + readersBytes(STALLED + 1) + STALLED * CLIENT_BYTES;
    assert.ok(held < most, `${held} bytes were held for ${STALLED} clients, more than ${most}`);
    for (const client of [first, ...clients]) client.destroy();
    await service.waitForLog({ event: 'request', outcome: 'aborted' }, STALLED + 1);
    assert.equal(await service.openFiles(), 0);
  });

  test('do not delay other clients of the same archive', async () => {
    await using scene = await startLarge(IMAGE_BYTES);
    const slow = await scene.service.open(LARGE_FILE);
    await takeOne(slow);
    assertHolds(await scene.service.request(LARGE_FILE), scene.image);
    slow.destroy();
  });
});

describe('a client whose repository hangs, with all its places taken', () => {
  const IMAGES = Array.from({ length: 10 }, (_, image) =>
    makeImage({ layers: Array.from({ length: 4 }, (_, at) => layerOf(`hang ${image} ${at}`, 2_000)) }),
  );

  /** A scene in which one client has asked for ten images of a repository whose blobs never come. */
  async function startHanging(env: Readonly<Record<string, string>> = {}) {
    await using stack = new AsyncDisposableStack();
    const scene = stack.use(await startScene());
    const { registry } = scene;
    for (const [index, image] of IMAGES.entries()) registry.push('team/hangs', `${index}`, image);
    registry.defects.stallRequests = { pattern: /team\/hangs\/blobs/ };
    const service = stack.use(await scene.start(env));
    for (const index of IMAGES.keys()) {
      const begun = await service.request(`/prepare/docker/team_hangs_${index}.tar`, { method: 'POST' });
      assert.equal(begun.status, 202);
    }
    await service.waitForCallers('files', IMAGES.length);
    await within(registry.waitForRequest(/team\/hangs\/blobs/, 4), 'requests for blobs');
    const all = stack.move();
    return { registry, service, [Symbol.asyncDispose]: () => all.disposeAsync() };
  }

  for (const [what, env] of [
    ['the default limits', {}],
    ['one place', { MAX_CONCURRENT_PREPARATIONS: '1', MAX_CONCURRENT_DOWNLOADS: '4' }],
    ['a full queue', { MAX_QUEUED_PREPARATIONS: '6' }],
  ] as const) {
    test(`does not delay another client's image of the same registry: ${what}`, async () => {
      await using scene = await startHanging(env);
      const reply = scene.service.request(APP_FILE, { localAddress: '127.0.0.2' });
      assertHolds(await within(reply, 'the archive'), APP);
    });
  }

  test('does not delay an image of another registry for another client', async () => {
    await using scene = await startHanging();
    await using elsewhere = await startFakeRegistry();
    elsewhere.push('team/app', '1', APP);
    const path = `/registry/http/${elsewhere.host}${APP_FILE}`;
    const reply = scene.service.request(path, { localAddress: '127.0.0.2' });
    assertHolds(await within(reply, 'the archive'), APP);
  });
});

test('192 requests for a repository that hangs do not delay another one of its registry', async () => {
  await using scene = await startScene();
  const { registry } = scene;
  registry.defects.stallRequests = { pattern: /team\/hangs\/manifests/ };
  await using service = await scene.start();
  const leaver = new AbortController();
  const hanging = Array.from({ length: 192 }, (_, index) =>
    service
      .open(`/docker/team_hangs_${index}.tar`, {
        signal: leaver.signal,
        localAddress: `127.0.1.${1 + (index % 24)}`,
      })
      .catch(() => undefined),
  );
  await within(registry.waitForRequest(/team\/hangs\/manifests/, 48), '48 requests');
  await service.waitForCallers('manifests', 192);
  assertHolds(await within(service.request(APP_FILE), 'the archive'), APP);
  assert.equal(registry.countRequests(/team\/hangs\/manifests/), 48);
  leaver.abort();
  await Promise.all(hanging);
});
