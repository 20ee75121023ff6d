/** Spans and metrics of update archives. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { quoted, readPage } from '../docs/markdown.ts';
import { makeImage, makeLayer } from '../support/image.ts';
import { lastMetric, startExporting } from './exporting.ts';

const LAYERS = ['one', 'two', 'three'].map((name) => ({ tar: makeLayer({ [name]: name }) }));
const BASE = makeImage({ layers: LAYERS.slice(0, 2) });
const NEXT = makeImage({ layers: LAYERS });
const SAVED = BASE.layers.reduce((sum, { blob }) => sum + blob.length, 0);

test('an update has two resolve_manifest, no span of a layer that is left out, and counts what it saves', async () => {
  await using exporting = await startExporting();
  const { registry, receiver } = exporting;
  registry.push('team/update', '1', BASE);
  registry.push('team/update', '2', NEXT);
  const path = '/since/1/docker/team_update_2.tar';
  const { body } = await exporting.request(path);
  await exporting.request(path, { method: 'HEAD' });
  await exporting.request(path, { headers: { range: 'bytes=512-' } });
  await exporting.request('/docker/team_update_2.tar');
  assert.ok(body.length > 0);
  await exporting.stop();

  const roots = receiver.spans.filter(({ name }) => name === 'GET /since/{tag}/docker/{filename}');
  const [root] = roots;
  const refs = [2, 1].map((tag) => `${registry.host}/team/update:${tag}`);
  const { attributes } = root ?? assert.fail('there is no server span');
  const since = Object.entries(attributes).filter(([name]) => name.startsWith('passthrough.since.'));
  assert.deepEqual(Object.fromEntries(since), {
    'passthrough.since.ref': refs[1],
    'passthrough.since.manifest.digest': BASE.manifest.digest,
    'passthrough.since.layers': 2,
    'passthrough.since.bytes': SAVED,
  });
  const steps = receiver.spans.filter(({ traceId }) => traceId === root?.traceId);
  const resolved = steps.filter(({ name }) => name === 'resolve_manifest');
  assert.deepEqual(
    resolved.map((span) => span.attributes['oci.image.ref']),
    refs,
  );
  const ofLayers = steps.filter(({ name }) => /_layer/.test(name)).map(({ name }) => name);
  assert.deepEqual(ofLayers.toSorted(), ['download_layer_3', 'write_layer_tar_3']);

  const points = lastMetric(receiver, 'passthrough.client.saved').points.map(({ value }) => value);
  assert.deepEqual(points, [SAVED], 'once: neither HEAD nor the rest of a download counts');
  const names = [...since.map(([name]) => name), 'passthrough.client.saved'];
  assert.deepEqual(
    new Set(names).difference(new Set(quoted(await readPage('docs/telemetry.md')))),
    new Set(),
  );
});
