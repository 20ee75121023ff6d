/** Clients that do not read, over real connections. */

import assert from 'node:assert/strict';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, test } from 'node:test';
import { isPassthroughError } from '../../../src/errors.ts';
import { sendEvents } from '../../../src/http/events/event-stream.ts';
import { PreparationFeeds } from '../../../src/http/events/preparation-feeds.ts';
import { directClient } from '../../../src/http/networks/client.ts';
import { Preparations } from '../../../src/pull/preparations.ts';
import { connectRaw } from '../../support/raw-client.ts';
import { within } from '../../support/within.ts';

const SUBJECT = {
  path: '/docker/app_1.tar',
  layout: 'docker',
  platform: 'all',
  images: ['registry.example/app:1'],
} as const;

/** Bytes of an event: larger than what the system holds for a connection, so that one is not taken at once. */
const EVENT_BYTES = 8 * 1024 * 1024;

/** More events than this would not fit into the memory of the test. */
const EVENTS = 50;

/** A preparation with huge events, and a server that sends them to one client without a throttle. */
async function startStream(stallMs: number, eventBytes = EVENT_BYTES) {
  const preparations = new Preparations();
  const work = Promise.withResolvers<void>();
  let report: (done: number) => void = () => undefined;
  const { preparation, ended } = preparations.start(SUBJECT, (_, onProgress) => {
    report = (done) =>
      onProgress({ step: 'fetching', layers: { done, total: EVENTS }, bytes: { done: 0, total: 0 } });
    return work.promise;
  });
  const counts: number[] = [];
  const feeds = new PreparationFeeds({
    preparations,
    intervalMs: 0,
    encode: ({ state, progress: { layers } }) => {
      counts.push(layers.done);
      return `${state} ${layers.done} ${state === 'done' ? '' : 'x'.repeat(eventBytes)}`;
    },
  });
  const opened = Promise.withResolvers<ServerResponse>();
  const result = Promise.withResolvers<unknown>();
  const server: Server = createServer((request, response) => {
    const leaving = new AbortController();
    response.once('close', () => leaving.abort(new Error('left')));
    opened.resolve(response);
    const peer = { entrance: 'http', address: '127.0.0.1', port: 1, certificate: undefined } as const;
    const client = directClient(peer);
    const context = { id: '1', request, response, client, signal: leaving.signal, facts: {} };
    sendEvents(context, feeds, preparation.id, stallMs).then(result.resolve, result.resolve);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = await connectRaw((server.address() as AddressInfo).port);
  client.socket.pause();
  client.send('GET / HTTP/1.0\r\n\r\n');
  return {
    client,
    counts,
    response: await within(opened.promise, 'the request'),
    result: within(result.promise, 'the end of the stream'),
    report: (done: number) => report(done),
    finish: async () => {
      work.resolve();
      await ended;
    },
    [Symbol.asyncDispose]: async () => {
      client[Symbol.dispose]();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe('a client that does not read', () => {
  test('has one event on its way, and gets the latest one when it reads again', async () => {
    await using stream = await startStream(60_000);
    for (let done = 1; done <= EVENTS; done += 1) stream.report(done);
    assert.ok(stream.response.writableLength <= 2 * EVENT_BYTES, `${stream.response.writableLength} bytes`);
    await stream.finish();
    stream.client.socket.resume();
    const text = (await stream.client.untilClosed()).toString('latin1');
    const states = [...text.matchAll(/^data: (\w+ \d+)/gm)].map(([, state]) => state);
    assert.deepEqual(states, ['resolving 0', `done ${EVENTS}`]);
    assert.equal(await stream.result, true);
  });

  test('is cut off when it takes no byte for the time limit', async () => {
    await using stream = await startStream(50);
    const error = await stream.result;
    assert.ok(isPassthroughError(error, 'ABORTED'));
    assert.equal(error.message, 'Stopped: the client took no byte for 0.05 s');
    assert.equal(stream.response.destroyed, true);
  });
});

test('a client that reads all is not cut off while nothing changes', async () => {
  await using stream = await startStream(30, 10);
  stream.client.socket.resume();
  await stream.client.waitFor(/x\n\n$/);
  // Several limits pass without a change.
  const passed = Promise.withResolvers<void>();
  let left = 4;
  stream.response.on('timeout', () => {
    left -= 1;
    if (left === 0) passed.resolve();
  });
  await within(passed.promise, 'four time limits');
  await stream.finish();
  await stream.client.untilClosed();
  assert.equal(await stream.result, true);
});
