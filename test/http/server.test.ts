import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { describe, test } from 'node:test';
import { loadConfig } from '../../src/config/config.ts';
import { isPassthroughError } from '../../src/errors.ts';
import { HttpServer } from '../../src/http/server.ts';
import { request } from '../support/http-request.ts';
import { connectRaw } from '../support/raw-client.ts';
import { within } from '../support/within.ts';

type Handle = (request: IncomingMessage, response: ServerResponse, signal: AbortSignal) => Promise<void>;

const LONG_MS = 60_000;

const SETTINGS = { ...loadConfig({}).http, host: '127.0.0.1', port: 0 };

/** A listener on a free port; stopped at once when it is disposed of. */
async function start(
  handle: Handle,
  maxConnections = SETTINGS.maxConnections,
): Promise<{ listener: HttpServer } & AsyncDisposable> {
  const listener = await HttpServer.start({ ...SETTINGS, maxConnections, handle });
  return {
    listener,
    [Symbol.asyncDispose]: async () => {
      await listener.stop(1);
    },
  };
}

/** TCP connections of this process, each of their ends that is here. */
function openSockets(): number {
  return process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
}

const answerOk: Handle = async (_, response) => {
  response.end('ok');
};

/** Answers when it is told to, and knows how it ended. */
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

  /** @returns the signal of the first request, as soon as there is one */
  begun(): Promise<AbortSignal> {
    return within(this.#begun.promise, 'a request');
  }

  release(): void {
    this.#release.resolve();
  }
}

describe('what is not HTTP', () => {
  const garbage: readonly [what: string, bytes: string | Buffer][] = [
    ['words', 'hello, is there anybody?\r\n\r\n'],
    ['the beginning of TLS', Buffer.from('160301020001000001fc0303', 'hex')],
    ['another protocol', 'SSH-2.0-OpenSSH_9.6\r\n'],
    ['an empty method', ' / HTTP/1.1\r\n\r\n'],
    ['a header without a colon', 'GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n'],
    ['a header with a control character', 'GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n'],
    ['two lengths', 'GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n'],
    ['a version that there is not', 'GET / HTTP/9.9\r\nHost: a\r\n\r\n'],
  ];
  for (const [what, bytes] of garbage) {
    test(`${what} is 400 in plain text, and the end of the connection`, async () => {
      await using started = await start(() => assert.fail('nothing to handle'));
      using client = await connectRaw(started.listener.port);
      client.send(bytes);
      const [head = '', body = ''] = (await client.untilClosed()).toString().split('\r\n\r\n');
      assert.match(head, /^HTTP\/1\.1 400 Bad Request\r\n/);
      assert.match(head, /^Content-Type: text\/plain; charset=utf-8\r?$/m);
      assert.match(head, /^Connection: close\r?$/m);
      assert.match(head, new RegExp(`^Content-Length: ${Buffer.byteLength(body)}\r?$`, 'm'));
      assert.match(body, /^Invalid request: Cannot parse it as HTTP: .+\n$/);
    });
  }

  test('a request without Host is 400', async () => {
    await using started = await start(() => assert.fail('nothing to handle'));
    using client = await connectRaw(started.listener.port);
    client.send('GET / HTTP/1.1\r\n\r\n');
    assert.match((await client.untilClosed()).toString(), /^HTTP\/1\.1 400 /);
  });

  for (const kilobytes of [40, 400]) {
    test(`a header of ${kilobytes} KB is 431 in plain text`, async () => {
      await using started = await start(() => assert.fail('nothing to handle'));
      using client = await connectRaw(started.listener.port);
      client.send(`GET / HTTP/1.1\r\nHost: a\r\nX-Long: ${'x'.repeat(kilobytes * 1024)}\r\n\r\n`);
      const answer = (await client.untilClosed()).toString();
      assert.match(answer, /^HTTP\/1\.1 431 Request Header Fields Too Large\r\n/);
      assert.match(answer, /\r\n\r\nInvalid request: its header is longer than 32768 bytes\n$/);
    });

    test(`a request line of ${kilobytes} KB is 400 and names the path`, async () => {
      await using started = await start(() => assert.fail('nothing to handle'));
      using client = await connectRaw(started.listener.port);
      client.send(`GET /${'x'.repeat(kilobytes * 1024)} HTTP/1.1\r\nHost: a\r\n\r\n`);
      const answer = (await client.untilClosed()).toString();
      assert.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n/);
      assert.match(
        answer,
        /\r\n\r\nInvalid image reference: Cannot parse path: it is longer than 32768 bytes\n$/,
      );
    });
  }

  test('a header of 20 KB passes, for tokens are long', async () => {
    await using started = await start(answerOk);
    const { status } = await request(started.listener.port, '/', {
      headers: { authorization: `Bearer ${'x'.repeat(20 * 1024)}` },
    });
    assert.equal(status, 200);
  });

  test('behind a request that is being answered cuts that answer, for nothing can be put between', async () => {
    const held = new Held();
    await using started = await start(held.handle);
    using client = await connectRaw(started.listener.port);
    client.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    const signal = await held.begun();
    client.send('garbage\r\n\r\n');
    assert.equal((await client.untilClosed()).toString(), '');
    assert.equal(signal.aborted, true);
  });

  test('from a client that never closes its side does not hold the connection for good', async () => {
    await using started = await start(() => assert.fail('nothing to handle'));
    const others = openSockets();
    using client = await connectRaw(started.listener.port, { stayOpen: true });
    client.send('hello\r\n\r\n');
    await client.waitFor(/Invalid request/);
    assert.equal(openSockets() - others, 2, 'both ends are open');
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    const look = setInterval(() => openSockets() - others === 1 && resolve(), 10);
    await within(closed, 'the end of the connection').finally(() => clearInterval(look));
  });
});

describe('the signal of a request', () => {
  test('aborts when the client leaves', async () => {
    const held = new Held();
    await using started = await start(held.handle);
    const client = await connectRaw(started.listener.port);
    client.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    const signal = await held.begun();
    const aborted = Promise.withResolvers<void>();
    signal.addEventListener('abort', () => aborted.resolve());
    assert.equal(signal.aborted, false);
    client.socket.resetAndDestroy();
    await within(aborted.promise, 'the abort');
    assert.ok(isPassthroughError(signal.reason, 'ABORTED'));
  });

  test('does not abort when the answer is complete', async () => {
    const held = new Held();
    await using started = await start(held.handle);
    const answer = request(started.listener.port, '/');
    const signal = await held.begun();
    held.release();
    assert.equal((await answer).body.toString(), 'whole');
    await started.listener.stop(LONG_MS);
    assert.equal(signal.aborted, false);
  });
});

describe('a listener', () => {
  test('says which address it cannot have', async () => {
    await using started = await start(answerOk);
    const { port } = started.listener;
    await assert.rejects(
      HttpServer.start({ ...SETTINGS, port, handle: answerOk }),
      (error: NodeJS.ErrnoException) =>
        error.code === 'EADDRINUSE' && error.message.includes(`127.0.0.1:${port}`),
    );
  });

  test('without requests stops at once, and takes no connections any more', async () => {
    const { listener } = await start(answerOk);
    const { port } = listener;
    assert.equal(await within(listener.stop(LONG_MS), 'the end of the listener'), 0);
    await assert.rejects(request(port, '/'), { code: 'ECONNREFUSED' });
  });

  test('stops although a client keeps its connection for later', async () => {
    await using started = await start(answerOk);
    using client = await connectRaw(started.listener.port);
    client.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await client.waitFor(/ok$/);
    assert.equal(await within(started.listener.stop(LONG_MS), 'the end of the listener'), 0);
    await client.untilClosed();
  });

  test('stops although a client has begun a request and does not go on', async () => {
    await using started = await start(answerOk);
    using client = await connectRaw(started.listener.port);
    client.send('GET / HTTP/1.1\r\nHo');
    assert.equal((await request(started.listener.port, '/')).status, 200);
    assert.equal(await within(started.listener.stop(LONG_MS), 'the end of the listener'), 0);
    await client.untilClosed();
  });

  test('answers what is under way before it ends, and whoever comes meanwhile', async () => {
    const held = new Held();
    let count = 0;
    await using started = await start((incoming, response, signal) => {
      count += 1;
      return count === 1 ? held.handle(incoming, response, signal) : answerOk(incoming, response, signal);
    });
    const { listener } = started;
    const running = request(listener.port, '/');
    await held.begun();
    const stopped = listener.stop(LONG_MS);
    assert.equal((await request(listener.port, '/')).body.toString(), 'ok');
    held.release();
    assert.equal((await running).body.toString(), 'whole');
    assert.equal(await within(stopped, 'the end of the listener'), 0);
  });

  test('aborts what is not answered within the limit, and says how many that were', async () => {
    const held = new Held();
    await using started = await start(held.handle);
    const running = request(started.listener.port, '/');
    const signal = await held.begun();
    assert.equal(await within(started.listener.stop(20), 'the end of the listener'), 1);
    assert.ok(isPassthroughError(signal.reason, 'BUSY'));
    assert.equal((await running).body.toString(), 'aborted', 'the handler could still say so');
  });
});

describe('a connection too many', () => {
  const startFull = () => start(answerOk, 2);
  const refusal = 'Busy: Cannot take another connection: there are 2 already, and MAX_CONNECTIONS is 2\n';

  test('is 503 at once, before it has said anything', async () => {
    await using started = await startFull();
    using _ = await connectRaw(started.listener.port);
    using __ = await connectRaw(started.listener.port);
    using third = await connectRaw(started.listener.port);
    const [head = '', body = ''] = (await third.untilClosed()).toString().split('\r\n\r\n');
    assert.match(head, /^HTTP\/1\.1 503 Busy\r\n/);
    assert.match(head, /^Connection: close\r?$/m);
    assert.match(head, /^Retry-After: [1-9]\d*\r?$/m);
    assert.match(head, new RegExp(`^Content-Length: ${Buffer.byteLength(body)}\r?$`, 'm'));
    assert.equal(body, refusal);
  });

  test('has its request dropped and reads why, and is taken once another has ended', async () => {
    await using started = await startFull();
    using first = await connectRaw(started.listener.port);
    using _ = await connectRaw(started.listener.port);
    const refused = await request(started.listener.port, '/');
    assert.deepEqual([refused.status, refused.isCut, refused.body.toString()], [503, false, refusal]);
    first.socket.destroy();
    const untilTaken = async () => {
      for (;;) if ((await request(started.listener.port, '/')).status === 200) return;
    };
    await within(untilTaken(), 'the place that came free');
  });

  test('does not stay, nor do many of them together', async () => {
    await using started = await startFull();
    // Those of tests before may still be about to go.
    const before = openSockets();
    using clients = new DisposableStack();
    const count = 100;
    for (let index = 0; index < count; index += 1) {
      clients.use(await connectRaw(started.listener.port, { stayOpen: true }));
    }
    const left = () => openSockets() - before - count;
    assert.ok(left() <= 2 + 32 + 1, `${left()} are held`);
    const { promise: gone, resolve } = Promise.withResolvers<void>();
    const look = setInterval(() => left() <= 2 && resolve(), 10);
    await within(gone, 'the end of all that were turned away').finally(() => clearInterval(look));
  });

  test('does not keep the listener from its end', async () => {
    await using started = await startFull();
    using _ = await connectRaw(started.listener.port);
    using __ = await connectRaw(started.listener.port);
    using third = await connectRaw(started.listener.port, { stayOpen: true });
    await third.waitFor(/MAX_CONNECTIONS/);
    assert.equal(await within(started.listener.stop(LONG_MS), 'the end of the listener'), 0);
  });
});
