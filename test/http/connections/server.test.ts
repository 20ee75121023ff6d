import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isPassthroughError } from '../../../src/errors.ts';
import { HttpServer } from '../../../src/http/connections/server.ts';
import { request } from '../../support/http-request.ts';
import { answerOk, type Handle, SERVER_SETTINGS, startServer } from '../../support/http-server.ts';
import { connectRaw, type RawClient } from '../../support/raw-client.ts';
import { within } from '../../support/within.ts';

const LONG_MS = 60_000;
const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

const refuseAll: Handle = () => assert.fail('no request is handled');

/** Open TCP connections of this process. It has both ends of each. */
function openSockets(): number {
  return process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
}

/** Waits for a number of open TCP connections. They close without an event here, so this polls. */
async function untilOpenSockets(isReached: (count: number) => boolean, what: string): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setInterval(() => isReached(openSockets()) && resolve(), 10);
  await within(promise, what).finally(() => clearInterval(timer));
}

/** Stops a server that is expected to stop without reaching its limit; resolves with the number of cut requests. */
function stop(server: HttpServer, limitMs = LONG_MS): Promise<number> {
  return within(server.stop(limitMs), 'the end of the server');
}

/** A handler that answers when it is released or aborted. */
class Held {
  readonly #begun = Promise.withResolvers<AbortSignal>();
  readonly #release = Promise.withResolvers<void>();

  readonly handle: Handle = async (_, response, signal) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    signal.addEventListener('abort', () => resolve(), { once: true });
    this.#begun.resolve(signal);
    await Promise.race([promise, this.#release.promise]);
    response.end(signal.aborted ? 'aborted' : 'whole');
  };

  /** Resolves with the signal of the first request. */
  begun(): Promise<AbortSignal> {
    return within(this.#begun.promise, 'a request');
  }

  release(): void {
    this.#release.resolve();
  }
}

test('no field of a header is left out: a proxy appends what counts', async () => {
  await using server = await startServer(async ({ headers }, response) => {
    response.end(headers['x-forwarded-for']);
  });
  using client = await connectRaw(server.port);
  const fields = [
    'Host: a',
    'Connection: close',
    ...Array<string>(5_000).fill('a:'),
    'X-Forwarded-For: last',
  ];
  client.send(`GET / HTTP/1.1\r\n${fields.join('\r\n')}\r\n\r\n`);
  assert.match((await client.untilClosed()).toString(), /\r\n\r\nlast$/);
});

describe('bytes that are not a valid request', () => {
  const garbage: Readonly<Record<string, string | Buffer>> = {
    text: 'hello, is this a server?\r\n\r\n',
    'a TLS handshake': Buffer.from('160301020001000001fc0303', 'hex'),
    SSH: 'SSH-2.0-OpenSSH_9.6\r\n',
    'an empty method': ' / HTTP/1.1\r\n\r\n',
    'a header without a colon': 'GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n',
    'a header with a control character': 'GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n',
    'two lengths': 'GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
    'an unknown version': 'GET / HTTP/9.9\r\nHost: a\r\n\r\n',
  };
  for (const [what, bytes] of Object.entries(garbage)) {
    test(`(${what}) get 400 in plain text, and the connection is closed`, async () => {
      await using started = await startServer(refuseAll);
      using client = await connectRaw(started.port);
      client.send(bytes);
      const [head = '', body = ''] = (await client.untilClosed()).toString().split('\r\n\r\n');
      assert.match(head, /^HTTP\/1\.1 400 Bad Request\r\n/);
      assert.match(head, /^Content-Type: text\/plain; charset=utf-8\r?$/m);
      assert.match(head, /^Connection: close\r?$/m);
      assert.match(head, new RegExp(`^Content-Length: ${Buffer.byteLength(body)}\r?$`, 'm'));
      assert.match(body, /^Invalid request: Cannot parse it as HTTP: .+\n$/);
    });
  }

  const long = (kilobytes: number) => 'x'.repeat(kilobytes * 1024);
  const refused: readonly [what: string, bytes: string, status: number, answer: RegExp][] = [
    ['a request without Host', 'GET / HTTP/1.1\r\n\r\n', 400, / Bad Request\r\n/],
    ...[40, 400].flatMap((size): typeof refused => [
      [
        `a header of ${size} KB`,
        `GET / HTTP/1.1\r\nHost: a\r\nX-Long: ${long(size)}\r\n\r\n`,
        431,
        / Request Header Fields Too Large\r\n.*\r\n\r\nInvalid request: its header is longer than 32768 bytes\n$/s,
      ],
      [
        `a request line of ${size} KB`,
        `GET /${long(size)} HTTP/1.1\r\nHost: a\r\n\r\n`,
        400,
        / Bad Request\r\n.*\r\n\r\nInvalid image reference: Cannot parse path: it is longer than 32768 bytes\n$/s,
      ],
    ]),
  ];
  for (const [what, bytes, status, expected] of refused) {
    test(`(${what}) get ${status} in plain text`, async () => {
      await using started = await startServer(refuseAll);
      using client = await connectRaw(started.port);
      client.send(bytes);
      const answer = (await client.untilClosed()).toString();
      assert.equal(answer.slice(0, 13), `HTTP/1.1 ${status} `);
      assert.match(answer, expected);
    });
  }

  test('behind a request that is being answered cut its answer', async () => {
    const held = new Held();
    await using started = await startServer(held.handle);
    using client = await connectRaw(started.port);
    client.send(GET);
    const signal = await held.begun();
    client.send('garbage\r\n\r\n');
    assert.equal((await client.untilClosed()).toString(), '');
    assert.equal(signal.aborted, true);
  });

  test('do not keep the connection open if the client does not close its side', async () => {
    await using started = await startServer(refuseAll);
    const before = openSockets();
    using client = await connectRaw(started.port, { stayOpen: true });
    client.send('hello\r\n\r\n');
    await client.waitFor(/Invalid request/);
    assert.equal(openSockets() - before, 2, 'both ends are open');
    await untilOpenSockets((count) => count - before === 1, 'the end of the connection');
  });
});

test('a header of 20 KB is accepted: tokens are long', async () => {
  await using started = await startServer(answerOk);
  const headers = { authorization: `Bearer ${'x'.repeat(20 * 1024)}` };
  assert.equal((await request(started.port, '/', { headers })).status, 200);
});

describe('the signal of a request', () => {
  test('aborts when the client leaves', async () => {
    const held = new Held();
    await using started = await startServer(held.handle);
    const client = await connectRaw(started.port);
    client.send(GET);
    const signal = await held.begun();
    const aborted = Promise.withResolvers<void>();
    signal.addEventListener('abort', () => aborted.resolve());
    assert.equal(signal.aborted, false);
    client.socket.resetAndDestroy();
    await within(aborted.promise, 'the abort');
    assert.ok(isPassthroughError(signal.reason, 'ABORTED'));
  });

  test('does not abort after the answer is complete', async () => {
    const held = new Held();
    await using started = await startServer(held.handle);
    const answer = request(started.port, '/');
    const signal = await held.begun();
    held.release();
    assert.equal((await answer).body.toString(), 'whole');
    await started.server.stop(LONG_MS);
    assert.equal(signal.aborted, false);
  });
});

describe('a server', () => {
  test('that cannot listen names the address', async () => {
    await using started = await startServer(answerOk);
    const { port } = started;
    await assert.rejects(
      HttpServer.start({ ...SERVER_SETTINGS, port, handle: answerOk }),
      (error: NodeJS.ErrnoException) =>
        error.code === 'EADDRINUSE' && error.message.includes(`127.0.0.1:${port}`),
    );
  });

  test('without requests stops at once and accepts no connection', async () => {
    const { server, port } = await startServer(answerOk);
    assert.equal(await stop(server), 0);
    await assert.rejects(request(port, '/'), { code: 'ECONNREFUSED' });
  });

  for (const [what, bytes, until] of [
    ['keeps its connection', GET, /ok$/],
    ['has sent half a header', 'GET / HTTP/1.1\r\nHo', undefined],
  ] as const) {
    test(`stops while a client ${what}`, async () => {
      await using started = await startServer(answerOk);
      using client = await connectRaw(started.port);
      client.send(bytes);
      if (until !== undefined) await client.waitFor(until);
      assert.equal((await request(started.port, '/')).status, 200);
      assert.equal(await stop(started.server), 0);
      await client.untilClosed();
    });
  }

  test('that stops answers the running request and those that come meanwhile', async () => {
    const held = new Held();
    let count = 0;
    await using started = await startServer((...call) => {
      const [incoming, response] = call;
      count += 1;
      return count === 1 ? held.handle(...call) : answerOk(incoming, response);
    });
    const running = request(started.port, '/');
    await held.begun();
    const stopped = stop(started.server);
    assert.equal((await request(started.port, '/')).body.toString(), 'ok');
    held.release();
    assert.equal((await running).body.toString(), 'whole');
    assert.equal(await stopped, 0);
  });

  test('that stops aborts requests at its limit and counts them; their handlers still answer', async () => {
    const held = new Held();
    await using started = await startServer(held.handle);
    const running = request(started.port, '/');
    const signal = await held.begun();
    assert.equal(await stop(started.server, 20), 1);
    assert.ok(isPassthroughError(signal.reason, 'BUSY'));
    assert.equal((await running).body.toString(), 'aborted');
  });
});

describe('a connection above MAX_CONNECTIONS', () => {
  const refusal = 'Busy: Cannot take another connection: there are 2 already, and MAX_CONNECTIONS is 2\n';

  /** A server for two connections, with some of them open. */
  async function startFull(open: number) {
    const started = await startServer(answerOk, { maxConnections: 2 });
    const clients: RawClient[] = [];
    for (let count = 0; count < open; count += 1) clients.push(await connectRaw(started.port));
    return {
      ...started,
      clients,
      [Symbol.asyncDispose]: async () => {
        for (const client of clients) client[Symbol.dispose]();
        await started[Symbol.asyncDispose]();
      },
    };
  }

  test('is answered 503 before it has sent a request', async () => {
    await using started = await startFull(2);
    using third = await connectRaw(started.port);
    const [head = '', body = ''] = (await third.untilClosed()).toString().split('\r\n\r\n');
    assert.match(head, /^HTTP\/1\.1 503 Busy\r\n/);
    assert.match(head, /^Connection: close\r?$/m);
    assert.match(head, /^Retry-After: [1-9]\d*\r?$/m);
    assert.match(head, new RegExp(`^Content-Length: ${Buffer.byteLength(body)}\r?$`, 'm'));
    assert.equal(body, refusal);
  });

  test('can read the reason although it has sent a request; it is accepted once another one has ended', async () => {
    await using started = await startFull(2);
    const { status, isCut, body } = await request(started.port, '/');
    assert.deepEqual([status, isCut, body.toString()], [503, false, refusal]);
    started.clients[0]?.socket.destroy();
    const untilAccepted = async () => {
      for (;;) if ((await request(started.port, '/')).status === 200) return;
    };
    await within(untilAccepted(), 'an accepted connection');
  });

  test('gets the place of the longest wait of a client that has more', async () => {
    await using started = await startFull(2);
    const [oldest, newest] = started.clients;
    // The request of the other connection is in work, or its header has begun: only the first counts.
    newest?.send('GET /');
    const reply = await request(started.port, '/', { localAddress: '127.0.0.2' });
    assert.equal(reply.status, 200);
    assert.equal((await oldest?.untilClosed())?.length, 0);
    newest?.send(' HTTP/1.1\r\nHost: a\r\n\r\n');
    await newest?.waitFor(/200 OK/);
  });

  test('gets no place of a request in work', async () => {
    let begun = 0;
    const bothBegun = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    const handle: Handle = async (_, response) => {
      begun += 1;
      if (begun === 2) bothBegun.resolve();
      await released.promise;
      response.end('whole');
    };
    await using started = await startServer(handle, { maxConnections: 2 });
    using first = await connectRaw(started.port);
    using second = await connectRaw(started.port);
    for (const client of [first, second]) client.send(GET);
    await within(bothBegun.promise, 'two requests in work');
    const reply = await request(started.port, '/', { localAddress: '127.0.0.2' });
    assert.deepEqual([reply.status, reply.body.toString()], [503, refusal]);
    released.resolve();
    await Promise.all([first.waitFor(/whole/), second.waitFor(/whole/)]);
  });

  test('is closed soon, also if there are many', async () => {
    await using started = await startFull(0);
    // Connections of earlier tests may still close.
    const before = openSockets();
    using clients = new DisposableStack();
    const count = 100;
    for (let index = 0; index < count; index += 1) {
      clients.use(await connectRaw(started.port, { stayOpen: true }));
    }
    const left = (open: number) => open - before - count;
    assert.ok(left(openSockets()) <= 2 + 32 + 1, `${left(openSockets())} are open`);
    await untilOpenSockets((open) => left(open) <= 2, 'the end of all refused connections');
  });

  test('does not delay the stop of the server', async () => {
    await using started = await startFull(2);
    using third = await connectRaw(started.port, { stayOpen: true });
    await third.waitFor(/MAX_CONNECTIONS/);
    assert.equal(await stop(started.server), 0);
  });
});
