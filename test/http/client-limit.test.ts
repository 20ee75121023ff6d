import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isPassthroughError } from '../../src/errors.ts';
import { ClientLimit, clientOf } from '../../src/http/client-limit.ts';
import { readAll } from '../support/collect.ts';
import { makeImage, makeLayer } from '../support/image.ts';
import { startPair } from '../support/pair.ts';
import { connectRaw } from '../support/raw-client.ts';
import { LARGE_FILE, SMALL_FILE, startTwoSizes as start } from '../support/two-sizes.ts';
import { within } from '../support/within.ts';

describe('a client', () => {
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
    test(`is ${JSON.stringify(client)} where its address is ${JSON.stringify(address)}`, () => {
      assert.equal(clientOf(address), client);
    });
  }
});

describe('the limit of a client', () => {
  const busy = (message: string) => (error: unknown) => {
    assert.ok(isPassthroughError(error, 'BUSY'));
    assert.equal(error.message, message);
    assert.ok((error.details.retryAfterSeconds ?? 0) > 0);
    return true;
  };

  test('lets in as many, and one more as soon as one has left', () => {
    const limit = new ClientLimit(2);
    const [leave] = [limit.enter('10.0.0.7'), limit.enter('::ffff:10.0.0.7')];
    const refused = busy(
      'Cannot begin another download for "10.0.0.7": it has 2 already, and MAX_REQUESTS_PER_CLIENT is 2',
    );
    assert.throws(() => limit.enter('10.0.0.7'), refused);
    leave?.();
    limit.enter('10.0.0.7');
    assert.throws(() => limit.enter('10.0.0.7'), refused);
  });

  test('is not that of another', () => {
    const limit = new ClientLimit(1);
    limit.enter('10.0.0.7');
    limit.enter('10.0.0.8');
    limit.enter('2001:db8:0:1::7');
    limit.enter('2001:db8:0:2::7');
    assert.throws(
      () => limit.enter('2001:db8:0:1::8'),
      busy(
        'Cannot begin another download for "2001:db8:0:1::/64": it has 1 already, and MAX_REQUESTS_PER_CLIENT is 1',
      ),
    );
  });

  test('counts nobody off twice', () => {
    const limit = new ClientLimit(2);
    const leave = limit.enter('10.0.0.7');
    limit.enter('10.0.0.7');
    leave();
    leave();
    limit.enter('10.0.0.7');
    assert.throws(() => limit.enter('10.0.0.7'), { code: 'BUSY' });
  });

  test('remembers nobody who has left, nor anybody where it is 0', () => {
    const limit = new ClientLimit(2);
    const leaves = Array.from({ length: 1000 }, (_, index) =>
      limit.enter(`10.0.${index % 256}.${index >> 8}`),
    );
    assert.equal(limit.clients, 1000);
    for (const leave of leaves) leave();
    assert.equal(limit.clients, 0);
    const none = new ClientLimit(0);
    for (let times = 0; times < 1000; times += 1) none.enter('10.0.0.7');
    assert.equal(none.clients, 0);
  });
});

describe('a service with a limit for each client', () => {
  const env = { MAX_REQUESTS_PER_CLIENT: '1' };
  const BUSY =
    /^Busy: Cannot begin another download for "127\.0\.0\.1": it has 1 already, and MAX_REQUESTS_PER_CLIENT is 1\n/;

  test('refuses one more, from before its image is prepared to its last byte', async () => {
    await using pair = await start({ env, defects: { stallRequests: { pattern: /manifests/, times: 1 } } });
    const { service, registry } = pair;
    const opened = service.open(LARGE_FILE);
    opened.catch(() => undefined);
    await pair.untilStalled();
    const asked = registry.requests.length;
    const early = await service.request(SMALL_FILE);
    assert.deepEqual([early.status, early.reason], [503, 'Busy']);
    assert.match(early.headers['retry-after'] ?? '', /^[1-9]\d*$/);
    assert.match(early.body.toString(), BUSY);
    assert.equal((await service.waitForLog({ event: 'request', status: 503 }))['error'], 'BUSY');
    assert.equal((await service.request(SMALL_FILE, { method: 'HEAD' })).status, 503);
    const bundle = { method: 'POST', body: 'team/small:1\nteam/large:1\n' };
    assert.equal((await service.request('/bundle.tar', bundle)).status, 503);
    assert.equal(registry.requests.length, asked, 'the registry was not asked');

    registry.releaseStalled();
    const response = await opened;
    assert.equal((await service.request(SMALL_FILE)).status, 503);
    await within(readAll(response), 'the archive');
    await service.waitForLog({ event: 'request', status: 200 });
    assert.equal((await service.request(SMALL_FILE)).status, 200);
  });

  test('refuses neither others, nor what is no archive, whoever a client says it is', async () => {
    await using pair = await start({ env });
    const response = await pair.service.open(LARGE_FILE);
    for (const path of ['/', '/health', '/ready']) {
      assert.equal((await pair.service.request(path)).status, 200);
    }
    const disguised = { headers: { 'x-forwarded-for': '10.0.0.9', forwarded: 'for=10.0.0.9' } };
    assert.equal((await pair.service.request(SMALL_FILE, disguised)).status, 503);
    assert.equal((await pair.service.request(SMALL_FILE, { localAddress: '127.0.0.2' })).status, 200);
    response.destroy();
  });

  test('lets a client come again that has left, or whose request has failed', async () => {
    await using pair = await start({ env });
    const { service } = pair;
    for (const path of ['/docker/team_none_1.tar', '/docker/team_none_1.tar']) {
      assert.equal((await service.request(path)).status, 502);
    }
    const response = await service.open(LARGE_FILE);
    response.destroy();
    await service.waitForLog({ event: 'request', outcome: 'aborted' });
    assert.equal((await service.request(SMALL_FILE)).status, 200);
  });

  test('is none unless it is set', async () => {
    await using pair = await start();
    const responses = await Promise.all([1, 2, 3].map(() => pair.service.open(LARGE_FILE)));
    assert.deepEqual(
      responses.map(({ statusCode }) => statusCode),
      [200, 200, 200],
    );
    for (const response of responses) response.destroy();
  });
});

describe('an answer that is no archive', () => {
  test('is cut when its client takes no byte of it for long', async () => {
    const image = makeImage({ layers: [{ tar: makeLayer({ a: 'a' }) }], manifestPaddingBytes: 1024 ** 2 });
    await using pair = await startPair({ env: { SEND_STALL_TIMEOUT: '0.3' } }, (registry) => {
      registry.push('team/wide', '1', image);
    });
    using client = await connectRaw(pair.service.port);
    client.socket.pause();
    // More than all buffers on the way take.
    client.send('GET /manifest/team/wide:1 HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(30));
    const line = await pair.service.waitForLog({ event: 'request', outcome: 'aborted' });
    assert.equal(line['message'], 'Stopped: the client took no byte for 0.3 s');
  });
});
