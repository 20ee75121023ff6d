/** A service that stops: it serves the requests that run, within `SHUTDOWN_TIMEOUT`. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readAll } from '../support/collect.ts';
import { mockTimers } from '../support/mock-timers.ts';
import type { PairOptions } from '../support/pair.ts';
import { connectRaw } from '../support/raw-client.ts';
import { assertError, assertRetryAfter } from '../support/reading.ts';
import { LARGE_FILE, SMALL_FILE, startTwoSizes as start } from '../support/two-sizes.ts';
import { within } from '../support/within.ts';

const STALLED: PairOptions = { defects: { stallRequests: { pattern: /manifests/, times: 1 } } };

describe('stop', () => {
  test('ends at once without requests; then no client can connect', async () => {
    await using pair = await start();
    assert.equal(await pair.service.stop(), 0);
    await assert.rejects(pair.request('/health'), { code: 'ECONNREFUSED' });
  });

  test('waits for a preparation and its archive, and refuses new archives meanwhile', async () => {
    await using pair = await start(STALLED);
    const { service, registry } = pair;
    const running = pair.request(SMALL_FILE);
    await pair.untilStalled();
    const stopped = service.stop();

    const ready = await pair.request('/ready');
    assert.deepEqual([ready.status, ready.body.toString()], [503, 'not ready: stopping\n']);
    assert.equal((await pair.request('/health')).status, 200);

    const before = registry.requests.length;
    for (const method of ['GET', 'HEAD']) {
      const refused = await pair.request(SMALL_FILE, { method });
      assert.deepEqual([refused.status, refused.reason], [503, 'Busy']);
      assertRetryAfter(refused);
    }
    assert.equal(registry.requests.length, before, 'the registry is not asked');
    // A kept connection would outlive the stop.
    for (const path of [SMALL_FILE, '/ready', '/health', '/docker/nginx.tar']) {
      using client = await connectRaw(service.port);
      client.send(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
      assert.match((await client.untilClosed()).toString(), /^connection: close\r?$/im);
    }

    registry.releaseStalled();
    const { status, isCut, body, headers } = await running;
    assert.deepEqual([status, isCut, headers['content-length']], [200, false, String(body.length)]);
    assert.equal(await stopped, 0);
    assert.equal(await service.openFiles(), 0);
  });

  test('waits for a slow client that reads its archive', async () => {
    await using pair = await start();
    const response = await pair.service.open(LARGE_FILE);
    const stopped = pair.service.stop();
    assert.equal((await pair.request('/ready')).status, 503);
    const body = await within(readAll(response), 'the archive');
    assert.equal(String(body.length), response.headers['content-length']);
    assert.equal(await stopped, 0);
  });

  test('waits for requests in the queue', async () => {
    await using pair = await start({
      defects: { stallRequests: { pattern: /small\/blobs/, times: 1 } },
      env: { MAX_CONCURRENT_PREPARATIONS: '1', MAX_QUEUED_PREPARATIONS: '1' },
    });
    const running = pair.request(SMALL_FILE);
    await pair.untilStalled();
    // Of two requests, one is in the queue as soon as the other is refused.
    const both = [LARGE_FILE, LARGE_FILE.replace('docker', 'oci')].map((file) => pair.request(file));
    assert.equal((await Promise.race(both)).status, 503);
    const stopped = pair.service.stop();
    pair.registry.releaseStalled();
    assert.equal((await running).status, 200);
    assert.deepEqual((await Promise.all(both)).map(({ status }) => status).toSorted(), [200, 503]);
    assert.equal(await stopped, 0);
  });

  test('answers 503 to a preparation that exceeds SHUTDOWN_TIMEOUT, and counts it', async () => {
    await using pair = await start({ ...STALLED, env: { SHUTDOWN_TIMEOUT: '0.05' } });
    const running = pair.request(SMALL_FILE);
    await pair.untilStalled();
    assert.equal(await pair.service.stop(), 1);
    const reply = await running;
    assertError(reply, 503, /^Busy: Cannot go on: the service is stopping/);
    assertRetryAfter(reply);
    const line = await pair.service.waitForLog({ event: 'request', status: 503 });
    assert.deepEqual([line['error'], line['outcome']], ['BUSY', 'failed']);
    await pair.assertIdle();
  });

  test('cuts an archive that is not read within SHUTDOWN_TIMEOUT', async (t) => {
    await using pair = await start({ env: { SHUTDOWN_TIMEOUT: '5' } });
    const response = await pair.service.open(LARGE_FILE);
    const timers = mockTimers(t);
    const stopped = pair.service.stop();
    timers.tick(4_999);
    assert.equal((await pair.request('/ready')).status, 503);
    timers.tick(1);
    // It does not wait for the time that work has to end after it was aborted: that time never passes here.
    assert.equal(await stopped, 1);
    await assert.rejects(within(readAll(response), 'the archive'), { code: 'ECONNRESET' });
    const line = await pair.service.waitForLog({ event: 'request', outcome: 'broken' });
    assert.equal(line['error'], 'BUSY');
    assert.equal(await pair.service.openFiles(), 0);
  });
});
