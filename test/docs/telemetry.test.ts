/** docs/telemetry.md says what the service does. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { failedTrace, healthyTrace } from '../../scripts/show-traces.ts';
import { FILE, startScene, traceOf } from '../telemetry/scene.ts';
import { quoted, readPage } from './markdown.ts';

const page = await readPage('docs/telemetry.md');

/** The block that follows a mark in the page. */
function blockBehind(mark: string): string | undefined {
  const block = new RegExp(`<!-- npm run traces: ${mark} -->\n\`\`\`\n([^\`]*)\n\`\`\``);
  return block.exec(page)?.[1];
}

test('the trees in docs/telemetry.md are those of real traces', async () => {
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
  const missing = new Set([...steps, ...attributes, ...metrics].filter(own)).difference(
    new Set(quoted(page)),
  );
  assert.deepEqual([...missing], []);
});
