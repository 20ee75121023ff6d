/** Log lines and exported log records. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { breakWorkspace } from '../support/break-workspace.ts';
import type { LogEvent } from '../support/memory-log.ts';
import type { ExportedLog } from '../support/otlp-receiver.ts';
import { FILE, only, serverSpan, startExporting } from './exporting.ts';

const LEVELS: Readonly<Record<string, number>> = { trace: 1, debug: 5, info: 9, warn: 13, error: 17 };

/** The expected record of a line: https://opentelemetry.io/docs/specs/otel/logs/data-model/ */
function recordOf(line: LogEvent): Omit<ExportedLog, 'resource'> {
  const { time, level, event, trace_id, span_id, ...attributes } = line;
  return {
    body: String(event),
    severityText: String(level).toUpperCase(),
    severityNumber: LEVELS[String(level)] ?? 0,
    eventName: String(event),
    attributes: attributes as ExportedLog['attributes'],
    traceId: trace_id as string | undefined,
    spanId: span_id as string | undefined,
    timeNs: BigInt(Date.parse(String(time))) * 1_000_000n,
    scope: 'docker-http-passthrough',
  };
}

describe('a line of the log', { concurrency: 4 }, () => {
  test('has the trace and span IDs of its request; other lines have none', async () => {
    await using exporting = await startExporting();
    const { service, receiver } = exporting;
    await exporting.request('/health');
    await exporting.pullAndStop();
    const { traceId, spanId } = serverSpan(receiver);
    const named = service.logs().map(({ event, route, trace_id, span_id }) => ({
      what: route ?? event,
      trace_id,
      span_id,
    }));
    const none = { trace_id: undefined, span_id: undefined };
    assert.deepEqual(named, [
      { what: 'listening', ...none },
      { what: '/health', ...none },
      { what: '/docker/{filename}', trace_id: traceId, span_id: spanId },
      { what: 'stopping', ...none },
      { what: 'stopped', ...none },
    ]);
  });

  test('is exported with severity, event, attributes, time, trace and span', async () => {
    await using exporting = await startExporting({
      env: () => ({ REGISTRY_URL: '', REGISTRY_TOKEN: 'a-token', REGISTRY_ALLOWED_HOSTS: '127.0.0.1' }),
    });
    const { service, receiver, registry } = exporting;
    const path = (host: string) => `/registry/http/${host.replace(':', '%3A')}${FILE}`;
    await exporting.request('/health');
    assert.equal((await exporting.request(path(registry.host))).status, 200);
    assert.equal((await exporting.request(path('example.com'))).status, 403);
    await breakWorkspace(service.workspace);
    assert.equal((await exporting.request(path(registry.host))).status, 500);
    await exporting.stop();

    const lines = service.logs();
    assert.deepEqual(
      lines.map(({ level, event }) => `${level} ${event}`),
      [
        'warn configuration',
        'info listening',
        'debug request',
        'info request',
        'info request',
        'error internal_error',
        'warn request',
        'info stopping',
        'info stopped',
      ],
    );
    const records = receiver.logs.map(({ resource, ...record }) => {
      assert.equal(resource['service.name'], 'docker-http-passthrough');
      return record;
    });
    assert.deepEqual(records, lines.map(recordOf));
    assert.ok(!receiver.bytes.includes('a-token'));
  });

  test('about a fault has the IDs of its span', async () => {
    await using exporting = await startExporting();
    const { service, receiver } = exporting;
    await breakWorkspace(service.workspace);
    assert.equal((await exporting.request(FILE)).status, 500);
    await exporting.stop();
    const { traceId, spanId } = serverSpan(receiver);
    const fault = only(receiver.logs.filter(({ eventName }) => eventName === 'internal_error'));
    assert.deepEqual([fault.traceId, fault.spanId], [traceId, spanId]);
    assert.match(String(fault.attributes['stack']), /ENOTDIR/);
  });

  test('below LOG_LEVEL is neither written nor exported', async () => {
    await using exporting = await startExporting({ env: () => ({ LOG_LEVEL: 'info' }) });
    // This request has no line to wait for.
    await exporting.service.request('/health');
    await exporting.stop();
    const written = exporting.service.logs().map(({ event }) => event);
    assert.deepEqual(written, ['listening', 'stopping', 'stopped']);
    assert.deepEqual(
      exporting.receiver.logs.map(({ eventName }) => eventName),
      written,
    );
  });

  test('is not exported with OTEL_LOGS_EXPORTER=none, but has its trace ID', async () => {
    await using exporting = await startExporting({ env: () => ({ OTEL_LOGS_EXPORTER: 'none' }) });
    const { service, receiver } = exporting;
    await exporting.pullAndStop();
    const line = only(service.logs().filter(({ event }) => event === 'request'));
    assert.equal(line['trace_id'], serverSpan(receiver).traceId);
    assert.deepEqual(receiver.logs, []);
    assert.notEqual(receiver.metrics.length, 0);
  });

  test('is not exported if only traces have an endpoint, and neither are metrics', async () => {
    await using exporting = await startExporting({
      env: ({ endpoint }) => ({
        OTEL_EXPORTER_OTLP_ENDPOINT: '',
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: endpoint,
      }),
    });
    const { service, receiver } = exporting;
    await exporting.pullAndStop();
    const line = only(service.logs().filter(({ event }) => event === 'request'));
    assert.equal(line['trace_id'], serverSpan(receiver).traceId);
    assert.deepEqual([receiver.logs, receiver.metrics], [[], []]);
  });

  test('has no trace ID if traces are not exported', async () => {
    await using exporting = await startExporting({ env: () => ({ OTEL_EXPORTER_OTLP_ENDPOINT: '' }) });
    await exporting.pullAndStop();
    const line = only(exporting.service.logs().filter(({ event }) => event === 'request'));
    assert.deepEqual([line['trace_id'], line['span_id']], [undefined, undefined]);
    assert.equal(exporting.receiver.requests, 0);
  });

  test('about the SDK is not exported, since each export would cause another line', async () => {
    await using exporting = await startExporting({
      // Frequent exports, each with debug lines, and a warning about an unknown sampler.
      env: () => ({
        OTEL_LOG_LEVEL: 'debug',
        OTEL_BLRP_SCHEDULE_DELAY: '10',
        OTEL_TRACES_SAMPLER: 'carrier-pigeon',
      }),
    });
    const { service, receiver } = exporting;
    const { message } = await service.waitForLog({ event: 'telemetry', level: 'warn' });
    assert.match(String(message), /carrier-pigeon/);
    await receiver.waitFor('the first export of logs', ({ logs }) => logs[0]);
    await exporting.pullAndStop();
    const events = service.logs().map(({ event }) => event);
    const count = events.filter((event) => event === 'telemetry').length;
    assert.ok(count > 1, `${count} lines`);
    assert.deepEqual(
      receiver.logs.map(({ eventName }) => eventName),
      events.filter((event) => event !== 'telemetry'),
    );
  });
});
