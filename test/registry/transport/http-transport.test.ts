import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { startScriptedServer } from '../../support/scripted-server.ts';
import { START_LIMIT_MS, within } from '../../support/within.ts';
import { SHORT_MS } from '../support/scene.ts';
import { requestTo } from '../support/scripted-transport.ts';
import { openTransport, startCounting, startStalling, textOf } from '../support/transport.ts';

describe('a request', () => {
  test('is sent unchanged, and its response is returned unchanged', async () => {
    await using server = await startScriptedServer((_, response) => {
      response.writeHead(418, { 'X-Teapot': 'yes', 'Content-Type': 'text/plain' });
      response.end('short and stout');
    });
    using transport = openTransport();
    const headers = { accept: 'a/b', authorization: 'Bearer t', range: 'bytes=5-' };
    const url = `${server.origin}/v2/a/manifests/1?x=y`;
    const response = await transport.send(requestTo(url, { headers }));
    assert.deepEqual([response.status, response.url.href, response.secrets], [418, url, []]);
    assert.deepEqual([response.headers['x-teapot'], response.headers['content-type']], ['yes', 'text/plain']);
    assert.equal(await textOf(response), 'short and stout');
    const [{ method, path, headers: sent } = assert.fail()] = server.requests;
    assert.deepEqual([method, path], ['GET', '/v2/a/manifests/1?x=y']);
    const added = { 'user-agent': 'the user agent', host: server.host, connection: 'keep-alive' };
    assert.deepEqual(sent, { ...headers, ...added });
  });

  test('with HEAD has a status and headers, and no body', async () => {
    await using server = await startScriptedServer((_, response) => {
      response.writeHead(200, { 'Content-Length': 5 }).end();
    });
    using transport = openTransport();
    const response = await transport.send(requestTo(server.origin, { method: 'HEAD' }));
    const { status, headers } = response;
    assert.deepEqual([status, headers['content-length'], await textOf(response)], [200, '5', '']);
  });

  test('gets the challenges of several header lines as one list', async () => {
    await using server = await startScriptedServer((_, response) => {
      response.writeHead(401, { 'WWW-Authenticate': ['Basic realm="a"', 'Bearer realm="b"'] }).end();
    });
    using transport = openTransport();
    const response = await transport.send(requestTo(server.origin));
    response.discard();
    assert.equal(response.headers['www-authenticate'], 'Basic realm="a", Bearer realm="b"');
  });
});

describe('a connection', () => {
  test('is used again after its response was read to its end', async () => {
    await using server = await startCounting(({ url }, response) => void response.end(url));
    using transport = openTransport();
    for (const path of ['/1', '/2', '/3']) {
      assert.equal(await textOf(await transport.send(requestTo(server.origin + path))), path);
    }
    assert.equal(server.connections(), 1);
  });

  test('is used again after a small response was discarded', async () => {
    await using server = await startCounting((_, response) => void response.end('small'));
    using transport = openTransport();
    for (let times = 0; times < 9; times += 1) (await transport.send(requestTo(server.origin))).discard();
    // A response may end just after the next request has opened another connection.
    assert.ok(server.connections() <= 2, `${server.connections()} connections`);
  });

  test('is closed when a large, an endless or a stalling response is discarded', async () => {
    const small = { 'Content-Length': 10 };
    for (const headers of [{ 'Content-Length': 1_000_000 }, { 'Transfer-Encoding': 'chunked' }, small]) {
      await using server = await startStalling(headers);
      using transport = openTransport({ timeouts: headers === small ? { stallMs: SHORT_MS } : {} });
      (await transport.send(requestTo(server.origin))).discard();
      await server.ended();
    }
  });

  test('is closed when a reader stops early', async () => {
    await using server = await startStalling();
    using transport = openTransport();
    for await (const chunk of (await transport.send(requestTo(server.origin))).body) {
      assert.equal(Buffer.from(chunk).toString(), 'start');
      break;
    }
    await server.ended();
  });

  test('is closed when it is idle for the time that a body may stall', async () => {
    const closed = Promise.withResolvers<unknown>();
    await using server = await startScriptedServer((request, response) => {
      once(request.socket, 'close').then(closed.resolve, closed.reject);
      response.end('all');
    });
    using transport = openTransport({ timeouts: { stallMs: SHORT_MS } });
    assert.equal(await textOf(await transport.send(requestTo(server.origin))), 'all');
    await within(closed.promise, 'the end of the connection');
  });

  test('is closed with the transport, which fails the requests in flight', async () => {
    await using server = await startStalling();
    using transport = openTransport();
    const response = await transport.send(requestTo(server.origin));
    transport.close();
    await assert.rejects(textOf(response), { code: 'REGISTRY_UNREACHABLE' });
    await server.ended();
  });

  test('keeps no process alive after an abort, in any phase', async () => {
    const script = fileURLToPath(new URL('../support/abandon.ts', import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, [script], { timeout: START_LIMIT_MS });
    assert.equal(stdout, 'all abandoned\n');
  });
});
