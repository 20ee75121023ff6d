import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { describe, test } from 'node:test';
import { type Handle, startServer } from '../../support/http-server.ts';
import { connectRaw } from '../../support/raw-client.ts';
import { within } from '../../support/within.ts';

const get = (path: string, headers = '') => `GET ${path} HTTP/1.1\r\nHost: a\r\n${headers}\r\n`;
const post = (path: string, body: string) =>
  `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

/** A server that answers a request with its path and body, once it is let go. */
async function startHolding() {
  const begun: string[] = [];
  const ended: string[] = [];
  const waiting: (() => void)[] = [];
  let isOpen = false;
  let onChange: () => void = () => undefined;
  const started = await startServer(async (request, response, signal) => {
    begun.push(request.url ?? '');
    onChange();
    const { promise, resolve } = Promise.withResolvers<void>();
    signal.addEventListener('abort', () => resolve(), { once: true });
    waiting.push(resolve);
    if (isOpen) resolve();
    await promise;
    const body: Buffer[] = [];
    for await (const chunk of request.method === 'POST' ? request : []) body.push(chunk);
    ended.push(request.url ?? '');
    onChange();
    response.end(`<${request.url}${Buffer.concat(body)}>`);
  });
  const until = async (isReached: () => boolean, what: string) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    onChange = () => isReached() && resolve();
    onChange();
    await within(promise, what);
  };
  const release = (count = 1) => {
    for (const resolve of waiting.splice(0, count)) resolve();
  };
  const open = () => {
    isOpen = true;
    release(waiting.length);
  };
  return { ...started, begun, ended, until, release, open };
}

function bodiesIn(received: Buffer): readonly string[] {
  return received.toString('latin1').match(/<[^<>]*>/g) ?? [];
}

describe('pipelined requests', () => {
  for (const count of [1, 4, 5, 20, 3000]) {
    test(`are answered in their order: ${count} in one write, at most four at once`, async () => {
      await using server = await startHolding();
      using client = await connectRaw(server.port);
      const paths = Array.from({ length: count }, (_, index) => `/${index}`);
      client.send(
        paths.map((path) => get(path, path === paths.at(-1) ? 'Connection: close\r\n' : '')).join(''),
      );
      const first = Math.min(count, 4);
      await server.until(() => server.begun.length >= first, 'the first requests');
      // A request of another connection is taken after everything that was read before.
      using other = await connectRaw(server.port);
      other.send(get('/other'));
      await server.until(() => server.begun.includes('/other'), 'the other request');
      assert.deepEqual(server.begun, [...paths.slice(0, first), '/other']);
      server.open();
      assert.deepEqual(
        bodiesIn(await client.untilClosed()),
        paths.map((path) => `<${path}>`),
      );
    });
  }

  test('begin one by one as earlier ones end', async () => {
    await using server = await startHolding();
    using client = await connectRaw(server.port);
    client.send(Array.from({ length: 6 }, (_, index) => get(`/${index}`)).join(''));
    await server.until(() => server.begun.length === 4, 'four requests');
    server.release();
    await server.until(() => server.begun.length === 5, 'the fifth request');
    server.release();
    await server.until(() => server.begun.length === 6, 'the sixth request');
  });

  test('do not begin after their client has left', async () => {
    await using server = await startHolding();
    {
      using client = await connectRaw(server.port);
      client.send(Array.from({ length: 40 }, (_, index) => get(`/${index}`)).join(''));
      await server.until(() => server.begun.length === 4, 'four requests');
    }
    await server.until(() => server.ended.length === 4, 'the end of the four');
    using other = await connectRaw(server.port);
    other.send(get('/other'));
    await server.until(() => server.begun.includes('/other'), 'the other request');
    assert.deepEqual(server.begun, ['/0', '/1', '/2', '/3', '/other']);
  });

  for (const size of [1, 10_000]) {
    test(`may have bodies: ${size} bytes each`, async () => {
      await using server = await startHolding();
      server.open();
      using client = await connectRaw(server.port);
      const bodies = Array.from({ length: 30 }, (_, index) => String(index % 10).repeat(size));
      client.send(bodies.map((body) => post('/', body)).join(''));
      client.send(get('/last', 'Connection: close\r\n'));
      assert.deepEqual(bodiesIn(await client.untilClosed()), [
        ...bodies.map((body) => `</${body}>`),
        '</last>',
      ]);
    });
  }

  test('with bodies that nothing reads yet: a few begin, the rest waits', async () => {
    await using server = await startHolding();
    using client = await connectRaw(server.port);
    const count = 100;
    client.send(Array.from({ length: count }, (_, index) => post(`/${index}`, 'x')).join(''));
    client.send(get('/last', 'Connection: close\r\n'));
    await server.until(() => server.begun.length >= 4, 'the first requests');
    using other = await connectRaw(server.port);
    other.send(get('/other'));
    await server.until(() => server.begun.includes('/other'), 'the other request');
    assert.ok(server.begun.length <= 9, `${server.begun.length} have begun`);
    server.open();
    assert.equal(bodiesIn(await client.untilClosed()).length, count + 1);
  });

  test('that are cut anywhere are put together', async () => {
    await using server = await startHolding();
    server.open();
    const bytes = get('/a') + post('/b', 'body\r\n\r\n') + get('/c', 'Connection: close\r\n');
    for (let cut = 1; cut < bytes.length; cut += 7) {
      using client = await connectRaw(server.port);
      client.socket.setNoDelay(true);
      client.send(bytes.slice(0, cut));
      // The server has read the first part once it answers on another connection.
      using other = await connectRaw(server.port);
      other.send(get('/other'));
      await other.waitFor(/<\/other>/);
      client.send(bytes.slice(cut));
      assert.deepEqual(
        bodiesIn(await client.untilClosed()),
        ['</a>', '</bbody\r\n\r\n>', '</c>'],
        `cut at ${cut}`,
      );
    }
  });

  test('that Node answers itself count, too', async () => {
    await using server = await startHolding();
    using client = await connectRaw(server.port);
    client.send(
      get('/first') + get('/', 'Expect: nothing\r\n').repeat(10) + get('/last', 'Connection: close\r\n'),
    );
    await server.until(() => server.begun.length === 1, 'the first request');
    using other = await connectRaw(server.port);
    other.send(get('/other'));
    await server.until(() => server.begun.includes('/other'), 'the other request');
    assert.deepEqual(server.begun, ['/first', '/other'], 'the last one waits behind those that Node refuses');
    server.open();
    const received = (await client.untilClosed()).toString();
    assert.equal(received.match(/417 Expectation Failed/g)?.length, 10);
    assert.deepEqual(bodiesIn(Buffer.from(received)), ['</first>', '</last>']);
  });
});

test('connections that together send megabytes ahead are cut; one that sends little is not', async () => {
  await using server = await startHolding();
  const ahead = get('/').repeat(4) + get(`/${'x'.repeat(100)}`).repeat(2000);
  await using stack = new AsyncDisposableStack();
  using modest = await connectRaw(server.port);
  modest.send(get('/modest'));
  await server.until(() => server.begun.includes('/modest'), 'the modest request');
  const greedy = await Promise.all(Array.from({ length: 400 }, () => connectRaw(server.port)));
  for (const client of greedy) stack.use(client);
  for (const client of greedy) client.send(ahead);
  await within(Promise.race(greedy.map((client) => client.untilClosed())), 'a cut connection');
  for (const { socket } of greedy) socket.destroy();
  using late = await connectRaw(server.port);
  late.send(get('/late'));
  await server.until(() => server.begun.includes('/late'), 'a late request');
  server.open();
  await modest.waitFor(/<\/modest>/);
  await late.waitFor(/<\/late>/);
});

test('a probe behind hundreds of new connections is answered before their requests', async () => {
  const count = 300;
  let begun = 0;
  const { promise: probed, resolve } = Promise.withResolvers<number>();
  const handle: Handle = async ({ url }, response) => {
    if (url === '/probe') resolve(begun);
    else begun += 1;
    response.end();
  };
  await using server = await startServer(handle, { urgentPaths: ['/probe'] });
  await using stack = new AsyncDisposableStack();
  const send = (text: string) => {
    const socket = connect(server.port, '127.0.0.1');
    stack.defer(() => void socket.destroy());
    socket.on('error', () => undefined);
    socket.write(text);
  };
  for (let index = 0; index < count; index += 1) send(get(`/${index}`));
  send(get('/probe'));
  const before = await within(probed, 'the probe');
  assert.ok(before <= count / 10, `${before} of ${count} requests have begun before`);
});
