/** The port of https: what it speaks, what it refuses, and that its connections count as all others. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { type AddressInfo, connect as connectPlain, createServer } from 'node:net';
import { text } from 'node:stream/consumers';
import { before, describe, test } from 'node:test';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import type { Peer } from '../../../src/http/connections/peer.ts';
import { TlsHandshakes } from '../../../src/http/listeners/tls-handshakes.ts';
import { type Authority, type Issued, makeAuthority } from '../../support/authority.ts';
import { request } from '../../support/http-request.ts';
import { answerOk, type Handle } from '../../support/http-server.ts';
import { connectRaw } from '../../support/raw-client.ts';
import {
  connectTls,
  memoryLogger,
  startTlsServer,
  type TlsFolder,
  writeTls,
} from '../../support/tls-server.ts';
import { within } from '../../support/within.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

/** Milliseconds of a limit that a test reaches. */
const LIMIT_MS = 100;

const refuseAll: Handle = () => assert.fail('no request is handled');

let authority: Authority;
let own: Issued;
let folder: TlsFolder;
before(async () => {
  authority = await makeAuthority();
  own = await authority.issue();
  folder = await writeTls(own);
});

/** All that comes on an encrypted connection until its end. */
async function answerTo(bytes: string, port: number, options: ConnectionOptions): Promise<string> {
  using socket = await connectTls(port, options);
  socket.write(bytes);
  return await within(text(socket), 'the end of a connection');
}

/** Resolves when a connection is closed, whatever the error. */
async function untilClosed(socket: TLSSocket): Promise<void> {
  const closed = Promise.withResolvers<void>();
  socket.on('error', () => undefined);
  socket.once('close', () => closed.resolve());
  await within(closed.promise, 'the end of a connection');
}

/** Resolves with the code of the error by which a handshake ends. */
async function failure(port: number, options: ConnectionOptions): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port, servername: 'localhost', ...options });
  const error = Promise.withResolvers<string>();
  socket.on('error', (cause: NodeJS.ErrnoException) => error.resolve(cause.code ?? ''));
  socket.once('close', () => error.resolve('closed'));
  // In TLS 1.3 a client has done its part before the server has looked at its certificate.
  socket.once('secureConnect', () => socket.write(GET));
  socket.once('data', () => error.resolve('answered'));
  return await within(error.promise, 'a failure').finally(() => socket.destroy());
}

describe('https', () => {
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`speaks ${version} and http/1.1, and says so`, async () => {
      const peers: Peer[] = [];
      await using server = await startTlsServer(async (_, response, __, peer) => {
        peers.push(peer);
        response.end('ok');
      }, folder);
      using socket = await connectTls(server.httpsPort, {
        ca: authority.cert,
        minVersion: version,
        maxVersion: version,
        ALPNProtocols: ['h2', 'http/1.1'],
      });
      assert.deepEqual(
        [socket.authorized, socket.alpnProtocol, socket.getProtocol()],
        [true, 'http/1.1', version],
      );
      socket.write(GET);
      await within(once(socket, 'data'), 'an answer');
      const [peer] = peers;
      assert.deepEqual(
        [peer?.entrance, peer?.address, peer?.port, peer?.certificate],
        ['https', '127.0.0.1', socket.localPort, undefined],
      );
    });
  }

  test('sends the chain of its file', async () => {
    const middle = await authority.below('/CN=middle');
    const leaf = await middle.issue();
    const chained = await writeTls({ ...leaf, cert: leaf.cert + middle.cert });
    await using server = await startTlsServer(answerOk, chained);
    const { status } = await request(server.httpsPort, '/', { tls: { ca: authority.cert } });
    assert.equal(status, 200);
  });

  test('answers requests of one connection in their order, and many of them', async () => {
    await using server = await startTlsServer(async ({ url }, response) => {
      response.end(`<${url}>`);
    }, folder);
    const paths = Array.from({ length: 300 }, (_, at) => `/${at}`);
    const last = { '/299': 'Connection: close\r\n' } as Readonly<Record<string, string>>;
    const bytes = paths.map((path) => `GET ${path} HTTP/1.1\r\nHost: a\r\n${last[path] ?? ''}\r\n`).join('');
    const answers = await answerTo(bytes, server.httpsPort, { ca: authority.cert });
    assert.deepEqual(
      [...answers.matchAll(/<(\/\d+)>/g)].map(([, path]) => path),
      paths,
    );
  });

  test('tells a client of plain http what to write', async () => {
    await using server = await startTlsServer(refuseAll, folder);
    using client = await connectRaw(server.httpsPort);
    client.send(GET);
    const answer = (await client.untilClosed()).toString();
    assert.match(answer, /^HTTP\/1\.1 400 Bad Request\r\nConnection: close\r\n/);
    assert.match(
      answer,
      /\r\n\r\nInvalid request: This port speaks https: write https:\/\/ before its address\n$/,
    );
  });

  const refused: readonly [what: string, options: ConnectionOptions, code: string, logged: string][] = [
    [
      'TLS 1.1',
      { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT:@SECLEVEL=0' },
      'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION',
      'ERR_SSL_UNSUPPORTED_PROTOCOL',
    ],
    [
      'a client that wants HTTP/2 only',
      { ALPNProtocols: ['h2'] },
      'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL',
      'ERR_SSL_NO_APPLICATION_PROTOCOL',
    ],
    [
      'a client without a common cipher',
      { maxVersion: 'TLSv1.2', ciphers: 'AES128-SHA' },
      'ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE',
      'ERR_SSL_NO_SHARED_CIPHER',
    ],
  ];
  for (const [what, options, code, logged] of refused) {
    test(`refuses ${what}`, async () => {
      await using server = await startTlsServer(refuseAll, folder);
      assert.equal(await failure(server.httpsPort, { ca: authority.cert, ...options }), code);
      const { client, message } = await server.log.waitFor({
        event: 'tls_refused',
        level: 'info',
        error: logged,
      });
      assert.equal(client, '127.0.0.1');
      assert.doesNotMatch(String(message), /openssl|routines/);
    });
  }

  test('refuses bytes that are neither', async () => {
    await using server = await startTlsServer(refuseAll, folder);
    using client = await connectRaw(server.httpsPort);
    client.send(Buffer.from('00ff00ff00ff00ff00ff', 'hex'));
    await client.untilClosed();
    await server.log.waitFor({ event: 'tls_refused', level: 'info' });
  });

  test('lets no client renegotiate', async () => {
    await using server = await startTlsServer(answerOk, folder);
    using socket = await connectTls(server.httpsPort, { ca: authority.cert, maxVersion: 'TLSv1.2' });
    const result = Promise.withResolvers<unknown>();
    socket.on('error', result.resolve);
    socket.renegotiate({}, result.resolve);
    const error = await within(result.promise, 'the end of a renegotiation');
    assert.equal((error as NodeJS.ErrnoException).code, 'ERR_SSL_NO_RENEGOTIATION');
  });
});

describe('a slow handshake', () => {
  test('that never begins is closed at HTTP_HEADER_TIMEOUT, without a text', async () => {
    await using server = await startTlsServer(refuseAll, folder, { headerTimeoutMs: LIMIT_MS });
    using client = await connectRaw(server.httpsPort);
    assert.equal((await client.untilClosed()).toString(), '');
  });

  test('that comes byte by byte is closed at the same limit', async () => {
    await using server = await startTlsServer(refuseAll, folder, { headerTimeoutMs: LIMIT_MS });
    using client = await connectRaw(server.httpsPort);
    // A record of a handshake of 512 bytes, of which a byte comes every few milliseconds.
    client.send(Buffer.from('1603010200', 'hex'));
    const drip = setInterval(() => client.socket.writable && client.send(Buffer.from([1])), LIMIT_MS / 10);
    await client.untilClosed().finally(() => clearInterval(drip));
  });

  test('is followed by a time limit for the header of the request', async () => {
    // The handshake must end within the same limit, also on a busy machine.
    await using server = await startTlsServer(refuseAll, folder, { headerTimeoutMs: 10 * LIMIT_MS });
    assert.match(
      await answerTo('GET / HT', server.httpsPort, { ca: authority.cert }),
      /^HTTP\/1\.1 408 Request Timeout\r\n/,
    );
  });
});

test('a handshake begins when it is its turn', async () => {
  const { logger } = memoryLogger();
  const handshakes = await TlsHandshakes.start({ files: folder.files, logger }, 60_000);
  const waiting = Promise.withResolvers<() => void>();
  const secured = Promise.withResolvers<string | undefined>();
  const server = createServer((socket) =>
    handshakes.begin(socket, {
      turn: waiting.resolve,
      secured: (_, certificate) => secured.resolve(certificate),
    }),
  ).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  let isSecure = false;
  const client = connect({ host: '127.0.0.1', port, servername: 'localhost', ca: authority.cert });
  client.once('secureConnect', () => {
    isSecure = true;
  });
  const begin = await within(waiting.promise, 'a turn');
  assert.equal(isSecure, false);
  begin();
  assert.equal(await within(secured.promise, 'a handshake'), undefined);
  client.destroy();
  server.close();
  handshakes.stop();
});

/** The first bytes of a real client. */
async function clientHello(): Promise<Buffer> {
  const { promise, resolve } = Promise.withResolvers<Buffer>();
  const server = createServer((socket) => socket.on('error', () => undefined).once('data', resolve)).listen(
    0,
  );
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = connect({ host: '127.0.0.1', port, servername: 'localhost' });
  client.on('error', () => undefined);
  const hello = await within(promise, 'the first bytes of a client');
  client.destroy();
  server.close();
  return hello;
}

test('handshakes that are cut, changed or reset anywhere leave nothing behind, and the server goes on', async () => {
  const hello = await clientHello();
  const MOST = 4;
  await using server = await startTlsServer(answerOk, folder, { maxConnections: MOST });
  const steps = Array.from({ length: 24 }, (_, at) => Math.floor((hello.length * at) / 24));
  for (const at of steps) {
    const changed = Buffer.from(hello);
    changed[at] = ~(changed[at] ?? 0) & 0xff;
    for (const [bytes, leave] of [
      [hello.subarray(0, at), 'end'],
      [hello.subarray(0, at), 'reset'],
      [changed, 'end'],
      [changed, 'reset'],
      [hello, 'reset'],
    ] as const) {
      using client = await connectRaw(server.httpsPort);
      client.send(bytes);
      if (leave === 'end') client.socket.end();
      else client.socket.resetAndDestroy();
      await client.untilClosed();
    }
  }
  // All places are free again.
  const sockets: Disposable[] = [];
  for (let count = 0; count < MOST; count += 1)
    sockets.push(await connectTls(server.httpsPort, { ca: authority.cert }));
  for (const socket of sockets) socket[Symbol.dispose]();
});

describe('a connection of https', () => {
  test('counts from the moment when it is accepted; the next one gets 503 after its handshake', async () => {
    await using server = await startTlsServer(answerOk, folder, { maxConnections: 1 });
    using first = await connectRaw(server.httpsPort);
    // It is counted once another connection is answered.
    using plain = await connectRaw(server.port);
    assert.match((await plain.untilClosed()).toString(), /^HTTP\/1\.1 503 Busy\r\n/);
    const answer = await answerTo(GET, server.httpsPort, { ca: authority.cert });
    assert.match(answer, /^HTTP\/1\.1 503 Busy\r\n.*MAX_CONNECTIONS is 1\n$/s);
    assert.equal(first.received().length, 0);
  });

  test('counts with those of plain http', async () => {
    await using server = await startTlsServer(answerOk, folder, { maxConnections: 2 });
    using _plain = await connectRaw(server.port);
    using _encrypted = await connectTls(server.httpsPort, { ca: authority.cert });
    using third = await connectRaw(server.port);
    assert.match((await third.untilClosed()).toString(), /^HTTP\/1\.1 503 Busy\r\n/);
  });

  test('gives its place to a client that has fewer, if it waits', async () => {
    await using server = await startTlsServer(answerOk, folder, { maxConnections: 2 });
    using oldest = await connectTls(server.httpsPort, { ca: authority.cert });
    const closed = once(oldest, 'close');
    using _younger = await connectTls(server.httpsPort, { ca: authority.cert });
    const reply = await request(server.port, '/', { localAddress: '127.0.0.2' });
    assert.equal(reply.status, 200);
    await within(closed, 'the end of the oldest connection');
  });

  test('keeps its place while it is answered', async () => {
    const begun = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    await using server = await startTlsServer(
      async (_, response) => {
        begun.resolve();
        await release.promise;
        response.end('whole');
      },
      folder,
      { maxConnections: 1 },
    );
    const answer = request(server.httpsPort, '/', { tls: { ca: authority.cert } });
    await within(begun.promise, 'a request');
    assert.equal((await request(server.port, '/', { localAddress: '127.0.0.2' })).status, 503);
    release.resolve();
    assert.equal((await answer).body.toString(), 'whole');
  });

  test('is closed by a stop, in its handshake too; an answer under way goes out', async () => {
    const begun = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    await using server = await startTlsServer(async (_, response) => {
      begun.resolve();
      await release.promise;
      response.end('whole');
    }, folder);
    using waiting = await connectRaw(server.httpsPort);
    using idle = await connectTls(server.httpsPort, { ca: authority.cert });
    const idleClosed = once(idle, 'close');
    const answer = request(server.httpsPort, '/', { tls: { ca: authority.cert } });
    await within(begun.promise, 'a request');
    const stopped = server.server.stop(60_000);
    release.resolve();
    assert.equal((await answer).body.toString(), 'whole');
    assert.equal(await within(stopped, 'the stop'), 0);
    await Promise.all([waiting.untilClosed(), within(idleClosed, 'the end of an idle connection')]);
    const late = connectPlain(server.httpsPort, '127.0.0.1');
    const [error] = (await within(once(late, 'error'), 'a refused connection')) as [NodeJS.ErrnoException];
    assert.equal(error.code, 'ECONNREFUSED');
  });
});

describe('a client certificate', () => {
  let checked: TlsFolder;
  before(async () => {
    checked = await writeTls(own, authority.cert);
  });

  /** Name of the client that the server sees. */
  async function nameOf(client: Issued, version: 'TLSv1.2' | 'TLSv1.3'): Promise<string | undefined> {
    const seen: Peer[] = [];
    await using server = await startTlsServer(async (_, response, __, peer) => {
      seen.push(peer);
      response.end('ok');
    }, checked);
    const tls = { ca: authority.cert, ...client, minVersion: version, maxVersion: version };
    assert.equal((await request(server.httpsPort, '/', { tls })).status, 200);
    return seen[0]?.certificate;
  }

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`of the authority is taken, and names the client (${version})`, async () => {
      assert.equal(
        await nameOf(await authority.issue({ use: 'client', subject: '/O=Lab/CN=switch-7' }), version),
        'switch-7',
      );
    });
  }

  const names: readonly [what: string, options: { subject: string; names?: string }, name: string][] = [
    [
      'without a common name is named by another name',
      { subject: '/O=Lab', names: 'URI:spiffe://lab/sw7,DNS:sw7' },
      'URI:spiffe://lab/sw7',
    ],
    ['with two common names is named by the first', { subject: '/CN=one/CN=two' }, 'one'],
    ['with control characters is shown escaped', { subject: '/CN=a\nb\u202e' }, 'a\\nb\\u202e'],
  ];
  for (const [what, options, name] of names) {
    test(what, async () => {
      assert.equal(await nameOf(await authority.issue({ use: 'client', ...options }), 'TLSv1.3'), name);
    });
  }

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const range = { minVersion: version, maxVersion: version } as const;

    test(`is needed, and no session gets around it (${version})`, async () => {
      await using server = await startTlsServer(refuseAll, checked);
      const sessions: Buffer[] = [];
      const attempt = async (session?: Buffer) => {
        const socket = connect({
          ...{ host: '127.0.0.1', port: server.httpsPort, servername: 'localhost', ca: authority.cert },
          ...range,
          ...(session !== undefined && { session }),
        });
        socket.on('session', (one) => sessions.push(one));
        socket.once('secureConnect', () => socket.write(GET));
        await untilClosed(socket);
      };
      await attempt();
      for (const session of sessions.slice()) await attempt(session);
      const { message } = await server.log.waitFor({
        event: 'tls_refused',
        error: 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE',
      });
      assert.equal(message, 'The client has sent no certificate');
    });

    const wrong: readonly [what: string, make: () => Promise<Issued>, error: string, message: RegExp][] = [
      [
        'of another authority',
        async () => await (await makeAuthority('/CN=other')).issue({ use: 'client' }),
        'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
        /^No authority in TLS_CLIENT_CA_FILE has issued/,
      ],
      [
        'that has expired',
        async () => await authority.issue({ use: 'client', days: -1 }),
        'CERT_HAS_EXPIRED',
        /has expired$/,
      ],
      [
        'for servers',
        async () => await authority.issue({ use: 'server' }),
        'INVALID_PURPOSE',
        /for this use$/,
      ],
    ];
    for (const [what, make, error, message] of wrong) {
      test(`${what} is refused, also in a resumed session (${version})`, async () => {
        await using server = await startTlsServer(refuseAll, checked);
        const client = await make();
        const sessions: Buffer[] = [];
        for (const session of [undefined, 'resumed'] as const) {
          const socket = connect({
            ...{ host: '127.0.0.1', port: server.httpsPort, servername: 'localhost', ca: authority.cert },
            ...range,
            ...client,
            ...(session !== undefined && sessions[0] !== undefined && { session: sessions[0] }),
          });
          socket.on('session', (one) => sessions.push(one));
          socket.once('secureConnect', () => socket.write(GET));
          await untilClosed(socket);
        }
        const refused = await server.log.waitFor({ event: 'tls_refused', error });
        assert.match(String(refused['message']), message);
        assert.equal(refused['client'], '127.0.0.1');
      });
    }
  }

  test('of an authority that is no longer listed opens nothing, not by a session either', async () => {
    const old = await makeAuthority('/CN=old');
    const listed = await writeTls(own, old.cert);
    await using server = await startTlsServer(answerOk, listed);
    const client = await old.issue({ use: 'client' });
    const options = { ca: authority.cert, maxVersion: 'TLSv1.2', ...client } as const;
    using first = await connectTls(server.httpsPort, options);
    const session = first.getSession();
    assert.ok(session !== undefined);
    using second = await connectTls(server.httpsPort, { ...options, session });
    assert.equal(second.isSessionReused(), true, 'sessions are resumed');
    await writeFile(listed.files.clientAuthorities ?? '', authority.cert);
    await server.log.waitFor({ event: 'certificate', level: 'info' });
    assert.notEqual(await failure(server.httpsPort, { ...options, session }), 'answered');
    await server.log.waitFor({ event: 'tls_refused', error: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' });
  });

  test('of an authority between is taken if its root is listed, too, and else the log says so', async () => {
    const root = await makeAuthority('/CN=root');
    const middle = await root.below('/CN=middle');
    const client = await middle.issue({ use: 'client' });
    const listed = await writeTls(own, middle.cert + root.cert);
    await using server = await startTlsServer(answerOk, listed);
    const tls = { ca: authority.cert, ...client };
    assert.equal((await request(server.httpsPort, '/', { tls })).status, 200);
    await writeFile(listed.files.clientAuthorities ?? '', middle.cert + authority.cert);
    await server.log.waitFor({ event: 'certificate', level: 'info' });
    assert.notEqual(await failure(server.httpsPort, tls), 'answered');
    const { message } = await server.log.waitFor({ event: 'tls_refused' });
    assert.match(String(message), /^TLS_CLIENT_CA_FILE has no root for the authority/);
  });

  test('that is huge is refused', async () => {
    const names = Array.from({ length: 8_000 }, (_, at) => `DNS:${at}.example.com`).join(',');
    const client = await authority.issue({ use: 'client', names });
    assert.ok(client.cert.length > 150_000);
    await using server = await startTlsServer(refuseAll, checked);
    await failure(server.httpsPort, { ca: authority.cert, ...client });
    await server.log.waitFor({ event: 'tls_refused', error: 'ERR_SSL_EXCESSIVE_MESSAGE_SIZE' });
  });
});
