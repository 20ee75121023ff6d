/** `MAX_REQUESTS_PER_CLIENT`. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isPassthroughError } from '../../src/errors.ts';
import { ClientLimit, clientOf } from '../../src/http/client-limit.ts';
import { KEPT } from '../support/cached.ts';
import { assertError, assertRetryAfter } from '../support/reading.ts';
import { LARGE_FILE, SMALL_FILE, startTwoSizes } from '../support/two-sizes.ts';

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
    const leave = limit.enter('10.0.0.7', 'download');
    limit.enter('::ffff:10.0.0.7', 'download');
    assert.throws(() => limit.enter('10.0.0.7', 'download'), busy('10.0.0.7', 2));
    leave();
    leave();
    limit.enter('10.0.0.7', 'download');
    assert.throws(() => limit.enter('10.0.0.7', 'download'), busy('10.0.0.7', 2));
  });

  test('counts each client for itself', () => {
    const limit = new ClientLimit(1);
    for (const address of ['10.0.0.7', '10.0.0.8', '2001:db8:0:1::7', '2001:db8:0:2::7'])
      limit.enter(address, 'download');
    assert.throws(() => limit.enter('2001:db8:0:1::8', 'download'), busy('2001:db8:0:1::/64', 1));
  });

  test('counts work with the same key once, until its last request has left', () => {
    const limit = new ClientLimit(1);
    const leaves = [1, 2, 3].map(() => limit.enter('10.0.0.7', 'download', 'same'));
    assert.throws(() => limit.enter('10.0.0.7', 'download', 'other'), busy('10.0.0.7', 1));
    const [first, second, third] = leaves;
    first?.();
    first?.();
    second?.();
    assert.throws(() => limit.enter('10.0.0.7', 'download', 'other'), busy('10.0.0.7', 1));
    third?.();
    limit.enter('10.0.0.7', 'download', 'other');
  });

  test('names the work that it refuses', () => {
    const limit = new ClientLimit(1);
    limit.enter('10.0.0.7', 'look-up');
    for (const kind of ['preparation', 'look-up'] as const)
      assert.throws(() => limit.enter('10.0.0.7', kind), new RegExp(`Cannot begin another ${kind} for `));
  });

  test('keeps no entry for a client that has left, and none at all if it is 0', () => {
    const limit = new ClientLimit(2);
    const addresses = Array.from({ length: 1000 }, (_, index) => `10.0.${index % 256}.${index >> 8}`);
    const leaves = addresses.map((address) => limit.enter(address, 'download'));
    assert.equal(limit.clients, 1000);
    for (const leave of leaves) leave();
    assert.equal(limit.clients, 0);
    const none = new ClientLimit(0);
    for (let times = 0; times < 1000; times += 1) none.enter('10.0.0.7', 'download');
    assert.equal(none.clients, 0);
  });
});

describe('a service with MAX_REQUESTS_PER_CLIENT', () => {
  const env = { MAX_REQUESTS_PER_CLIENT: '1', ...KEPT };
  const stalled = { stallRequests: { pattern: /large\/manifests/, times: 1 } };
  const refused =
    /^Busy: Cannot begin another (?:download|preparation|look-up) for "127\.0\.0\.1": it has 1 already, and MAX_REQUESTS_PER_CLIENT is 1$/;

  const all: readonly [method: string, path: string, body?: string][] = [
    ['GET', SMALL_FILE],
    ['HEAD', SMALL_FILE],
    ['GET', `${SMALL_FILE}.sha256`],
    ['GET', '/oci/team_small_1.tar'],
    ['GET', '/bundle.tar?image=team/small:1&image=team/large:1'],
    ['POST', '/bundle.tar', 'team/small:1\nteam/large:1\n'],
    ['POST', `/prepare${SMALL_FILE}`],
    ['GET', '/manifest/team/small:1'],
    ['GET', '/tags/team/small'],
  ];
  for (const [method, path, body] of all) {
    test(`refuses ${method} ${path} while other work is under way, without asking the registry`, async () => {
      await using pair = await startTwoSizes({ env, defects: stalled });
      const opened = pair.service.open(LARGE_FILE);
      opened.catch(() => undefined);
      await pair.untilStalled();
      const before = pair.registry.requests.length;
      const reply = await pair.request(path, { method, ...(body !== undefined && { body }) });
      assert.equal(reply.status, 503);
      assertRetryAfter(reply);
      if (method !== 'HEAD') assertError(reply, 503, refused);
      assert.equal((await pair.service.waitForLog({ event: 'request', status: 503 }))['error'], 'BUSY');
      assert.equal(pair.registry.requests.length, before, 'the registry is not asked');
      pair.registry.releaseStalled();
      (await opened).destroy();
    });
  }

  const working: readonly [method: string, path: string][] = [
    ['GET', LARGE_FILE],
    ['HEAD', LARGE_FILE],
    ['POST', `/prepare${LARGE_FILE}`],
    ['GET', '/manifest/team/large:1'],
  ];
  for (const [method, path] of working) {
    test(`counts ${method} ${path} until its work has ended`, async () => {
      await using pair = await startTwoSizes({ env, defects: stalled });
      const reply = pair.request(path, { method });
      await pair.untilStalled();
      assert.equal((await pair.request(SMALL_FILE)).status, 503);
      // The address of the connection counts.
      assert.equal((await pair.request(SMALL_FILE, { localAddress: '127.0.0.2' })).status, 200);
      pair.registry.releaseStalled();
      assert.ok((await reply).status < 300);
      if (method === 'POST') await pair.service.waitForLog({ event: 'preparation' });
      assert.equal((await pair.request(SMALL_FILE)).status, 200);
    });
  }

  test('does not count an archive that is being sent', async () => {
    await using pair = await startTwoSizes({ env });
    const responses = [await pair.service.open(LARGE_FILE), await pair.service.open(LARGE_FILE)];
    assert.deepEqual(
      responses.map(({ statusCode }) => statusCode),
      [200, 200],
    );
    assert.equal((await pair.request(SMALL_FILE)).status, 200);
    for (const response of responses) response.destroy();
  });

  test('counts requests for the same archive with the same credentials once', async () => {
    await using pair = await startTwoSizes({ env, defects: stalled });
    const same = Array.from({ length: 50 }, () => pair.service.open(LARGE_FILE));
    await pair.untilStalled();
    await pair.service.waitForCallers('manifests', 50);
    const headers = { authorization: 'Basic dTpw' };
    assert.equal((await pair.request(LARGE_FILE, { headers })).status, 503);
    pair.registry.releaseStalled();
    for (const response of await Promise.all(same)) {
      assert.equal(response.statusCode, 200);
      response.destroy();
    }
  });

  test('ignores forwarding headers, and does not count other routes', async () => {
    await using pair = await startTwoSizes({ env, defects: stalled });
    const opened = pair.service.open(LARGE_FILE);
    await pair.untilStalled();
    for (const path of ['/', '/health', '/ready']) assert.equal((await pair.request(path)).status, 200);
    const forged = { headers: { 'x-forwarded-for': '10.0.0.9', forwarded: 'for=10.0.0.9' } };
    assert.equal((await pair.request(SMALL_FILE, forged)).status, 503);
    pair.registry.releaseStalled();
    (await opened).destroy();
  });

  test('accepts a request after another one has failed or its client has left', async () => {
    await using pair = await startTwoSizes({ env, defects: stalled });
    for (let times = 0; times < 2; times += 1) {
      assert.equal((await pair.request('/docker/team_none_1.tar')).status, 502);
    }
    assert.equal((await pair.request('/prepare/docker/team_none_1.tar', { method: 'POST' })).status, 202);
    await pair.service.waitForLog({ event: 'preparation' });
    const leaver = new AbortController();
    const gone = pair.service.open(LARGE_FILE, { signal: leaver.signal });
    gone.catch(() => undefined);
    await pair.untilStalled();
    leaver.abort();
    await pair.service.waitForLog({ event: 'request', outcome: 'aborted' });
    assert.equal((await pair.request(SMALL_FILE)).status, 200);
  });
});

test('by default 16 pieces of work of one client are under way; the client beside it is served meanwhile', async () => {
  await using pair = await startTwoSizes({
    env: KEPT,
    defects: { stallRequests: { pattern: /large\/manifests/ } },
  });
  const jobs: number[] = [];
  for (let count = 0; count < 24; count += 1) {
    const { status } = await pair.request(`/prepare/docker/team_large_${count}.tar`, {
      method: 'POST',
    });
    jobs.push(status);
  }
  assert.deepEqual(
    jobs,
    Array.from({ length: 24 }, (_, index) => (index < 16 ? 202 : 503)),
  );
  assert.equal((await pair.request(SMALL_FILE, { localAddress: '127.0.0.2' })).status, 200);
  pair.registry.releaseStalled();
});
