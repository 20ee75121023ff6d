/** Preparations that are not accepted, or do not end as `done`. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  APP,
  APP_FILE,
  assertHolds,
  BASE_STALLS,
  startScene,
  storedFiles,
  TOOL_FILE,
} from '../../support/cached.ts';
import { basic } from '../../support/pair.ts';
import { assertPrepared, ended, prepare, prepareDone } from '../../support/preparing.ts';
import { connectRaw } from '../../support/raw-client.ts';
import { assertError, assertRetryAfter } from '../../support/reading.ts';
import { within } from '../../support/within.ts';

const POST = { method: 'POST' };
const RIGHT = { headers: { authorization: basic('user', 'secret') } };

describe('a request for a preparation is refused before the registry is asked', () => {
  for (const [method, path, status, line] of [
    ['POST', '/prepare/docker/nginx.zip', 400, /^Invalid filename format: /],
    ['POST', '/prepare/team/APP:1', 400, /^Invalid image reference: /],
    ['POST', '/prepare/platform/cat0/docker/nginx_1.tar', 400, /^Invalid platform: /],
    ['POST', '/prepare/bundle.tar', 400, /^Invalid image reference: /],
    ['POST', '/prepare', 404, /^Not found: /],
    ['POST', '/prepare/tags/team/app', 404, /^Not found: /],
    ['POST', '/prepare/prepare/docker/a_1.tar', 404, /^Not found: /],
    ['GET', '/preparations/1', 404, /^Not found: /],
    ['DELETE', '/preparations/1', 404, /^Not found: /],
    ['GET', '/preparations/', 404, /^Not found: /],
  ] as const) {
    test(`${method} ${path} is ${status}`, async () => {
      await using scene = await startScene();
      await using service = await scene.start();
      const reply = await service.request(path, { method });
      assertError(reply, status, line);
      assert.equal(reply.headers.location, undefined);
      assert.deepEqual(scene.takeRequests(), []);
    });
  }

  test('404 if the cache is off', async () => {
    await using scene = await startScene();
    await using service = await scene.start({ CACHE_MAX_BYTES: '0' });
    assertError(await service.request(`/prepare${APP_FILE}`, POST), 404, /CACHE_MAX_BYTES is 0/);
    assert.deepEqual(scene.takeRequests(), []);
  });

  test('401 without the credentials that its path requires', async () => {
    await using scene = await startScene({ auth: { mode: 'basic' } });
    await using service = await scene.start();
    const path = `/registry-auth/http/${scene.registry.host}${APP_FILE}`;
    const refused = await service.request(`/prepare${path}`, POST);
    assert.equal(refused.status, 401);
    assert.match(refused.headers['www-authenticate'] ?? '', /^Basic realm=/);
    assert.deepEqual(scene.takeRequests(), []);

    await prepareDone(service, path, RIGHT);
    assertHolds(await assertPrepared(scene, service, path, RIGHT), APP);
    assert.equal((await service.request(APP_FILE)).status, 502, 'the prepared archive needs credentials');
    assert.ok(!service.logText().includes(basic('user', 'secret').slice('Basic '.length)));
  });
});

describe('a preparation', () => {
  test('without access to the image fails, also after one with access', async () => {
    await using scene = await startScene({ auth: { mode: 'token', allowAnonymous: false } });
    await using service = await scene.start();
    const assertDenied = async () => {
      const { state, error } = await ended(service, await prepare(service, APP_FILE));
      assert.deepEqual([state, error?.code], ['failed', 'REGISTRY_DENIED']);
    };
    await assertDenied();
    await prepareDone(service, APP_FILE, RIGHT);
    await assertDenied();
  });

  test('fails if all places are taken and the queue is full', async () => {
    await using scene = await startScene();
    scene.registry.defects.stallBlob = BASE_STALLS;
    await using service = await scene.start({
      MAX_CONCURRENT_PREPARATIONS: '1',
      MAX_QUEUED_PREPARATIONS: '0',
    });
    const first = await prepare(service, APP_FILE);
    await scene.untilStalled();
    const second = await ended(service, await prepare(service, TOOL_FILE));
    assert.deepEqual([second.state, second.error?.code], ['failed', 'BUSY']);
    scene.registry.releaseStalled();
    assert.equal((await ended(service, first)).state, 'done');
  });

  test('is refused with 503 while the service stops', async () => {
    await using scene = await startScene();
    scene.registry.defects.stallRequests = { pattern: /manifests/, times: 1 };
    await using service = await scene.start();
    const running = service.request(APP_FILE);
    await scene.untilStalled();
    const stopped = service.stop();
    const reply = await service.request(`/prepare${APP_FILE}`, POST);
    assert.equal(reply.status, 503);
    assertRetryAfter(reply);
    scene.registry.releaseStalled();
    assertHolds(await running, APP);
    assert.equal(await stopped, 0);
  });

  test('is cancelled when the service stops, and its files are removed', async () => {
    await using scene = await startScene();
    scene.registry.defects.stallBlob = BASE_STALLS;
    await using service = await scene.start({ CACHE_DIR: scene.directory });
    const { first } = await prepare(service, APP_FILE);
    await scene.untilStalled();
    assert.equal(await service.stop(), 0, 'no request was cut');
    const line = await service.waitForLog({ event: 'preparation', id: first.id });
    assert.equal(line['state'], 'cancelled');
    await scene.untilQuiet();
    const stored = await storedFiles(scene.directory);
    assert.deepEqual(
      stored.filter((path) => path.includes('/incoming/')),
      [],
    );
  });

  test('is refused if its body ends only while the service stops', async () => {
    await using scene = await startScene();
    scene.registry.defects.stallRequests = { pattern: /manifests/ };
    await using service = await scene.start();
    using client = await connectRaw(service.port);
    const headers = 'Host: a\r\nExpect: 100-continue\r\nContent-Length: 11';
    client.send(`POST /prepare/bundle.tar HTTP/1.1\r\n${headers}\r\n\r\nteam`);
    await client.waitFor(/^HTTP\/1\.1 100 /);
    const stopped = service.stop();
    assert.equal((await service.request('/ready')).status, 503);
    client.send('/app:1\n');
    const answer = (await client.untilClosed()).toString();
    await within(stopped, 'the end of the service');
    assert.match(answer, /^HTTP\/1\.1 503 /m);
    assert.deepEqual(scene.takeRequests(), []);
  });
});
