/** Downloads that were cut and go on: at the same service, at a replica, and after the tag has moved. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, get, type IncomingMessage } from 'node:http';
import { describe, test } from 'node:test';
import { AFTER, BEFORE, continueFrom, pointTo, take } from '../../support/moving.ts';
import { startPair } from '../../support/pair.ts';
import { firstLine } from '../../support/reading.ts';
import { startTestService } from '../../support/service.ts';
import { within } from '../../support/within.ts';

const start = () => startPair({}, (registry) => pointTo(registry, BEFORE));

const FILE = '/docker/team_app_1.tar';
const FORMS = [
  FILE,
  '/docker/team_app_1.tgz',
  '/docker-gzip/team_app_1.tar',
  '/platform/all/oci/team_app_1.tar',
  '/team/app:1',
  '/bundle.tar?image=team/app:1',
  `/early${FILE}`,
  '/oci/team_app_1.tar?start=early',
];

/** Positions of a cut, as parts of the length. */
const CUTS = [0, 0.001, 0.1, 0.25, 0.5, 0.75, 0.999];

/** A client that has the first 1000 bytes of the old file when the tag moves. */
async function startMoved() {
  const pair = await start();
  const begun = await take(pair.service, FILE, 1000);
  pointTo(pair.registry, AFTER);
  return { ...pair, begun };
}

describe('a download that was cut', () => {
  for (const path of FORMS) {
    test(`goes on at any position, also at a replica: ${path}`, async () => {
      await using pair = await start();
      await using replica = await startTestService({ REGISTRY_URL: pair.registry.url });
      const { body, headers } = await pair.request(path);
      const positions = CUTS.map((part) => Math.floor(part * body.length));
      for (const at of [...positions, 511, 512, 513, body.length - 1]) {
        const begun = await take(pair.service, path, at);
        for (const service of [pair.service, replica]) {
          const rest = await continueFrom(service, path, at);
          assert.deepEqual([rest.status, rest.headers.etag], [206, headers.etag]);
          assert.ok(Buffer.concat([begun, rest.body]).equals(body), `cut at ${at}`);
        }
      }
    });
  }

  test('goes on in many small parts', async () => {
    await using pair = await start();
    const { body, headers } = await pair.request(FILE);
    const step = Math.ceil(body.length / 20) + 1;
    const parts: Buffer[] = [];
    for (let at = 0; at < body.length; at += step) {
      const range = { range: `bytes=${at}-${at + step - 1}`, 'if-range': String(headers.etag) };
      parts.push((await pair.request(FILE, { headers: range })).body);
    }
    assert.equal(parts.length, 20);
    assert.ok(Buffer.concat(parts).equals(body));
  });
});

describe('a download whose tag has moved', () => {
  for (const path of FORMS) {
    test(`gets 412 for a range, and keeps its part: ${path}`, async () => {
      await using pair = await start();
      await take(pair.service, path, 1000);
      pointTo(pair.registry, AFTER);
      const reply = await continueFrom(pair.service, path, 1000);
      assert.equal(reply.status, 412);
      assert.match(firstLine(reply), /^Precondition failed: Cannot continue the download: /);
      assert.ok(reply.body.length < 1000, `${reply.body.length} bytes`);
      await using fresh = await startTestService({ REGISTRY_URL: pair.registry.url });
      assert.ok((await pair.request(path)).body.equals((await fresh.request(path)).body));
    });
  }

  const ranges: readonly [range: string, status: number, why: string][] = [
    ['bytes=1000-', 412, 'the rest'],
    ['bytes=1000-1999', 412, 'a part'],
    ['bytes=1-', 412, 'all but the first byte'],
    ['bytes=-1000', 412, 'the end'],
    ['bytes=99999999-', 412, 'a rest that the new file does not have'],
    ['bytes=0-', 206, 'the whole'],
    ['bytes=0-999', 206, 'the beginning'],
    ['bytes=0-0,5-6', 200, 'several ranges, which get the whole'],
    ['lines=1-', 200, 'another unit, which is ignored'],
  ];
  for (const [range, status, why] of ranges) {
    test(`gets ${status} for ${range}: ${why}`, async () => {
      await using pair = await startMoved();
      assert.equal((await pair.request(FILE, { headers: { range } })).status, status);
    });
  }

  test('gets 412 for each further range: the client still has the beginning of the old file', async () => {
    await using pair = await startMoved();
    for (let attempt = 0; attempt < 3; attempt += 1) {
      assert.equal((await continueFrom(pair.service, FILE, 1000)).status, 412);
    }
  });

  test('gets 412 also when another client of this address begins or gets the new file', async () => {
    await using pair = await startMoved();
    await take(pair.service, FILE, 1000);
    assert.equal((await continueFrom(pair.service, FILE, 1000)).status, 412);
    await pair.request(FILE);
    assert.equal((await continueFrom(pair.service, FILE, 1000)).status, 412);
  });

  test('gets the part with If-Range, whatever was begun', async () => {
    await using pair = await startMoved();
    const { headers, body } = await pair.request(FILE);
    const rest = await continueFrom(pair.service, FILE, 1000, { 'if-range': String(headers.etag) });
    assert.equal(rest.status, 206);
    assert.ok(rest.body.equals(body.subarray(1000)));
    // If-Match says which file it is, too.
    const matched = await continueFrom(pair.service, FILE, 1000, { 'if-match': String(headers.etag) });
    assert.equal(matched.status, 206);
    assert.equal((await continueFrom(pair.service, FILE, 1000, { 'if-match': '*' })).status, 412);
  });

  test('gets the part if the client is unknown, and clients are distinguished by address', async () => {
    await using pair = await startMoved();
    assert.equal((await continueFrom(pair.service, FILE, 1000, {}, '127.0.0.2')).status, 206);
    assert.equal((await continueFrom(pair.service, FILE, 1000)).status, 412);
  });

  test('gets the whole file for an If-Range with the old tag, also at a replica', async () => {
    await using pair = await start();
    await using replica = await startTestService({ REGISTRY_URL: pair.registry.url });
    const old = await pair.request(FILE);
    pointTo(pair.registry, AFTER);
    for (const service of [pair.service, replica]) {
      const headers = { 'if-range': String(old.headers.etag) };
      const reply = await continueFrom(service, FILE, 1000, headers, '127.0.0.3');
      assert.equal(reply.status, 200);
      assert.notEqual(reply.headers.etag, old.headers.etag);
      assert.notDeepEqual(reply.body, old.body);
    }
  });

  test('goes on if the tag has moved back', async () => {
    await using pair = await startMoved();
    await pair.request(FILE, { method: 'HEAD' });
    pointTo(pair.registry, BEFORE);
    const rest = await continueFrom(pair.service, FILE, 1000);
    assert.equal(rest.status, 206);
    await using fresh = await startTestService({ REGISTRY_URL: pair.registry.url });
    assert.ok(Buffer.concat([pair.begun, rest.body]).equals((await fresh.request(FILE)).body));
  });
});

describe('a client that has the whole old file', () => {
  for (const path of [FILE, `/early${FILE}`]) {
    for (const connection of ['close', 'keep-alive'] as const) {
      test(`gets a part of the new one without If-Range: Connection: ${connection}, ${path}`, async () => {
        await using pair = await start();
        const whole = await download(pair.service.port, path, connection);
        pointTo(pair.registry, AFTER);
        const rest = await continueFrom(pair.service, path, 1000);
        assert.equal(rest.status, 206);
        // curl and wget ask for what follows the file that they have.
        const size = whole.length;
        assert.equal((await continueFrom(pair.service, path, size)).status, 412);
      });
    }
  }

  test('has it too if it asked for the last part', async () => {
    await using pair = await start();
    await take(pair.service, FILE, 1000);
    assert.equal((await continueFrom(pair.service, FILE, 1000)).status, 206);
    pointTo(pair.registry, AFTER);
    assert.equal((await continueFrom(pair.service, FILE, 500)).status, 206);
  });

  test('has it not if it asked for a part in the middle', async () => {
    await using pair = await start();
    await pair.request(FILE, { headers: { range: 'bytes=100-199' } });
    pointTo(pair.registry, AFTER);
    assert.equal((await continueFrom(pair.service, FILE, 500)).status, 412);
  });
});

/** Downloads a file and ends the connection in order: after the service, or before it. */
async function download(port: number, path: string, connection: 'close' | 'keep-alive'): Promise<Buffer> {
  const agent = new Agent({ keepAlive: connection === 'keep-alive' });
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  get({ host: '127.0.0.1', port, path, agent }, resolve).once('error', reject);
  const response = await promise;
  assert.equal(response.headers.connection, connection);
  const closed = once(response.socket, 'close');
  const chunks = await Array.fromAsync(response as AsyncIterable<Buffer>);
  agent.destroy();
  await within(closed, 'the end of the connection');
  return Buffer.concat(chunks);
}
