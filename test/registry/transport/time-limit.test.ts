import assert from 'node:assert/strict';
import dns from 'node:dns';
import { syncBuiltinESMExports } from 'node:module';
import { describe, test } from 'node:test';
import { PassthroughError } from '../../../src/errors.ts';
import { answerRaw, startRawServer } from '../../support/raw-server.ts';
import { startScriptedServer } from '../../support/scripted-server.ts';
import { within } from '../../support/within.ts';
import { SHORT_MS } from '../support/scene.ts';
import { requestTo } from '../support/scripted-transport.ts';
import { openTransport, startCounting, startSilent, startStalling, textOf } from '../support/transport.ts';

describe('a time limit', () => {
  const expired = (origin: string, what: string) => ({
    code: 'REGISTRY_TIMEOUT',
    message: `Cannot read from "${origin}": ${what} within ${SHORT_MS / 1000} s`,
  });

  test('on connecting ends a TLS handshake that stalls', async () => {
    await using server = await startSilent();
    using transport = openTransport({ timeouts: { connectMs: SHORT_MS } });
    const origin = `https://${server.host}`;
    await assert.rejects(transport.send(requestTo(origin)), expired(origin, 'no connection'));
    await server.firstClosed();
  });

  test('on connecting ends a name lookup that stalls', async (t) => {
    t.mock.method(dns, 'lookup', () => undefined);
    syncBuiltinESMExports();
    t.after(() => {
      t.mock.restoreAll();
      syncBuiltinESMExports();
    });
    using transport = openTransport({ timeouts: { connectMs: SHORT_MS } });
    const origin = 'http://registry.example.com';
    await assert.rejects(transport.send(requestTo(origin)), expired(origin, 'no connection'));
  });

  for (const start of [
    '',
    'HTTP/1.1 200 OK\r\nContent-',
    'HTTP/1.1 100 Continue\r\n\r\n',
    'HTTP/1.1 103 Early Hints\r\n\r\n',
  ]) {
    test(`on the response ends a request after ${JSON.stringify(start)}`, async () => {
      await using server = await startRawServer(answerRaw(start, 'keep'));
      using transport = openTransport({ timeouts: { responseMs: SHORT_MS } });
      await assert.rejects(transport.send(requestTo(server.origin)), expired(server.origin, 'no answer'));
    });
  }

  test('on the response counts for a connection that was kept alive', async () => {
    await using server = await startCounting(({ url }, response) => {
      if (url === '/first') response.end('first');
    });
    using transport = openTransport({ timeouts: { responseMs: SHORT_MS } });
    await textOf(await transport.send(requestTo(`${server.origin}/first`)));
    const second = transport.send(requestTo(`${server.origin}/second`));
    await assert.rejects(second, expired(server.origin, 'no answer'));
    assert.deepEqual([server.requests.length, server.connections()], [2, 1]);
  });

  test('on the next chunk ends a body that stalls', async () => {
    await using server = await startStalling();
    using transport = openTransport({ timeouts: { stallMs: SHORT_MS } });
    const read = transport.send(requestTo(server.origin)).then(textOf);
    await assert.rejects(read, expired(server.origin, 'no further bytes'));
    await server.ended();
  });

  test('on the next chunk starts with each chunk, and not while the reader is busy', async (t) => {
    const opened = Promise.withResolvers<(chunk: string) => void>();
    await using server = await startScriptedServer((_, response) => {
      response.writeHead(200, { 'Content-Length': 6 }).write('ab');
      opened.resolve((chunk) => void response.write(chunk));
    });
    using transport = openTransport({ timeouts: { stallMs: 1000 } });
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const { body } = await transport.send(requestTo(server.origin));
    const write = await opened.promise;
    const reader = body[Symbol.asyncIterator]();
    const read = async (): Promise<string> => Buffer.from((await reader.next()).value ?? '').toString();

    assert.equal(await read(), 'ab');
    t.mock.timers.tick(5000);
    const second = read();
    t.mock.timers.tick(999);
    write('cd');
    assert.equal(await second, 'cd');
    const third = read();
    t.mock.timers.tick(1000);
    await assert.rejects(third, { code: 'REGISTRY_TIMEOUT' });
  });
});

describe('an abort', () => {
  const aborted = { code: 'ABORTED' };

  test('before the request opens no connection', async () => {
    await using server = await startSilent();
    using transport = openTransport();
    await assert.rejects(transport.send(requestTo(server.origin, { signal: AbortSignal.abort() })), aborted);
    assert.equal(server.connectionCount(), 0);
  });

  test('while connecting closes the connection', async () => {
    await using server = await startSilent();
    using transport = openTransport();
    const controller = new AbortController();
    const sent = transport.send(requestTo(`https://${server.host}/`, { signal: controller.signal }));
    await server.waitForConnections(1);
    controller.abort();
    await assert.rejects(sent, aborted);
    await server.firstClosed();
  });

  test('while waiting for the response closes the connection; a PassthroughError is the error', async () => {
    const reason = new PassthroughError('REGISTRY_TIMEOUT', 'Cannot prepare the image: it took too long');
    for (const [given, error] of [
      [undefined, aborted],
      [reason, reason],
    ] as const) {
      await using server = await startScriptedServer(() => undefined);
      using transport = openTransport();
      const controller = new AbortController();
      const sent = transport.send(requestTo(server.origin, { signal: controller.signal }));
      await server.waitForRequest(/^GET/);
      controller.abort(given);
      await assert.rejects(sent, error);
      await within(server.waitForNoActiveRequests(), 'the end of the request');
    }
  });

  test('while the body is read, or not read, closes the connection', async () => {
    for (const isReading of [true, false]) {
      await using server = await startStalling();
      using transport = openTransport();
      const controller = new AbortController();
      const { body } = await transport.send(requestTo(server.origin, { signal: controller.signal }));
      const reader = body[Symbol.asyncIterator]();
      if (isReading) await reader.next();
      const next = isReading ? reader.next() : undefined;
      controller.abort();
      await (next && assert.rejects(next, aborted));
      await server.ended();
      if (!isReading) await assert.rejects(reader.next(), aborted);
    }
  });
});
