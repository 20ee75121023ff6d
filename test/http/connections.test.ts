/** Archives over HTTP/1.0, kept connections and pipelined requests. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectRaw } from '../support/raw-client.ts';
import { LARGE_BYTES, LARGE_FILE, SMALL_FILE, startTwoSizes as start } from '../support/two-sizes.ts';
import { within } from '../support/within.ts';

/** Splits received bytes into answers by their Content-Length. */
function answersIn(received: Buffer): readonly { readonly head: string; readonly body: Buffer }[] {
  const found: { head: string; body: Buffer }[] = [];
  for (let position = 0; position < received.length; ) {
    const end = received.indexOf('\r\n\r\n', position);
    assert.notEqual(end, -1, 'a header ends');
    const head = received.toString('latin1', position, end);
    const length = Number(/^content-length: (\d+)\r?$/im.exec(head)?.[1]);
    found.push({ head, body: received.subarray(end + 4, end + 4 + length) });
    position = end + 4 + length;
  }
  return found;
}

test('an HTTP/1.0 client gets the archive with its length, and the connection is closed', async () => {
  await using pair = await start();
  const { body } = await pair.request(SMALL_FILE);
  using client = await connectRaw(pair.service.port);
  client.send(`GET ${SMALL_FILE} HTTP/1.0\r\n\r\n`);
  const [answer, ...others] = answersIn(await client.untilClosed());
  assert.deepEqual(others, []);
  const { head = '' } = answer ?? {};
  assert.match(head, /^HTTP\/1\.[01] 200 OK/);
  assert.match(head, /^connection: close\r?$/im);
  assert.doesNotMatch(head, /transfer-encoding/i);
  assert.deepEqual(answer?.body, body);
});

test('an HTTP/1.0 client that leaves ends its pull', async () => {
  await using pair = await start({ defects: { stallRequests: {} } });
  {
    using client = await connectRaw(pair.service.port);
    client.send(`GET ${SMALL_FILE} HTTP/1.0\r\n\r\n`);
    await pair.untilStalled();
  }
  await pair.service.waitForLog({ event: 'request', outcome: 'aborted' });
  await pair.assertIdle();
});

test('one connection serves archives, errors and probes one after the other', async () => {
  await using pair = await start();
  const { body } = await pair.request(SMALL_FILE);
  using client = await connectRaw(pair.service.port);
  const paths = [SMALL_FILE, '/docker/nginx.tar', '/health', SMALL_FILE];
  for (const [index, path] of paths.entries()) {
    client.send(`GET ${path} HTTP/1.1\r\nHost: a\r\n${index === 3 ? 'Connection: close\r\n' : ''}\r\n`);
    if (index < 3) await pair.service.waitForLog({ event: 'request' }, index + 2);
  }
  const answers = answersIn(await client.untilClosed());
  assert.deepEqual(
    answers.map(({ head }) => Number(head.split(' ')[1])),
    [200, 400, 200, 200],
  );
  assert.deepEqual([answers[0]?.body, answers[3]?.body], [body, body]);
});

test('pipelined requests are answered in their order, each whole', async () => {
  await using pair = await start({ defects: { stallRequests: { pattern: /large\/manifests/, times: 1 } } });
  const { body } = await pair.request(SMALL_FILE);
  using client = await connectRaw(pair.service.port);
  client.send(
    `GET ${LARGE_FILE} HTTP/1.1\r\nHost: a\r\n\r\n` +
      `GET ${SMALL_FILE} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
  );
  await pair.untilStalled();
  // The second answer is ready before the first one.
  await within(pair.registry.waitForRequest(/small\/blobs/, 4), 'the second pull');
  pair.registry.releaseStalled();
  const [first, second, ...others] = answersIn(await client.untilClosed());
  assert.deepEqual(others, []);
  assert.match(first?.head ?? '', /team_large_1\.tar/);
  assert.ok((first?.body.length ?? 0) > LARGE_BYTES);
  assert.deepEqual(second?.body, body);
});
