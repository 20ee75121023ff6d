/** The destinations and protocols of exports. */

import assert from 'node:assert/strict';
import { buffer } from 'node:stream/consumers';
import { describe, test } from 'node:test';
import { startOtlpReceiver } from '../support/otlp-receiver.ts';
import { startScriptedServer } from '../support/scripted-server.ts';
import {
  CONCURRENCY,
  type Exporting,
  type ExportingOptions,
  signalsOf,
  startExporting,
  type Variables,
} from './exporting.ts';

/** A module that is loaded before the program. It logs each connection attempt. */
const WITNESS = `
  import { subscribe } from 'node:diagnostics_channel';
  import { writeSync } from 'node:fs';
  subscribe('net.client.socket', ({ socket }) => {
    socket.on('connectionAttempt', (address, port) => {
      writeSync(1, JSON.stringify({ event: 'dialled', port }) + '\\n');
    });
  });
`;

/** Starts a service that logs its connection attempts. */
async function startWitnessed(env: NonNullable<ExportingOptions['env']>): Promise<Exporting> {
  const witness = `data:text/javascript,${encodeURIComponent(WITNESS)}`;
  return await startExporting({ env, nodeArgs: ['--import', witness] });
}

/** The ports of all connection attempts. */
function dialled({ service }: Exporting): ReadonlySet<unknown> {
  return new Set(
    service
      .logs()
      .filter(({ event }) => event === 'dialled')
      .map(({ port }) => port),
  );
}

/** One export over HTTP. */
interface Posted {
  readonly path: string;
  readonly contentType: string | undefined;
  readonly tenant: string | string[] | undefined;
  readonly body: Buffer;
}

/** A collector over HTTP that records the exports. */
async function startHttpCollector() {
  const posted: Posted[] = [];
  const server = await startScriptedServer(async (request, response, { method, path, headers }) => {
    assert.equal(method, 'POST');
    const body = await buffer(request);
    posted.push({ path, contentType: headers['content-type'], tenant: headers['x-tenant'], body });
    response.writeHead(200, { 'Content-Type': headers['content-type'] }).end();
  });
  return { origin: server.origin, posted, [Symbol.asyncDispose]: () => server.close() };
}

describe('a collector over HTTP', { concurrency: CONCURRENCY }, () => {
  for (const [protocol, contentType] of [
    ['http/protobuf', 'application/x-protobuf'],
    ['http/json', 'application/json'],
  ] as const) {
    test(`receives each signal at its path below the endpoint with ${protocol}`, async () => {
      await using collector = await startHttpCollector();
      await using exporting = await startExporting({
        env: () => ({
          OTEL_EXPORTER_OTLP_ENDPOINT: `${collector.origin}/otlp`,
          OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
          OTEL_EXPORTER_OTLP_HEADERS: 'X-Tenant=blue',
        }),
      });
      await exporting.pullAndStop();
      const { posted } = collector;
      const paths = new Set(posted.map(({ path }) => path));
      assert.deepEqual(paths, new Set(['/otlp/v1/logs', '/otlp/v1/metrics', '/otlp/v1/traces']));
      for (const { path, body, ...export_ } of posted) {
        assert.deepEqual(export_, { contentType, tenant: 'blue' }, path);
      }
      const bodyOf = (name: string) => posted.find(({ path }) => path.endsWith(name))?.body ?? Buffer.of();
      for (const [signal, text] of [
        ['traces', 'GET /docker/{filename}'],
        ['metrics', 'passthrough.pulls'],
        ['logs', 'listening'],
      ] as const) {
        assert.ok(bodyOf(signal).includes(text), `${text} in ${signal}`);
      }
      assert.equal(exporting.receiver.requests, 0);
    });
  }

  test('for one signal receives it at the exact path of its endpoint', async () => {
    await using collector = await startHttpCollector();
    await using exporting = await startExporting({
      env: () => ({
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${collector.origin}/here`,
        OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/json',
      }),
    });
    await exporting.pullAndStop();
    assert.notEqual(collector.posted.length, 0);
    for (const { path, contentType } of collector.posted) {
      assert.deepEqual([path, contentType], ['/here', 'application/json']);
    }
    assert.deepEqual(signalsOf(exporting.receiver), ['metrics', 'logs']);
  });
});

describe('a collector over gRPC', { concurrency: CONCURRENCY }, () => {
  for (const [signal, arrives] of [
    ['TRACES', 'spans'],
    ['METRICS', 'metrics'],
    ['LOGS', 'logs'],
  ] as const) {
    test(`for ${signal} receives only ${arrives}, and there are no other connections`, async () => {
      await using exporting = await startWitnessed(({ endpoint }) => ({
        OTEL_EXPORTER_OTLP_ENDPOINT: '',
        [`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`]: endpoint,
      }));
      await exporting.pullAndStop();
      const { receiver, registry } = exporting;
      assert.deepEqual(signalsOf(receiver), [arrives]);
      assert.deepEqual(dialled(exporting), new Set([registry.port, receiver.port]));
    });
  }

  test('for one signal wins over the one for all', async () => {
    await using other = await startOtlpReceiver();
    await using exporting = await startExporting({
      env: () => ({ OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: other.endpoint }),
    });
    await exporting.pullAndStop();
    assert.deepEqual(signalsOf(exporting.receiver), ['spans', 'logs']);
    assert.deepEqual(signalsOf(other), ['metrics']);
  });

  test('may have an address without a scheme, with OTEL_EXPORTER_OTLP_INSECURE', async () => {
    await using exporting = await startExporting({
      env: ({ port }) => ({
        OTEL_EXPORTER_OTLP_ENDPOINT: `127.0.0.1:${port}`,
        OTEL_EXPORTER_OTLP_INSECURE: 'true',
      }),
    });
    await exporting.pullAndStop();
    assert.deepEqual(signalsOf(exporting.receiver), ['spans', 'metrics', 'logs']);
  });
});

test('a protocol may be in upper case', async () => {
  await using exporting = await startExporting({ env: () => ({ OTEL_EXPORTER_OTLP_PROTOCOL: 'GRPC' }) });
  await exporting.pullAndStop();
  assert.deepEqual(signalsOf(exporting.receiver), ['spans', 'metrics', 'logs']);
});

describe('there is no connection to a collector', { concurrency: CONCURRENCY }, () => {
  const table: readonly [what: string, env: Variables][] = [
    ['without an endpoint, with other variables', { OTEL_TRACES_EXPORTER: 'otlp', OTEL_SERVICE_NAME: 'a' }],
    ['if all exports go to the console', { OTEL_LOGS_EXPORTER: 'console' }],
  ];
  for (const [what, env] of table) {
    test(what, async () => {
      await using exporting = await startWitnessed(() => ({ OTEL_EXPORTER_OTLP_ENDPOINT: '', ...env }));
      await exporting.pullAndStop();
      assert.deepEqual(dialled(exporting), new Set([exporting.registry.port]));
    });
  }
});
