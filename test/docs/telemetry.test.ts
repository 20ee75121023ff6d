/** What the README says of telemetry is what the service does. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { failedTrace, healthyTrace } from '../../scripts/show-traces.ts';
import { FILE, startScene, traceOf } from './scene.ts';

const README = await readFile(new URL('../../README.md', import.meta.url), 'utf8');

/** The block that follows a mark in the README. */
function blockBehind(mark: string): string | undefined {
  const block = new RegExp(`<!-- npm run traces: ${mark} -->\n\`\`\`\n([^\`]*)\n\`\`\``);
  return block.exec(README)?.[1];
}

test('the trees in the README are those of real traces', async () => {
  const [healthy, failed] = await Promise.all([healthyTrace(), failedTrace()]);
  assert.equal(blockBehind('healthy'), healthy);
  assert.equal(blockBehind('failed'), failed);
});

test('every span, attribute and metric of a pull is in its tables', async () => {
  await using scene = await startScene({}, { OTEL_METRICS_EXPORTER: 'otlp' });
  const { service, receiver } = scene;
  const reply = await service.request(`${FILE}?platform=linux/amd64`, { headers: { 'user-agent': 'curl' } });
  const spans = await traceOf(scene, { id: reply.headers['x-request-id'] });
  await service.stop();
  const steps = spans.map(({ name }) => name.replace(/_[2-9]$/, '_1'));
  const attributes = [...spans, ...receiver.metrics.flatMap(({ points }) => points)].flatMap((owner) =>
    Object.keys(owner.attributes),
  );
  const metrics = receiver.metrics.map(({ name }) => name);
  const own = (name: string) => !/^(?:nodejs|v8js)\./.test(name);
  assert.ok(metrics.length > 10, `${metrics.length} metrics`);
  const missing = new Set([...steps, ...attributes, ...metrics].filter(own)).difference(quoted(README));
  assert.deepEqual([...missing], []);
});

/** Whatever stands in backticks. */
function quoted(text: string): Set<string> {
  return new Set([...text.matchAll(/`([^`\n]+)`/g)].map(([, name = '']) => name));
}
