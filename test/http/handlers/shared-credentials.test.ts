/** Downloads that clients with credentials of their own share: whose credentials the registry sees, and who gets which answer. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  APP,
  APP_FILE,
  assertHolds,
  BASE_DIGEST,
  BASE_STALLS,
  startScene,
  TOOL,
  TOOL_FILE,
} from '../../support/cached.ts';
import { basic } from '../../support/pair.ts';
import { assertError, firstLine } from '../../support/reading.ts';
import { within } from '../../support/within.ts';

const ONE = basic('one', 'secret');
const TWO = basic('two', 'other');
const PRIVATE = {
  auth: {
    mode: 'basic',
    users: new Map([
      ['one', 'secret'],
      ['two', 'other'],
    ]),
  },
} as const;

const as = (authorization: string) => ({ headers: { authorization } });

/** Starts a private registry and a service for it. */
async function start() {
  const scene = await startScene(PRIVATE);
  const service = await scene.start();
  const { registry } = scene;
  /** Who has asked for blobs since a number of requests, in order. */
  const askersSince = (from: number) =>
    registry.requests
      .slice(from)
      .flatMap(({ path, headers }) => (path.includes('/blobs/') ? headers.authorization : []));
  const gone = () => service.waitForLog({ event: 'request', outcome: 'aborted' });
  return {
    ...scene,
    service,
    askersSince,
    gone,
    [Symbol.asyncDispose]: async () => {
      await service[Symbol.asyncDispose]();
      await scene[Symbol.asyncDispose]();
    },
  };
}

describe('when the client leaves whose credentials a shared download uses', () => {
  for (const path of [APP_FILE, '/team/app:1', `${APP_FILE}.sha256`, '/docker-gzip/team_app_1.tar']) {
    test(`the other client goes on with its own: ${path}`, async () => {
      await using scene = await start();
      const { registry, service } = scene;
      registry.defects.stallBlob = BASE_STALLS;
      const client = new AbortController();
      const first = service.request(path, { ...as(ONE), signal: client.signal });
      first.catch(() => undefined);
      await scene.untilStalled();
      const second = service.request(path, as(TWO));
      await service.waitForCallers('files', 2);
      registry.defects.stallBlob = undefined;
      client.abort();
      await scene.gone();
      const from = registry.requests.length;
      const reply = await second;
      assert.equal(reply.status, 200, firstLine(reply));
      const askers = scene.askersSince(from);
      assert.ok(askers.includes(TWO));
      assert.ok(!askers.includes(ONE));
    });
  }

  test('the download goes on while another request with the same credentials waits', async () => {
    await using scene = await start();
    const { registry, service } = scene;
    registry.defects.stallBlob = BASE_STALLS;
    const client = new AbortController();
    const first = service.request(APP_FILE, { ...as(ONE), signal: client.signal });
    first.catch(() => undefined);
    await scene.untilStalled();
    const others = [service.request(APP_FILE, as(ONE)), service.request(APP_FILE, as(TWO))];
    await service.waitForCallers('files', 3);
    client.abort();
    await scene.gone();
    registry.releaseStalled();
    for (const reply of await Promise.all(others)) assertHolds(reply, APP);
    const blobs = registry.requests.filter(({ path }) => path.includes(BASE_DIGEST));
    assert.deepEqual(
      blobs.map(({ headers }) => headers.authorization),
      [ONE],
    );
  });

  for (const mayRead of [true, false]) {
    test(`another image with the same layer ${mayRead ? 'gets it with its own' : 'does not get it'}`, async () => {
      await using scene = await start();
      const { registry, service } = scene;
      registry.defects.stallBlob = { ...BASE_STALLS, times: 1 };
      // The second client names a layer that its repository does not have.
      if (!mayRead)
        registry.defects.failWith = { pattern: new RegExp(`org/tool/blobs/${BASE_DIGEST}`), status: 404 };
      const client = new AbortController();
      const first = service.request(APP_FILE, { ...as(ONE), signal: client.signal });
      first.catch(() => undefined);
      await scene.untilStalled();
      const second = service.request(TOOL_FILE, as(TWO));
      const [, own] = TOOL.layers;
      await within(registry.waitForRequest(new RegExp(`org/tool/blobs/${own?.digest}`)), 'the other layer');
      client.abort();
      await scene.gone();
      const from = registry.requests.length;
      const reply = await second;
      if (mayRead) assertHolds(reply, TOOL);
      else assertError(reply, 502, /not found/);
      assert.ok(!scene.askersSince(from).includes(ONE));
    });
  }
});

test('a preparation uses the credentials of its request until it is cancelled', async () => {
  await using scene = await start();
  const { registry, service } = scene;
  registry.defects.stallBlob = BASE_STALLS;
  const started = await service.request(`/prepare${APP_FILE}`, { ...as(ONE), method: 'POST' });
  assert.equal(started.status, 202, firstLine(started));
  await scene.untilStalled();
  const second = service.request(APP_FILE, as(TWO));
  await service.waitForCallers('files', 2);
  registry.defects.stallBlob = undefined;
  const cancelled = await service.request(started.headers.location ?? '', { method: 'DELETE' });
  assert.equal(cancelled.status, 204);
  const from = registry.requests.length;
  assertHolds(await second, APP);
  assert.ok(!scene.askersSince(from).includes(ONE));
});

describe('what the account of one client earns is not the answer to another', () => {
  const rows: [status: number, answer: number][] = [
    [429, 503],
    [403, 502],
    [404, 502],
    [402, 502],
  ];
  for (const [status, answer] of rows) {
    for (const isFirstOfAccount of [true, false]) {
      test(`${status}, when ${isFirstOfAccount ? 'it' : 'an anonymous client'} has started the download`, async () => {
        await using scene = await startScene(isFirstOfAccount ? PRIVATE : {});
        await using service = await scene.start();
        const { registry } = scene;
        const blob = new RegExp(`GET .*blobs/${BASE_DIGEST}`);
        registry.defects.stallRequests = { pattern: blob, times: 1 };
        const isRefused = isFirstOfAccount ? { authorization: ONE } : { times: 1 };
        registry.defects.failWith = { pattern: blob, ...isRefused, status, headers: { 'Retry-After': '90' } };
        const first = service.request(APP_FILE, isFirstOfAccount ? as(ONE) : {});
        await scene.untilStalled();
        const second = service.request(APP_FILE, as(TWO));
        await service.waitForCallers('files', 2);
        registry.releaseStalled();
        assert.equal((await first).status, answer);
        assertHolds(await second, APP);
      });
    }
  }

  test('but it is the answer to another request with the same credentials', async () => {
    await using scene = await start();
    const { registry, service } = scene;
    const blob = new RegExp(`GET .*blobs/${BASE_DIGEST}`);
    registry.defects.stallRequests = { pattern: blob };
    registry.defects.failWith = {
      pattern: blob,
      authorization: ONE,
      status: 429,
      headers: { 'Retry-After': '90' },
    };
    const replies = [service.request(APP_FILE, as(ONE)), service.request(APP_FILE, as(ONE))];
    await service.waitForCallers('files', 2);
    await scene.untilStalled();
    registry.defects.stallRequests = undefined;
    registry.releaseStalled();
    for (const reply of await Promise.all(replies)) {
      assert.equal(reply.status, 503, firstLine(reply));
      assert.equal(reply.headers['retry-after'], '90');
    }
    assert.equal(registry.requests.filter(({ path }) => path.includes(BASE_DIGEST)).length, 1);
  });

  test('and a registry that is down is down for all', async () => {
    await using scene = await start();
    const { registry, service } = scene;
    const blob = new RegExp(`GET .*blobs/${BASE_DIGEST}`);
    registry.defects.stallRequests = { pattern: blob };
    const replies = [service.request(APP_FILE, as(ONE)), service.request(APP_FILE, as(TWO))];
    await service.waitForCallers('files', 2);
    await scene.untilStalled();
    registry.defects.stallRequests = undefined;
    registry.defects.failWith = { pattern: blob, status: 500 };
    registry.releaseStalled();
    for (const reply of await Promise.all(replies)) assert.equal(reply.status, 502, firstLine(reply));
  });
});
