/** The variables of OpenTelemetry's specification. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { VERSION } from '../../src/version.ts';
import { runProgram } from '../cli/binary.ts';
import type { Attributes } from '../support/otlp-receiver.ts';
import { CONCURRENCY, only, signalsOf, startExporting, type Variables } from './exporting.ts';

describe('the resource', { concurrency: CONCURRENCY }, () => {
  const DEFAULT = { 'service.name': 'docker-http-passthrough', 'service.version': VERSION };
  const table: readonly [what: string, env: Variables, expected: Attributes][] = [
    ['is the service and its version', {}, DEFAULT],
    [
      'has the decoded attributes of OTEL_RESOURCE_ATTRIBUTES, which override the defaults',
      {
        OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=lab,site=k%C3%B6ln%2Cwest,service.version=9',
      },
      { ...DEFAULT, 'deployment.environment.name': 'lab', site: 'köln,west', 'service.version': '9' },
    ],
    [
      'may have its name in OTEL_RESOURCE_ATTRIBUTES',
      { OTEL_RESOURCE_ATTRIBUTES: 'service.name=listed' },
      { 'service.name': 'listed' },
    ],
    [
      'has the name of OTEL_SERVICE_NAME if both are set',
      { OTEL_SERVICE_NAME: 'images', OTEL_RESOURCE_ATTRIBUTES: 'service.name=listed,site=a' },
      { 'service.name': 'images', site: 'a' },
    ],
  ];
  for (const [what, env, expected] of table) {
    test(`${what}, for every signal`, async () => {
      await using exporting = await startExporting({ env: () => env });
      await exporting.pullAndStop();
      const { spans, metrics, logs } = exporting.receiver;
      for (const exported of [spans, metrics, logs]) {
        assert.notEqual(exported.length, 0);
        for (const { resource } of exported) {
          const found = Object.keys(expected).map((name) => [name, resource[name]]);
          assert.deepEqual(Object.fromEntries(found), expected);
        }
      }
    });
  }
});

describe('the exported signals', { concurrency: CONCURRENCY }, () => {
  /** The received signals, and the output of the service. */
  const run = async (env: Variables) => {
    await using exporting = await startExporting({ env: () => env });
    await exporting.pullAndStop();
    const { receiver, service } = exporting;
    const signals = signalsOf(receiver);
    if (signals.length === 0) assert.equal(receiver.requests, 0, 'exports of nothing');
    return { signals, output: service.output() };
  };
  const ALL = ['spans', 'metrics', 'logs'];
  const table: readonly [what: string, env: Variables, expected: readonly string[]][] = [
    ['are all with an endpoint', {}, ALL],
    ['are none with OTEL_SDK_DISABLED=true', { OTEL_SDK_DISABLED: 'true' }, []],
    ['have no spans with OTEL_TRACES_EXPORTER=none', { OTEL_TRACES_EXPORTER: 'none' }, ['metrics', 'logs']],
    [
      'are only spans if the other exporters are none',
      { OTEL_METRICS_EXPORTER: 'none', OTEL_LOGS_EXPORTER: 'none' },
      ['spans'],
    ],
  ];
  for (const [what, env, expected] of table) {
    test(what, async () => {
      const { signals, output } = await run(env);
      assert.deepEqual(signals, expected, output);
      assert.doesNotMatch(output, /"event":"telemetry"/);
    });
  }

  for (const [where, env, expected] of [
    ['the console, without an endpoint', { OTEL_EXPORTER_OTLP_ENDPOINT: '' }, []],
    ['the console and the receiver', { OTEL_TRACES_EXPORTER: 'otlp,console' }, ALL],
  ] as const) {
    test(`go to the named exporters: spans to ${where}`, async () => {
      const { signals, output } = await run({ OTEL_TRACES_EXPORTER: 'console', ...env });
      assert.deepEqual(signals, expected);
      assert.match(output, /name: 'GET \/docker\/\{filename\}'/);
      assert.doesNotMatch(output, /"event":"telemetry"/);
    });
  }
});

describe('the messages of the SDK', { concurrency: CONCURRENCY }, () => {
  const run = async (level: string) => {
    await using exporting = await startExporting({ env: () => ({ OTEL_LOG_LEVEL: level }) });
    await exporting.pullAndStop();
    return exporting.service.logs();
  };

  test('are events of the log with OTEL_LOG_LEVEL=debug', async () => {
    const lines = await run('debug');
    const messages = lines.filter(({ event }) => event === 'telemetry');
    assert.notEqual(messages.length, 0);
    for (const line of messages) assert.equal(typeof line['message'], 'string');
    const others = lines.filter(({ event }) => event === undefined);
    assert.deepEqual(others, [], 'a line that is no event');
  });

  test('do not exist without faults', async () => {
    const events = (await run('')).map(({ event }) => event);
    assert.deepEqual(events, ['listening', 'request', 'stopping', 'stopped']);
  });
});

describe('an invalid value', { concurrency: CONCURRENCY }, () => {
  const table: readonly [name: string, value: string, expected: string][] = [
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'ftp://collector', 'the address of a collector'],
    ['OTEL_EXPORTER_OTLP_LOGS_ENDPOINT', 'collector', 'the address of a collector'],
    ['OTEL_EXPORTER_OTLP_PROTOCOL', 'thrift', 'one of grpc, http/protobuf, http/json'],
    ['OTEL_EXPORTER_OTLP_METRICS_PROTOCOL', 'http', 'one of grpc, http/protobuf, http/json'],
    ['OTEL_PROPAGATE_UPSTREAM', 'a b', 'a DNS name or an IP address'],
  ];
  for (const [name, value, expected] of table) {
    test(`of ${name} ends the program with code 2 and one line`, async () => {
      const { code, stdout, stderr } = await runProgram(['serve'], { HTTP_PORT: '0', [name]: value });
      assert.deepEqual([code, stdout], [2, '']);
      assert.match(stderr, /^[^\n]+\n$/);
      const start = `docker-http-passthrough: Cannot use ${name}=${JSON.stringify(value)}: `;
      assert.equal(stderr.slice(0, start.length), start);
      assert.ok(stderr.includes(`: expected ${expected}`), stderr);
    });
  }
});

test('OTEL_EXPORTER_OTLP_HEADERS are sent only with exports', async () => {
  await using exporting = await startExporting({
    env: () => ({ OTEL_EXPORTER_OTLP_HEADERS: 'api-key=s3cr%3Dt, X-Tenant=blue' }),
  });
  const { receiver, registry, service } = exporting;
  await exporting.pullAndStop();
  assert.ok(receiver.requests >= 3, 'one for each signal');
  for (const metadata of receiver.metadata) {
    assert.deepEqual([metadata['api-key'], metadata['x-tenant']], ['s3cr=t', 'blue']);
  }
  assert.ok(!receiver.bytes.includes('s3cr'));
  assert.ok(!service.output().includes('s3cr'));
  assert.ok(registry.requests.every((request) => request.headers['api-key'] === undefined));
});

test('metrics and logs work without traces, and logs have the trace ID of the request', async () => {
  await using exporting = await startExporting({ env: () => ({ OTEL_TRACES_EXPORTER: 'none' }) });
  const { receiver } = exporting;
  const traceId = '0af7651916cd43dd8448eb211c80319c';
  const traceparent = `00-${traceId}-b7ad6b7169203331-01`;
  await exporting.pullAndStop({ traceparent });
  assert.deepEqual(receiver.spans, []);
  const record = only(receiver.logs.filter(({ eventName }) => eventName === 'request'));
  assert.equal(record.traceId, traceId);
  const pulls = only(receiver.metrics.filter(({ name }) => name === 'passthrough.pulls'));
  assert.equal(pulls.points[0]?.value, 1);
});
