/** Archives that are prepared before a client fetches them. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  APP,
  APP_FILE,
  assertHolds,
  BASE_DIGEST,
  BASE_STALLS,
  BUNDLE,
  blobsOf,
  layerOf,
  type Scene,
  startScene,
  storedFiles,
  TOOL,
  TOOL_FILE,
  wholePull,
} from '../../support/cached.ts';
import { makeImage } from '../../support/image.ts';
import {
  assertPrepared,
  documentOf,
  ended,
  lookUp,
  lookUpUntil,
  prepare,
  prepareDone,
} from '../../support/preparing.ts';

const MB = 1_000_000;
const DELETE = { method: 'DELETE' };

/** Compressed bytes of the layers of an image. */
function layerBytes({ layers }: typeof APP): number {
  return layers.reduce((sum, { blob }) => sum + blob.length, 0);
}

/** Checks that the image was fetched once. */
function assertFetchedOnce({ takeRequests }: Scene): void {
  assert.deepEqual(blobsOf(takeRequests()).toSorted(), blobsOf(wholePull('team/app', '1', APP)));
}

describe('a preparation', () => {
  test('is accepted at once, shows its progress, and makes the download cost no blob', async () => {
    await using scene = await startScene();
    const { registry } = scene;
    const image = makeImage({ layers: ['one', 'two', 'three'].map((name) => layerOf(name, 2 * MB)) });
    registry.push('team/large', '1', image);
    const [one, , three] = image.layers;
    registry.defects.stallRequests = { pattern: /manifests/, times: 1 };
    registry.defects.stallBlob = [one, three].map((layer) => ({
      digest: layer?.digest ?? '',
      afterBytes: 1.5 * MB,
      times: 1,
    }));
    await using service = await scene.start({ MAX_CONCURRENT_LAYERS: '1' });
    const started = await prepare(service, '/docker/team_large_1.tar');
    const { first, location } = started;
    const { id, startedAt, ...rest } = first;
    assert.equal(location, `/preparations/${id}`);
    assert.ok(!Number.isNaN(Date.parse(startedAt)));
    const nothing = { done: 0, total: 0 };
    assert.deepEqual(rest, {
      path: '/docker/team_large_1.tar',
      layout: 'docker',
      platform: 'linux/amd64',
      images: [`${registry.host}/team/large:1`],
      state: 'resolving',
      layers: nothing,
      bytes: nothing,
      layerProgress: [],
    });

    await scene.untilStalled();
    assert.deepEqual(await lookUp(service, location), first);
    registry.releaseStalled();
    const total = layerBytes(image);
    await scene.untilStalled();
    const fetching = await lookUpUntil(service, location, ({ bytes }) => bytes.done > 0);
    assert.equal(fetching.state, 'fetching');
    assert.deepEqual(fetching.layers, { done: 0, total: 3 });
    assert.equal(fetching.bytes.total, total);
    assert.ok(fetching.bytes.done <= 1.5 * MB);
    const waiting = image.layers.map(({ digest, blob }) => ({
      ...{ digest, done: 0, total: blob.length, state: 'waiting' },
    }));
    const begun = { ...waiting[0], done: fetching.bytes.done, state: 'fetching' };
    assert.deepEqual(fetching.layerProgress, [begun, ...waiting.slice(1)]);

    registry.releaseStalled();
    const further = await lookUpUntil(service, location, ({ layers }) => layers.done === 2);
    assert.equal(further.state, 'fetching');
    assert.ok(further.bytes.done >= 4 * MB && further.bytes.done < total);

    await scene.untilStalled();
    registry.releaseStalled();
    const { endedAt = '', ...done } = await ended(service, started);
    assert.ok(Date.parse(endedAt) >= Date.parse(startedAt));
    const progress = {
      layers: { done: 3, total: 3 },
      bytes: { done: total, total },
      layerProgress: waiting.map((layer) => ({ ...layer, done: layer.total, state: 'ready' })),
    };
    assert.deepEqual(done, { ...first, state: 'done', ...progress });
    assert.deepEqual(scene.takeRequests().toSorted(), wholePull('team/large', '1', image));
    assertHolds(await assertPrepared(scene, service, '/docker/team_large_1.tar'), image);
    assert.equal((await lookUp(service, location)).state, 'done', 'an ended preparation stays known');
    const head = await service.request(location, { method: 'HEAD' });
    assert.deepEqual([head.status, head.body.length], [200, 0]);
  });

  test('has the state "waiting" while all places are taken', async () => {
    await using scene = await startScene();
    const { registry } = scene;
    registry.defects.stallRequests = { pattern: new RegExp(`app/blobs/${BASE_DIGEST}`) };
    await using service = await scene.start({ MAX_CONCURRENT_PREPARATIONS: '1' });
    const first = await prepare(service, APP_FILE);
    await scene.untilStalled();
    const second = await prepare(service, TOOL_FILE);
    await lookUpUntil(service, second.location, ({ state }) => state === 'waiting');
    registry.releaseStalled();
    for (const one of [first, second]) assert.equal((await ended(service, one)).state, 'done');
  });

  test('of a cached archive fetches nothing', async () => {
    await using scene = await startScene();
    await using service = await scene.start();
    await service.request(APP_FILE);
    scene.takeRequests();
    const done = await prepareDone(service, APP_FILE);
    assert.deepEqual(done.layers, { done: 3, total: 3 });
    assert.deepEqual(done.bytes, { done: layerBytes(APP), total: layerBytes(APP) });
    assert.deepEqual(scene.takeRequests(), ['HEAD team/app/manifests/1']);
  });

  const paths: readonly (readonly [prepared: string, requested: string])[] = [
    ['/docker/team_app_1.tgz', '/docker/team_app_1.tgz'],
    ['/docker-gzip/team_app_1.tar', '/docker-gzip/team_app_1.tar'],
    ['/oci/team_app_1.tar', '/oci/team_app_1.tar'],
    ['/platform/linux/amd64/docker/team_app_1.tar', APP_FILE],
    ['/team/app:1', '/team/app:1'],
    ['/team/app:1?layout=oci&format=tar', '/oci/team_app_1.tar'],
    [BUNDLE, BUNDLE],
    [APP_FILE, '/docker/team_app_1.tar.sha256'],
  ];
  for (const [prepared, requested] of paths) {
    test(`of ${prepared} prepares ${requested}`, async () => {
      await using scene = await startScene();
      await using plain = await scene.start({ CACHE_MAX_BYTES: '0' });
      const expected = await plain.request(requested);
      await using service = await scene.start();
      assert.equal((await prepareDone(service, prepared)).path, prepared);
      assert.ok((await assertPrepared(scene, service, requested)).body.equals(expected.body));
    });
  }

  test('of a bundle takes the references in its body', async () => {
    await using scene = await startScene();
    await using service = await scene.start();
    const { images } = await prepareDone(service, '/bundle.tar', { body: 'team/app:1\norg/tool:1\n' });
    const { host } = scene.registry;
    assert.deepEqual(images, [`${host}/team/app:1`, `${host}/org/tool:1`]);
    assertHolds(await assertPrepared(scene, service, BUNDLE), APP, TOOL);
  });

  test('that fails has the error in its document and in the log', async () => {
    await using scene = await startScene();
    scene.registry.defects.dropBlob = { digest: BASE_DIGEST };
    await using service = await scene.start();
    const started = await prepare(service, APP_FILE);
    const { state, error, endedAt } = await ended(service, started);
    assert.equal(state, 'failed');
    assert.notEqual(endedAt, undefined);
    const { detail = '', line: text, ...rest } = error ?? {};
    assert.equal(text, `Failed to prepare image: ${detail}`);
    assert.deepEqual(rest, { status: 502, title: 'Failed to prepare image', code: 'IMAGE_NOT_FOUND' });
    assert.match(detail, new RegExp(BASE_DIGEST));
    const line = await service.waitForLog({ event: 'preparation', state: 'failed' });
    assert.deepEqual([line['error'], line['level']], ['IMAGE_NOT_FOUND', 'warn']);
    scene.registry.defects.dropBlob = undefined;
    await prepareDone(service, APP_FILE);
    assert.equal(
      (await lookUp(service, started.location)).state,
      'failed',
      'a later success changes nothing',
    );
  });

  test('shares its pull with other preparations and requests', async () => {
    await using scene = await startScene();
    scene.registry.defects.stallBlob = BASE_STALLS;
    await using service = await scene.start();
    const [one, two] = [await prepare(service, APP_FILE), await prepare(service, APP_FILE)];
    assert.notEqual(one.first.id, two.first.id);
    const client = service.request(APP_FILE);
    await service.waitForCallers('files', 3);
    await scene.untilStalled();
    scene.registry.releaseStalled();
    assertHolds(await client, APP);
    for (const started of [one, two]) assert.equal((await ended(service, started)).state, 'done');
    assertFetchedOnce(scene);
  });
});

describe('HEAD of an archive', () => {
  test('prepares it and is answered when it is ready', async () => {
    await using scene = await startScene();
    await using service = await scene.start();
    scene.registry.defects.stallBlob = BASE_STALLS;
    let isAnswered = false;
    const answer = service.request(APP_FILE, { method: 'HEAD' }).finally(() => {
      isAnswered = true;
    });
    await scene.untilStalled();
    assert.equal((await service.request('/health')).status, 200);
    assert.equal(isAnswered, false);
    scene.registry.releaseStalled();
    const head = await answer;
    assert.deepEqual([head.status, head.body.length], [200, 0]);
    assert.deepEqual(scene.takeRequests().toSorted(), wholePull('team/app', '1', APP));
    const reply = await assertPrepared(scene, service, APP_FILE);
    assertHolds(reply, APP);
    assert.equal(head.headers['content-length'], String(reply.body.length));
    assert.equal(head.headers.etag, reply.headers.etag);
  });
});

describe('a preparation that is cancelled', () => {
  test('ends its pull and removes its files; a second DELETE removes it', async () => {
    await using scene = await startScene();
    scene.registry.defects.stallBlob = BASE_STALLS;
    await using service = await scene.start({ CACHE_DIR: scene.directory });
    const { location, first } = await prepare(service, APP_FILE);
    await scene.untilStalled();
    const reply = await service.request(location, DELETE);
    assert.deepEqual([reply.status, reply.body.length], [204, 0]);
    await scene.untilQuiet();
    const { state, endedAt } = await lookUp(service, location);
    assert.equal(state, 'cancelled');
    assert.notEqual(endedAt, undefined);
    const line = await service.waitForLog({ event: 'preparation', id: first.id });
    assert.deepEqual([line['state'], line['level']], ['cancelled', 'info']);
    const stored = await storedFiles(scene.directory);
    assert.deepEqual(
      stored.filter((path) => path.includes('incoming')),
      [],
    );
    assert.equal((await service.request(location, DELETE)).status, 204);
    for (const method of ['GET', 'DELETE']) {
      assert.equal((await service.request(location, { method })).status, 404);
    }
    scene.registry.defects.stallBlob = undefined;
    assertHolds(await service.request(APP_FILE), APP);
  });

  test('ends also while its manifest is requested', async () => {
    await using scene = await startScene();
    scene.registry.defects.stallRequests = { pattern: /manifests/ };
    await using service = await scene.start();
    const { location } = await prepare(service, APP_FILE);
    await scene.untilStalled();
    assert.equal((await service.request(location, DELETE)).status, 204);
    await scene.untilQuiet();
    assert.equal((await lookUp(service, location)).state, 'cancelled');
  });

  test('does not end the pull for a client that shares it', async () => {
    await using scene = await startScene();
    scene.registry.defects.stallBlob = BASE_STALLS;
    await using service = await scene.start();
    const { location } = await prepare(service, APP_FILE);
    await service.waitForCallers('files', 1);
    const client = service.request(APP_FILE);
    await service.waitForCallers('files', 2);
    await scene.untilStalled();
    assert.equal((await service.request(location, DELETE)).status, 204);
    assert.equal((await lookUp(service, location)).state, 'cancelled');
    scene.registry.releaseStalled();
    assertHolds(await client, APP);
    assertFetchedOnce(scene);
  });

  test('after its end leaves the archive in the cache', async () => {
    await using scene = await startScene();
    await using service = await scene.start();
    const { id } = await prepareDone(service, APP_FILE);
    assert.equal((await service.request(`/preparations/${id}`, DELETE)).status, 204);
    assert.equal((await service.request(`/preparations/${id}`)).status, 404);
    assertHolds(await assertPrepared(scene, service, APP_FILE), APP);
    const again = await service.request(`/prepare${APP_FILE}`, { method: 'POST' });
    assert.equal(documentOf(again).state, 'resolving');
  });
});

test('a preparation goes on when a client that shares its pull leaves', async () => {
  await using scene = await startScene();
  scene.registry.defects.stallBlob = BASE_STALLS;
  await using service = await scene.start();
  const client = new AbortController();
  const leaving = service.request(APP_FILE, { signal: client.signal });
  await service.waitForCallers('files', 1);
  const started = await prepare(service, APP_FILE);
  await service.waitForCallers('files', 2);
  await scene.untilStalled();
  client.abort();
  await assert.rejects(leaving, { name: 'AbortError' });
  await service.waitForLog({ event: 'request', outcome: 'aborted' });
  scene.registry.releaseStalled();
  assert.equal((await ended(service, started)).state, 'done');
  assertFetchedOnce(scene);
});
