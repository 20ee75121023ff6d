/** Clients that take their time, with limits of some 100 ms. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { HttpServer, type HttpServerOptions } from '../../../src/http/server.ts';
import { connectRaw, type RawClient } from '../../support/raw-client.ts';
import { within } from '../../support/within.ts';

const LIMIT_MS = 120;

/** What no test reaches, also as a 32-bit number of milliseconds together with another. */
const LONG_MS = 600_000;

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
const HALF_POST = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf';

type Handle = HttpServerOptions['handle'];

async function start(
  options: Partial<HttpServerOptions> & { handle: Handle },
): Promise<{ listener: HttpServer; port: number } & AsyncDisposable> {
  const listener = await HttpServer.start({
    host: '127.0.0.1',
    port: 0,
    headerTimeoutMs: LONG_MS,
    idleTimeoutMs: LONG_MS,
    bodyTimeoutMs: LONG_MS,
    maxConnections: 100,
    ...options,
  });
  return {
    listener,
    port: listener.port,
    [Symbol.asyncDispose]: async () => {
      await listener.stop(1);
    },
  };
}

const answerOk: Handle = async (_, response) => {
  response.end('ok');
};

const answerNothing: Handle = () => assert.fail('nothing to handle');

/** Reads the body to its end before it answers, as a handler does that needs it. */
const answerBody: Handle = async (incoming, response) => {
  try {
    for await (const _ of incoming);
    response.end('ok');
  } catch {
    // Cut.
  }
};

/** Sends a byte every few milliseconds for as long as the connection takes any. */
function drip(client: RawClient, text: string): Disposable {
  let sent = 0;
  const timer = setInterval(() => {
    if (client.socket.writable) client.send(text[sent++ % text.length] ?? '');
  }, 10);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** Answers in two parts, each when it is told to. */
class Steps {
  readonly first = Promise.withResolvers<void>();
  readonly second = Promise.withResolvers<void>();
  readonly begun = Promise.withResolvers<void>();
  readonly signals: AbortSignal[] = [];

  readonly handle: Handle = async (_, response, signal) => {
    this.signals.push(signal);
    this.begun.resolve();
    await this.first.promise;
    response.write('first');
    await this.second.promise;
    response.end('second');
  };
}

/** Time passes until a limit, which is known by somebody else whom it hits. */
async function untilLimitHits(port: number): Promise<void> {
  using silent = await connectRaw(port);
  await silent.untilClosed();
}

describe('a header', () => {
  test('that comes a byte at a time is 408 in plain text when its time is over', async () => {
    await using started = await start({ handle: answerNothing, headerTimeoutMs: LIMIT_MS });
    const begun = performance.now();
    using client = await connectRaw(started.port);
    using _ = drip(client, `${GET.slice(0, -2)}X: ${'x'.repeat(10_000)}`);
    const [head = '', body] = (await client.untilClosed()).toString().split('\r\n\r\n');
    assert.ok(performance.now() - begun >= LIMIT_MS);
    assert.match(head, /^HTTP\/1\.1 408 Request Timeout\r\n/);
    assert.match(head, /^Connection: close\r?$/m);
    assert.equal(body, 'Request timed out: its header did not arrive in time\n');
  });

  test('that is complete after its 408 is not answered any more', async () => {
    await using started = await start({ handle: answerNothing, headerTimeoutMs: LIMIT_MS });
    using client = await connectRaw(started.port, { stayOpen: true });
    client.send(GET.slice(0, -2));
    await client.waitFor(/in time\n$/);
    client.send('\r\n');
    client.socket.end();
    assert.equal((await client.untilClosed()).toString().split('HTTP/1.1').length, 2);
  });

  test('that never begins ends the connection without a word, which might be taken for an answer', async () => {
    await using started = await start({ handle: answerNothing, headerTimeoutMs: LIMIT_MS });
    const begun = performance.now();
    using client = await connectRaw(started.port);
    assert.equal((await client.untilClosed()).toString(), '');
    assert.ok(performance.now() - begun >= LIMIT_MS);
  });

  test('has the same time on a kept connection, from its first byte', async () => {
    await using started = await start({ handle: answerOk, headerTimeoutMs: LIMIT_MS });
    using client = await connectRaw(started.port);
    client.send(GET);
    await client.waitFor(/ok$/);
    await untilLimitHits(started.port);
    assert.equal(client.socket.writable, true, 'waiting for the first byte is no fault');
    const begun = performance.now();
    client.send('GET / HT');
    assert.match((await client.untilClosed()).toString(), /ok.*HTTP\/1\.1 408 Request Timeout\r\n/s);
    assert.ok(performance.now() - begun >= LIMIT_MS);
  });
});

describe('a body', () => {
  test('that comes a byte at a time is 408 when its time is over, and its handler is told', async () => {
    const aborted = Promise.withResolvers<void>();
    await using started = await start({
      headerTimeoutMs: LIMIT_MS,
      bodyTimeoutMs: LIMIT_MS,
      handle: (incoming, response, signal) => {
        signal.addEventListener('abort', () => aborted.resolve());
        return answerBody(incoming, response, signal);
      },
    });
    const begun = performance.now();
    using client = await connectRaw(started.port);
    client.send(HALF_POST);
    using _ = drip(client, 'x');
    const answer = (await client.untilClosed()).toString();
    assert.ok(performance.now() - begun >= LIMIT_MS);
    assert.match(answer, /^HTTP\/1\.1 408 Request Timeout\r\n/);
    assert.match(answer, /\r\n\r\nRequest timed out: its body did not arrive in time\n$/);
    await within(aborted.promise, 'the abort');
  });

  test('that is late does not cut an answer that did not wait for it', async () => {
    const steps = new Steps();
    await using started = await start({
      headerTimeoutMs: LIMIT_MS,
      bodyTimeoutMs: LIMIT_MS,
      handle: steps.handle,
    });
    using client = await connectRaw(started.port);
    client.send(HALF_POST);
    steps.first.resolve();
    await client.waitFor(/first/);
    // One after the other: the limit of a body is twice that of a header here.
    for (let times = 0; times < 3; times += 1) await untilLimitHits(started.port);
    steps.second.resolve();
    assert.match((await client.untilClosed()).toString(), /first.*second.*\r\n0\r\n\r\n$/s);
    assert.deepEqual(
      steps.signals.map(({ aborted }) => aborted),
      [false],
    );
  });
});

describe('no limit holds for an answer', () => {
  for (const before of ['', GET]) {
    test(`that takes long to begin, and long to end, ${before === '' ? 'first' : 'later'} on its connection`, async () => {
      const steps = new Steps();
      let isFirst = before !== '';
      await using started = await start({
        headerTimeoutMs: LIMIT_MS,
        bodyTimeoutMs: LIMIT_MS,
        idleTimeoutMs: LIMIT_MS,
        handle: (...args) => {
          const handle = isFirst ? answerOk : steps.handle;
          isFirst = false;
          return handle(...args);
        },
      });
      // The idle limit is the longest here, with the grace that Node gives: one connection to tell when it is over.
      const untilIdleLimitHits = async () => {
        using idle = await connectRaw(started.port);
        isFirst = true;
        idle.send(GET);
        await idle.untilClosed();
      };
      using client = await connectRaw(started.port);
      client.send(before);
      if (before !== '') await client.waitFor(/ok$/);
      client.send(GET);
      await within(steps.begun.promise, 'the request');
      await untilIdleLimitHits();
      steps.first.resolve();
      await client.waitFor(/first/);
      await untilIdleLimitHits();
      steps.second.resolve();
      await client.waitFor(/second\r\n0\r\n\r\n$/);
      assert.deepEqual(
        steps.signals.map(({ aborted }) => aborted),
        [false],
      );
    });
  }

  test('with the beginning of a next request behind it: that one is dropped, and the connection ends', async () => {
    const steps = new Steps();
    await using started = await start({ handle: steps.handle, headerTimeoutMs: LIMIT_MS });
    using client = await connectRaw(started.port);
    client.send(`${GET}GET / HT`);
    await within(steps.begun.promise, 'the request');
    for (let times = 0; times < 2; times += 1) await untilLimitHits(started.port);
    client.send(GET.slice('GET / HT'.length));
    await untilLimitHits(started.port);
    steps.first.resolve();
    steps.second.resolve();
    assert.match((await client.untilClosed()).toString(), /second\r\n0\r\n\r\n$/);
    assert.deepEqual(
      steps.signals.map(({ aborted }) => aborted),
      [false],
    );
  });

  test('that came early, while a limit held for the one before it', async () => {
    const steps = new Steps();
    let count = 0;
    await using started = await start({
      headerTimeoutMs: LIMIT_MS,
      handle: async (...args) => {
        count += 1;
        if (count > 1) return await steps.handle(...args);
        const [, response] = args;
        response.setTimeout(LIMIT_MS / 2, () => response.destroy());
        response.end('ok');
      },
    });
    using client = await connectRaw(started.port);
    client.send(GET + GET);
    await client.waitFor(/ok/);
    await untilLimitHits(started.port);
    steps.first.resolve();
    steps.second.resolve();
    await client.waitFor(/second\r\n0\r\n\r\n$/);
  });
});

describe('a kept connection', () => {
  test('ends when no further request comes, and its client is told a time that is shorter', async () => {
    await using started = await start({ handle: answerOk, idleTimeoutMs: 1_000 });
    using client = await connectRaw(started.port);
    client.send(GET);
    await client.waitFor(/ok$/);
    const begun = performance.now();
    const answer = (await client.untilClosed()).toString();
    assert.match(answer, /^Keep-Alive: timeout=1\r?$/m);
    assert.match(answer, /ok$/);
    const took = performance.now() - begun;
    assert.ok(
      took > 1_500,
      `a client that came back at the last moment would have met the close: ${took} ms`,
    );
  });
});
