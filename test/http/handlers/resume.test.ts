/** Downloads that are cut, and go on: here, elsewhere, and after the tag has moved. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AFTER, BEFORE, continueFrom, pointTo, take } from '../../support/moving.ts';
import { type Pair, startPair } from '../../support/pair.ts';
import { startTestService } from '../../support/service.ts';

const start = (): Promise<Pair> => startPair({}, (registry) => pointTo(registry, BEFORE));

const FORMS = [
  '/docker/team_app_1.tar',
  '/docker/team_app_1.tgz',
  '/docker-gzip/team_app_1.tar',
  '/platform/all/oci/team_app_1.tar',
  '/team/app:1',
  '/bundle.tar?image=team/app:1',
];

/** Places where a download is cut, as parts of its length. */
const CUTS = [0, 0.001, 0.1, 0.25, 0.5, 0.75, 0.999];

describe('a download that was cut', () => {
  for (const path of FORMS) {
    test(`goes on from anywhere, here and at a replica: ${path}`, async () => {
      await using pair = await start();
      await using replica = await startTestService({ REGISTRY_URL: pair.registry.url });
      const whole = await pair.service.request(path);
      const places = CUTS.map((part) => Math.floor(part * whole.body.length));
      for (const at of [...places, 511, 512, 513, whole.body.length - 1]) {
        const begun = await take(pair.service, path, at);
        for (const service of [pair.service, replica]) {
          const rest = await continueFrom(service, path, at);
          assert.equal(rest.status, 206);
          assert.equal(rest.headers.etag, whole.headers.etag);
          assert.ok(Buffer.concat([begun, rest.body]).equals(whole.body), `cut at ${at}`);
        }
      }
      await pair.service.waitForLog({ event: 'request', outcome: 'ok' });
    });
  }

  test('goes on in many small parts', async () => {
    await using pair = await start();
    const [path = ''] = FORMS;
    const whole = await pair.service.request(path);
    const step = Math.ceil(whole.body.length / 20) + 1;
    const parts: Buffer[] = [];
    for (let at = 0; at < whole.body.length; at += step) {
      const headers = { range: `bytes=${at}-${at + step - 1}`, 'if-range': String(whole.headers.etag) };
      parts.push((await pair.service.request(path, { headers })).body);
    }
    assert.equal(parts.length, 20);
    assert.ok(Buffer.concat(parts).equals(whole.body));
  });
});

describe('a download whose tag has moved meanwhile', () => {
  for (const path of FORMS) {
    test(`gives its client the whole new file: ${path}`, async () => {
      await using pair = await start();
      await take(pair.service, path, 1000);
      pointTo(pair.registry, AFTER);
      const reply = await continueFrom(pair.service, path, 1000);
      assert.equal(reply.status, 200);
      const fresh = await startTestService({ REGISTRY_URL: pair.registry.url });
      await using _ = fresh;
      assert.ok(reply.body.equals((await fresh.request(path)).body));
    });
  }

  const [path = ''] = FORMS;

  test('gives 200 again to a client that asks once more: it still has the beginning of the old one', async () => {
    await using pair = await start();
    await take(pair.service, path, 1000);
    pointTo(pair.registry, AFTER);
    // curl sees the 200, says that it cannot go on, and leaves; whoever runs it tries once more.
    for (let attempt = 0; attempt < 3; attempt += 1) {
      const headers = { range: 'bytes=1000-' };
      const response = await pair.service.open(path, { headers });
      assert.equal(response.statusCode, 200);
      response.destroy();
      await pair.service.waitForLog({ event: 'request', status: 200 }, attempt + 2);
    }
  });

  test('goes on with the new file once its client has begun anew', async () => {
    await using pair = await start();
    await take(pair.service, path, 1000);
    pointTo(pair.registry, AFTER);
    assert.equal((await continueFrom(pair.service, path, 1000)).status, 200);
    const begun = await take(pair.service, path, 1000);
    const rest = await continueFrom(pair.service, path, 1000);
    assert.equal(rest.status, 206);
    const whole = await pair.service.request(path);
    assert.ok(Buffer.concat([begun, rest.body]).equals(whole.body));
  });

  test('gives the part to a client of which nothing is known', async () => {
    await using pair = await start();
    await take(pair.service, path, 1000);
    pointTo(pair.registry, AFTER);
    const reply = await continueFrom(pair.service, path, 1000, {}, '127.0.0.2');
    assert.equal(reply.status, 206);
    assert.equal(
      (await continueFrom(pair.service, path, 1000)).status,
      200,
      'nor is one taken for the other',
    );
  });

  test('gives the whole to whoever says which file it has, at a replica too', async () => {
    await using pair = await start();
    await using replica = await startTestService({ REGISTRY_URL: pair.registry.url });
    const old = await pair.service.request(path);
    pointTo(pair.registry, AFTER);
    for (const service of [pair.service, replica]) {
      const headers = { 'if-range': String(old.headers.etag) };
      const reply = await continueFrom(service, path, 1000, headers, '127.0.0.3');
      assert.equal(reply.status, 200);
      assert.notEqual(reply.headers.etag, old.headers.etag);
      assert.notDeepEqual(reply.body, old.body);
    }
  });

  test('and moved back goes on', async () => {
    await using pair = await start();
    const whole = await pair.service.request(path);
    const begun = await take(pair.service, path, 1000);
    pointTo(pair.registry, AFTER);
    await pair.service.request(path, { method: 'HEAD' });
    pointTo(pair.registry, BEFORE);
    const rest = await continueFrom(pair.service, path, 1000);
    assert.equal(rest.status, 206);
    assert.ok(Buffer.concat([begun, rest.body]).equals(whole.body));
  });
});
