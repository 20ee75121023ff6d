/** The parent of a request's trace, its sampling, and its propagation to registries. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { startFakeRegistry } from '../support/fake-registry.ts';
import type { ExportedSpan } from '../support/otlp-receiver.ts';
import type { RecordedRequest } from '../support/scripted-server.ts';
import { CONCURRENCY, FILE, IMAGE, startExporting, type Variables } from './exporting.ts';

/** The examples of https://www.w3.org/TR/trace-context/#traceparent-header and of https://github.com/openzipkin/b3-propagation */
const W3C = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331' };
const B3 = { traceId: '80f198ee56343ba864fe8b2a57d3eff7', spanId: 'e457b5a2e4d86bd1' };
const TRACEPARENT = `00-${W3C.traceId}-${W3C.spanId}-01`;
const UNSAMPLED = `00-${W3C.traceId}-${W3C.spanId}-00`;

/** The trace ID of a request in its log record, and its exported span. */
interface Traced {
  readonly traceId: string | undefined;
  readonly span: ExportedSpan | undefined;
}

/** Pulls the image once with each of the headers, and returns the traces. */
async function traced(env: Variables, requests: readonly Variables[]): Promise<readonly Traced[]> {
  await using exporting = await startExporting({ env: () => env });
  const { receiver } = exporting;
  for (const headers of requests) assert.equal((await exporting.request(FILE, { headers })).status, 200);
  await exporting.stop();

  const servers = receiver.spans.filter(({ kind }) => kind === 'server');
  const traceIds = new Set(servers.map(({ traceId }) => traceId));
  for (const { name, traceId } of receiver.spans) assert.ok(traceIds.has(traceId), name);
  // Requests that are not sampled are counted and logged too, with their trace IDs.
  const pulls = receiver.metrics.find(({ name }) => name === 'passthrough.pulls');
  assert.equal(pulls?.points[0]?.value, requests.length);
  const records = receiver.logs.filter(({ eventName }) => eventName === 'request');
  assert.equal(records.length, requests.length);
  return records.map(({ traceId, spanId }) => ({
    traceId,
    span: servers.find((span) => span.spanId === spanId),
  }));
}

describe('the parent of a request', { concurrency: CONCURRENCY }, () => {
  const b3 = `${B3.traceId}-${B3.spanId}-1`;
  const b3multi = { 'X-B3-TraceId': B3.traceId, 'X-B3-SpanId': B3.spanId, 'X-B3-Sampled': '1' };
  const traceparent = TRACEPARENT;
  type Row = readonly [headers: Variables, parent: typeof W3C | 'none'];
  const table: Readonly<Record<string, readonly Row[]>> = {
    '': [
      [{}, 'none'],
      [{ traceparent }, W3C],
      [{ traceparent: '00-0-0-01' }, 'none'],
      [{ b3 }, 'none'],
    ],
    b3: [
      [{ b3 }, B3],
      [{ b3, traceparent }, B3],
      [{ traceparent }, 'none'],
    ],
    b3multi: [[b3multi, B3]],
    'tracecontext,b3': [
      [{ traceparent }, W3C],
      [{ b3 }, B3],
    ],
    none: [
      [{ traceparent }, 'none'],
      [{ b3 }, 'none'],
    ],
  };
  for (const [propagators, rows] of Object.entries(table)) {
    test(`is read with ${propagators === '' ? 'no ' : ''}OTEL_PROPAGATORS${propagators && `=${propagators}`}`, async () => {
      const headers = rows.map(([header]) => header);
      const found = await traced({ OTEL_PROPAGATORS: propagators }, headers);
      for (const [index, [header, parent]] of rows.entries()) {
        const { traceId, span } = found[index] ?? {};
        const what = JSON.stringify(header);
        if (parent === 'none') {
          assert.ok(span, what);
          assert.equal(span.parentSpanId, undefined, what);
          assert.ok(![W3C.traceId, B3.traceId].includes(span.traceId), what);
        } else {
          assert.deepEqual({ traceId, spanId: span?.parentSpanId }, parent, what);
        }
      }
    });
  }
});

describe('a trace is exported', { concurrency: CONCURRENCY }, () => {
  /** Whether a trace is exported without a parent, with a sampled parent, and with an unsampled parent. */
  const table: readonly [sampler: string, arg: string, isExported: readonly [boolean, boolean, boolean]][] = [
    ['', '', [true, true, false]],
    ['always_on', '', [true, true, true]],
    ['always_off', '', [false, false, false]],
    ['traceidratio', '0', [false, false, false]],
    ['parentbased_always_off', '', [false, true, false]],
    ['parentbased_traceidratio', '0', [false, true, false]],
  ];
  for (const [sampler, arg, isExported] of table) {
    const name = sampler === '' ? 'no OTEL_TRACES_SAMPLER' : `OTEL_TRACES_SAMPLER=${sampler} ${arg}`.trim();
    test(`or not with ${name}`, async () => {
      const env = { OTEL_TRACES_SAMPLER: sampler, OTEL_TRACES_SAMPLER_ARG: arg };
      const headers = [{}, { traceparent: TRACEPARENT }, { traceparent: UNSAMPLED }];
      const [root, ...children] = await traced(env, headers);
      assert.deepEqual(
        [root, ...children].map((one) => one?.span !== undefined),
        isExported,
      );
      assert.match(root?.traceId ?? '', /^[0-9a-f]{32}$/);
      for (const { traceId } of children) assert.equal(traceId, W3C.traceId);
    });
  }
});

describe('the trace context is sent', { concurrency: CONCURRENCY }, () => {
  const NAMES = ['traceparent', 'tracestate', 'baggage', 'b3'];
  const INCOMING = { traceparent: TRACEPARENT, tracestate: 'a=b', baggage: 'user=alice' };

  /** The headers of the trace context in a request. */
  const contextOf = ({ headers }: RecordedRequest) =>
    Object.fromEntries(NAMES.map((name) => [name, headers[name]]).filter(([, value]) => value !== undefined));

  /**
   * Pulls from a registry whose token endpoint and blobs are on another host.
   *
   * @param env receives both hosts
   * @returns the requests to both, and their spans
   */
  const pull = async (env: (registry: string, other: string) => Variables) => {
    await using other = await startFakeRegistry();
    other.push('team/app', '1', IMAGE);
    await using exporting = await startExporting({
      auth: { mode: 'token', realm: `${other.url}/token` },
      tokens: other.tokens,
      defects: { redirectBlobsTo: other.url },
      env: (_, registry) => env(registry.host, other.host),
    });
    other.auth.service = exporting.registry.auth.service;
    await exporting.pullAndStop(INCOMING);
    const requests = { registry: exporting.registry.requests, other: other.requests };
    assert.ok(requests.registry.length >= 5 && requests.other.length === 4, 'a token and three blobs');
    return { requests, sent: exporting.receiver.spans.filter(({ kind }) => kind === 'client') };
  };
  const traceparentOf = ({ traceId, spanId }: ExportedSpan) => `00-${traceId}-${spanId}-01`;
  const traceparentsOf = (requests: readonly RecordedRequest[]) =>
    requests.map(({ headers }) => headers['traceparent']);

  test('to no host by default', async () => {
    const { requests } = await pull(() => ({}));
    for (const request of [...requests.registry, ...requests.other]) {
      assert.deepEqual(contextOf(request), {}, request.path);
    }
  });

  test('to all hosts with OTEL_PROPAGATE_UPSTREAM=true, with the span of each request', async () => {
    const { requests, sent } = await pull(() => ({ OTEL_PROPAGATE_UPSTREAM: 'true' }));
    const received = traceparentsOf([...requests.registry, ...requests.other]);
    assert.deepEqual(received.sort(), sent.map(traceparentOf).sort());
    for (const { traceId } of sent) assert.equal(traceId, W3C.traceId);
  });

  test('only to the registry if only the registry is listed', async () => {
    const { requests, sent } = await pull((registry) => ({ OTEL_PROPAGATE_UPSTREAM: registry }));
    const { host } = new URL(`http://${requests.registry[0]?.headers.host}`);
    const own = sent.filter(({ attributes }) => new URL(String(attributes['url.full'])).host === host);
    assert.deepEqual(traceparentsOf(requests.registry).sort(), own.map(traceparentOf).sort());
    for (const request of requests.other) assert.deepEqual(contextOf(request), {}, request.path);
  });

  test('only to the other host if only that is listed', async () => {
    const { requests } = await pull((_, other) => ({
      OTEL_PROPAGATE_UPSTREAM: `registry.example.com, ${other}`,
    }));
    for (const request of requests.registry) assert.deepEqual(contextOf(request), {}, request.path);
    for (const traceparent of traceparentsOf(requests.other))
      assert.match(String(traceparent), new RegExp(`^00-${W3C.traceId}-`));
  });

  test('in the format of OTEL_PROPAGATORS', async () => {
    const { requests, sent } = await pull(() => ({
      OTEL_PROPAGATE_UPSTREAM: 'true',
      OTEL_PROPAGATORS: 'b3',
    }));
    const contexts = [...requests.registry, ...requests.other].map(contextOf);
    const b3 = sent.map(({ traceId, spanId }) => `${traceId}-${spanId}-1`);
    assert.deepEqual(contexts.map((context) => context['b3']).sort(), b3.sort());
    for (const context of contexts) assert.deepEqual(Object.keys(context), ['b3']);
  });
});
