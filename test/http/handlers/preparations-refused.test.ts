/** Preparations that are not taken on, or not to their end. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { APP, APP_FILE, assertHolds, BASE_DIGEST, startScene, storedFiles } from '../../support/cached.ts';
import { basic } from '../../support/pair.ts';
import { assertPrepared, ended, prepare } from '../../support/preparing.ts';
import { connectRaw } from '../../support/raw-client.ts';
import { firstLine } from '../../support/reading.ts';
import { within } from '../../support/within.ts';

const POST = { method: 'POST' };
const RIGHT = { headers: { authorization: basic('user', 'secret') } };

describe('refused at once, without the registry', () => {
  for (const [what, method, path, status, why] of [
    ['a bad file name', 'POST', '/prepare/docker/nginx.zip', 400, /^Invalid filename format: /],
    ['a bad reference', 'POST', '/prepare/team/APP:1', 400, /^Invalid image reference: /],
    ['a bad platform', 'POST', '/prepare/platform/cat0/docker/nginx_1.tar', 400, /^Invalid platform: /],
    ['a bundle of nothing', 'POST', '/prepare/bundle.tar', 400, /^Invalid image reference: /],
    ['nothing', 'POST', '/prepare', 404, /^Not found: /],
    ['what is no archive', 'POST', '/prepare/tags/team/app', 404, /^Not found: /],
    ['a preparation of a preparation', 'POST', '/prepare/prepare/docker/a_1.tar', 404, /^Not found: /],
    ['an unknown id', 'GET', '/preparations/1', 404, /^Not found: /],
    ['an unknown id that is to be cancelled', 'DELETE', '/preparations/1', 404, /^Not found: /],
    ['no id', 'GET', '/preparations/', 404, /^Not found: /],
  ] as const) {
    test(`is ${what}`, async () => {
      await using scene = await startScene();
      await using service = await scene.start();
      const reply = await service.request(path, { method });
      assert.equal(reply.status, status, firstLine(reply));
      assert.match(firstLine(reply), why);
      assert.equal(reply.headers.location, undefined);
      assert.deepEqual(scene.asked(), []);
    });
  }

  for (const [method, path, allow] of [
    ['GET', `/prepare${APP_FILE}`, 'POST'],
    ['HEAD', '/prepare/team/app:1', 'POST'],
    ['DELETE', `/prepare${APP_FILE}`, 'POST'],
    ['POST', APP_FILE, 'GET, HEAD'],
    ['POST', '/team/app:1', 'GET, HEAD'],
    ['DELETE', APP_FILE, 'GET, HEAD'],
    ['POST', '/preparations/1', 'GET, HEAD, DELETE'],
  ] as const) {
    test(`is ${method} ${path}`, async () => {
      await using scene = await startScene();
      await using service = await scene.start();
      const reply = await service.request(path, { method });
      assert.equal(reply.status, 405);
      assert.equal(reply.headers.allow, allow);
      assert.deepEqual(scene.asked(), []);
    });
  }

  test('is one where nothing would be kept', async () => {
    await using scene = await startScene();
    await using service = await scene.start({ CACHE_MAX_BYTES: '0' });
    const reply = await service.request(`/prepare${APP_FILE}`, POST);
    assert.equal(reply.status, 404);
    assert.match(firstLine(reply), /CACHE_MAX_BYTES is 0/);
    assert.deepEqual(scene.asked(), []);
  });

  test('is one without the credentials that its path demands', async () => {
    await using scene = await startScene({ auth: { mode: 'basic' } });
    await using service = await scene.start();
    const path = `/registry-auth/http/${scene.registry.host}${APP_FILE}`;
    const refused = await service.request(`/prepare${path}`, POST);
    assert.equal(refused.status, 401);
    assert.match(refused.headers['www-authenticate'] ?? '', /^Basic realm=/);
    assert.deepEqual(scene.asked(), []);

    const job = await prepare(service, path, RIGHT);
    assert.equal((await ended(service, job)).state, 'done');
    assertHolds(await assertPrepared(scene, service, path, RIGHT), APP);
    assert.equal((await service.request(APP_FILE)).status, 502, 'it is for those alone who may have it');
    assert.ok(!service.logText().includes(basic('user', 'secret').slice('Basic '.length)));
  });
});

describe('a preparation', () => {
  test('that its credentials do not open fails, and opens it to nobody', async () => {
    await using scene = await startScene({ auth: { mode: 'token', allowAnonymous: false } });
    await using service = await scene.start();
    const failed = await ended(service, await prepare(service, APP_FILE));
    assert.equal(failed.state, 'failed');
    assert.equal(failed.error?.code, 'REGISTRY_DENIED');
    assert.equal((await ended(service, await prepare(service, APP_FILE, RIGHT))).state, 'done');
    const again = await ended(service, await prepare(service, APP_FILE));
    assert.equal(again.error?.code, 'REGISTRY_DENIED');
  });

  test('that finds no place fails', async () => {
    await using scene = await startScene();
    scene.registry.defects.stallBlob = { digest: BASE_DIGEST, afterBytes: 1000 };
    await using service = await scene.start({
      MAX_CONCURRENT_PREPARATIONS: '1',
      MAX_QUEUED_PREPARATIONS: '0',
    });
    const first = await prepare(service, APP_FILE);
    await scene.untilStalled();
    const second = await ended(service, await prepare(service, '/docker-gzip/team_app_1.tar'));
    assert.equal(second.state, 'failed');
    assert.equal(second.error?.code, 'BUSY');
    scene.registry.releaseStalled();
    assert.equal((await ended(service, first)).state, 'done');
  });

  test('is not begun by a service that stops', async () => {
    await using scene = await startScene();
    scene.registry.defects.stallRequests = { pattern: /manifests/, times: 1 };
    await using service = await scene.start();
    const running = service.request(APP_FILE);
    await scene.untilStalled();
    const stopped = service.stop();
    const reply = await service.request(`/prepare${APP_FILE}`, POST);
    assert.equal(reply.status, 503);
    assert.match(reply.headers['retry-after'] ?? '', /^\d+$/);
    scene.registry.releaseStalled();
    assertHolds(await running, APP);
    assert.equal(await stopped, 0);
  });

  test('ends with its service, which leaves nothing of it', async () => {
    await using scene = await startScene();
    scene.registry.defects.stallBlob = { digest: BASE_DIGEST, afterBytes: 1000 };
    await using service = await scene.start({ CACHE_DIR: scene.directory });
    const { first } = await prepare(service, APP_FILE);
    await scene.untilStalled();
    assert.equal(await service.stop(), 0, 'nobody was cut off');
    const line = await service.waitForLog({ event: 'preparation', id: first.id });
    assert.equal(line['state'], 'cancelled');
    await scene.untilQuiet();
    const stored = await storedFiles(scene.directory);
    assert.deepEqual(
      stored.filter((path) => path.includes('/incoming/')),
      [],
    );
  });

  test('whose list comes while the service stops is not begun either', async () => {
    await using scene = await startScene();
    scene.registry.defects.stallRequests = { pattern: /manifests/ };
    await using service = await scene.start();
    using client = await connectRaw(service.port);
    client.send(
      'POST /prepare/bundle.tar HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\nteam',
    );
    await client.waitFor(/^HTTP\/1\.1 100 /);
    const stopped = service.stop();
    assert.equal((await service.request('/ready')).status, 503);
    client.send('/app:1\n');
    const answer = (await client.untilClosed()).toString();
    await within(stopped, 'the end of the service');
    assert.match(answer, /^HTTP\/1\.1 503 /m);
    assert.deepEqual(scene.asked(), []);
  });
});
