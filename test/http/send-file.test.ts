/** Archives on their way to clients that leave, are slow, or lose the connection. */

import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { describe, test } from 'node:test';
import { PassthroughError } from '../../src/errors.ts';
import { readAll } from '../support/collect.ts';
import { collectGarbage } from '../support/collect-garbage.ts';
import { nextResponse } from '../support/next-response.ts';
import type { Pair, PairOptions } from '../support/pair.ts';
import { connectRaw } from '../support/raw-client.ts';
import { LARGE_BYTES, LARGE_FILE, SMALL, SMALL_FILE, startTwoSizes as start } from '../support/two-sizes.ts';
import { within } from '../support/within.ts';

const MIB = 1024 ** 2;

const LAYER = SMALL.layers[0]?.digest ?? '';

/** Checks that nothing of a request is left: no traffic, no open file, no error in the log. */
async function assertNothingLeft(pair: Pair): Promise<void> {
  await pair.assertIdle();
  assert.ok(!pair.service.logs().some(({ level }) => level === 'error'));
}

/** Waits for the log line of a request whose client has left. */
async function assertLeft({ service }: Pair) {
  const line = await service.waitForLog({ event: 'request', outcome: 'aborted' });
  assert.equal(line['error'], 'ABORTED');
  assert.equal(line['message'], 'Stopped: the client has left');
  return line;
}

describe('a client that leaves', () => {
  const moments: readonly [what: string, options: PairOptions][] = [
    ['for the manifest', { defects: { stallRequests: { pattern: /manifests/ } } }],
    ['for the layers', { defects: { stallRequests: { pattern: new RegExp(LAYER) } } }],
    ['for the rest of a layer', { defects: { stallBlob: { digest: LAYER, afterBytes: 10 } } }],
  ];
  for (const method of ['GET', 'HEAD']) {
    for (const [what, options] of moments) {
      test(`ends the pull while it waits ${what} (${method})`, async () => {
        await using pair = await start(options);
        const client = new AbortController();
        const request = pair.request(SMALL_FILE, { method, signal: client.signal });
        const gone = assert.rejects(request, { name: 'AbortError' });
        await pair.untilStalled();
        client.abort();
        await gone;
        const { status, level } = await assertLeft(pair);
        assert.deepEqual([status, level], [undefined, 'info']);
        await assertNothingLeft(pair);
      });
    }
  }

  test('frees its place in the queue; its layers are not requested', async () => {
    await using pair = await start({
      defects: { stallRequests: { pattern: new RegExp(LAYER), times: 1 } },
      env: { MAX_CONCURRENT_PREPARATIONS: '1', MAX_QUEUED_PREPARATIONS: '1' },
    });
    const running = pair.request(SMALL_FILE);
    await pair.untilStalled();
    // Of two requests, one is in the queue as soon as the other is refused.
    const client = new AbortController();
    const queued = [LARGE_FILE, LARGE_FILE.replace('docker', 'oci')].map((file) =>
      pair.request(file, { signal: client.signal }),
    );
    assert.equal((await Promise.race(queued)).status, 503);
    client.abort();
    const outcomes = await Promise.allSettled(queued);
    assert.deepEqual(outcomes.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected']);
    await assertLeft(pair);

    const next = pair.request(SMALL_FILE.replace('docker', 'oci'));
    pair.registry.releaseStalled();
    for (const reply of [running, next]) assert.equal((await reply).status, 200);
    assert.equal(pair.registry.countRequests(/large\/blobs/), 0);
  });

  test('while the archive is sent closes its files', async () => {
    await using pair = await start();
    const response = await pair.service.open(LARGE_FILE);
    assert.equal(response.statusCode, 200);
    assert.equal(await pair.service.openFiles(), 1);
    response.destroy();
    const { status, bytes } = await assertLeft(pair);
    assert.equal(status, 200);
    assert.ok(Number(bytes) < Number(response.headers['content-length']));
    await assertNothingLeft(pair);
  });

  for (const file of [SMALL_FILE, LARGE_FILE]) {
    test(`ends also a pipelined answer that is ready behind an unfinished one: ${file}`, async () => {
      await using pair = await start({ defects: { stallRequests: { pattern: /manifests\/stalled/ } } });
      const second = nextResponse((path) => path === file);
      {
        using client = await connectRaw(pair.service.port);
        const paths = ['/docker/team_small_stalled.tar', file];
        client.send(paths.map((path) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`).join(''));
        await pair.untilStalled();
        // It waits for the connection.
        const isReady = async (response: ServerResponse) => {
          while (response.listenerCount('socket') === 0) await new Promise(setImmediate);
        };
        await within(second.then(isReady), 'the second answer to be ready');
        assert.equal((await second).writableLength, 0, 'none of its bytes are buffered before its turn');
      }
      await pair.service.waitForLog({ event: 'request', outcome: 'aborted' }, 2);
      await assertNothingLeft(pair);
    });
  }
});

describe('a slow client', () => {
  test('gets the whole archive; little of it is in memory', async () => {
    await using pair = await start();
    const bytesHeld = (): number => {
      collectGarbage();
      return process.memoryUsage().arrayBuffers;
    };
    const response = await pair.service.open(LARGE_FILE);
    const size = Number(response.headers['content-length']);
    const idle = bytesHeld();
    let most = 0;
    let received = 0;
    let unmeasured = 0;
    const reading = (async () => {
      for await (const chunk of response as AsyncIterable<Buffer>) {
        received += chunk.length;
        unmeasured += chunk.length;
        if (unmeasured < 2 * MIB) continue;
        unmeasured = 0;
        // Turns of the event loop, in which the service could read ahead of the client.
        for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
        most = Math.max(most, bytesHeld() - idle);
        assert.ok((await pair.service.openFiles()) <= 1);
      }
    })();
    await within(reading, 'the whole archive', 60_000);
    assert.equal(received, size);
    assert.ok(size > LARGE_BYTES);
    assert.ok(most < LARGE_BYTES / 4, `${most} bytes were held at once`);
    await pair.service.waitForLog({ event: 'request', outcome: 'ok', bytes: size });
    await assertNothingLeft(pair);
  });

  test('does not occupy a place for preparations', async () => {
    await using pair = await start({
      env: { MAX_CONCURRENT_PREPARATIONS: '1', MAX_QUEUED_PREPARATIONS: '0' },
    });
    const slow = await pair.service.open(LARGE_FILE);
    assert.equal((await pair.request(SMALL_FILE)).status, 200);
    const bytes = await within(readAll(slow), 'the large archive');
    assert.equal(bytes.length, Number(slow.headers['content-length']));
  });

  test('that takes no byte for SEND_STALL_TIMEOUT is cut off', async () => {
    await using pair = await start({ env: { SEND_STALL_TIMEOUT: '0.1' } });
    const response = await pair.service.open(LARGE_FILE);
    const line = await pair.service.waitForLog({ event: 'request', route: '/docker/{filename}' });
    assert.deepEqual([line['outcome'], line['error']], ['aborted', 'ABORTED']);
    assert.equal(line['message'], 'Stopped: the client took no byte for 0.1 s');
    assert.ok(Number(line['bytes']) < LARGE_BYTES);
    await assert.rejects(within(readAll(response), 'the end of the answer'), { code: 'ECONNRESET' });
    await assertNothingLeft(pair);
  });
});

describe('a failure after the 200', () => {
  const read = 'Cannot read temporary file: it ends';
  for (const [error, message] of [
    [new PassthroughError('INTERNAL', read), new RegExp(`^${read}$`)],
    [Object.assign(new Error('EIO: i/o error'), { code: 'EIO' }), /./],
  ] as const) {
    test(`cuts the connection, so that the archive does not look whole: ${error.message}`, async () => {
      await using pair = await start({
        tamper: (file) => ({
          ...file,
          read: async function* (range) {
            let left = 8 * MIB;
            for await (const chunk of file.read(range)) {
              // Counted before the yield: the reader may transfer the chunk.
              left -= chunk.byteLength;
              yield chunk;
              if (left <= 0) throw error;
            }
          },
        }),
      });
      const { status, isCut, body, headers } = await pair.request(LARGE_FILE);
      assert.deepEqual([status, isCut], [200, true]);
      assert.ok(body.length < Number(headers['content-length']));
      const id = headers['x-request-id'];
      const line = await pair.service.waitForLog({ event: 'request', id });
      assert.deepEqual([line['outcome'], line['error'], line['level']], ['broken', 'INTERNAL', 'warn']);
      assert.match(String(line['message']), message);
      const fault = await pair.service.waitForLog({ event: 'internal_error', id });
      assert.match(String(fault['stack']), new RegExp(error.message));
      await pair.assertIdle();
    });
  }
});
