/** Metrics as a real Prometheus reads them. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { curl, textOf } from './curl.ts';
import { freePort } from './free-port.ts';
import { cleanup, end, requireParts, run, start, temporaryDirectory, until } from './parts.ts';
import { startService } from './service.ts';

/** What an instant query answers. */
interface Answer {
  readonly data: {
    readonly result: readonly { readonly metric: object; readonly value: readonly [number, string] }[];
  };
}

test('Prometheus reads the metrics, under its own names', { timeout: 120_000 }, async (t) => {
  if (!requireParts(t, 'curl', 'prometheus', 'promtool')) return;
  const stack = cleanup(t);
  const directory = await temporaryDirectory(stack, 'prometheus');
  const [metricsPort, prometheusPort] = [await freePort(), await freePort()];
  const service = await startService(stack, {
    OTEL_METRICS_EXPORTER: 'prometheus',
    OTEL_EXPORTER_PROMETHEUS_HOST: '127.0.0.1',
    OTEL_EXPORTER_PROMETHEUS_PORT: `${metricsPort}`,
  });
  const wrong = await curl(directory, `${service.origin}/docker/nginx.tar`);
  assert.equal(wrong.status, 400);

  const metrics = await textOf(await curl(directory, `http://127.0.0.1:${metricsPort}/metrics`));
  assert.match(metrics, /^# UNIT http_server_request_duration_seconds seconds$/m);
  await run('promtool', ['check', 'metrics'], { input: metrics }).catch(({ message }: Error) => {
    // The standard names of OpenTelemetry do not please this linter everywhere. What it cannot parse is another matter.
    assert.doesNotMatch(message, /error while linting/);
  });

  const config = join(directory, 'prometheus.yml');
  const settings = {
    global: { scrape_interval: '1s' },
    scrape_configs: [{ job_name: 'service', static_configs: [{ targets: [`127.0.0.1:${metricsPort}`] }] }],
  };
  await writeFile(config, JSON.stringify(settings));
  const prometheus = start('prometheus', [
    `--config.file=${config}`,
    `--storage.tsdb.path=${join(directory, 'data')}`,
    `--web.listen-address=127.0.0.1:${prometheusPort}`,
  ]);
  stack.defer(async () => {
    await end(prometheus, 10_000);
  });
  const query = 'http_server_request_duration_seconds_count{http_response_status_code="400"}';
  const found = await until(
    'value of the metric',
    async () => {
      const url = `http://127.0.0.1:${prometheusPort}/api/v1/query`;
      const answer = await curl(directory, url, '-G', '--data-urlencode', `query=${query}`);
      if (answer.status !== 200) return undefined;
      const { data } = JSON.parse(await textOf(answer)) as Answer;
      return data.result[0];
    },
    60_000,
  );
  assert.equal(found.value[1], '1');
});
