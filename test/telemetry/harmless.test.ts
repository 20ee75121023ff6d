/** A faulty collector does not affect the service, and causes only one warning. */

import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { pipeline } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import { type BuiltService, startBuiltService } from '../support/built-service.ts';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.ts';
import { makeImage, makeLayer } from '../support/image.ts';
import { type OtlpReceiver, startOtlpReceiver } from '../support/otlp-receiver.ts';
import { answerRaw, startRawServer } from '../support/raw-server.ts';
import { END_LIMIT_MS, endsInOrder, PROMPT_LIMIT_MS, START_LIMIT_MS, troubles } from './ending.ts';
import { CONCURRENCY, type Variables } from './exporting.ts';

const FILE = '/docker/team_app_1.tar';
const WRONG_FILE = '/docker/x.tar';

/** Requests of each run, and the expected number of failed exports. */
const REQUESTS = 20;
const FAILURES = 40;

/** Frequent exports with short timeouts: for each span, soon after each line of the log, and of metrics. */
const QUICK: Variables = {
  OTEL_BSP_SCHEDULE_DELAY: '10',
  OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '1',
  OTEL_BLRP_SCHEDULE_DELAY: '10',
  OTEL_METRIC_EXPORT_INTERVAL: '50',
  OTEL_METRIC_EXPORT_TIMEOUT: '50',
  OTEL_EXPORTER_OTLP_TIMEOUT: '50',
};

/** A faulty collector. */
interface Collector extends AsyncDisposable {
  readonly endpoint: string;
  /** Variables that make its failures visible. */
  readonly env: Variables;
  /** Waits for this number of failed exports. */
  untilFailed(service: BuiltService, count: number): Promise<unknown>;
}

/** A collector that cannot count exports. The service logs them at level `debug`. */
async function unreachable(endpoint: string, server?: AsyncDisposable): Promise<Collector> {
  return {
    endpoint,
    env: { OTEL_LOG_LEVEL: 'debug' },
    untilFailed: (service, count) =>
      service.waitForLog(
        { event: 'telemetry', message: 'OTLPExportDelegate items to be sent object' },
        count,
      ),
    [Symbol.asyncDispose]: async () => server?.[Symbol.asyncDispose](),
  };
}

/** A collector that receives exports, and then fails. */
async function failing(
  respond: 'never' | 'unavailable' | 'traces-only',
  failures: (receiver: OtlpReceiver) => number = ({ requests }) => requests,
): Promise<Collector> {
  const receiver = await startOtlpReceiver({ respond });
  return {
    endpoint: receiver.endpoint,
    env: {},
    untilFailed: (_, count) =>
      receiver.waitFor(`${count} exports`, () => (failures(receiver) >= count ? true : undefined)),
    [Symbol.asyncDispose]: () => receiver.close(),
  };
}

let registry: FakeRegistry;
/** The archive of a service without telemetry. */
let archive: Buffer;
before(async () => {
  registry = await startFakeRegistry();
  registry.push('team/app', '1', makeImage({ layers: [{ tar: makeLayer({ a: 'a' }) }] }));
  await using service = await startBuiltService({ REGISTRY_URL: registry.url });
  const reply = await service.request(FILE);
  assert.equal(reply.status, 200);
  archive = reply.body;
});
after(() => registry.close());

describe('the service works with a collector', { concurrency: CONCURRENCY }, () => {
  const collectors: readonly [what: string, start: () => Promise<Collector>, endLimitMs: number][] = [
    ['that refuses connections', () => unreachable('http://127.0.0.1:1'), PROMPT_LIMIT_MS],
    [
      'that closes connections',
      async () => {
        const server = await startRawServer((socket) => socket.destroy());
        return await unreachable(server.url, server);
      },
      PROMPT_LIMIT_MS,
    ],
    [
      'with another protocol than gRPC',
      async () => {
        const server = await startRawServer(answerRaw('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n'));
        return await unreachable(server.url, server);
      },
      PROMPT_LIMIT_MS,
    ],
    ['whose name does not resolve', () => unreachable('http://collector.invalid:4317'), END_LIMIT_MS],
    ['that never answers', () => failing('never'), END_LIMIT_MS],
    ['that is unavailable', () => failing('unavailable'), PROMPT_LIMIT_MS],
    [
      'that supports only traces',
      // Each export has one span.
      () => failing('traces-only', ({ requests, spans }) => requests - spans.length),
      PROMPT_LIMIT_MS,
    ],
  ];
  for (const [what, start, endLimitMs] of collectors) {
    test(what, async () => {
      await using collector = await start();
      await using service = await startBuiltService({
        REGISTRY_URL: registry.url,
        OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint,
        ...QUICK,
        ...collector.env,
      });
      assert.ok(service.startMs < START_LIMIT_MS, `it started in ${service.startMs} ms`);

      for (let count = 0; count < REQUESTS; count += 1) {
        assert.equal((await service.request(WRONG_FILE)).status, 400);
      }
      const reply = await service.request(FILE);
      assert.equal(reply.status, 200);
      assert.ok(reply.body.equals(archive), 'the archive is the same');
      assert.equal((await service.request('/ready')).status, 200);

      await collector.untilFailed(service, FAILURES);
      assert.deepEqual(levels(service), ['warn'], service.output());

      await endsInOrder(service, endLimitMs);
      assert.deepEqual(levels(service), ['warn'], service.output());
    });
  }
});

test('spans arrive as soon as the collector is available; earlier spans are lost without another warning', async () => {
  await using receiver = await startOtlpReceiver();
  // One address for both: a port that is closed and opened again may be another process's meanwhile.
  let isBroken = true;
  await using relay = await startRawServer((socket) => {
    if (isBroken) return void socket.destroy();
    const to = connect(Number(new URL(receiver.endpoint).port), '127.0.0.1');
    pipeline(socket, to, socket, () => undefined);
  });
  await using service = await startBuiltService({
    REGISTRY_URL: registry.url,
    ...QUICK,
    OTEL_EXPORTER_OTLP_ENDPOINT: relay.url,
    // The working collector may be slow.
    OTEL_EXPORTER_OTLP_TIMEOUT: '10000',
  });
  for (let count = 0; count < REQUESTS; count += 1) await service.request(WRONG_FILE);
  await service.waitForLog({ event: 'telemetry', level: 'warn' });
  isBroken = false;

  // Metrics are exported without requests, so they show that the connection works.
  await receiver.waitFor('metrics', ({ metrics }) => metrics[0]);
  assert.equal((await service.request(FILE)).status, 200);
  const { trace_id: traceId } = await service.waitForLog({ event: 'request', status: 200 });
  await receiver.waitFor('the span of the request', ({ spans }) =>
    spans.find((span) => span.kind === 'server' && span.traceId === traceId),
  );

  const arrived = new Set(receiver.spans.map((span) => span.traceId));
  const lost = service
    .logs()
    .filter(
      ({ event, status, trace_id }) => event === 'request' && status === 400 && !arrived.has(`${trace_id}`),
    );
  // Each request had two exports of one span.
  assert.ok(lost.length > REQUESTS / 2, `${lost.length} traces are lost`);
  assert.deepEqual(levels(service), ['warn'], service.output());
  await endsInOrder(service);
});

function levels(service: BuiltService): unknown[] {
  return troubles(service).map(({ level }) => level);
}
