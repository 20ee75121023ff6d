/** Alerts, dashboard and runbook name the same alerts, and only codes and outcomes that exist. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parse } from 'yaml';
import { PROBLEMS } from '../../src/http/problem.ts';
import type { MirrorResult } from '../../src/registry/mirrors/outcome.ts';
import { readPage } from './markdown.ts';

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly runbook_url: string };
}

interface Rules {
  readonly groups: readonly { readonly rules: readonly Rule[] }[];
}

interface Tests {
  readonly tests: readonly {
    readonly alert_rule_test: readonly {
      readonly alertname: string;
      readonly exp_alerts: readonly object[];
    }[];
  }[];
}

const rules = (parse(await readPage('deploy/prometheus/alerts.yaml')) as Rules).groups.flatMap(
  (group) => group.rules,
);
const tests = (parse(await readPage('deploy/prometheus/alerts.test.yaml')) as Tests).tests.flatMap(
  (one) => one.alert_rule_test,
);
const page = await readPage('docs/alerts.md');
const dashboard = await readPage('deploy/grafana/dashboard.json');

/** What the metric of pulls has as `error.type` besides the codes of errors: `http/observe/outcome.ts`. */
const FURTHER_ERRORS = ['BROKEN_STREAM'];

const MIRROR_RESULTS: readonly MirrorResult[] = [
  'answered',
  'missing',
  'refused',
  'wrong',
  'failed',
  'skipped',
];

const OUTCOMES = ['ok', 'refused', 'failed', 'aborted', 'broken'];

/** The values that expressions compare a label with. */
function valuesOf(label: string): readonly string[] {
  const text = `${rules.map(({ expr }) => expr).join('\n')}\n${dashboard.replaceAll('\\"', '"')}`;
  return [...text.matchAll(new RegExp(`${label}(?:=~|!~|=|!=)"([^"]*)"`, 'g'))].flatMap(([, values = '']) =>
    values.split('|').filter((value) => value !== ''),
  );
}

test('there are alerts', () => assert.ok(rules.length >= 10));

describe('the alert', () => {
  for (const { alert, labels, annotations } of rules) {
    test(`${alert} has a section of the runbook, where its address leads`, () => {
      const [, section = ''] = page.split(`\n### ${alert}\n`);
      assert.match(section, new RegExp(`^\\n${labels.severity}: .+`), 'begins with its severity');
      const anchor = new URL(annotations.runbook_url).hash;
      assert.equal(anchor, `#${alert.toLowerCase()}`);
    });

    test(`${alert} is tested when it fires and when it does not`, () => {
      const own = tests.filter(({ alertname }) => alertname === alert);
      assert.ok(own.some(({ exp_alerts }) => exp_alerts.length > 0));
      assert.ok(own.some(({ exp_alerts }) => exp_alerts.length === 0));
    });
  }

  test('of each section exists', () => {
    const sections = [...page.matchAll(/^### (\w+)$/gm)].map(([, name = '']) => name);
    assert.deepEqual(
      sections,
      rules.map(({ alert }) => alert),
    );
  });
});

test('codes of errors and outcomes are those of the service', () => {
  const codes = new Set([...Object.keys(PROBLEMS), ...FURTHER_ERRORS]);
  assert.ok(valuesOf('error_type').length > 10);
  assert.deepEqual([...new Set(valuesOf('error_type')).difference(codes)], []);
  assert.deepEqual([...new Set(valuesOf('passthrough_outcome')).difference(new Set(OUTCOMES))], []);
  const results = new Set(valuesOf('passthrough_mirror_result'));
  assert.deepEqual([...results.difference(new Set<string>(MIRROR_RESULTS))], []);
});

test('the dashboard shows each alert that fires', () => {
  assert.match(dashboard, /ALERTS\{alertname=~\\"Passthrough\.\+\\"/);
  assert.ok(rules.every(({ alert }) => alert.startsWith('Passthrough')));
});
