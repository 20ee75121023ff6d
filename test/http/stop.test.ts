/** A service that stops: whoever is being served is served to the end, within a bound. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readAll } from '../support/collect.ts';
import type { PairOptions } from '../support/pair.ts';
import { connectRaw } from '../support/raw-client.ts';
import { LARGE_FILE, SMALL_FILE, startTwoSizes as start } from '../support/two-sizes.ts';
import { within } from '../support/within.ts';

const STALLED: PairOptions = { defects: { stallRequests: { pattern: /manifests/, times: 1 } } };

describe('stop', () => {
  test('without requests ends at once, and nobody can connect any more', async () => {
    await using pair = await start();
    assert.equal(await pair.service.stop(), 0);
    await assert.rejects(pair.service.request('/health'), { code: 'ECONNREFUSED' });
  });

  test('lets a preparation end, its archive be sent whole, and turns away whoever comes meanwhile', async () => {
    await using pair = await start(STALLED);
    const { service, registry } = pair;
    const running = service.request(SMALL_FILE);
    await pair.untilStalled();
    const stopped = service.stop();

    const ready = await service.request('/ready');
    assert.equal(ready.status, 503);
    assert.equal(ready.body.toString(), 'not ready: stopping\n');
    assert.equal((await service.request('/health')).status, 200);

    const asked = registry.requests.length;
    for (const method of ['GET', 'HEAD']) {
      const refused = await service.request(SMALL_FILE, { method });
      assert.equal(refused.status, 503);
      assert.equal(refused.reason, 'Busy');
      assert.match(refused.headers['retry-after'] ?? '', /^[1-9]\d*$/);
    }
    assert.equal(registry.requests.length, asked, 'the registry was not asked');
    // Whoever would keep the connection is told not to.
    for (const path of [SMALL_FILE, '/ready', '/health', '/docker/nginx.tar']) {
      using client = await connectRaw(service.port);
      client.send(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
      assert.match((await client.untilClosed()).toString(), /^connection: close\r?$/im);
    }

    registry.releaseStalled();
    const { status, isCut, body, headers } = await running;
    assert.equal(status, 200);
    assert.equal(isCut, false);
    assert.equal(headers['content-length'], String(body.length));
    assert.equal(await stopped, 0);
    assert.equal(await service.openFiles(), 0);
  });

  test('lets a slow client read its archive to the end', async () => {
    await using pair = await start();
    const response = await pair.service.open(LARGE_FILE);
    const stopped = pair.service.stop();
    assert.equal((await pair.service.request('/ready')).status, 503);
    const body = await within(readAll(response), 'the archive');
    assert.equal(String(body.length), response.headers['content-length']);
    assert.equal(await stopped, 0);
  });

  test('serves those that wait in the queue too', async () => {
    await using pair = await start({
      defects: { stallRequests: { pattern: /small\/blobs/, times: 1 } },
      env: { MAX_CONCURRENT_PREPARATIONS: '1', MAX_QUEUED_PREPARATIONS: '1' },
    });
    const running = pair.service.request(SMALL_FILE);
    await pair.untilStalled();
    // Of two, one is in the queue as soon as the other is turned away.
    const both = [LARGE_FILE, LARGE_FILE.replace('docker', 'oci')].map((file) => pair.service.request(file));
    assert.equal((await Promise.race(both)).status, 503);
    const stopped = pair.service.stop();
    pair.registry.releaseStalled();
    assert.equal((await running).status, 200);
    assert.deepEqual((await Promise.all(both)).map(({ status }) => status).toSorted(), [200, 503]);
    assert.equal(await stopped, 0);
  });

  test('cuts a preparation that takes longer than the bound, tells its client, and says so', async () => {
    await using pair = await start({ ...STALLED, env: { SHUTDOWN_TIMEOUT: '0.05' } });
    const running = pair.service.request(SMALL_FILE);
    await pair.untilStalled();
    assert.equal(await pair.service.stop(), 1);
    const { status, headers, body } = await running;
    assert.equal(status, 503);
    assert.match(headers['retry-after'] ?? '', /^[1-9]\d*$/);
    assert.match(body.toString(), /^Busy: Cannot go on: the service is stopping/);
    const line = await pair.service.waitForLog({ event: 'request', status: 503 });
    assert.equal(line['error'], 'BUSY');
    assert.equal(line['outcome'], 'failed');
    await pair.untilQuiet();
    assert.equal(await pair.service.openFiles(), 0);
  });

  test('cuts an archive that is not read to the end within the bound, so that its client sees it', async () => {
    await using pair = await start({ env: { SHUTDOWN_TIMEOUT: '0.05' } });
    const response = await pair.service.open(LARGE_FILE);
    const begun = performance.now();
    assert.equal(await pair.service.stop(), 1);
    const took = performance.now() - begun;
    assert.ok(took < 1_500, `nothing was left to wait for, it took ${took} ms`);
    await assert.rejects(within(readAll(response), 'the archive'), { code: 'ECONNRESET' });
    const line = await pair.service.waitForLog({ event: 'request', outcome: 'broken' });
    assert.equal(line['error'], 'BUSY');
    assert.equal(await pair.service.openFiles(), 0);
  });
});
