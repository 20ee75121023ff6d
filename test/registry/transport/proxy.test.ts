import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { PassthroughError } from '../../../src/errors.ts';
import { startForwardProxy } from '../../support/forward-proxy.ts';
import type { TlsSettings } from '../../support/listening.ts';
import { answerRaw, startRawServer } from '../../support/raw-server.ts';
import { startScriptedServer } from '../../support/scripted-server.ts';
import { within } from '../../support/within.ts';
import { trustTestAuthority } from '../support/certificates.ts';
import { BASIC, SHORT_MS } from '../support/scene.ts';
import { requestTo } from '../support/scripted-transport.ts';
import { openTransport, textOf } from '../support/transport.ts';

const startServer = (tls?: TlsSettings) =>
  startScriptedServer((_, response) => void response.end('yes'), { tls });

/** An https address that only a proxy reaches. */
const BEHIND = 'https://10.0.0.5/v2/';

describe('a proxy', () => {
  test('gets requests over http in absolute form', async () => {
    await using server = await startServer();
    await using proxy = await startForwardProxy();
    for (const name of ['HTTP_PROXY', 'http_proxy']) {
      using transport = openTransport({ proxyEnv: { [name]: proxy.origin } });
      assert.equal(await textOf(await transport.send(requestTo(`${server.origin}/v2/?a=b`))), 'yes');
    }
    const expected = ['GET', `${server.origin}/v2/?a=b`];
    assert.deepEqual(
      proxy.requests.map(({ method, target }) => [method, target]),
      [expected, expected],
    );
  });

  test('opens a tunnel for requests over https, and cannot read them', async () => {
    await using server = await startServer(await trustTestAuthority());
    await using proxy = await startForwardProxy();
    for (const name of ['HTTPS_PROXY', 'https_proxy']) {
      using transport = openTransport({ proxyEnv: { [name]: proxy.origin } });
      const headers = { authorization: 'Bearer secret' };
      assert.equal(await textOf(await transport.send(requestTo(`${server.origin}/v2/`, { headers }))), 'yes');
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

  test('gets its user name and password; the server does not', async () => {
    await using plain = await startServer();
    await using secure = await startServer(await trustTestAuthority());
    await using proxy = await startForwardProxy();
    const address = `http://user:secret@${proxy.host}`;
    using transport = openTransport({ proxyEnv: { HTTP_PROXY: address, HTTPS_PROXY: address } });
    for (const { origin } of [plain, secure]) {
      assert.equal(await textOf(await transport.send(requestTo(origin))), 'yes');
    }
    assert.deepEqual(
      proxy.requests.map(({ headers }) => headers['proxy-authorization']),
      [BASIC, BASIC],
    );
    assert.equal(secure.requests[0]?.headers['proxy-authorization'], undefined);
  });

  test('gets no request for a host of NO_PROXY', async () => {
    await using server = await startServer();
    await using proxy = await startForwardProxy();
    for (const name of ['NO_PROXY', 'no_proxy']) {
      const proxyEnv = { HTTP_PROXY: proxy.origin, [name]: 'example.com,127.0.0.1' };
      using transport = openTransport({ proxyEnv });
      assert.equal(await textOf(await transport.send(requestTo(server.origin))), 'yes');
    }
    assert.equal(proxy.requests.length, 0);
  });

  test('gets no request for a forbidden address', async () => {
    await using proxy = await startForwardProxy();
    using transport = openTransport({ proxyEnv: { HTTP_PROXY: proxy.origin, HTTPS_PROXY: proxy.origin } });
    for (const url of [
      'http://169.254.169.254/',
      'https://[::ffff:169.254.169.254]/',
      'http://2852039166/',
    ]) {
      await assert.rejects(transport.send(requestTo(url)), { code: 'REGISTRY_NOT_ALLOWED' });
    }
    assert.equal(proxy.requests.length, 0);
  });

  test('cannot lead to a server with a certificate of another host', async () => {
    await using server = await startServer(await trustTestAuthority());
    // This proxy connects every request to the server, whose certificate is for 127.0.0.1.
    await using proxy = await startForwardProxy(() => ({ host: '127.0.0.1', port: server.port }));
    using transport = openTransport({ proxyEnv: { HTTPS_PROXY: proxy.origin } });
    await assert.rejects(transport.send(requestTo('https://registry.example.com/v2/')), {
      code: 'REGISTRY_UNREACHABLE',
      message: /example\.com": its certificate is for "localhost", and not for this host/,
    });
    assert.deepEqual(
      proxy.requests.map(({ target }) => target),
      ['registry.example.com:443'],
    );
    assert.equal(server.requests.length, 0);
  });
});

describe('a proxy that fails', () => {
  const tunnel = 'HTTP/1.1 200 OK\r\n\r\n';
  const rows: [name: string, answer: string, then: 'end' | 'reset' | 'keep', code: string][] = [
    ['by refusing', 'HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n', 'end', 'REGISTRY_UNREACHABLE'],
    [
      'by asking for a password',
      'HTTP/1.1 407 Authentication Required\r\n\r\n',
      'end',
      'REGISTRY_UNREACHABLE',
    ],
    ['by closing', '', 'end', 'REGISTRY_UNREACHABLE'],
    ['by a reset', '', 'reset', 'REGISTRY_UNREACHABLE'],
    ['by silence', '', 'keep', 'REGISTRY_TIMEOUT'],
    ['by silence in its tunnel', tunnel, 'keep', 'REGISTRY_TIMEOUT'],
  ];
  for (const [name, answer, then, code] of rows) {
    test(`${name} makes an error in time, without its password`, async () => {
      const closed: Promise<unknown>[] = [];
      await using proxy = await startRawServer((socket, index) => {
        closed.push(once(socket, 'close'));
        answerRaw(answer, then)(socket, index);
      });
      const proxyEnv = { HTTPS_PROXY: `http://user:hunter2@${proxy.host}` };
      using transport = openTransport({ proxyEnv, timeouts: { connectMs: SHORT_MS } });
      await assert.rejects(transport.send(requestTo(BEHIND)), (error) => {
        assert.ok(error instanceof PassthroughError);
        assert.equal(error.code, code);
        assert.doesNotMatch(`${error.message} ${error.cause}`, /hunter2/);
        return true;
      });
      await within(Promise.all(closed), 'the end of the connection to the proxy');
      assert.equal(proxy.connectionCount(), 1);
    });
  }

  test('by refusing the connection makes an error', async () => {
    const proxy = await startForwardProxy();
    await proxy.close();
    using transport = openTransport({ proxyEnv: { HTTP_PROXY: proxy.origin, HTTPS_PROXY: proxy.origin } });
    for (const url of ['http://10.0.0.5/', BEHIND]) {
      const refused = { code: 'REGISTRY_UNREACHABLE', message: /connection refused/ };
      await assert.rejects(transport.send(requestTo(url)), refused);
    }
  });
});

test('an abort closes the connection to the proxy, before and after the tunnel is open', async () => {
  for (const answer of ['', 'HTTP/1.1 200 OK\r\n\r\n']) {
    const answered = Promise.withResolvers<void>();
    const closed = Promise.withResolvers<void>();
    await using proxy = await startRawServer((socket) => {
      socket.once('close', () => closed.resolve());
      socket.once('data', () => socket.write(answer, () => answered.resolve()));
    });
    using transport = openTransport({ proxyEnv: { HTTPS_PROXY: proxy.origin } });
    const controller = new AbortController();
    const sent = transport.send(requestTo(BEHIND, { signal: controller.signal }));
    await answered.promise;
    controller.abort();
    await assert.rejects(sent, { code: 'ABORTED' });
    await within(closed.promise, 'the end of the connection to the proxy');
  }
});
