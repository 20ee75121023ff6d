import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import dns from 'node:dns';
import { once } from 'node:events';
import { syncBuiltinESMExports } from 'node:module';
import type { Socket } from 'node:net';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { PassthroughError } from '../../../src/errors.ts';
import { HttpTransport, type HttpTransportOptions } from '../../../src/registry/transport/http-transport.ts';
import type { Timeouts, TransportResponse } from '../../../src/registry/transport/transport.ts';
import { readAll } from '../../support/collect.ts';
import { startForwardProxy } from '../../support/forward-proxy.ts';
import { answerRaw, startRawServer } from '../../support/raw-server.ts';
import { type ScriptedHandler, startScriptedServer } from '../../support/scripted-server.ts';
import { makeCertificates } from '../../support/tls.ts';
import { WAIT_LIMIT_MS, within } from '../../support/within.ts';
import { serveNames } from '../name-server.ts';
import { PATIENT, SHORT_MS } from '../open.ts';
import { trustTestAuthority } from '../trust.ts';
import { exchange } from './scripted-transport.ts';

type Options = Partial<Omit<HttpTransportOptions, 'timeouts'>> & { readonly timeouts?: Partial<Timeouts> };

function openWire({ timeouts, ...options }: Options = {}): HttpTransport & Disposable {
  const wire = new HttpTransport({
    timeouts: { ...PATIENT, ...timeouts },
    proxyEnv: undefined,
    userAgent: 'the user agent',
    ...options,
  });
  return Object.assign(wire, { [Symbol.dispose]: () => wire.close() });
}

const text = async ({ body }: TransportResponse): Promise<string> => (await readAll(body)).toString();

/** A server that knows by how many connections its requests came. */
async function startCounting(answer: ScriptedHandler) {
  const ports = new Set<number | undefined>();
  const server = await startScriptedServer((request, response, recorded) => {
    ports.add(request.socket.remotePort);
    return answer(request, response, recorded);
  });
  return { ...server, connections: () => ports.size };
}

/** A server that keeps every connection and says nothing, and tells when the client has closed one. */
async function startSilent() {
  const closed: Promise<unknown>[] = [];
  const server = await startRawServer((socket: Socket) => {
    socket.resume();
    closed.push(once(socket, 'close'));
  });
  const firstClosed = async (): Promise<void> => {
    await server.waitForConnections(1);
    await within(closed[0] ?? Promise.reject(new Error('no connection')), 'the end of the first connection');
  };
  return { ...server, firstClosed };
}

/** A server that sends so much of a body and then nothing more. */
const startHalting = (headers: Readonly<Record<string, string | number>>, start: string) =>
  startScriptedServer((_, response) => {
    response.writeHead(200, headers).write(start);
  });

test('request and answer pass as they are', async () => {
  await using server = await startScriptedServer((_, response) => {
    response.writeHead(418, { 'X-Teapot': 'yes', 'Content-Type': 'text/plain' });
    response.end('short and stout');
  });
  using wire = openWire();
  const headers = { accept: 'a/b', authorization: 'Bearer t', range: 'bytes=5-' };
  const url = `${server.origin}/v2/a/manifests/1?x=y`;
  const answer = await wire.send(exchange(url, { headers }));
  assert.deepEqual([answer.status, answer.url.href, answer.secrets], [418, url, []]);
  assert.deepEqual([answer.headers['x-teapot'], answer.headers['content-type']], ['yes', 'text/plain']);
  assert.equal(await text(answer), 'short and stout');
  const [{ method, path, headers: sent } = assert.fail()] = server.requests;
  assert.deepEqual([method, path], ['GET', '/v2/a/manifests/1?x=y']);
  assert.deepEqual(sent, {
    ...headers,
    'user-agent': 'the user agent',
    host: server.host,
    connection: 'keep-alive',
  });
});

test('HEAD has a status and headers, and no body', async () => {
  await using server = await startScriptedServer((_, response) => {
    response.writeHead(200, { 'Content-Length': 5 }).end();
  });
  using wire = openWire();
  const answer = await wire.send(exchange(server.origin, { method: 'HEAD' }));
  assert.deepEqual([answer.status, answer.headers['content-length'], await text(answer)], [200, '5', '']);
});

test('challenges of several header lines arrive as one list', async () => {
  await using server = await startScriptedServer((_, response) => {
    response.writeHead(401, { 'WWW-Authenticate': ['Basic realm="a"', 'Bearer realm="b"'] }).end();
  });
  using wire = openWire();
  const answer = await wire.send(exchange(server.origin));
  answer.discard();
  assert.equal(answer.headers['www-authenticate'], 'Basic realm="a", Bearer realm="b"');
});

test('a connection whose answer was read to its end serves again', async () => {
  await using server = await startCounting(({ url }, response) => {
    response.end(url);
  });
  using wire = openWire();
  for (const path of ['/1', '/2', '/3']) {
    assert.equal(await text(await wire.send(exchange(server.origin + path))), path);
  }
  assert.equal(server.connections(), 1);
});

test('a connection whose small answer was given up serves again', async () => {
  await using server = await startCounting((_, response) => {
    response.end('small');
  });
  using wire = openWire();
  for (let times = 0; times < 9; times += 1) (await wire.send(exchange(server.origin))).discard();
  // The end of an answer may come a moment after the next request has found no free connection.
  assert.ok(server.connections() <= 2, `${server.connections()} connections`);
});

test('a large or endless answer that is given up is cut off', async () => {
  for (const headers of [{ 'Content-Length': 1_000_000 }, { 'Transfer-Encoding': 'chunked' }]) {
    await using server = await startHalting(headers, 'start');
    using wire = openWire();
    (await wire.send(exchange(server.origin))).discard();
    await within(server.waitForNoActiveRequests(), 'the end of the answer');
  }
});

test('a small answer that is given up and then stalls is cut off', async () => {
  await using server = await startHalting({ 'Content-Length': 10 }, 'start');
  using wire = openWire({ timeouts: { stallMs: SHORT_MS } });
  (await wire.send(exchange(server.origin))).discard();
  await within(server.waitForNoActiveRequests(), 'the end of the answer');
});

test('a reader that stops early frees the connection', async () => {
  await using server = await startHalting({ 'Content-Length': 10 }, 'start');
  using wire = openWire();
  for await (const piece of (await wire.send(exchange(server.origin))).body) {
    assert.equal(Buffer.from(piece).toString(), 'start');
    break;
  }
  await within(server.waitForNoActiveRequests(), 'the end of the answer');
});

test('a server that accepts and never says TLS runs into the limit on connecting', async () => {
  await using server = await startSilent();
  using wire = openWire({ timeouts: { connectMs: SHORT_MS } });
  await assert.rejects(wire.send(exchange(`https://${server.host}/`)), {
    code: 'REGISTRY_TIMEOUT',
    message: `Cannot read from "https://${server.host}": no connection within ${SHORT_MS / 1000} s`,
  });
  await server.firstClosed();
});

test('a name server that never answers runs into the limit on connecting', async (t) => {
  t.mock.method(dns, 'lookup', () => undefined);
  syncBuiltinESMExports();
  t.after(() => {
    t.mock.restoreAll();
    syncBuiltinESMExports();
  });
  using wire = openWire({ timeouts: { connectMs: SHORT_MS } });
  await assert.rejects(wire.send(exchange('http://registry.example.com/')), {
    code: 'REGISTRY_TIMEOUT',
    message: /: no connection within /,
  });
});

test('a server that accepts and never answers runs into the limit on the answer', async () => {
  const starts = [
    '',
    'HTTP/1.1 200 OK\r\nContent-',
    'HTTP/1.1 100 Continue\r\n\r\n',
    'HTTP/1.1 103 Early Hints\r\n\r\n',
  ];
  for (const start of starts) {
    await using server = await startRawServer(answerRaw(start, 'keep'));
    using wire = openWire({ timeouts: { responseMs: SHORT_MS } });
    await assert.rejects(
      wire.send(exchange(server.origin)),
      {
        code: 'REGISTRY_TIMEOUT',
        message: `Cannot read from "${server.origin}": no answer within ${SHORT_MS / 1000} s`,
      },
      start,
    );
  }
});

test('a connection that was kept alive has the limit on the answer too', async () => {
  await using server = await startCounting(({ url }, response) => {
    if (url === '/first') response.end('first');
  });
  using wire = openWire({ timeouts: { responseMs: SHORT_MS } });
  await text(await wire.send(exchange(`${server.origin}/first`)));
  await assert.rejects(wire.send(exchange(`${server.origin}/second`)), { message: /: no answer within / });
  assert.deepEqual([server.requests.length, server.connections()], [2, 1]);
});

test('a connection that nobody uses any more is closed after the time that a body may stall', async () => {
  const closed = Promise.withResolvers<unknown>();
  await using server = await startScriptedServer((request, response) => {
    once(request.socket, 'close').then(closed.resolve, closed.reject);
    response.end('all');
  });
  using wire = openWire({ timeouts: { stallMs: SHORT_MS } });
  assert.equal(await text(await wire.send(exchange(server.origin))), 'all');
  await within(closed.promise, 'the end of the connection');
});

test('a body that stalls runs into the limit on the next piece, and frees the connection', async () => {
  await using server = await startHalting({ 'Content-Length': 10 }, 'start');
  using wire = openWire({ timeouts: { stallMs: SHORT_MS } });
  await assert.rejects(text(await wire.send(exchange(server.origin))), {
    code: 'REGISTRY_TIMEOUT',
    message: `Cannot read from "${server.origin}": no further bytes within ${SHORT_MS / 1000} s`,
  });
  await within(server.waitForNoActiveRequests(), 'the end of the answer');
});

test('each piece has the whole limit, and the time that the reader takes does not count', async (t) => {
  const pieces = Promise.withResolvers<(piece: string) => void>();
  await using server = await startScriptedServer((_, response) => {
    response.writeHead(200, { 'Content-Length': 6 }).write('ab');
    pieces.resolve((piece) => {
      response.write(piece);
    });
  });
  using wire = openWire({ timeouts: { stallMs: 1000 } });
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { body } = await wire.send(exchange(server.origin));
  const write = await pieces.promise;
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

test('an abort ends the exchange in every phase, and the connection with it', async (t) => {
  const aborted = { code: 'ABORTED' };
  using wire = openWire();

  await t.test('before it begins', async () => {
    await using server = await startSilent();
    await assert.rejects(wire.send(exchange(server.origin, { signal: AbortSignal.abort() })), aborted);
    assert.equal(server.connectionCount(), 0);
  });
  await t.test('while it connects', async () => {
    await using server = await startSilent();
    const { signal, abort } = abortable();
    const sent = wire.send(exchange(`https://${server.host}/`, { signal }));
    await server.waitForConnections(1);
    abort();
    await assert.rejects(sent, aborted);
    await server.firstClosed();
  });
  await t.test('while it waits for the answer', async () => {
    await using server = await startScriptedServer(() => undefined);
    const { signal, abort } = abortable();
    const sent = wire.send(exchange(server.origin, { signal }));
    await server.waitForRequest(/^GET/);
    abort();
    await assert.rejects(sent, aborted);
    await within(server.waitForNoActiveRequests(), 'the end of the request');
  });
  await t.test('while it waits for bytes', async () => {
    await using server = await startHalting({ 'Content-Length': 10 }, 'start');
    const { signal, abort } = abortable();
    const reader = (await wire.send(exchange(server.origin, { signal }))).body[Symbol.asyncIterator]();
    await reader.next();
    const next = reader.next();
    abort();
    await assert.rejects(next, aborted);
    await within(server.waitForNoActiveRequests(), 'the end of the answer');
  });
  await t.test('while nobody reads', async () => {
    await using server = await startHalting({ 'Content-Length': 10 }, 'start');
    const { signal, abort } = abortable();
    const answer = await wire.send(exchange(server.origin, { signal }));
    abort();
    await within(server.waitForNoActiveRequests(), 'the end of the answer');
    await assert.rejects(text(answer), aborted);
  });
  await t.test('with the reason, where that is an error of ours', async () => {
    await using server = await startScriptedServer(() => undefined);
    const { signal, abort } = abortable();
    const sent = wire.send(exchange(server.origin, { signal }));
    await server.waitForRequest(/^GET/);
    const reason = new PassthroughError('REGISTRY_TIMEOUT', 'Cannot prepare the image: it took too long');
    abort(reason);
    await assert.rejects(sent, reason);
  });
});

test('an answer that breaks off is an error that may pass, before it begins and in its middle', async () => {
  const cases: [bytes: string, then: 'end' | 'reset'][] = [
    ['', 'end'],
    ['', 'reset'],
    ['HTTP/1.1 200 OK\r\nContent-Le', 'end'],
    ['HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf', 'end'],
    ['HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf', 'reset'],
    ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n', 'end'],
  ];
  for (const [bytes, then] of cases) {
    await using server = await startRawServer(answerRaw(bytes, then));
    using wire = openWire();
    await assert.rejects(
      wire.send(exchange(server.origin)).then(text),
      {
        code: 'REGISTRY_UNREACHABLE',
        message: `Cannot reach "${server.origin}": the connection broke off`,
      },
      `${JSON.stringify(bytes)} ${then}`,
    );
  }
});

test('what is no HTTP is an error that tells so', async () => {
  for (const bytes of [
    'SSH-2.0-OpenSSH_9.6\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
  ]) {
    await using server = await startRawServer(answerRaw(bytes));
    using wire = openWire();
    await assert.rejects(wire.send(exchange(server.origin)).then(text), {
      code: 'REGISTRY_UNREACHABLE',
      message: /: Parse Error: /,
    });
  }
});

test('a server that would rather speak another protocol does not keep anybody waiting', async () => {
  const switching = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
  await using server = await startRawServer(answerRaw(switching, 'keep'));
  using wire = openWire();
  await assert.rejects(
    within(wire.send(exchange(server.origin)), 'an end of the exchange', WAIT_LIMIT_MS / 2),
    {
      code: 'REGISTRY_UNREACHABLE',
    },
  );
});

test('a port that nobody listens on is told', async () => {
  const server = await startScriptedServer(() => undefined);
  await server.close();
  using wire = openWire();
  await assert.rejects(wire.send(exchange(server.origin)), {
    code: 'REGISTRY_UNREACHABLE',
    message: `Cannot reach "${server.origin}": connection refused`,
  });
});

test('a name that does not exist is told', async (t) => {
  serveNames(t, {});
  using wire = openWire();
  await assert.rejects(wire.send(exchange('http://missing.example/')), {
    code: 'REGISTRY_UNREACHABLE',
    message: 'Cannot reach "http://missing.example": the name does not exist',
  });
});

test('a certificate of an unknown authority is not trusted, and the error says what to do', async () => {
  const { cert, key } = await makeCertificates();
  await using server = await startScriptedServer((_, response) => void response.end(), {
    tls: { cert, key },
  });
  using wire = openWire();
  await assert.rejects(wire.send(exchange(server.origin)), (error) => {
    assert.ok(error instanceof PassthroughError);
    assert.equal(error.code, 'REGISTRY_UNREACHABLE');
    assert.match(error.message, /: its certificate is not trusted: /);
    assert.match(error.details.hints?.join() ?? '', /NODE_EXTRA_CA_CERTS/);
    return true;
  });
  assert.equal(server.requests.length, 0);
});

test('a certificate of a trusted authority is good for its names alone', async (t) => {
  serveNames(t, { 'registry.example.com': ['127.0.0.1'] });
  const tls = await trustTestAuthority();
  await using server = await startScriptedServer((_, response) => void response.end('yes'), { tls });
  using wire = openWire();
  assert.equal(await text(await wire.send(exchange(server.origin))), 'yes');
  await assert.rejects(wire.send(exchange(`https://registry.example.com:${server.port}/`)), {
    code: 'REGISTRY_UNREACHABLE',
    message: /: its certificate is not trusted: .*registry\.example\.com/,
  });
  assert.equal(server.requests.length, 1);
});

test('a server that wants a certificate of the client is not accused of a bad one of its own', async () => {
  const tls = await trustTestAuthority();
  const { ca } = await makeCertificates();
  await using server = await startScriptedServer(() => undefined, { tls: { ...tls, clientCa: ca } });
  using wire = openWire();
  await assert.rejects(wire.send(exchange(server.origin)), {
    code: 'REGISTRY_UNREACHABLE',
    message: `Cannot reach "${server.origin}": it wants a certificate of the client`,
  });
});

test('closing breaks off what is under way and frees every connection', async () => {
  await using server = await startHalting({ 'Content-Length': 10 }, 'start');
  using wire = openWire();
  const answer = await wire.send(exchange(server.origin));
  wire.close();
  await assert.rejects(text(answer), { code: 'REGISTRY_UNREACHABLE' });
  await within(server.waitForNoActiveRequests(), 'the end of the answer');
});

test('a request over http goes to the proxy in absolute form', async () => {
  await using server = await startScriptedServer((_, response) => void response.end('yes'));
  await using proxy = await startForwardProxy();
  for (const name of ['HTTP_PROXY', 'http_proxy']) {
    using wire = openWire({ proxyEnv: { [name]: proxy.origin } });
    assert.equal(await text(await wire.send(exchange(`${server.origin}/v2/?a=b`))), 'yes');
    const { method, target } = proxy.requests.at(-1) ?? assert.fail();
    assert.deepEqual([method, target], ['GET', `${server.origin}/v2/?a=b`]);
  }
  assert.equal(proxy.requests.length, 2);
});

test('a request over https goes through a tunnel, and the proxy sees none of it', async () => {
  const tls = await trustTestAuthority();
  await using server = await startScriptedServer((_, response) => void response.end('yes'), { tls });
  await using proxy = await startForwardProxy();
  for (const name of ['HTTPS_PROXY', 'https_proxy']) {
    using wire = openWire({ proxyEnv: { [name]: proxy.origin } });
    const headers = { authorization: 'Bearer secret' };
    assert.equal(await text(await wire.send(exchange(`${server.origin}/v2/`, { headers }))), 'yes');
  }
  assert.deepEqual(
    proxy.requests.map(({ method, target }) => [method, target]),
    [
      ['CONNECT', server.host],
      ['CONNECT', server.host],
    ],
  );
  assert.doesNotMatch(JSON.stringify(proxy.requests), /secret/);
  assert.equal(server.requests[0]?.headers.authorization, 'Bearer secret');
});

test('the user name and password of a proxy go to the proxy alone', async () => {
  const tls = await trustTestAuthority();
  await using plain = await startScriptedServer((_, response) => void response.end('yes'));
  await using secure = await startScriptedServer((_, response) => void response.end('yes'), { tls });
  await using proxy = await startForwardProxy();
  const address = `http://user:secret@${proxy.host}`;
  using wire = openWire({ proxyEnv: { HTTP_PROXY: address, HTTPS_PROXY: address } });
  for (const { origin } of [plain, secure])
    assert.equal(await text(await wire.send(exchange(origin))), 'yes');
  const expected = `Basic ${Buffer.from('user:secret').toString('base64')}`;
  assert.deepEqual(
    proxy.requests.map(({ headers }) => headers['proxy-authorization']),
    [expected, expected],
  );
  assert.equal(secure.requests[0]?.headers['proxy-authorization'], undefined);
});

test('NO_PROXY is left alone by the proxy', async () => {
  await using server = await startScriptedServer((_, response) => void response.end('yes'));
  await using proxy = await startForwardProxy();
  for (const name of ['NO_PROXY', 'no_proxy']) {
    using wire = openWire({ proxyEnv: { HTTP_PROXY: proxy.origin, [name]: 'example.com,127.0.0.1' } });
    assert.equal(await text(await wire.send(exchange(server.origin))), 'yes');
  }
  assert.equal(proxy.requests.length, 0);
});

test('a proxy that refuses, breaks off or keeps silent is an error in time, and its password stays secret', async () => {
  const cases: [name: string, answer: string, then: 'end' | 'reset' | 'keep', code: string][] = [
    ['refuses', 'HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n', 'end', 'REGISTRY_UNREACHABLE'],
    ['wants a password', 'HTTP/1.1 407 Proxy Authentication Required\r\n\r\n', 'end', 'REGISTRY_UNREACHABLE'],
    ['breaks off', '', 'end', 'REGISTRY_UNREACHABLE'],
    ['resets', '', 'reset', 'REGISTRY_UNREACHABLE'],
    ['keeps silent', '', 'keep', 'REGISTRY_TIMEOUT'],
    ['opens a tunnel to silence', 'HTTP/1.1 200 OK\r\n\r\n', 'keep', 'REGISTRY_TIMEOUT'],
  ];
  for (const [name, answer, then, code] of cases) {
    const closed: Promise<unknown>[] = [];
    await using proxy = await startRawServer((socket, index) => {
      closed.push(once(socket, 'close'));
      answerRaw(answer, then)(socket, index);
    });
    const proxyEnv = { HTTPS_PROXY: `http://user:hunter2@${proxy.host}` };
    using wire = openWire({ proxyEnv, timeouts: { connectMs: SHORT_MS } });
    await assert.rejects(
      wire.send(exchange('https://10.0.0.5/v2/')),
      (error) => {
        assert.ok(error instanceof PassthroughError);
        assert.equal(error.code, code);
        assert.doesNotMatch(`${error.message} ${error.cause}`, /hunter2/);
        return true;
      },
      name,
    );
    await within(Promise.all(closed), `the end of the connection to a proxy that ${name}`);
    assert.equal(proxy.connectionCount(), 1, name);
  }
});

test('who leaves while a tunnel is dug is let go, and the connection to the proxy with him', async () => {
  for (const answer of ['', 'HTTP/1.1 200 OK\r\n\r\n']) {
    const dug = Promise.withResolvers<void>();
    const closed = Promise.withResolvers<void>();
    await using proxy = await startRawServer((socket) => {
      socket.once('close', () => closed.resolve());
      socket.once('data', () => socket.write(answer, () => dug.resolve()));
    });
    using wire = openWire({ proxyEnv: { HTTPS_PROXY: proxy.origin } });
    const { signal, abort } = abortable();
    const sent = wire.send(exchange('https://10.0.0.5/v2/', { signal }));
    await dug.promise;
    abort();
    await assert.rejects(sent, { code: 'ABORTED' });
    await within(closed.promise, 'the end of the connection to the proxy');
  }
});

test('a tunnel is no way around the check of a certificate', async () => {
  const tls = await trustTestAuthority();
  await using server = await startScriptedServer(() => undefined, { tls });
  // Whatever is asked for, this proxy leads to the server, whose certificate is for 127.0.0.1.
  await using proxy = await startForwardProxy(() => ({ host: '127.0.0.1', port: server.port }));
  using wire = openWire({ proxyEnv: { HTTPS_PROXY: proxy.origin } });
  await assert.rejects(wire.send(exchange('https://registry.example.com/v2/')), {
    code: 'REGISTRY_UNREACHABLE',
    message: /: its certificate is not trusted: .*registry\.example\.com/,
  });
  assert.deepEqual(
    proxy.requests.map(({ target }) => target),
    ['registry.example.com:443'],
  );
  assert.equal(server.requests.length, 0);
});

test('a proxy that is not there is told', async () => {
  const proxy = await startForwardProxy();
  await proxy.close();
  using wire = openWire({ proxyEnv: { HTTP_PROXY: proxy.origin, HTTPS_PROXY: proxy.origin } });
  for (const url of ['http://10.0.0.5/', 'https://10.0.0.5/']) {
    await assert.rejects(wire.send(exchange(url)), {
      code: 'REGISTRY_UNREACHABLE',
      message: /connection refused/,
    });
  }
});

test('a proxy does not lift the ban on forbidden addresses', async () => {
  await using proxy = await startForwardProxy();
  using wire = openWire({ proxyEnv: { HTTP_PROXY: proxy.origin, HTTPS_PROXY: proxy.origin } });
  for (const url of ['http://169.254.169.254/', 'https://[::ffff:169.254.169.254]/', 'http://2852039166/']) {
    await assert.rejects(wire.send(exchange(url)), { code: 'REGISTRY_NOT_ALLOWED' });
  }
  assert.equal(proxy.requests.length, 0);
});

test('what was abandoned keeps no process alive', async () => {
  const script = new URL('../abandon.ts', import.meta.url);
  const { stdout } = await promisify(execFile)(process.execPath, [fileURLToPath(script)], {
    timeout: WAIT_LIMIT_MS,
  });
  assert.equal(stdout, 'all abandoned\n');
});

function abortable(): { readonly signal: AbortSignal; abort(reason?: unknown): void } {
  const controller = new AbortController();
  return { signal: controller.signal, abort: (reason) => controller.abort(reason) };
}
