/** What is still to be exported when the service stops goes out, within bounds. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type BuiltService, startBuiltService } from '../support/built-service.ts';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.ts';
import { makeImage, makeLayer } from '../support/image.ts';
import { type OtlpReceiver, startOtlpReceiver } from '../support/otlp-receiver.ts';
import { connectRaw } from '../support/raw-client.ts';
import { startRawServer } from '../support/raw-server.ts';
import { within } from '../support/within.ts';
import { END_LIMIT_MS, endsInOrder, PROMPT_LIMIT_MS, START_LIMIT_MS, troubles } from './ending.ts';

type Variables = Readonly<Record<string, string>>;

const FILE = '/docker/team_app_1.tar';
const PULLS = 12;

/** Nothing goes out by itself during a test. */
const ONLY_AT_THE_END: Variables = {
  OTEL_BSP_SCHEDULE_DELAY: '60000',
  OTEL_BLRP_SCHEDULE_DELAY: '60000',
  OTEL_METRIC_EXPORT_INTERVAL: '60000',
};

/** Something that telemetry is sent to. */
interface Collector {
  readonly endpoint: string;
  /** How to send it there, where that is not the usual way. */
  readonly env?: Variables;
}

let registry: FakeRegistry;
before(async () => {
  registry = await startRegistry();
});
after(() => registry.close());

async function startRegistry(): Promise<FakeRegistry> {
  const started = await startFakeRegistry();
  // An image for each pull, with nothing in common, so that none does another's work.
  for (let number = 1; number <= PULLS; number += 1) {
    started.push('team/app', `${number}`, makeImage({ layers: [{ tar: makeLayer({ a: `${number}` }) }] }));
  }
  return started;
}

function start(endpoint: string, env: Variables = ONLY_AT_THE_END): Promise<BuiltService> {
  return startBuiltService({ REGISTRY_URL: registry.url, OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, ...env });
}

/** The traces that the log names, and the spans of each as they arrived. */
function traces(service: BuiltService, { spans }: OtlpReceiver) {
  return service
    .logs()
    .filter(({ event }) => event === 'request')
    .map(({ trace_id: traceId }) => spans.filter((span) => span.traceId === traceId));
}

describe('the flush at the end', { concurrency: true }, () => {
  for (const respond of ['ok', 'traces-only'] as const) {
    test(`brings all spans of requests right before it, to a collector that is ${respond}`, async () => {
      await using receiver = await startOtlpReceiver({ respond });
      await using service = await start(receiver.endpoint);
      const replies = await Promise.all(
        Array.from({ length: PULLS }, (_, at) => service.request(`/docker/team_app_${at + 1}.tar`)),
      );
      assert.deepEqual(new Set(replies.map(({ status }) => status)), new Set([200]));
      assert.equal(receiver.requests, 0);
      await endsInOrder(service, PROMPT_LIMIT_MS);

      const arrived = traces(service, receiver);
      assert.equal(arrived.length, PULLS);
      for (const spans of arrived) {
        const roots = spans.filter(({ kind }) => kind === 'server');
        assert.deepEqual(
          roots.map(({ attributes }) => attributes['http.response.status_code']),
          [200],
        );
        assert.ok(
          spans.some(({ name }) => name === 'write_layer_tar_1'),
          spans.map(({ name }) => name).join(' '),
        );
        assert.equal(spans.length, arrived[0]?.length);
      }
      assert.equal(arrived.flat().length, receiver.spans.length);
    });
  }

  test('brings metrics and logs of requests right before it, the last line of the log too', async () => {
    await using receiver = await startOtlpReceiver();
    await using service = await start(receiver.endpoint);
    for (let count = 0; count < PULLS; count += 1) await service.request(FILE);
    await endsInOrder(service, PROMPT_LIMIT_MS);
    const events = receiver.logs.map(({ eventName }) => eventName);
    assert.equal(events.filter((name) => name === 'request').length, PULLS);
    assert.equal(events.at(-1), 'stopped');
    const pulls = receiver.metrics.filter(({ name }) => name === 'passthrough.pulls');
    assert.deepEqual(
      pulls.map(({ points }) => points.map(({ value }) => value)),
      [[PULLS]],
    );
  });

  test('waits for a request that is under way, and brings its spans', async () => {
    await using receiver = await startOtlpReceiver();
    await using slow = await startRegistry();
    await using service = await start(receiver.endpoint, { ...ONLY_AT_THE_END, REGISTRY_URL: slow.url });
    slow.defects.stallRequests = { times: 1 };
    const running = service.request(FILE);
    await within(slow.waitForStalled(), 'the request under way');
    const ended = endsInOrder(service);
    await service.waitForLog({ event: 'stopping' });
    slow.releaseStalled();
    assert.equal((await running).status, 200);
    await ended;
    const [spans = []] = traces(service, receiver);
    const [root] = spans.filter(({ kind }) => kind === 'server');
    assert.equal(root?.attributes['http.response.status_code'], 200);
    assert.ok(spans.some(({ name }) => name === 'write_layer_tar_1'));
  });
});

describe('where a collector leaves the flush waiting', { concurrency: true }, () => {
  test('no more spans were held for it than the queue and one batch take', async () => {
    const [queue, batch] = [100, 10];
    const [clients, requests] = [10, 300];
    await using receiver = await startOtlpReceiver({ respond: 'never' });
    await using service = await start(receiver.endpoint, {
      ...ONLY_AT_THE_END,
      OTEL_BSP_MAX_QUEUE_SIZE: String(queue),
      OTEL_BSP_MAX_EXPORT_BATCH_SIZE: String(batch),
      // The first batch is under way all the time.
      OTEL_EXPORTER_OTLP_TIMEOUT: '60000',
      LOG_LEVEL: 'info',
    });
    const head = 'GET /docker/x.tar HTTP/1.1\r\nHost: a\r\n';
    const answers = await Promise.all(
      Array.from({ length: clients }, async () => {
        using client = await connectRaw(service.port);
        client.send(`${`${head}\r\n`.repeat(requests - 1)}${head}Connection: close\r\n\r\n`);
        return String(await client.untilClosed()).match(/^HTTP\/1\.1 400 /gm)?.length;
      }),
    );
    assert.deepEqual(new Set(answers), new Set([requests]));
    await receiver.waitFor('the first batch', ({ spans }) => spans[0]);
    assert.equal(receiver.spans.length, batch);

    // In the end all that is held goes out at once, and is counted although it is not answered.
    await endsInOrder(service);
    const held = receiver.spans.length;
    assert.ok(held >= queue && held <= queue + batch, `${held} spans were held`);
  });

  const collectors: readonly [what: string, start: () => Promise<AsyncDisposable & Collector>][] = [
    ['that never answers an export', () => startOtlpReceiver({ respond: 'never' })],
    [
      'that takes connections and says nothing',
      async () => {
        const server = await startRawServer(() => undefined);
        return { endpoint: server.url, [Symbol.asyncDispose]: () => server.close() };
      },
    ],
    [
      'that refuses connections over HTTP, where exports are tried again',
      async () => ({
        endpoint: 'http://127.0.0.1:1',
        env: { OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf' },
        [Symbol.asyncDispose]: async () => undefined,
      }),
    ],
  ];
  for (const [what, collect] of collectors) {
    test(`the process starts and ends in time all the same: a collector ${what}`, async () => {
      await using collector = await collect();
      await using service = await start(collector.endpoint, collector.env ?? {});
      assert.ok(service.startMs < START_LIMIT_MS, `it started in ${service.startMs} ms`);
      assert.equal((await service.request(FILE)).status, 200);
      await endsInOrder(service, END_LIMIT_MS);
      assert.deepEqual(
        troubles(service).map(({ message }) => message),
        ['Cannot export what was left: no answer within 3 s'],
      );
    });
  }
});
