/** The files of Prometheus and Grafana fit together: what one names is where the other looks. */

import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { dirname } from 'node:path/posix';
import { describe, test } from 'node:test';
import { parse } from 'yaml';
import { ROOT, readPage } from '../docs/markdown.ts';

interface Service {
  readonly volumes?: readonly string[];
  readonly environment?: readonly string[];
}

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly h: number; readonly w: number; readonly x: number; readonly y: number };
  readonly targets?: readonly { readonly expr: string }[];
}

const { services } = parse(await readPage('compose.yaml')) as {
  readonly services: Readonly<Record<'prometheus' | 'grafana' | 'collector', Service>>;
};
const dashboard = JSON.parse(await readPage('deploy/grafana/dashboard.json')) as {
  readonly panels: readonly Panel[];
};

/** What a service of Compose mounts from the repository: places in the container by their sources. */
function mountsOf({ volumes = [] }: Service): ReadonlyMap<string, string> {
  return new Map(
    volumes
      .filter((volume) => volume.startsWith('./'))
      .map((volume) => {
        const [source = '', target = ''] = volume.split(':');
        return [source.slice(2), target];
      }),
  );
}

describe('compose.yaml mounts', () => {
  const sources = Object.values(services).flatMap((service) => [...mountsOf(service).keys()]);
  for (const source of new Set(sources)) {
    test(`${source}, which is there`, async () => {
      await stat(join(ROOT, source));
    });
  }

  test('the alerts where prometheus.yml looks for them', async () => {
    const mounts = mountsOf(services.prometheus);
    const { rule_files } = parse(await readPage('deploy/prometheus/prometheus.yml')) as {
      readonly rule_files: readonly string[];
    };
    const folder = dirname(mounts.get('deploy/prometheus/prometheus.yml') ?? '');
    assert.deepEqual(
      rule_files.map((name) => `${folder}/${name}`),
      [mounts.get('deploy/prometheus/alerts.yaml')],
    );
  });

  test('the dashboard where Grafana looks for it', async () => {
    const place = mountsOf(services.grafana).get('deploy/grafana/dashboard.json');
    const { providers } = parse(
      await readPage('deploy/grafana/provisioning/dashboards/passthrough.yaml'),
    ) as { readonly providers: readonly { readonly options: { readonly path: string } }[] };
    assert.deepEqual(
      providers.map(({ options }) => options.path),
      [dirname(place ?? '')],
    );
    assert.ok(services.grafana.environment?.includes(`GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH=${place}`));
  });
});

describe('the dashboard', () => {
  const { panels } = dashboard;

  test('has panels with names and numbers of their own, and each of them shows something', () => {
    assert.ok(panels.length > 15);
    assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
    assert.equal(new Set(panels.map(({ title }) => title)).size, panels.length);
    for (const { type, title, targets = [] } of panels)
      assert.equal(targets.length > 0, type !== 'row', title);
  });

  test('has no panel over another one', () => {
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, index) => `${x + (index % w)} ${y + Math.floor(index / w)}`),
    );
    assert.equal(new Set(cells).size, cells.length);
  });
});
