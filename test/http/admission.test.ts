/** Who is served: networks, proxies, https and certificates, as a client of the service meets them. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { rename, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { before, describe, test } from 'node:test';
import { type Authority, type Issued, makeAuthority } from '../support/authority.ts';
import { open } from '../support/http-request.ts';
import { makeImage, makeLayer } from '../support/image.ts';
import { noise } from '../support/noise.ts';
import { startPair } from '../support/pair.ts';
import { connectRaw } from '../support/raw-client.ts';
import { type LogEvent, startTestService, type TestService } from '../support/service.ts';
import { recordSpans } from '../support/span-recorder.ts';
import { connectTls, type TlsFolder, writeTls } from '../support/tls-server.ts';
import { within } from '../support/within.ts';

const recorder = recordSpans();

/** Bytes of the only file of {@link LARGE}. */
const LARGE_BYTES = 8_000_000;

/** An image of which a client that does not read leaves most in the service. */
const LARGE = makeImage({ layers: [{ tar: makeLayer({ file: noise('large', LARGE_BYTES) }) }] });
const FILE = '/docker/team_app_1.tar';

let authority: Authority;
let own: Issued;
before(async () => {
  authority = await makeAuthority();
  own = await authority.issue();
});

const variablesOf = ({ files }: TlsFolder): Record<string, string> => ({
  HTTPS_PORT: '0',
  TLS_CERT_FILE: files.certificate,
  TLS_KEY_FILE: files.key,
  ...(files.clientAuthorities !== undefined && { TLS_CLIENT_CA_FILE: files.clientAuthorities }),
});

/** The log line of the only request of a service. */
const lineOf = (service: TestService): Promise<LogEvent> => service.waitForLog({ event: 'request' });

describe('CLIENT_ALLOWED_NETWORKS', () => {
  const refused: readonly [what: string, path: string, options: { method?: string; body?: string }][] = [
    ['an archive', FILE, {}],
    ['the text of GET /', '/', {}],
    ['a path without a route', '/nothing/here/at/all', {}],
    ['a method that no probe has', '/health', { method: 'DELETE' }],
    ['a body', '/bundle.tar', { method: 'POST', body: 'x'.repeat(100_000) }],
  ];
  for (const [what, path, options] of refused) {
    const isProbe = path === '/health';
    test(`answers ${what} of others with ${isProbe ? '405' : '403'}`, async () => {
      await using service = await startTestService({ CLIENT_ALLOWED_NETWORKS: '127.0.0.2, 10.0.0.0/8' });
      const reply = await service.request(path, options);
      if (isProbe) return assert.equal(reply.status, 405);
      assert.deepEqual([reply.status, reply.reason], [403, 'Client not allowed']);
      assert.match(
        reply.body.toString(),
        /^Client not allowed: Cannot answer "127\.0\.0\.1": CLIENT_ALLOWED_NETWORKS does not list it\n/,
      );
      assert.equal(reply.headers.connection, 'close');
      const { error, client } = await lineOf(service);
      assert.deepEqual([error, client], ['CLIENT_NOT_ALLOWED', '127.0.0.1']);
    });
  }

  test('serves those that it lists, and probes of all', async () => {
    await using service = await startTestService({ CLIENT_ALLOWED_NETWORKS: '127.0.0.2' });
    assert.equal((await service.request('/', { localAddress: '127.0.0.2' })).status, 200);
    for (const path of ['/health', '/ready']) assert.equal((await service.request(path)).status, 200, path);
  });

  test('does not wait for the body of a client that is refused', async () => {
    await using service = await startTestService({ CLIENT_ALLOWED_NETWORKS: '127.0.0.2' });
    using client = await connectRaw(service.port);
    client.send('POST /bundle.tar HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf');
    assert.match((await client.untilClosed()).toString(), /^HTTP\/1\.1 403 /);
  });

  test('sees the client of a trusted proxy, and not the proxy', async () => {
    await using service = await startTestService({
      CLIENT_ALLOWED_NETWORKS: '127.0.0.0/8, 198.51.100.0/24',
      TRUSTED_PROXIES: '127.0.0.1',
    });
    const statusOf = async (headers: Record<string, string>, localAddress = '127.0.0.1') =>
      (await service.request('/', { headers, localAddress })).status;
    assert.equal(await statusOf({ 'x-forwarded-for': '198.51.100.4' }), 200);
    assert.equal(await statusOf({ 'x-forwarded-for': '203.0.113.9' }), 403);
    // What a client sends in front of its own address counts for nothing.
    assert.equal(await statusOf({ 'x-forwarded-for': '198.51.100.4, 203.0.113.9' }), 403);
    assert.equal(await statusOf({ forwarded: 'for=unknown' }), 403);
    assert.equal(await statusOf({ forwarded: 'for=_a1' }), 403);
    assert.equal(await statusOf({ forwarded: 'for="' }), 400);
    assert.equal(await statusOf({ 'x-forwarded-for': '203.0.113.9' }, '127.0.0.2'), 200, 'not a trusted one');
  });

  test('serves the peers of a Unix socket, and of its clients only those that it lists', async () => {
    const folder = await writeTls(own);
    const socketPath = join(folder.path, 'http.sock');
    const env = { CLIENT_ALLOWED_NETWORKS: '198.51.100.0/24', HTTP_SOCKET: socketPath };
    for (const [proxies, headers, status] of [
      ['', {}, 200],
      ['', { 'x-forwarded-for': '203.0.113.9' }, 200],
      ['unix', {}, 200],
      ['unix', { 'x-forwarded-for': '203.0.113.9' }, 403],
      ['unix', { 'x-forwarded-for': '198.51.100.4' }, 200],
    ] as const) {
      await using service = await startTestService({ ...env, TRUSTED_PROXIES: proxies });
      assert.equal(
        (await service.request('/', { socketPath, headers })).status,
        status,
        JSON.stringify([proxies, headers]),
      );
      const { client } = await lineOf(service);
      assert.equal(client, proxies === 'unix' ? (headers['x-forwarded-for'] ?? 'unix') : 'unix');
    }
  });
});

describe('the client that a trusted proxy names', () => {
  test('has limits of its own', async () => {
    await using pair = await startPair(
      { env: { MAX_REQUESTS_PER_CLIENT: '1', TRUSTED_PROXIES: '127.0.0.1' } },
      (registry) => {
        for (const tag of ['1', '2', '3'])
          registry.push('team/app', tag, makeImage({ layers: [{ tar: makeLayer({ tag }) }] }));
      },
    );
    pair.registry.defects.stallRequests = { times: 2 };
    const from = (address: string) => ({ headers: { 'x-forwarded-for': address } });
    const first = pair.request('/docker/team_app_1.tar', from('198.51.100.4'));
    const second = pair.request('/docker/team_app_2.tar', from('198.51.100.5'));
    await pair.untilStalled(2);
    const third = await pair.request('/docker/team_app_3.tar', from('198.51.100.4'));
    assert.equal(third.status, 503);
    assert.match(third.body.toString(), /Cannot begin another download for "198\.51\.100\.4"/);
    pair.registry.releaseStalled();
    assert.deepEqual([(await first).status, (await second).status], [200, 200]);
  });

  test('gets the rest of its own file, and not that of another client', async () => {
    await using pair = await startPair({ env: { TRUSTED_PROXIES: '127.0.0.1' } }, (registry) =>
      registry.push('team/app', '1', LARGE),
    );
    const from = (address: string, range?: string) => ({
      headers: { 'x-forwarded-for': address, ...(range && { range }) },
    });
    // The first client begins a file, and the tag moves.
    const begun = await pair.service.open(FILE, from('198.51.100.4'));
    begun.destroy();
    await pair.service.waitForLog({ event: 'request', outcome: 'aborted' });
    pair.registry.push('team/app', '1', makeImage({ layers: [{ tar: makeLayer({ other: 'x' }) }] }));
    assert.equal((await pair.request(FILE, from('198.51.100.4', 'bytes=100-'))).status, 412);
    assert.equal((await pair.request(FILE, from('198.51.100.5', 'bytes=100-'))).status, 206);
  });

  test('stands in log and span, with the proxy; its scheme stands in the examples of GET /', async () => {
    await using service = await startTestService({ TRUSTED_PROXIES: '127.0.0.1' });
    recorder.reset();
    const headers = { forwarded: 'for="[2001:db8::9]:1234";proto=https', host: 'images.example' };
    const { body } = await service.request('/', { headers });
    assert.match(body.toString(), / https:\/\/images\.example\/docker\/nginx_latest\.tar /);
    const { client, proxy } = await lineOf(service);
    assert.deepEqual([client, proxy], ['2001:db8::9', '127.0.0.1']);
    const { attributes } = recorder.only('GET /');
    assert.deepEqual(
      ['client.address', 'network.peer.address', 'url.full'].map((name) => attributes[name]),
      ['2001:db8::9', '127.0.0.1', 'https://images.example/'],
    );
  });
});

describe('the port of plain http', () => {
  for (const [what, env] of [
    ['with HTTPS_ONLY=yes', { HTTPS_ONLY: 'yes' }],
    ['with TLS_CLIENT_CA_FILE', {}],
  ] as const) {
    test(`serves probes alone ${what}, and says where to go`, async () => {
      const folder = await writeTls(own, 'HTTPS_ONLY' in env ? undefined : authority.cert);
      await using service = await startTestService({ ...variablesOf(folder), ...env });
      for (const path of ['/health', '/ready']) assert.equal((await service.request(path)).status, 200);
      const { status, body } = await service.request('/', { headers: { host: 'images.example:8080' } });
      assert.equal(status, 403);
      const certificate = 'HTTPS_ONLY' in env ? '' : ', with a client certificate';
      assert.ok(
        body
          .toString()
          .startsWith(
            `Client not allowed: Cannot answer over plain http: use https://images.example:${service.httpsPort}${certificate}\n`,
          ),
        body.toString(),
      );
    });
  }

  test('serves all beside https without these settings', async () => {
    await using service = await startTestService(variablesOf(await writeTls(own)));
    assert.equal((await service.request('/')).status, 200);
  });

  test('leaves a Unix socket open, whose mode decides', async () => {
    const folder = await writeTls(own);
    const socketPath = join(folder.path, 'http.sock');
    await using service = await startTestService({
      ...variablesOf(folder),
      HTTPS_ONLY: 'yes',
      HTTP_SOCKET: socketPath,
    });
    assert.equal((await service.request('/', { socketPath })).status, 200);
  });
});

/** Sends a request to the port of https, and resolves with the header. */
function securely(
  service: TestService,
  path: string,
  client: Partial<Issued> = {},
): Promise<IncomingMessage> {
  return open(service.httpsPort, path, { tls: { ca: authority.cert, ...client } });
}

describe('https', () => {
  test('serves an archive; log, span and metric say https, and whom the certificate names', async () => {
    await using pair = await startPair(
      { env: variablesOf(await writeTls(own, authority.cert)) },
      (registry) => registry.push('team/app', '1', LARGE),
    );
    recorder.reset();
    const client = await authority.issue({ use: 'client', subject: '/CN=switch-7' });
    const answer = await securely(pair.service, FILE, client);
    assert.equal(String((await buffer(answer)).length), answer.headers['content-length']);
    const { certificate } = await lineOf(pair.service);
    assert.equal(certificate, 'switch-7');
    const { attributes } = recorder.only('GET /docker/{filename}');
    assert.deepEqual(
      [attributes['url.scheme'], attributes['passthrough.client.certificate']],
      ['https', 'switch-7'],
    );
  });

  test('a certificate that is replaced while 50 clients download: none fails, and new ones get the new one', async () => {
    const folder = await writeTls(own);
    await using pair = await startPair(
      { env: { ...variablesOf(folder), CACHE_MAX_BYTES: '100MB', MAX_REQUESTS_PER_CLIENT: '0' } },
      (registry) => registry.push('team/app', '1', LARGE),
    );
    const { service } = pair;
    const whole = createHash('sha256')
      .update(await buffer(await securely(service, FILE)))
      .digest('hex');
    const running = await Promise.all(Array.from({ length: 50 }, () => securely(service, FILE)));

    const next = await authority.issue({ subject: '/CN=next' });
    for (const [path, text] of [
      [folder.files.key, next.key],
      [folder.files.certificate, next.cert],
    ] as const) {
      await writeFile(`${path}.new`, text);
      await rename(`${path}.new`, path);
    }
    await within(
      service.waitForLog({ event: 'certificate', subject: 'CN=next' }),
      'the new certificate',
      30_000,
    );
    using socket = await connectTls(service.httpsPort, { ca: authority.cert });
    assert.equal(socket.getPeerCertificate().subject.CN, 'next');

    // None of them has been read so far.
    const digests = await Promise.all(
      running.map(async (answer) =>
        createHash('sha256')
          .update(await buffer(answer))
          .digest('hex'),
      ),
    );
    assert.deepEqual(new Set(digests), new Set([whole]));
    for (let count = 1; count <= 51; count += 1) {
      assert.equal((await service.waitForLog({ event: 'request' }, count))['outcome'], 'ok');
    }
  });

  test('cuts a client that takes no byte for SEND_STALL_TIMEOUT, and none that reads slowly', async () => {
    await using pair = await startPair(
      { env: { ...variablesOf(await writeTls(own)), SEND_STALL_TIMEOUT: '2', CACHE_MAX_BYTES: '100MB' } },
      (registry) => registry.push('team/app', '1', LARGE),
    );
    const stalled = await securely(pair.service, FILE);
    const cut = once(stalled, 'error');
    const slow = await securely(pair.service, FILE);
    let bytes = 0;
    const begun = performance.now();
    for await (const chunk of slow) {
      bytes += (chunk as Buffer).length;
      // Slower than the limit allows for the whole, and never as long without a byte.
      const ahead = (bytes / LARGE_BYTES) * 5_000 - (performance.now() - begun);
      if (ahead > 20) await new Promise((resolve) => setTimeout(resolve, ahead));
    }
    assert.equal(String(bytes), slow.headers['content-length']);
    await pair.service.waitForLog({ event: 'request', outcome: 'aborted' });
    stalled.resume();
    await within(cut, 'the end of the client that does not read');
  });
});
