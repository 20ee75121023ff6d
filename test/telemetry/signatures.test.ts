/** The span and the metric of signatures. */

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { quoted, readPage } from '../docs/markdown.ts';
import { makeSigningKey, signatureTags, signedByTag } from '../support/signing.ts';
import { FILE, startScene, traceOf } from './scene.ts';

test('verify_signature says by which key, and whether the registry was asked', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'keys-'));
  t.after(() => rm(folder, { recursive: true }));
  const key = makeSigningKey();
  const path = join(folder, 'release.pub');
  await writeFile(path, key.pem);
  await using scene = await startScene({}, { SIGNATURE_KEYS: path, OTEL_METRICS_EXPORTER: 'otlp' });
  const { service, registry, index, receiver } = scene;

  const step = async () => {
    const reply = await service.request(FILE);
    const spans = await traceOf(scene, { id: reply.headers['x-request-id'] });
    const span = spans.find(({ name }) => name === 'verify_signature') ?? assert.fail('there is no span');
    const below = spans.filter(({ parentSpanId }) => parentSpanId === span.spanId);
    return { status: reply.status, span, below: below.map(({ name }) => name) };
  };

  const refused = await step();
  assert.equal(refused.status, 403);
  assert.equal(refused.span.attributes['passthrough.signature.result'], 'not_signed');
  assert.equal(refused.span.attributes['error.type'], 'IMAGE_NOT_SIGNED');
  assert.ok(refused.below.includes('GET /v2/{repository}/referrers/{digest}'));

  const { digest } = index.manifest;
  registry.push('team/app', signatureTags(digest).tag, signedByTag(digest, key));
  const verified = await step();
  assert.equal(verified.status, 200);
  const { attributes } = verified.span;
  assert.match(String(attributes['passthrough.signature.key.fingerprint']), /^[a-f0-9]{64}$/);
  assert.deepEqual(
    ['result', 'form', 'digest', 'key.name'].map((name) => attributes[`passthrough.signature.${name}`]),
    ['verified', 'tag', digest, 'release.pub'],
  );
  assert.deepEqual(verified.below, [
    'GET /v2/{repository}/manifests/{reference}',
    'GET /v2/{repository}/blobs/{digest}',
  ]);

  const again = await step();
  assert.equal(again.span.attributes['passthrough.signature.result'], 'remembered');
  assert.equal(again.span.attributes['passthrough.signature.key.name'], 'release.pub');
  assert.deepEqual(again.below, []);

  const page = quoted(await readPage('docs/telemetry.md'));
  for (const name of Object.keys({ ...refused.span.attributes, ...attributes }))
    assert.ok(page.includes(name), name);

  await service.stop();
  const points = receiver.metrics
    .filter(({ name }) => name === 'passthrough.signatures')
    .flatMap((one) => one.points);
  const counts = new Map(
    points.map((point) => [point.attributes['passthrough.signature.result'], point.value]),
  );
  assert.deepEqual(
    counts,
    new Map([
      ['not_signed', 1],
      ['verified', 1],
      ['remembered', 1],
    ]),
  );
  assert.ok(page.includes('passthrough.signatures'));
});
