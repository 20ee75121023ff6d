/** Archives that are prepared before somebody fetches them. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  APP,
  APP_FILE,
  assertHolds,
  BASE_DIGEST,
  blobsOf,
  layerOf,
  startScene,
  storedFiles,
  TOOL,
  wholePull,
} from '../../support/cached.ts';
import { makeImage } from '../../support/image.ts';
import { assertPrepared, ended, jobOf, look, prepare, until } from '../../support/preparing.ts';

const MB = 1_000_000;

/** Bytes of an image's layers as the registry has them. */
function packedBytes({ layers }: typeof APP): number {
  return layers.reduce((sum, { blob }) => sum + blob.length, 0);
}

describe('a preparation', () => {
  test('is taken on at once, tells how far it is, and makes the download cost no blob', async () => {
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
    const job = await prepare(service, '/docker/team_large_1.tar');
    const { first, location } = job;
    assert.equal(location, `/preparations/${first.id}`);
    assert.equal(first.state, 'resolving');
    assert.equal(first.path, '/docker/team_large_1.tar');
    assert.deepEqual(first.images, [`${registry.host}/team/large:1`]);
    const nothing = { done: 0, total: 0 };
    assert.deepEqual([first.layers, first.bytes], [nothing, nothing]);
    assert.ok(!Number.isNaN(Date.parse(first.startedAt)));
    assert.equal(first.endedAt, undefined);

    await scene.untilStalled();
    assert.deepEqual(await look(service, location), first);
    registry.releaseStalled();
    const total = packedBytes(image);
    await scene.untilStalled();
    const begun = await until(service, location, ({ bytes }) => bytes.done > 0);
    assert.equal(begun.state, 'fetching');
    assert.deepEqual(begun.layers, { done: 0, total: 3 });
    assert.equal(begun.bytes.total, total);
    assert.ok(begun.bytes.done <= 1.5 * MB);

    registry.releaseStalled();
    const further = await until(service, location, ({ layers }) => layers.done === 2);
    assert.equal(further.state, 'fetching');
    assert.ok(further.bytes.done >= 4 * MB && further.bytes.done < total);

    await scene.untilStalled();
    registry.releaseStalled();
    const done = await ended(service, job);
    assert.equal(done.state, 'done');
    assert.deepEqual(done.layers, { done: 3, total: 3 });
    assert.deepEqual(done.bytes, { done: total, total });
    assert.ok(Date.parse(done.endedAt ?? '') >= Date.parse(done.startedAt));
    assert.equal(done.error, undefined);
    assert.deepEqual(scene.asked().toSorted(), wholePull('team/large', '1', image));
    assertHolds(await assertPrepared(scene, service, '/docker/team_large_1.tar'), image);
    assert.equal((await look(service, location)).state, 'done', 'for as long as it is remembered');
    const head = await service.request(location, { method: 'HEAD' });
    assert.equal(head.status, 200);
    assert.equal(head.body.length, 0);
  });

  test('that waits for its place says so', async () => {
    await using scene = await startScene();
    const { registry } = scene;
    registry.defects.stallRequests = { pattern: new RegExp(`app/blobs/${BASE_DIGEST}`) };
    await using service = await scene.start({ MAX_CONCURRENT_PREPARATIONS: '1' });
    const first = await prepare(service, APP_FILE);
    await scene.untilStalled();
    const second = await prepare(service, '/docker/org_tool_1.tar');
    await until(service, second.location, ({ state }) => state === 'waiting');
    registry.releaseStalled();
    assert.equal((await ended(service, first)).state, 'done');
    assert.equal((await ended(service, second)).state, 'done');
  });

  test('of what is here already has nothing to fetch', async () => {
    await using scene = await startScene();
    await using service = await scene.start();
    await service.request(APP_FILE);
    scene.asked();
    const done = await ended(service, await prepare(service, APP_FILE));
    assert.equal(done.state, 'done');
    assert.deepEqual(done.layers, { done: 3, total: 3 });
    assert.deepEqual(done.bytes, { done: packedBytes(APP), total: packedBytes(APP) });
    assert.deepEqual(scene.asked(), ['HEAD team/app/manifests/1']);
  });

  const paths: readonly (readonly [asked: string, file: string])[] = [
    ['/docker/team_app_1.tgz', '/docker/team_app_1.tgz'],
    ['/docker-gzip/team_app_1.tar', '/docker-gzip/team_app_1.tar'],
    ['/oci/team_app_1.tar', '/oci/team_app_1.tar'],
    ['/platform/linux/amd64/docker/team_app_1.tar', APP_FILE],
    ['/team/app:1', '/team/app:1'],
    ['/team/app:1?layout=oci&format=tar', '/oci/team_app_1.tar'],
    ['/bundle.tar?image=team/app:1&image=org/tool:1', '/bundle.tar?image=team/app:1&image=org/tool:1'],
    [APP_FILE, '/docker/team_app_1.tar.sha256'],
  ];
  for (const [asked, file] of paths) {
    test(`takes the path of an archive: ${asked}`, async () => {
      await using scene = await startScene();
      await using plain = await scene.start({ CACHE_MAX_BYTES: '0' });
      const expected = await plain.request(file);
      await using service = await scene.start();
      const job = await prepare(service, asked);
      assert.equal(job.first.path, asked);
      assert.equal((await ended(service, job)).state, 'done');
      const reply = await assertPrepared(scene, service, file);
      assert.ok(reply.body.equals(expected.body));
    });
  }

  test('takes the list of a bundle in its body', async () => {
    await using scene = await startScene();
    await using service = await scene.start();
    const job = await prepare(service, '/bundle.tar', { body: 'team/app:1\norg/tool:1\n' });
    assert.deepEqual(
      job.first.images,
      ['team/app:1', 'org/tool:1'].map((name) => `${scene.registry.host}/${name}`),
    );
    assert.equal((await ended(service, job)).state, 'done');
    const bundle = '/bundle.tar?image=team/app:1&image=org/tool:1';
    assertHolds(await assertPrepared(scene, service, bundle), APP, TOOL);
  });

  test('that fails tells why', async () => {
    await using scene = await startScene();
    scene.registry.defects.dropBlob = { digest: BASE_DIGEST };
    await using service = await scene.start();
    const job = await prepare(service, APP_FILE);
    const failed = await ended(service, job);
    assert.equal(failed.state, 'failed');
    assert.equal(failed.error?.status, 502);
    assert.equal(failed.error?.title, 'Failed to prepare image');
    assert.equal(failed.error?.code, 'IMAGE_NOT_FOUND');
    assert.match(failed.error?.detail ?? '', new RegExp(BASE_DIGEST));
    assert.ok(failed.endedAt !== undefined);
    const line = await service.waitForLog({ event: 'preparation', state: 'failed' });
    assert.equal(line['error'], 'IMAGE_NOT_FOUND');
    assert.equal(line['level'], 'warn');
    scene.registry.defects.dropBlob = undefined;
    assert.equal((await ended(service, await prepare(service, APP_FILE))).state, 'done');
    assert.equal((await look(service, job.location)).state, 'failed');
  });

  test('shares its pull with those who ask meanwhile', async () => {
    await using scene = await startScene();
    scene.registry.defects.stallBlob = { digest: BASE_DIGEST, afterBytes: 1000 };
    await using service = await scene.start();
    const jobs = [await prepare(service, APP_FILE), await prepare(service, APP_FILE)];
    assert.notEqual(jobs[0]?.first.id, jobs[1]?.first.id);
    const client = service.request(APP_FILE);
    await service.waitForAskers('deliveries', 3);
    await scene.untilStalled();
    scene.registry.releaseStalled();
    assertHolds(await client, APP);
    for (const job of jobs) assert.equal((await ended(service, job)).state, 'done');
    const blobs = blobsOf(scene.asked());
    assert.deepEqual(blobs.toSorted(), blobsOf(wholePull('team/app', '1', APP)));
  });
});

describe('HEAD of an archive', () => {
  test('prepares it, and answers when it is ready', async () => {
    await using scene = await startScene();
    await using service = await scene.start();
    scene.registry.defects.stallBlob = { digest: BASE_DIGEST, afterBytes: 1000 };
    let isAnswered = false;
    const answer = service.request(APP_FILE, { method: 'HEAD' }).finally(() => {
      isAnswered = true;
    });
    await scene.untilStalled();
    assert.equal((await service.request('/health')).status, 200);
    assert.equal(isAnswered, false);
    scene.registry.releaseStalled();
    const head = await answer;
    assert.equal(head.status, 200);
    assert.equal(head.body.length, 0);
    assert.deepEqual(scene.asked().toSorted(), wholePull('team/app', '1', APP));
    const reply = await assertPrepared(scene, service, APP_FILE);
    assertHolds(reply, APP);
    assert.equal(head.headers['content-length'], String(reply.body.length));
    assert.equal(head.headers.etag, reply.headers.etag);
  });
});

describe('a preparation that is cancelled', () => {
  test('gives up what it has begun', async () => {
    await using scene = await startScene();
    scene.registry.defects.stallBlob = { digest: BASE_DIGEST, afterBytes: 1000 };
    await using service = await scene.start({ CACHE_DIR: scene.directory });
    const { location, first } = await prepare(service, APP_FILE);
    await scene.untilStalled();
    const reply = await service.request(location, { method: 'DELETE' });
    assert.equal(reply.status, 204);
    assert.equal(reply.body.length, 0);
    await scene.untilQuiet();
    const job = await look(service, location);
    assert.equal(job.state, 'cancelled');
    assert.ok(job.endedAt !== undefined);
    const line = await service.waitForLog({ event: 'preparation', id: first.id });
    assert.equal(line['state'], 'cancelled');
    assert.equal(line['level'], 'info');
    assert.deepEqual(
      (await storedFiles(scene.directory)).filter((path) => path.includes('incoming')),
      [],
    );
    // What has ended is forgotten.
    assert.equal((await service.request(location, { method: 'DELETE' })).status, 204);
    for (const method of ['GET', 'DELETE']) {
      assert.equal((await service.request(location, { method })).status, 404);
    }
    scene.registry.defects.stallBlob = undefined;
    assertHolds(await service.request(APP_FILE), APP);
  });

  test('before the registry has said what it is of is given up, too', async () => {
    await using scene = await startScene();
    scene.registry.defects.stallRequests = { pattern: /manifests/ };
    await using service = await scene.start();
    const { location } = await prepare(service, APP_FILE);
    await scene.untilStalled();
    assert.equal((await service.request(location, { method: 'DELETE' })).status, 204);
    await scene.untilQuiet();
    assert.equal((await look(service, location)).state, 'cancelled');
  });

  test('leaves those alone who want the same', async () => {
    await using scene = await startScene();
    scene.registry.defects.stallBlob = { digest: BASE_DIGEST, afterBytes: 1000 };
    await using service = await scene.start();
    const { location } = await prepare(service, APP_FILE);
    await service.waitForAskers('deliveries', 1);
    const client = service.request(APP_FILE);
    await service.waitForAskers('deliveries', 2);
    await scene.untilStalled();
    assert.equal((await service.request(location, { method: 'DELETE' })).status, 204);
    assert.equal((await look(service, location)).state, 'cancelled');
    scene.registry.releaseStalled();
    assertHolds(await client, APP);
    assert.deepEqual(blobsOf(scene.asked()).toSorted(), blobsOf(wholePull('team/app', '1', APP)));
  });

  test('is not when a client that wants the same leaves', async () => {
    await using scene = await startScene();
    scene.registry.defects.stallBlob = { digest: BASE_DIGEST, afterBytes: 1000 };
    await using service = await scene.start();
    const client = new AbortController();
    const leaving = service.request(APP_FILE, { signal: client.signal });
    await service.waitForAskers('deliveries', 1);
    const job = await prepare(service, APP_FILE);
    await service.waitForAskers('deliveries', 2);
    await scene.untilStalled();
    client.abort();
    await assert.rejects(leaving, { name: 'AbortError' });
    await service.waitForLog({ event: 'request', outcome: 'aborted' });
    scene.registry.releaseStalled();
    assert.equal((await ended(service, job)).state, 'done');
    assert.deepEqual(blobsOf(scene.asked()).toSorted(), blobsOf(wholePull('team/app', '1', APP)));
  });

  test('after it is done leaves what was prepared', async () => {
    await using scene = await startScene();
    await using service = await scene.start();
    const job = await prepare(service, APP_FILE);
    assert.equal((await ended(service, job)).state, 'done');
    assert.equal((await service.request(job.location, { method: 'DELETE' })).status, 204);
    assert.equal((await service.request(job.location)).status, 404);
    assertHolds(await assertPrepared(scene, service, APP_FILE), APP);
    assert.equal(
      jobOf(await service.request('/prepare/docker/team_app_1.tar', { method: 'POST' })).state,
      'resolving',
    );
  });
});
