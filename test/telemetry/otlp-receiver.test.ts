/** The receiver of the tests, checked with the real SDK. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { context, logs, metrics, SeverityNumber, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-grpc';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { type OtlpReceiver, startOtlpReceiver } from '../support/otlp-receiver.ts';
import { within } from '../support/within.ts';
import { only } from './exporting.ts';

/** One empty export on a new connection. */
async function exportNothing(url: string): Promise<Error | undefined> {
  const exporter = new OTLPTraceExporter({ url });
  try {
    const { promise, resolve } = Promise.withResolvers<Error | undefined>();
    exporter.export([], ({ error }) => resolve(error));
    return await within(promise, 'the end of an export');
  } finally {
    await exporter.shutdown();
  }
}

describe('the receiver reads', () => {
  let receiver: OtlpReceiver;
  const [began, ended] = [1_700_000_000_123, 1_700_000_001_456];
  const ATTRIBUTES = {
    ...{ text: 'ä', whole: -3, broken: 2.5, yes: true, no: false },
    ...{ texts: ['a', ''], mixed: [1, 2.5] },
  };
  const toNs = (ms: number) => BigInt(ms) * 1_000_000n;

  before(async () => {
    receiver = await startOtlpReceiver();
    const settings = {
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
      OTEL_EXPORTER_OTLP_HEADERS: 'X-Tenant=blue',
      OTEL_EXPORTER_OTLP_COMPRESSION: 'gzip',
      OTEL_TRACES_EXPORTER: 'otlp',
      OTEL_METRICS_EXPORTER: 'otlp',
      OTEL_LOGS_EXPORTER: 'otlp',
    };
    Object.assign(process.env, settings);
    const sdk = new NodeSDK({ serviceName: 'writer', autoDetectResources: false });
    sdk.start();

    const tracer = trace.getTracer('a tracer');
    const parent = tracer.startSpan('above', { kind: SpanKind.SERVER, startTime: began });
    const active = trace.setSpan(context.active(), parent);
    const span = tracer.startSpan('below', { startTime: began }, active);
    span.setAttributes({ ...ATTRIBUTES });
    span.addEvent('happened', { why: 'because' });
    span.setStatus({ code: SpanStatusCode.ERROR, message: 'it broke' });
    span.end(ended);
    parent.end(ended);

    const meter = metrics.getMeter('a meter');
    meter.createCounter('count', { unit: '{request}', description: 'How many' }).add(7, { route: '/x' });
    meter.createUpDownCounter('level').add(-2);
    meter.createGauge('share').record(0.5);
    const histogram = meter.createHistogram('duration', {
      unit: 's',
      advice: { explicitBucketBoundaries: [0.1, 1] },
    });
    for (const seconds of [0.05, 0.5, 0.5, 4]) histogram.record(seconds);

    const logger = logs.getLogger('a logger');
    const severity = { severityNumber: SeverityNumber.WARN, severityText: 'WARN' };
    const fields = { body: 'in', attributes: { bytes: 5 }, eventName: 'disk.full', context: active };
    logger.emit({ ...fields, ...severity, timestamp: new Date(began) });
    logger.emit({ body: { left: 1 } });

    await within(sdk.shutdown(), 'the end of the SDK');
    for (const name of Object.keys(settings)) delete process.env[name];
  });
  after(() => receiver.close());

  test('a span with attributes of each type, an event, a status and a parent', () => {
    const parent = only(receiver.spans.filter(({ name }) => name === 'above'));
    const { traceId, spanId, types, resource, ...span } = only(
      receiver.spans.filter(({ name }) => name === 'below'),
    );
    assert.match(traceId, /^[0-9a-f]{32}$/);
    assert.match(spanId, /^[0-9a-f]{16}$/);
    assert.deepEqual(span, {
      parentSpanId: parent.spanId,
      name: 'below',
      kind: 'internal',
      attributes: ATTRIBUTES,
      status: 'error',
      statusMessage: 'it broke',
      events: [{ name: 'happened', attributes: { why: 'because' } }],
      startNs: toNs(began),
      endNs: toNs(ended),
      scope: 'a tracer',
    });
    assert.deepEqual(types, {
      text: 'string',
      whole: 'int',
      broken: 'double',
      yes: 'bool',
      no: 'bool',
      texts: 'array<string>',
      mixed: 'array<int|double>',
    });
    assert.equal(resource['service.name'], 'writer');
    assert.deepEqual([parent.traceId, parent.parentSpanId, parent.kind], [traceId, undefined, 'server']);
    assert.deepEqual([parent.status, parent.statusMessage, parent.events], ['unset', '', []]);
  });

  test('a metric of each kind', () => {
    const found = receiver.metrics.map(({ resource, scope, ...metric }) => {
      assert.deepEqual([resource['service.name'], scope], ['writer', 'a meter']);
      return metric;
    });
    assert.deepEqual(found, [
      {
        name: 'count',
        unit: '{request}',
        description: 'How many',
        kind: 'sum',
        isMonotonic: true,
        points: [{ attributes: { route: '/x' }, value: 7 }],
      },
      {
        name: 'level',
        unit: '',
        description: '',
        kind: 'sum',
        isMonotonic: false,
        points: [{ attributes: {}, value: -2 }],
      },
      { name: 'share', unit: '', description: '', kind: 'gauge', points: [{ attributes: {}, value: 0.5 }] },
      {
        name: 'duration',
        unit: 's',
        description: '',
        kind: 'histogram',
        points: [{ attributes: {}, count: 4, sum: 5.05, bounds: [0.1, 1], bucketCounts: [1, 2, 1] }],
      },
    ]);
  });

  test('a log record with all fields, and one with a body alone', () => {
    const { traceId, spanId } = only(receiver.spans.filter(({ name }) => name === 'above'));
    const [full, bare] = receiver.logs.map(({ resource, scope, ...log }) => {
      assert.deepEqual([resource['service.name'], scope], ['writer', 'a logger']);
      return log;
    });
    assert.deepEqual(full, {
      body: 'in',
      severityText: 'WARN',
      severityNumber: 13,
      eventName: 'disk.full',
      attributes: { bytes: 5 },
      traceId,
      spanId,
      timeNs: toNs(began),
    });
    assert.deepEqual([bare?.body, bare?.severityNumber, bare?.eventName], [{ left: 1 }, 0, '']);
    assert.deepEqual([bare?.traceId, bare?.spanId], [undefined, undefined]);
    assert.equal(receiver.logs.length, 2);
  });

  test('the headers and the decompressed bytes', () => {
    assert.equal(receiver.requests, 3);
    assert.deepEqual(
      receiver.metadata.map((headers) => headers['x-tenant']),
      ['blue', 'blue', 'blue'],
    );
    for (const text of ['below', 'it broke', 'duration', 'disk.full'])
      assert.ok(receiver.bytes.includes(text), text);
    assert.ok(!receiver.bytes.includes('never written'));
  });
});

describe('a wait', () => {
  test('ends with an export, or at once if it has arrived', async () => {
    await using receiver = await startOtlpReceiver();
    const arrived = receiver.waitFor('an export', ({ requests }) => (requests === 1 ? 'here' : undefined));
    assert.equal(await exportNothing(receiver.endpoint), undefined);
    assert.equal(await arrived, 'here');
    assert.equal(await receiver.waitFor('it again', ({ requests }) => requests || undefined), 1);
  });

  test('fails after its limit, with its description', async () => {
    await using receiver = await startOtlpReceiver();
    const waiting = receiver.waitFor('a span', ({ spans }) => spans[0], 20);
    await assert.rejects(waiting, { message: 'Cannot wait for a span: 20 ms are over' });
  });

  test('fails with the error of its condition, which the client does not receive', async () => {
    await using receiver = await startOtlpReceiver();
    const waiting = receiver.waitFor('an export', ({ requests }) => {
      assert.equal(requests, 0, 'not yet');
      return undefined;
    });
    const failed = assert.rejects(waiting, /not yet/);
    assert.equal(await exportNothing(receiver.endpoint), undefined);
    await failed;
  });

  test('fails if the receiver is closed', async () => {
    const receiver = await startOtlpReceiver();
    const failed = assert.rejects(
      receiver.waitFor('a span', ({ spans }) => spans[0]),
      { message: `Cannot wait for ${receiver.endpoint}: the receiver is closed` },
    );
    await receiver.close();
    await failed;
  });
});

describe('a receiver', () => {
  test('that is unavailable refuses and records an export', async () => {
    await using receiver = await startOtlpReceiver({ respond: 'unavailable' });
    assert.match(String(await exportNothing(receiver.endpoint)), /UNAVAILABLE/);
    assert.equal(receiver.requests, 1);
  });

  test('that never answers can be closed at once and restarted on its port', async () => {
    const receiver = await startOtlpReceiver({ respond: 'never' });
    const exported = exportNothing(receiver.endpoint);
    await receiver.waitFor('the export', ({ requests }) => requests || undefined);
    await within(receiver.close(), 'the end of the receiver');
    assert.ok((await exported) instanceof Error);
    await using again = await startOtlpReceiver({ port: receiver.port });
    assert.equal(again.endpoint, receiver.endpoint);
    assert.equal(await exportNothing(again.endpoint), undefined);
  });
});
