/** Downloads that were cut and go on: at the same service, at a replica, and after the tag has moved. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AFTER, BEFORE, continueFrom, pointTo, take } from '../../support/moving.ts';
import { startPair } from '../../support/pair.ts';
import { startTestService } from '../../support/service.ts';

const start = () => startPair({}, (registry) => pointTo(registry, BEFORE));

const FILE = '/docker/team_app_1.tar';
const FORMS = [
  FILE,
  '/docker/team_app_1.tgz',
  '/docker-gzip/team_app_1.tar',
  '/platform/all/oci/team_app_1.tar',
  '/team/app:1',
  '/bundle.tar?image=team/app:1',
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
    test(`gets the whole new file for a range: ${path}`, async () => {
      await using pair = await start();
      await take(pair.service, path, 1000);
      pointTo(pair.registry, AFTER);
      const reply = await continueFrom(pair.service, path, 1000);
      assert.equal(reply.status, 200);
      await using fresh = await startTestService({ REGISTRY_URL: pair.registry.url });
      assert.ok(reply.body.equals((await fresh.request(path)).body));
    });
  }

  test('gets 200 for each further range: the client still has the beginning of the old file', async () => {
    await using pair = await startMoved();
    // curl leaves at the 200, since it cannot continue, and may be run again.
    for (let attempt = 0; attempt < 3; attempt += 1) {
      const response = await pair.service.open(FILE, { headers: { range: 'bytes=1000-' } });
      assert.equal(response.statusCode, 200);
      response.destroy();
      await pair.service.waitForLog({ event: 'request', status: 200 }, attempt + 2);
    }
  });

  test('goes on with the new file after the client has downloaded its beginning', async () => {
    await using pair = await startMoved();
    assert.equal((await continueFrom(pair.service, FILE, 1000)).status, 200);
    const begun = await take(pair.service, FILE, 1000);
    const rest = await continueFrom(pair.service, FILE, 1000);
    assert.equal(rest.status, 206);
    assert.ok(Buffer.concat([begun, rest.body]).equals((await pair.request(FILE)).body));
  });

  test('gets the part if the client is unknown, and clients are distinguished by address', async () => {
    await using pair = await startMoved();
    assert.equal((await continueFrom(pair.service, FILE, 1000, {}, '127.0.0.2')).status, 206);
    assert.equal((await continueFrom(pair.service, FILE, 1000)).status, 200);
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
