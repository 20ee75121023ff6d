import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { describe, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { PassthroughError } from '../../src/errors.ts';
import { readAll, sha256 } from '../support/collect.ts';
import { nextResponse } from '../support/next-response.ts';
import type { Pair, PairOptions } from '../support/pair.ts';
import { connectRaw } from '../support/raw-client.ts';
import { LARGE_BYTES, LARGE_FILE, SMALL, SMALL_FILE, startTwoSizes as start } from '../support/two-sizes.ts';
import { within } from '../support/within.ts';

const MIB = 1024 ** 2;

const LAYER = SMALL.layers[0]?.digest ?? '';

/** Reads what is left of an answer; `isCut` when it breaks off. */
async function rest(response: IncomingMessage): Promise<{ bytes: Buffer; isCut: boolean }> {
  const chunks: Buffer[] = [];
  const reading = (async () => {
    try {
      for await (const chunk of response) chunks.push(chunk as Buffer);
      return false;
    } catch {
      return true;
    }
  })();
  return { isCut: await within(reading, 'the rest of an answer'), bytes: Buffer.concat(chunks) };
}

/** Nothing is left of a request: no traffic, no file, no fault in the log. */
async function assertNothingLeft(pair: Pair): Promise<void> {
  await pair.untilQuiet();
  assert.equal(await pair.service.openFiles(), 0);
  assert.deepEqual(
    pair.service.logs().filter(({ level }) => level === 'error'),
    [],
  );
}

describe('a client that leaves', () => {
  const moments: readonly [when: string, options: PairOptions][] = [
    ['the manifest has not come', { defects: { stallRequests: { pattern: /manifests/ } } }],
    ['the layers have not come', { defects: { stallRequests: { pattern: new RegExp(LAYER) } } }],
    ['a layer is on its way', { defects: { stallBlob: { digest: LAYER, afterBytes: 10 } } }],
  ];
  for (const method of ['GET', 'HEAD']) {
    for (const [when, options] of moments) {
      test(`while ${when} ends the pull (${method})`, async () => {
        await using pair = await start(options);
        const client = new AbortController();
        const gone = assert.rejects(pair.service.request(SMALL_FILE, { method, signal: client.signal }), {
          name: 'AbortError',
        });
        await pair.untilStalled();
        client.abort();
        await gone;
        const line = await pair.service.waitForLog({ event: 'request', outcome: 'aborted' });
        assert.equal(line['error'], 'ABORTED');
        assert.equal(line['message'], 'Stopped: the client has left');
        assert.equal(line['status'], undefined);
        assert.equal(line['level'], 'info');
        await assertNothingLeft(pair);
      });
    }
  }

  test('from the queue makes room there, and the registry is asked for none of its layers', async () => {
    await using pair = await start({
      defects: { stallRequests: { pattern: new RegExp(LAYER), times: 1 } },
      env: { MAX_CONCURRENT_PREPARATIONS: '1', MAX_QUEUED_PREPARATIONS: '1' },
    });
    const running = pair.service.request(SMALL_FILE);
    await pair.untilStalled();
    // The first that comes takes the place in the queue, the second is turned away: then the first is known to be in it.
    const client = new AbortController();
    const queued = [
      pair.service.request(LARGE_FILE, { signal: client.signal }),
      pair.service.request(LARGE_FILE.replace('docker', 'oci'), { signal: client.signal }),
    ];
    assert.equal((await Promise.race(queued)).status, 503);
    client.abort();
    const outcomes = await Promise.allSettled(queued);
    assert.deepEqual(outcomes.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected']);
    await pair.service.waitForLog({ event: 'request', outcome: 'aborted' });

    const next = pair.service.request(SMALL_FILE.replace('docker', 'oci'));
    pair.registry.releaseStalled();
    assert.equal((await running).status, 200);
    assert.equal((await next).status, 200);
    assert.equal(pair.registry.countRequests(/large\/blobs/), 0);
  });

  test('while the archive is sent closes its files', async () => {
    await using pair = await start();
    const response = await pair.service.open(LARGE_FILE);
    assert.equal(response.statusCode, 200);
    assert.equal(await pair.service.openFiles(), 1);
    response.destroy();
    const line = await pair.service.waitForLog({ event: 'request', outcome: 'aborted' });
    assert.equal(line['status'], 200);
    assert.equal(line['error'], 'ABORTED');
    assert.equal(line['message'], 'Stopped: the client has left');
    assert.ok(Number(line['bytes']) < Number(response.headers['content-length']));
    await assertNothingLeft(pair);
  });

  for (const [how, file] of [
    ['small enough to be written already', SMALL_FILE],
    ['large', LARGE_FILE],
  ] as const) {
    test(`takes along the answer that is ready behind the one that is not (${how})`, async () => {
      await using pair = await start({ defects: { stallRequests: { pattern: /manifests\/stalled/ } } });
      const second = nextResponse((path) => path === file);
      {
        using client = await connectRaw(pair.service.port);
        client.send(
          `GET /docker/team_small_stalled.tar HTTP/1.1\r\nHost: a\r\n\r\nGET ${file} HTTP/1.1\r\nHost: a\r\n\r\n`,
        );
        await pair.untilStalled();
        const isReady = async (response: ServerResponse) => {
          while (!response.headersSent) await new Promise(setImmediate);
        };
        await within(second.then(isReady), 'the second answer to be ready');
      }
      await pair.service.waitForLog({ event: 'request', outcome: 'aborted' }, 2);
      await assertNothingLeft(pair);
    });
  }
});

describe('a slow client', () => {
  test('gets the archive whole, while little of it is in memory', async () => {
    await using pair = await start();
    setFlagsFromString('--expose-gc');
    const collectGarbage = runInNewContext('gc') as () => void;
    const bytesHeld = (): number => {
      collectGarbage();
      return process.memoryUsage().arrayBuffers;
    };

    const response = await pair.service.open(LARGE_FILE);
    const size = Number(response.headers['content-length']);
    const idle = bytesHeld();
    let most = 0;
    let received = 0;
    let unseen = 0;
    const reading = (async () => {
      for await (const chunk of response as AsyncIterable<Buffer>) {
        received += chunk.length;
        unseen += chunk.length;
        if (unseen < 2 * MIB) continue;
        unseen = 0;
        // Time for the service to do whatever it would do ahead of the client.
        for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
        most = Math.max(most, bytesHeld() - idle);
        assert.ok((await pair.service.openFiles()) <= 1);
      }
    })();
    await within(reading, 'the whole archive', 20_000);
    assert.equal(received, size);
    assert.ok(size > LARGE_BYTES);
    assert.ok(most < LARGE_BYTES / 4, `${most} bytes were held at once`);
    await pair.service.waitForLog({ event: 'request', outcome: 'ok', bytes: size });
    await assertNothingLeft(pair);
  });

  test('does not keep others from preparing', async () => {
    await using pair = await start({
      env: { MAX_CONCURRENT_PREPARATIONS: '1', MAX_QUEUED_PREPARATIONS: '0' },
    });
    const slow = await pair.service.open(LARGE_FILE);
    assert.equal((await pair.service.request(SMALL_FILE)).status, 200);
    const { bytes, isCut } = await rest(slow);
    assert.equal(isCut, false);
    assert.equal(bytes.length, Number(slow.headers['content-length']));
  });

  test('that takes nothing for too long is cut off', async () => {
    await using pair = await start({ env: { SEND_STALL_TIMEOUT: '0.1' } });
    const response = await pair.service.open(LARGE_FILE);
    const line = await pair.service.waitForLog({ event: 'request', route: '/docker/{filename}' });
    assert.equal(line['outcome'], 'aborted');
    assert.equal(line['error'], 'ABORTED');
    assert.equal(line['message'], 'Stopped: the client took no byte for 0.1 s');
    assert.ok(Number(line['bytes']) < LARGE_BYTES);
    const { bytes, isCut } = await rest(response);
    assert.equal(isCut, true);
    assert.ok(bytes.length < LARGE_BYTES);
    await assertNothingLeft(pair);
  });
});

describe('a failure after the 200', () => {
  for (const [what, error, shown] of [
    [
      'of ours',
      new PassthroughError('INTERNAL', 'Cannot read temporary file: it ends'),
      'Cannot read temporary file: it ends',
    ],
    ['of the system', Object.assign(new Error('EIO: i/o error'), { code: 'EIO' }), /./],
  ] as const) {
    test(`${what} cuts the connection, so that the client does not take the archive for whole`, async () => {
      await using pair = await start({
        tamper: (file) => ({
          ...file,
          read: async function* (range) {
            let left = 8 * MIB;
            for await (const piece of file.read(range)) {
              // Whoever takes it may give its memory back.
              left -= piece.byteLength;
              yield piece;
              if (left <= 0) throw error;
            }
          },
        }),
      });
      const { status, isCut, body, headers } = await pair.service.request(LARGE_FILE);
      assert.equal(status, 200);
      assert.equal(isCut, true);
      assert.ok(body.length < Number(headers['content-length']));
      const id = headers['x-request-id'];
      const line = await pair.service.waitForLog({ event: 'request', id });
      assert.equal(line['outcome'], 'broken');
      assert.equal(line['error'], 'INTERNAL');
      assert.equal(line['level'], 'warn');
      assert.match(String(line['message']), typeof shown === 'string' ? new RegExp(`^${shown}$`) : shown);
      const fault = await pair.service.waitForLog({ event: 'internal_error', id });
      assert.match(String(fault['stack']), new RegExp(error.message));
      assert.equal(await pair.service.openFiles(), 0);
    });
  }
});

describe('connections', () => {
  /** Splits a stream of answers by their Content-Length. */
  function answers(received: Buffer): { head: string; body: Buffer }[] {
    const found: { head: string; body: Buffer }[] = [];
    for (let position = 0; position < received.length; ) {
      const end = received.indexOf('\r\n\r\n', position);
      assert.notEqual(end, -1, 'a header ends');
      const head = received.toString('latin1', position, end);
      const length = Number(/^content-length: (\d+)\r?$/im.exec(head)?.[1]);
      found.push({ head, body: received.subarray(end + 4, end + 4 + length) });
      position = end + 4 + length;
    }
    return found;
  }

  test('an HTTP/1.0 client gets the archive whole, not in chunks, and then the end of the connection', async () => {
    await using pair = await start();
    const { body } = await pair.service.request(SMALL_FILE);
    using client = await connectRaw(pair.service.port);
    client.send(`GET ${SMALL_FILE} HTTP/1.0\r\n\r\n`);
    const [answer, ...others] = answers(await client.untilClosed());
    assert.deepEqual(others, []);
    assert.match(answer?.head ?? '', /^HTTP\/1\.[01] 200 OK/);
    assert.match(answer?.head ?? '', /^connection: close\r?$/im);
    assert.doesNotMatch(answer?.head ?? '', /transfer-encoding/i);
    assert.deepEqual(answer?.body, body);
  });

  test('an HTTP/1.0 client that breaks the connection off is noticed', async () => {
    await using pair = await start({ defects: { stallRequests: {} } });
    {
      using client = await connectRaw(pair.service.port);
      client.send(`GET ${SMALL_FILE} HTTP/1.0\r\n\r\n`);
      await pair.untilStalled();
    }
    await pair.service.waitForLog({ event: 'request', outcome: 'aborted' });
    await assertNothingLeft(pair);
  });

  test('one connection serves archives, errors and probes one after the other', async () => {
    await using pair = await start();
    const { body } = await pair.service.request(SMALL_FILE);
    using client = await connectRaw(pair.service.port);
    const paths = [SMALL_FILE, '/docker/nginx.tar', '/health', SMALL_FILE];
    for (const [index, path] of paths.entries()) {
      client.send(`GET ${path} HTTP/1.1\r\nHost: a\r\n${index === 3 ? 'Connection: close\r\n' : ''}\r\n`);
      if (index < 3) await pair.service.waitForLog({ event: 'request' }, index + 2);
    }
    const got = answers(await client.untilClosed());
    assert.deepEqual(
      got.map(({ head }) => Number(head.split(' ')[1])),
      [200, 400, 200, 200],
    );
    assert.deepEqual(got[0]?.body, body);
    assert.deepEqual(got[3]?.body, body);
  });

  test('requests that come behind each other are answered in their order, each whole', async () => {
    await using pair = await start({ defects: { stallRequests: { pattern: /large\/manifests/, times: 1 } } });
    const { body } = await pair.service.request(SMALL_FILE);
    using client = await connectRaw(pair.service.port);
    client.send(
      `GET ${LARGE_FILE} HTTP/1.1\r\nHost: a\r\n\r\n` +
        `GET ${SMALL_FILE} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
    );
    await pair.untilStalled();
    // The second is ready before the first.
    await within(pair.registry.waitForRequest(/small\/blobs/, 4), 'the second request at the registry');
    pair.registry.releaseStalled();
    const [first, second, ...others] = answers(await client.untilClosed());
    assert.deepEqual(others, []);
    assert.match(first?.head ?? '', /team_large_1\.tar/);
    assert.ok((first?.body.length ?? 0) > LARGE_BYTES);
    assert.deepEqual(second?.body, body);
  });

  test('the large archive is the same over any of them', async () => {
    await using pair = await start();
    const { body } = await pair.service.request(LARGE_FILE);
    const response = await pair.service.open(LARGE_FILE);
    assert.equal(sha256(await within(readAll(response), 'the archive')), sha256(body));
  });
});
