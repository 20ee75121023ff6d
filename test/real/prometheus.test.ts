/** Metrics as a real Prometheus reads them: their names, and that alerts and dashboard ask for series that exist. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { ROOT } from '../docs/markdown.ts';
import { startFakeRegistry } from '../support/fake-registry.ts';
import { makeImage, makeLayer } from '../support/image.ts';
import { noise } from '../support/noise.ts';
import { makeCertificates } from '../support/tls.ts';
import { curl, textOf } from './curl.ts';
import { freePort } from './free-port.ts';
import { cleanup, end, requireParts, run, start, temporaryDirectory, until } from './parts.ts';
import { startService } from './service.ts';

const DEPLOY = join(ROOT, 'deploy');

/** Bytes of a layer of the scenario: `CACHE_MAX_BYTES` has room for one image and not for two. */
const LAYER_BYTES = 600_000;

/** An answer of Prometheus' API. */
interface Answer<Data> {
  readonly data: Data;
}

type Labels = Readonly<Record<string, string>>;

/** A selector of an expression. */
interface Selector {
  readonly metric: string;
  /** The labels that it compares. */
  readonly labels: readonly string[];
}

/** The expressions of alerts and dashboard. */
async function expressions(): Promise<readonly string[]> {
  const alerts = parse(await readFile(join(DEPLOY, 'prometheus', 'alerts.yaml'), 'utf8'));
  const dashboard = JSON.parse(await readFile(join(DEPLOY, 'grafana', 'dashboard.json'), 'utf8'));
  const rules: { readonly expr: string }[] = alerts.groups.flatMap(
    (group: { readonly rules: object[] }) => group.rules,
  );
  const targets: { readonly expr: string }[] = dashboard.panels.flatMap(
    (panel: { readonly targets?: object[] }) => panel.targets ?? [],
  );
  return [...rules, ...targets].map(({ expr }) => expr);
}

/** The selectors of an expression, without the values that their labels have to have. */
function selectorsOf(expression: string): readonly Selector[] {
  const names = /\b(up|(?:passthrough|http|nodejs|v8js)_\w+)\b(?:\{([^}]*)\})?/g;
  // Labels to group by are no metrics.
  const text = expression.replace(/\bby \([^)]*\)|\bon \([^)]*\)/g, 'by');
  return [...text.matchAll(names)]
    .filter(([, metric = '', braces]) => braces !== undefined || !/^(?:registry|error)_/.test(metric))
    .map(([, metric = '', braces = '']) => ({
      metric,
      labels: [...braces.matchAll(/(\w+)(?:=~|!~|!=|=)"/g)].map(([, label = '']) => label),
    }));
}

/** The labels that an expression groups by. */
function groupsOf(expression: string): readonly string[] {
  return [...expression.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, list = '']) => list.split(/,\s*/));
}

test('Prometheus reads the metrics, and has each series of alerts and dashboard', {
  timeout: 120_000,
}, async (t) => {
  if (!requireParts(t, 'curl', 'prometheus', 'promtool')) return;
  const stack = cleanup(t);
  const directory = await temporaryDirectory(stack, 'prometheus');
  const [metricsPort, prometheusPort] = [await freePort(), await freePort()];
  const registry = stack.use(await startFakeRegistry());
  const base = { tar: makeLayer({ base: noise('base', LAYER_BYTES) }), compression: 'gzip' } as const;
  const layer = (text: string) => ({ tar: makeLayer({ text }), compression: 'gzip' }) as const;
  registry.push('team/app', '1', makeImage({ layers: [base, layer('1')] }));
  registry.push('team/app', '2', makeImage({ layers: [base, layer('2')] }));
  const other = { tar: makeLayer({ other: noise('other', 2 * LAYER_BYTES) }), compression: 'gzip' } as const;
  registry.push('team/other', '1', makeImage({ layers: [other] }));
  const authFile = join(directory, 'auth.json');
  await writeFile(authFile, '{}');
  const { cert, key } = await makeCertificates();
  const [certFile, keyFile] = [join(directory, 'cert.pem'), join(directory, 'key.pem')];
  await writeFile(certFile, cert);
  await writeFile(keyFile, key);
  const service = await startService(stack, {
    REGISTRY_URL: registry.origin,
    // Port 1 refuses connections.
    REGISTRY_MIRRORS: '*=http://127.0.0.1:1',
    REGISTRY_AUTH_FILE: authFile,
    TLS_CERT_FILE: certFile,
    TLS_KEY_FILE: keyFile,
    HTTPS_PORT: '0',
    CACHE_MAX_BYTES: `${2 * LAYER_BYTES}`,
    OTEL_METRICS_EXPORTER: 'prometheus',
    OTEL_EXPORTER_PROMETHEUS_HOST: '127.0.0.1',
    OTEL_EXPORTER_PROMETHEUS_PORT: `${metricsPort}`,
  });

  const config = join(directory, 'prometheus.yml');
  const settings = {
    global: { scrape_interval: '1s', evaluation_interval: '1s' },
    rule_files: [join(DEPLOY, 'prometheus', 'alerts.yaml')],
    scrape_configs: [
      { job_name: 'docker-http-passthrough', static_configs: [{ targets: [`127.0.0.1:${metricsPort}`] }] },
    ],
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

  await writeFile(authFile, 'not JSON');
  // Pulls, cached and not, an update, an eviction; refusals; failures; a mirror that is down.
  const visits: readonly [path: string, status: number][] = [
    ['/docker/team_app_1.tar', 200],
    ['/docker/team_app_1.tar', 200],
    ['/since/1/docker/team_app_2.tar', 200],
    ['/docker/team_other_1.tar', 200],
    ['/docker/nginx.tar', 400],
    ['/docker/team_none_1.tar', 502],
    ['/registry/http/127.0.0.1:1/docker/team_app_1.tar', 502],
  ];
  for (const [path, status] of visits) {
    const answer = await curl(directory, `${service.origin}${path}`);
    assert.equal(answer.status, status, path);
  }

  await until('rejected file', async () => service.logs().find(({ event }) => event === 'file_rejected'));
  const metrics = await textOf(await curl(directory, `http://127.0.0.1:${metricsPort}/metrics`));
  await t.test('promtool finds nothing to say about them', async () => {
    assert.equal(await run('promtool', ['check', 'metrics'], { input: metrics }), '');
  });

  await t.test('their names have their units', () => {
    const units = [...metrics.matchAll(/^# UNIT (\S+) (\S+)$/gm)];
    assert.ok(units.length > 8);
    for (const [, name = '', unit = ''] of units) {
      assert.match(name.replace(/_total$/, ''), new RegExp(`_${unit}$`));
    }
    const counters = [...metrics.matchAll(/^# TYPE (\S+) counter$/gm)];
    assert.ok(counters.length > 4);
    for (const [, name = ''] of counters) assert.match(name, /_total$/);
  });

  /** Asks Prometheus' API. */
  const ask = async <Data>(path: string, ...query: readonly string[]): Promise<Data | undefined> => {
    const fields = query.flatMap((field) => ['--data-urlencode', field]);
    const answer = await curl(
      directory,
      `http://127.0.0.1:${prometheusPort}/api/v1/${path}`,
      ...['-G', ...fields],
    );
    return answer.status === 200 ? (JSON.parse(await textOf(answer)) as Answer<Data>).data : undefined;
  };
  const seriesOf = async (metric: string) => (await ask<Labels[]>('series', `match[]=${metric}`)) ?? [];
  await until(
    'failure in Prometheus',
    async () => {
      const failed = await seriesOf('passthrough_pulls_total{error_type="REGISTRY_UNREACHABLE"}');
      const rejected = await seriesOf('passthrough_files_rejected');
      return failed.length > 0 && rejected.length > 0 ? true : undefined;
    },
    60_000,
  );

  await t.test('each outcome is counted', async () => {
    const pulls = await seriesOf('passthrough_pulls_total');
    const outcomes = pulls.map((labels) => [labels['passthrough_outcome'], labels['error_type']].join(' '));
    assert.deepEqual(outcomes.toSorted(), [
      'failed IMAGE_NOT_FOUND',
      'failed REGISTRY_UNREACHABLE',
      'ok ',
      'refused INVALID_FILENAME',
    ]);
  });

  const asked = await expressions();
  assert.ok(asked.length > 30);
  const selectors = asked.flatMap(selectorsOf);
  for (const metric of new Set(selectors.map((selector) => selector.metric))) {
    await t.test(`${metric} exists, with the labels that are asked for`, async () => {
      const found = await seriesOf(metric);
      assert.ok(found.length > 0);
      const labels = new Set(selectors.filter((one) => one.metric === metric).flatMap((one) => one.labels));
      const known = new Set(found.flatMap((series) => Object.keys(series)));
      assert.deepEqual([...labels.difference(known)], []);
    });
  }

  await t.test('labels to group by exist', async () => {
    const known = new Set(await ask<string[]>('labels'));
    assert.deepEqual([...new Set(asked.flatMap(groupsOf)).difference(known)], []);
  });

  for (const expression of new Set(asked)) {
    await t.test(`it evaluates ${expression.trim()}`, async () => {
      const filled = expression.replaceAll('$__rate_interval', '1m').replaceAll(/\$(?:job|instance)/g, '.+');
      assert.ok(await ask('query', `query=${filled}`));
    });
  }

  await t.test('it has taken the alerts, and evaluates them without an error', async () => {
    const rules = await until(
      'evaluation',
      async () => {
        const data = await ask<{ groups: { rules: { health: string; lastError?: string }[] }[] }>('rules');
        const all = data?.groups.flatMap((group) => group.rules) ?? [];
        return all.length > 0 && all.every(({ health }) => health !== 'unknown') ? all : undefined;
      },
      60_000,
    );
    assert.deepEqual(
      rules.filter(({ health }) => health !== 'ok'),
      [],
    );
  });
});

test('the rules are right, and fire when they should', async (t) => {
  if (!requireParts(t, 'promtool')) return;
  const folder = join(DEPLOY, 'prometheus');
  await run('promtool', ['check', 'rules', join(folder, 'alerts.yaml')]);
  await run('promtool', ['test', 'rules', join(folder, 'alerts.test.yaml')]);
});
