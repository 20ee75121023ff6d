/** Preparations that a client watches by events. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { APP_FILE, BASE_DIGEST, BASE_STALLS, startScene } from '../../support/cached.ts';
import { parseEvents, readEvents } from '../../support/events.ts';
import { lookUp, prepare, prepareDone } from '../../support/preparing.ts';
import { connectRaw } from '../../support/raw-client.ts';
import { assertError } from '../../support/reading.ts';

const ACCEPT = { accept: 'text/event-stream' };

describe('a preparation as events', () => {
  test('begins with the present state and ends with the last one, as JSON has them', async () => {
    await using scene = await startScene();
    scene.registry.defects.stallBlob = BASE_STALLS;
    await using service = await scene.start();
    const { location } = await prepare(service, APP_FILE);
    await scene.untilStalled();
    const response = await service.open(location, { headers: ACCEPT });
    const { 'content-type': type, 'cache-control': cache, vary, ...headers } = response.headers;
    assert.deepEqual(
      [response.statusCode, type, cache, vary, headers['x-accel-buffering'], headers['content-length']],
      [200, 'text/event-stream', 'no-store', 'Accept', 'no', undefined],
    );
    const reader = readEvents(response);
    const first = await reader.waitFor(() => true);
    assert.ok(['resolving', 'waiting', 'fetching'].includes(first.document.state));
    // All but the first, whose bytes stall.
    const { document } = await reader.waitFor(({ document: { layers } }) => layers.done === 2);
    const stalled = document.layerProgress.filter(({ state }) => state !== 'ready');
    assert.deepEqual(
      stalled.map(({ digest }) => digest),
      [BASE_DIGEST],
    );
    scene.registry.releaseStalled();
    assert.deepEqual(await reader.ended, { isCut: false });
    const last = reader.events.at(-1);
    assert.equal(last?.document.state, 'done');
    assert.deepEqual(last?.document, await lookUp(service, location));
    const ids = reader.events.map(({ id }) => id);
    assert.deepEqual(
      ids,
      [...new Set(ids)].toSorted((one, other) => one - other),
      'the ids increase',
    );
    const before = reader.events.slice(0, -1);
    assert.deepEqual(
      before.filter(({ document }) => document.endedAt !== undefined),
      [],
    );
  });

  test('that has ended is one event, and 204 for a client that has seen it', async () => {
    await using scene = await startScene();
    await using service = await scene.start();
    const { id: preparation } = await prepareDone(service, APP_FILE);
    const path = `/preparations/${preparation}`;
    const reply = await service.request(path, { headers: ACCEPT });
    const events = parseEvents(reply.body.toString());
    assert.deepEqual(
      events.map(({ document }) => document.state),
      ['done'],
    );
    const [{ id } = { id: 0 }] = events;
    const again = (last: string) => service.request(path, { headers: { ...ACCEPT, 'last-event-id': last } });
    const seen = await again(String(id));
    assert.deepEqual([seen.status, seen.body.length], [204, 0]);
    for (const other of [String(id - 1), '0', '-1', 'x', `${id}x`, '']) {
      assert.equal((await again(other)).status, 200, JSON.stringify(other));
    }
    const json = await service.request(path, { headers: { 'last-event-id': String(id) } });
    assert.equal(json.status, 200, 'without events there is nothing to end');
  });

  test('that fails ends with the line that an answer would have', async () => {
    await using scene = await startScene();
    scene.registry.defects.dropBlob = { digest: BASE_DIGEST };
    await using service = await scene.start();
    const { location } = await prepare(service, APP_FILE);
    const reader = readEvents(await service.open(location, { headers: ACCEPT }));
    const { document } = await reader.waitFor(({ document: { state } }) => state === 'failed');
    await reader.ended;
    const refused = await service.request(APP_FILE);
    const [line] = refused.body.toString().split('\n', 1);
    assert.deepEqual([document.error?.line, document.error?.code], [line, 'IMAGE_NOT_FOUND']);
  });

  for (const [how, end] of [
    ['is cancelled', 'DELETE'],
    ['is stopped with the service', 'stop'],
  ] as const) {
    test(`that ${how} ends`, async () => {
      await using scene = await startScene();
      scene.registry.defects.stallBlob = BASE_STALLS;
      // Far more than the time limit of the test: the end must not wait for it.
      await using service = await scene.start({ SHUTDOWN_TIMEOUT: '1000' });
      const { location } = await prepare(service, APP_FILE);
      await scene.untilStalled();
      const reader = readEvents(await service.open(location, { headers: ACCEPT }));
      await reader.waitFor(() => true);
      if (end === 'stop') assert.equal(await service.stop(), 0);
      else await service.request(location, { method: end });
      assert.deepEqual(await reader.ended, { isCut: false });
      assert.equal(reader.events.at(-1)?.document.state, 'cancelled');
    });
  }

  test('goes on when a client leaves, which makes its place free', async () => {
    await using scene = await startScene();
    scene.registry.defects.stallBlob = BASE_STALLS;
    // Half of the connections are for listeners.
    await using service = await scene.start({ MAX_CONNECTIONS: '4' });
    const { location } = await prepare(service, APP_FILE);
    await scene.untilStalled();
    const leaving = new AbortController();
    const listen = (signal?: AbortSignal) =>
      service.open(location, { headers: ACCEPT, ...(signal && { signal }) });
    const one = await listen(leaving.signal);
    const two = readEvents(await listen());
    one.on('error', () => undefined);
    const refused = await service.request(location, { headers: ACCEPT });
    assertError(refused, 503, /^Busy: Cannot send events: 2 clients listen already; ask without /);
    assert.match(refused.headers['retry-after'] ?? '', /^\d+$/);
    assert.equal((await lookUp(service, location)).state, 'fetching');
    leaving.abort();
    await service.waitForLog({ event: 'request', outcome: 'aborted' });
    const three = readEvents(await listen());
    scene.registry.releaseStalled();
    for (const reader of [two, three]) {
      assert.deepEqual(await reader.ended, { isCut: false });
      assert.equal(reader.events.at(-1)?.document.state, 'done');
    }
  });

  test('of an unknown ID is 404', async () => {
    await using scene = await startScene();
    await using service = await scene.start();
    const path = '/preparations/00000000-0000-4000-8000-000000000000';
    assertError(await service.request(path, { headers: ACCEPT }), 404, 'NOT_FOUND');
  });

  test('has a HEAD, whose header is that of GET', async () => {
    await using scene = await startScene();
    await using service = await scene.start();
    const { id } = await prepareDone(service, APP_FILE);
    const path = `/preparations/${id}`;
    const head = await service.request(path, { method: 'HEAD', headers: ACCEPT });
    const get = await service.request(path, { headers: ACCEPT });
    const names = ['content-type', 'cache-control', 'vary', 'x-accel-buffering', 'content-length'];
    const shown = ({ status, headers }: typeof head) => [status, ...names.map((name) => headers[name])];
    assert.deepEqual(shown(head), shown(get));
    assert.equal(head.body.length, 0);
  });

  test('in HTTP/1.0 ends with the connection, and has no chunks', async () => {
    await using scene = await startScene();
    await using service = await scene.start();
    const { id } = await prepareDone(service, APP_FILE);
    using client = await connectRaw(service.port);
    client.send(`GET /preparations/${id} HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n`);
    const [head = '', body = ''] = (await client.untilClosed()).toString().split('\r\n\r\n');
    assert.match(head, /^HTTP\/1\.1 200 /);
    assert.doesNotMatch(head, /transfer-encoding/i);
    assert.equal(parseEvents(body).at(-1)?.document.state, 'done');
  });

  const accepts: readonly [accept: string, type: string][] = [
    ['text/event-stream', 'text/event-stream'],
    ['Text/Event-Stream;charset=utf-8', 'text/event-stream'],
    ['application/json;q=0.5, text/event-stream', 'text/event-stream'],
    ['application/json, text/event-stream', 'text/event-stream'],
    ['text/event-stream;q=0.5, application/json', 'application/json'],
    ['text/event-stream;q=0', 'application/json'],
    ['text/event-stream-x', 'application/json'],
    ['text/*', 'application/json'],
    ['*/*', 'application/json'],
    ['', 'application/json'],
  ];
  test('is chosen by Accept', async () => {
    await using scene = await startScene();
    await using service = await scene.start();
    const { id } = await prepareDone(service, APP_FILE);
    for (const [accept, type] of accepts) {
      const reply = await service.request(`/preparations/${id}`, { headers: { accept } });
      assert.deepEqual([reply.headers['content-type'], reply.headers.vary], [type, 'Accept'], accept);
    }
  });
});
