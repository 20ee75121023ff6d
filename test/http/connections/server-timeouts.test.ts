/** Time limits for headers, bodies and idle connections, and clients that send or read slowly. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { HttpServerOptions } from '../../../src/http/connections/server.ts';
import { answerOk, type Handle, startServer } from '../../support/http-server.ts';
import { connectRaw, type RawClient } from '../../support/raw-client.ts';
import { within } from '../../support/within.ts';

/** The limit that passes in a test, in milliseconds: many times what a request takes to arrive on a busy machine. */
const LIMIT_MS = 300;

/** A limit that no test reaches. The sum of two still fits into 32 bits. */
const LONG_MS = 600_000;

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
const HALF_POST = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf';

/** Starts a server whose limits are long unless given. */
function start(handle: Handle, limits: Partial<HttpServerOptions>) {
  return startServer(handle, {
    headerTimeoutMs: LONG_MS,
    idleTimeoutMs: LONG_MS,
    bodyTimeoutMs: LONG_MS,
    ...limits,
  });
}

const refuseAll: Handle = () => assert.fail('no request is handled');

/** Reads the body to its end before it answers. */
const answerBody: Handle = async (incoming, response) => {
  try {
    for await (const _ of incoming);
    response.end('ok');
  } catch {
    // The connection was cut.
  }
};

/** Sends a byte every few milliseconds as long as the connection is writable. */
function drip(client: RawClient, text: string): Disposable {
  let sent = 0;
  const timer = setInterval(() => {
    if (client.socket.writable) client.send(text[sent++ % text.length] ?? '');
  }, 10);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** A handler that answers in two parts, each when the test resolves it. */
class Steps {
  readonly first = Promise.withResolvers<void>();
  readonly second = Promise.withResolvers<void>();
  readonly begun = Promise.withResolvers<void>();
  readonly #signals: AbortSignal[] = [];

  readonly handle: Handle = async (_, response, signal) => {
    this.#signals.push(signal);
    this.begun.resolve();
    await this.first.promise;
    response.write('first');
    await this.second.promise;
    response.end('second');
  };

  /** Checks that one request was handled and not aborted. */
  assertOneWhole(): void {
    assert.deepEqual(
      this.#signals.map(({ aborted }) => aborted),
      [false],
    );
  }
}

/** Waits until the header limit has passed: a silent connection shows when that happens. */
async function untilHeaderLimit(port: number, times = 1): Promise<void> {
  for (let count = 0; count < times; count += 1) {
    using silent = await connectRaw(port);
    await silent.untilClosed();
  }
}

describe('a header', { concurrency: true }, () => {
  const limits = { headerTimeoutMs: LIMIT_MS };

  test('that arrives byte by byte gets 408 in plain text at the limit', async () => {
    await using started = await start(refuseAll, limits);
    const begun = performance.now();
    using client = await connectRaw(started.port);
    using _ = drip(client, `${GET.slice(0, -2)}X: ${'x'.repeat(10_000)}`);
    const [head = '', body] = (await client.untilClosed()).toString().split('\r\n\r\n');
    assert.ok(performance.now() - begun >= LIMIT_MS);
    assert.match(head, /^HTTP\/1\.1 408 Request Timeout\r\n/);
    assert.match(head, /^Connection: close\r?$/m);
    assert.equal(body, 'Request timed out: its header did not arrive in time\n');
  });

  test('that is completed after its 408 is not handled', async () => {
    await using started = await start(refuseAll, limits);
    using client = await connectRaw(started.port, { stayOpen: true });
    client.send(GET.slice(0, -2));
    await client.waitFor(/in time\n$/);
    client.send('\r\n');
    client.socket.end();
    assert.equal((await client.untilClosed()).toString().split('HTTP/1.1').length, 2);
  });

  test('that does not begin ends the connection without an answer, which would look like one to a later request', async () => {
    await using started = await start(refuseAll, limits);
    const begun = performance.now();
    using client = await connectRaw(started.port);
    assert.equal((await client.untilClosed()).toString(), '');
    assert.ok(performance.now() - begun >= LIMIT_MS);
  });

  test('on a kept connection has the limit from its first byte on', async () => {
    await using started = await start(answerOk, limits);
    using client = await connectRaw(started.port);
    client.send(GET);
    await client.waitFor(/ok$/);
    await untilHeaderLimit(started.port);
    assert.equal(client.socket.writable, true, 'the wait for the first byte does not count');
    const begun = performance.now();
    client.send('GET / HT');
    assert.match((await client.untilClosed()).toString(), /ok.*HTTP\/1\.1 408 Request Timeout\r\n/s);
    assert.ok(performance.now() - begun >= LIMIT_MS);
  });
});

describe('a body', { concurrency: true }, () => {
  const limits = { headerTimeoutMs: LIMIT_MS, bodyTimeoutMs: LIMIT_MS };

  test('that arrives byte by byte gets 408 at the limit, and its handler is aborted', async () => {
    const aborted = Promise.withResolvers<void>();
    await using started = await start((...call) => {
      const [, , signal] = call;
      signal.addEventListener('abort', () => aborted.resolve());
      return answerBody(...call);
    }, limits);
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

  test('that is late does not cut an answer that does not wait for it', async () => {
    const steps = new Steps();
    await using started = await start(steps.handle, limits);
    using client = await connectRaw(started.port);
    client.send(HALF_POST);
    steps.first.resolve();
    await client.waitFor(/first/);
    // Longer than the limits of header and body together.
    await untilHeaderLimit(started.port, 3);
    steps.second.resolve();
    assert.match((await client.untilClosed()).toString(), /first.*second.*\r\n0\r\n\r\n$/s);
    steps.assertOneWhole();
  });
});

describe('an answer has no limit', { concurrency: true }, () => {
  for (const before of ['', GET]) {
    test(`if it begins and ends late, as the ${before === '' ? 'first' : 'second'} one on its connection`, async () => {
      const steps = new Steps();
      let isNextOk = before !== '';
      await using started = await start(
        (...args) => {
          const [incoming, response] = args;
          const isOk = isNextOk;
          isNextOk = false;
          return isOk ? answerOk(incoming, response) : steps.handle(...args);
        },
        { headerTimeoutMs: LIMIT_MS, bodyTimeoutMs: LIMIT_MS, idleTimeoutMs: LIMIT_MS },
      );
      // The idle limit is the longest here, with the grace period of Node. An idle connection shows when it passes.
      const untilIdleLimit = async () => {
        using idle = await connectRaw(started.port);
        isNextOk = true;
        idle.send(GET);
        await idle.untilClosed();
      };
      using client = await connectRaw(started.port);
      client.send(before);
      if (before !== '') await client.waitFor(/ok$/);
      client.send(GET);
      await within(steps.begun.promise, 'the request');
      await untilIdleLimit();
      steps.first.resolve();
      await client.waitFor(/first/);
      await untilIdleLimit();
      steps.second.resolve();
      await client.waitFor(/second\r\n0\r\n\r\n$/);
      steps.assertOneWhole();
    });
  }

  test('if half of a next request is behind it, which is dropped', async () => {
    const steps = new Steps();
    await using started = await start(steps.handle, { headerTimeoutMs: LIMIT_MS });
    using client = await connectRaw(started.port);
    client.send(`${GET}GET / HT`);
    await within(steps.begun.promise, 'the request');
    await untilHeaderLimit(started.port, 2);
    client.send(GET.slice('GET / HT'.length));
    await untilHeaderLimit(started.port);
    steps.first.resolve();
    steps.second.resolve();
    assert.match((await client.untilClosed()).toString(), /second\r\n0\r\n\r\n$/);
    steps.assertOneWhole();
  });

  test('if its request arrived while the answer before it had one', async () => {
    const steps = new Steps();
    let count = 0;
    await using started = await start(
      async (...args) => {
        count += 1;
        if (count > 1) return await steps.handle(...args);
        const [, response] = args;
        response.setTimeout(LIMIT_MS / 2, () => response.destroy());
        response.end('ok');
      },
      { headerTimeoutMs: LIMIT_MS },
    );
    using client = await connectRaw(started.port);
    client.send(GET + GET);
    await client.waitFor(/ok/);
    await untilHeaderLimit(started.port);
    steps.first.resolve();
    steps.second.resolve();
    await client.waitFor(/second\r\n0\r\n\r\n$/);
  });
});

test('a kept connection is closed when it is idle, later than its Keep-Alive header says', async () => {
  await using started = await start(answerOk, { idleTimeoutMs: 1_000 });
  using client = await connectRaw(started.port);
  // The time begins with the answer, which a busy machine may read late.
  const begun = performance.now();
  client.send(GET);
  const answer = (await client.untilClosed()).toString();
  assert.match(answer, /^Keep-Alive: timeout=1\r?$/m);
  assert.match(answer, /ok$/);
  const took = performance.now() - begun;
  assert.ok(took > 1_500, `a request at the end of the announced time would meet the close: ${took} ms`);
});
