/** The last export when the service stops. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type BuiltService, startBuiltService } from '../support/built-service.ts';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.ts';
import { makeImage, makeLayer } from '../support/image.ts';
import { type OtlpReceiver, startOtlpReceiver } from '../support/otlp-receiver.ts';
import { connectRaw } from '../support/raw-client.ts';
import { startRawServer } from '../support/raw-server.ts';
import { within } from '../support/within.ts';
import { END_LIMIT_MS, EXPORT_TIMEOUT_MS, endsInOrder, START_LIMIT_MS, troubles } from './ending.ts';
import type { Variables } from './exporting.ts';

const FILE = '/docker/team_app_1.tar';
const PULLS = 12;

/** What the log says of a flush that has waited for its limit. */
const LATE = /no answer within 3 s/;

/** Without exports during a test. */
const ONLY_AT_THE_END: Variables = {
  OTEL_BSP_SCHEDULE_DELAY: '60000',
  OTEL_BLRP_SCHEDULE_DELAY: '60000',
  OTEL_METRIC_EXPORT_INTERVAL: '60000',
};

/** A receiver of exports. */
interface Collector {
  readonly endpoint: string;
  /** Variables besides its endpoint. */
  readonly env?: Variables;
}

let registry: FakeRegistry;
before(async () => {
  registry = await startRegistry();
});
after(() => registry.close());

async function startRegistry(): Promise<FakeRegistry> {
  const started = await startFakeRegistry();
  // A different image for each pull, so that no pull uses the result of another.
  for (let number = 1; number <= PULLS; number += 1) {
    started.push('team/app', `${number}`, makeImage({ layers: [{ tar: makeLayer({ a: `${number}` }) }] }));
  }
  return started;
}

function start(endpoint: string, env: Variables = ONLY_AT_THE_END): Promise<BuiltService> {
  return startBuiltService({ REGISTRY_URL: registry.url, OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, ...env });
}

/** The received spans of each trace in the log. */
function traces(service: BuiltService, { spans }: OtlpReceiver) {
  return service
    .logs()
    .filter(({ event }) => event === 'request')
    .map(({ trace_id: traceId }) => spans.filter((span) => span.traceId === traceId));
}

// One after another: a flush has 3 s, which several that start at once on a busy machine would use up.
describe('the flush at the end', () => {
  for (const respond of ['ok', 'traces-only'] as const) {
    test(`exports all spans of the last requests to a collector that is ${respond}`, async () => {
      await using receiver = await startOtlpReceiver({ respond });
      await using service = await start(receiver.endpoint);
      const replies = await Promise.all(
        Array.from({ length: PULLS }, (_, at) => service.request(`/docker/team_app_${at + 1}.tar`)),
      );
      assert.deepEqual(new Set(replies.map(({ status }) => status)), new Set([200]));
      assert.equal(receiver.requests, 0);
      await endsInOrder(service);
      assert.doesNotMatch(service.output(), LATE);

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

  test('exports metrics and logs of the last requests, with the last line of the log', async () => {
    await using receiver = await startOtlpReceiver();
    await using service = await start(receiver.endpoint);
    for (let count = 0; count < PULLS; count += 1) await service.request(FILE);
    await endsInOrder(service);
    assert.doesNotMatch(service.output(), LATE);
    const events = receiver.logs.map(({ eventName }) => eventName);
    assert.equal(events.filter((name) => name === 'request').length, PULLS);
    assert.equal(events.at(-1), 'stopped');
    const pulls = receiver.metrics.filter(({ name }) => name === 'passthrough.pulls');
    assert.deepEqual(
      pulls.map(({ points }) => points.map(({ value }) => value)),
      [[PULLS]],
    );
  });

  test('waits for a running request, and exports its spans', async () => {
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

test('with a collector that does not answer, at most the spans of the queue and one batch are kept', async () => {
  const [queue, batch] = [100, 10];
  const [clients, requests] = [10, 300];
  await using receiver = await startOtlpReceiver({ respond: 'never' });
  await using service = await start(receiver.endpoint, {
    ...ONLY_AT_THE_END,
    OTEL_BSP_MAX_QUEUE_SIZE: String(queue),
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE: String(batch),
    // The first batch waits for its answer all the time.
    OTEL_EXPORTER_OTLP_TIMEOUT: String(EXPORT_TIMEOUT_MS),
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

  // At the end all kept spans are exported at once, and counted although there is no answer.
  await endsInOrder(service);
  const held = receiver.spans.length;
  assert.ok(held >= queue && held <= queue + batch, `${held} spans were held`);
});

describe('with a collector that does not answer', { concurrency: true }, () => {
  const collectors: readonly [what: string, start: () => Promise<AsyncDisposable & Collector>][] = [
    ['which never answers an export', () => startOtlpReceiver({ respond: 'never' })],
    [
      'which accepts connections but sends nothing',
      async () => {
        const server = await startRawServer(() => undefined);
        return { endpoint: server.url, [Symbol.asyncDispose]: () => server.close() };
      },
    ],
    [
      'which refuses connections over HTTP, where exports are retried',
      async () => ({
        endpoint: 'http://127.0.0.1:1',
        env: { OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf' },
        [Symbol.asyncDispose]: async () => undefined,
      }),
    ],
  ];
  for (const [what, collect] of collectors) {
    test(`the process starts and ends in time: a collector ${what}`, async () => {
      await using collector = await collect();
      const timeout = { OTEL_EXPORTER_OTLP_TIMEOUT: String(EXPORT_TIMEOUT_MS) };
      await using service = await start(collector.endpoint, { ...timeout, ...collector.env });
      assert.ok(service.startMs < START_LIMIT_MS, `it started in ${service.startMs} ms`);
      assert.equal((await service.request(FILE)).status, 200);
      await endsInOrder(service, END_LIMIT_MS);
      assert.deepEqual(
        troubles(service).map(({ message }) => message),
        [`Cannot export what was left: ${LATE.source}`],
      );
    });
  }
});
