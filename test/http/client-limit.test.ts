/** `MAX_REQUESTS_PER_CLIENT`. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isPassthroughError } from '../../src/errors.ts';
import { ClientLimit, clientOf } from '../../src/http/client-limit.ts';
import { readAll } from '../support/collect.ts';
import { assertError, assertRetryAfter } from '../support/reading.ts';
import { LARGE_FILE, SMALL_FILE, startTwoSizes } from '../support/two-sizes.ts';
import { within } from '../support/within.ts';

describe('clientOf', () => {
  const table: readonly [address: string, client: string][] = [
    ['10.0.0.7', '10.0.0.7'],
    ['::ffff:10.0.0.7', '10.0.0.7'],
    ['::ffff:a00:7', '10.0.0.7'],
    ['::FFFF:255.254.1.2', '255.254.1.2'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::9', '2001:db8:1:2::/64'],
    ['2001:db8::9', '2001:db8:0:0::/64'],
    ['2001:db8::', '2001:db8:0:0::/64'],
    ['fd00:0:0:1::9', 'fd00:0:0:1::/64'],
    ['::1', '::1'],
    ['fe80::1%eth0', 'fe80::1%eth0'],
    ['', ''],
    ['a:b', 'a:b'],
  ];
  for (const [address, client] of table) {
    test(`${JSON.stringify(address)} is ${JSON.stringify(client)}`, () =>
      assert.equal(clientOf(address), client));
  }
});

describe('ClientLimit', () => {
  const busy = (client: string, max: number) => (error: unknown) => {
    assert.ok(isPassthroughError(error, 'BUSY'));
    const count = `it has ${max} already, and MAX_REQUESTS_PER_CLIENT is ${max}`;
    assert.equal(error.message, `Cannot begin another download for "${client}": ${count}`);
    assert.ok((error.details.retryAfterSeconds ?? 0) > 0);
    return true;
  };

  test('admits as many requests as it says, and one more for each that leaves, once', () => {
    const limit = new ClientLimit(2);
    const leave = limit.enter('10.0.0.7');
    limit.enter('::ffff:10.0.0.7');
    assert.throws(() => limit.enter('10.0.0.7'), busy('10.0.0.7', 2));
    leave();
    leave();
    limit.enter('10.0.0.7');
    assert.throws(() => limit.enter('10.0.0.7'), busy('10.0.0.7', 2));
  });

  test('counts each client for itself', () => {
    const limit = new ClientLimit(1);
    for (const address of ['10.0.0.7', '10.0.0.8', '2001:db8:0:1::7', '2001:db8:0:2::7'])
      limit.enter(address);
    assert.throws(() => limit.enter('2001:db8:0:1::8'), busy('2001:db8:0:1::/64', 1));
  });

  test('keeps no entry for a client that has left, and none at all if it is 0', () => {
    const limit = new ClientLimit(2);
    const addresses = Array.from({ length: 1000 }, (_, index) => `10.0.${index % 256}.${index >> 8}`);
    const leaves = addresses.map((address) => limit.enter(address));
    assert.equal(limit.clients, 1000);
    for (const leave of leaves) leave();
    assert.equal(limit.clients, 0);
    const none = new ClientLimit(0);
    for (let times = 0; times < 1000; times += 1) none.enter('10.0.0.7');
    assert.equal(none.clients, 0);
  });
});

describe('a service with MAX_REQUESTS_PER_CLIENT', () => {
  const env = { MAX_REQUESTS_PER_CLIENT: '1' };

  test('refuses a second archive from the start of the first request to its last byte', async () => {
    const defects = { stallRequests: { pattern: /manifests/, times: 1 } };
    await using pair = await startTwoSizes({ env, defects });
    const { service, registry } = pair;
    const opened = service.open(LARGE_FILE);
    opened.catch(() => undefined);
    await pair.untilStalled();
    const before = registry.requests.length;
    const early = await pair.request(SMALL_FILE);
    assertError(
      early,
      503,
      /^Busy: Cannot begin another download for "127\.0\.0\.1": it has 1 already, and MAX_REQUESTS_PER_CLIENT is 1$/,
    );
    assertRetryAfter(early);
    assert.equal((await service.waitForLog({ event: 'request', status: 503 }))['error'], 'BUSY');
    assert.equal((await pair.request(SMALL_FILE, { method: 'HEAD' })).status, 503);
    const bundle = { method: 'POST', body: 'team/small:1\nteam/large:1\n' };
    assert.equal((await pair.request('/bundle.tar', bundle)).status, 503);
    assert.equal(registry.requests.length, before, 'the registry is not asked');

    registry.releaseStalled();
    const response = await opened;
    assert.equal((await pair.request(SMALL_FILE)).status, 503);
    await within(readAll(response), 'the archive');
    await service.waitForLog({ event: 'request', status: 200 });
    assert.equal((await pair.request(SMALL_FILE)).status, 200);
  });

  test('counts archives only, by the address of the connection', async () => {
    await using pair = await startTwoSizes({ env });
    const response = await pair.service.open(LARGE_FILE);
    for (const path of ['/', '/health', '/ready']) assert.equal((await pair.request(path)).status, 200);
    const forged = { headers: { 'x-forwarded-for': '10.0.0.9', forwarded: 'for=10.0.0.9' } };
    assert.equal((await pair.request(SMALL_FILE, forged)).status, 503);
    assert.equal((await pair.request(SMALL_FILE, { localAddress: '127.0.0.2' })).status, 200);
    response.destroy();
  });

  test('accepts a request after another one has failed or its client has left', async () => {
    await using pair = await startTwoSizes({ env });
    for (let times = 0; times < 2; times += 1) {
      assert.equal((await pair.request('/docker/team_none_1.tar')).status, 502);
    }
    const response = await pair.service.open(LARGE_FILE);
    response.destroy();
    await pair.service.waitForLog({ event: 'request', outcome: 'aborted' });
    assert.equal((await pair.request(SMALL_FILE)).status, 200);
  });

  test('has no limit by default', async () => {
    await using pair = await startTwoSizes();
    const responses = await Promise.all([1, 2, 3].map(() => pair.service.open(LARGE_FILE)));
    for (const response of responses) {
      assert.equal(response.statusCode, 200);
      response.destroy();
    }
  });
});
