import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { describe, test } from 'node:test';
import { loadConfig } from '../../../src/config/config.ts';
import { findClient } from '../../../src/http/networks/client.ts';
import { requestAttributes } from '../../../src/http/observe/server-attributes.ts';

/** The address of the peer, and of the only proxy that is trusted. */
const PEER = '192.0.2.7';

/** The attributes of a request. */
function attributesOf({
  method = 'GET',
  url = '/',
  headers = {},
  route,
  proxy = PEER,
}: {
  method?: string;
  url?: string;
  headers?: Readonly<Record<string, string>>;
  route?: string;
  /** `TRUSTED_PROXIES` */
  proxy?: string;
}) {
  const socket = { localAddress: '192.0.2.1', localPort: 8080 };
  const request = { method, url, headers, socket, httpVersion: '1.1' };
  const peer = { entrance: 'http', address: PEER, port: 50_000, certificate: undefined } as const;
  const { trustedProxies } = loadConfig({ TRUSTED_PROXIES: proxy }).listener;
  return requestAttributes(
    request as unknown as IncomingMessage,
    route,
    findClient(peer, headers, trustedProxies),
  );
}

test('a request without headers has the addresses of its connection', () => {
  assert.deepEqual(attributesOf({ url: '/docker/a_1.tar', route: '/docker/{filename}' }), {
    'http.request.method': 'GET',
    'http.route': '/docker/{filename}',
    'url.full': 'http://192.0.2.1:8080/docker/a_1.tar',
    'url.path': '/docker/a_1.tar',
    'url.scheme': 'http',
    'server.address': '192.0.2.1',
    'server.port': 8080,
    'client.address': '192.0.2.7',
    'network.peer.address': '192.0.2.7',
    'network.peer.port': 50_000,
    'network.protocol.name': 'http',
    'network.protocol.version': '1.1',
    'network.transport': 'tcp',
  });
});

test('an unknown method is _OTHER, with the method in another attribute', () => {
  const { 'http.request.method': method, 'http.request.method_original': original } = attributesOf({
    method: 'BREW',
  });
  assert.deepEqual([method, original], ['_OTHER', 'BREW']);
});

describe('server.address and server.port are those that the client requested', () => {
  const table: readonly [headers: Readonly<Record<string, string>>, address: string, port: number][] = [
    [{ host: 'images.example.com' }, 'images.example.com', 80],
    [
      { host: 'images.example.com', 'x-forwarded-for': '192.0.2.9', 'x-forwarded-proto': 'https' },
      'images.example.com',
      443,
    ],
    [{ host: 'images.example.com:9090' }, 'images.example.com', 9090],
    [{ host: '[2001:db8::1]:9090' }, '2001:db8::1', 9090],
    [
      { host: 'inner:1', 'x-forwarded-for': '192.0.2.9', 'x-forwarded-host': 'outer.example.com:443' },
      'outer.example.com',
      443,
    ],
    [{ host: 'inner:1', forwarded: 'for=192.0.2.9;host="outer.example.com:444"' }, 'outer.example.com', 444],
    [{ host: 'user:secret@images.example.com' }, 'images.example.com', 80],
    [{ host: '///' }, '192.0.2.1', 8080],
  ];
  for (const [headers, address, port] of table) {
    test(JSON.stringify(headers), () => {
      const attributes = attributesOf({ headers });
      assert.deepEqual([attributes['server.address'], attributes['server.port']], [address, port]);
      assert.doesNotMatch(JSON.stringify(attributes), /secret/);
    });
  }
});

describe('client.address is the one that a trusted proxy names', () => {
  const table: readonly [headers: Readonly<Record<string, string>>, client: string, scheme: string][] = [
    [{ 'x-forwarded-for': '198.51.100.4, 192.0.2.7' }, '198.51.100.4', 'http'],
    [{ 'x-forwarded-for': '198.51.100.4', 'x-forwarded-proto': 'HTTPS' }, '198.51.100.4', 'https'],
    [{ forwarded: 'For="[2001:db8::9]:47011";proto=https' }, '2001:db8::9', 'https'],
  ];
  for (const [headers, client, scheme] of table) {
    test(JSON.stringify(headers), () => {
      const attributes = attributesOf({ headers });
      assert.deepEqual([attributes['client.address'], attributes['url.scheme']], [client, scheme]);
      assert.equal(attributes['network.peer.address'], PEER);
    });
    test(`and not one that any client names: ${JSON.stringify(headers)}`, () => {
      const attributes = attributesOf({ headers, proxy: '203.0.113.1' });
      assert.deepEqual([attributes['client.address'], attributes['url.scheme']], [PEER, 'http']);
    });
  }
});

describe('url.full is the URL that the client requested, without user information', () => {
  const table: readonly [url: string, headers: Readonly<Record<string, string>>, full: string][] = [
    ['/docker/a_1.tar', { host: 'images.example.com' }, 'http://images.example.com/docker/a_1.tar'],
    ['/', { host: 'images.example.com:9090' }, 'http://images.example.com:9090/'],
    ['/a?platform=linux/arm', { host: 'a.example:80' }, 'http://a.example/a?platform=linux/arm'],
    ['/a', { host: 'a.example', forwarded: 'for=192.0.2.9;proto=https' }, 'https://a.example/a'],
    ['/a', { host: '[2001:db8::1]:9090' }, 'http://[2001:db8::1]:9090/a'],
    ['/a?token=secret', { host: 'a.example' }, 'http://a.example/a?token=REDACTED'],
    ['/a', { host: 'me:secret@a.example' }, 'http://a.example/a'],
    ['/registry/http/me:secret@host/docker/a_1.tar', { host: 'a.example' }, 'http://a.example/REDACTED'],
    ['http://me:secret@a.example/a', { host: 'a.example' }, 'http://a.example/REDACTED'],
  ];
  for (const [url, headers, full] of table) {
    test(`${url} at ${JSON.stringify(headers)}`, () =>
      assert.equal(attributesOf({ url, headers })['url.full'], full));
  }
});

describe('url.path and url.query show no secrets', () => {
  const table: readonly [url: string, path: string, query: string | undefined][] = [
    ['/docker/a_1.tar?platform=linux/arm64', '/docker/a_1.tar', 'platform=linux/arm64'],
    ['http://proxy.example.com/docker/a_1.tar?', '/docker/a_1.tar', undefined],
    [
      '/docker/a_1.tar?arch=linux%2Farm64&token=secret',
      '/docker/a_1.tar',
      'arch=linux%2Farm64&token=REDACTED',
    ],
    ['/docker/a_1.tar?platform=me:secret@linux', '/docker/a_1.tar', 'platform=REDACTED'],
    ['/docker/a_1.tar?platform=me:secret%40linux', '/docker/a_1.tar', 'platform=REDACTED'],
    ['/docker/a_1.tar?secret123', '/docker/a_1.tar', 'REDACTED=REDACTED'],
    ['/docker/a_1.tar?x?secret', '/docker/a_1.tar', 'REDACTED=REDACTED'],
    ['/registry/http/me:secret@host/docker/a_1.tar', '/REDACTED', undefined],
    ['/registry/http/me:sec/secret@host/docker/a_1.tar', '/REDACTED', undefined],
    ['/registry/http/me:secret%40host/docker/a_1.tar', '/REDACTED', undefined],
    ['/registry/http/me:secret%2540host/docker/a_1.tar', '/REDACTED', undefined],
    ['http://me:secret@proxy/docker/a_1.tar', '/REDACTED', undefined],
    ['/app@sha256:0123', '/app@sha256:0123', undefined],
    ['/app%40sha256%3A0123', '/app%40sha256%3A0123', undefined],
  ];
  for (const [url, path, query] of table) {
    test(url, () => {
      const attributes = attributesOf({ url });
      assert.deepEqual([attributes['url.path'], attributes['url.query']], [path, query]);
      assert.doesNotMatch(JSON.stringify(attributes), /secret/);
    });
  }

  test('url.path is cut at 2048 characters, the longest path of a route', () => {
    const { 'url.path': path } = attributesOf({ url: `/${'a'.repeat(5000)}` });
    assert.equal(String(path).length, 2048);
  });
});
