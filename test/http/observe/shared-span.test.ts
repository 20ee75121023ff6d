/** What the traces of requests tell that share their work, or find it done. */

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { APP_FILE, KEPT, startScene } from '../../support/cached.ts';
import { type RecordedSpan, recordSpans } from '../../support/span-recorder.ts';

const ROUTE = 'GET /docker/{filename}';

const recorder = recordSpans();
beforeEach(() => recorder.reset());

/** The spans of each request, in the order in which the requests came. */
function traces(): readonly (readonly RecordedSpan[])[] {
  const roots = recorder.spans.filter(({ name }) => name === ROUTE);
  const rootOf = (span: RecordedSpan): RecordedSpan => (span.parent ? rootOf(span.parent) : span);
  return roots.map((root) => recorder.spans.filter((span) => rootOf(span) === root));
}

const named = (spans: readonly RecordedSpan[] | undefined, pattern: RegExp) =>
  (spans ?? []).filter(({ name }) => pattern.test(name));

test('who joins in waits in a span that leads to the trace where the work is done', async () => {
  await using scene = await startScene({ defects: { stallBlob: { afterBytes: 1 } } });
  await using service = await scene.start(KEPT);
  const first = service.request(APP_FILE);
  await scene.untilStalled();
  const second = service.request(APP_FILE);
  await service.waitForAskers('deliveries', 2);
  scene.registry.defects.stallBlob = undefined;
  scene.registry.releaseStalled();
  for (const reply of await Promise.all([first, second])) assert.equal(reply.status, 200);
  await service.waitForLog({ event: 'request', outcome: 'ok' }, 2);

  const [worker, joiner] = traces();
  assert.equal(named(worker, /^download_layer_/).length, 3);
  assert.equal(named(worker, /^await_preparation$/).length, 0);
  assert.equal(named(joiner, /^download_layer_/).length, 0);
  const [waiting, ...others] = named(joiner, /^await_preparation$/);
  assert.equal(others.length, 0);
  const [root] = named(worker, /^GET \/docker/);
  assert.deepEqual(
    waiting?.links.map(({ context }) => context.traceId),
    [root?.spanContext().traceId],
  );
  for (const trace of [worker, joiner]) assert.equal(named(trace, /^write_layer_tar_/).length, 3);
  for (const span of recorder.spans) assert.equal(span.isEnded, true, span.name);
});

test('each layer tells where it came from', async () => {
  await using scene = await startScene();
  await using service = await scene.start(KEPT);
  for (const _ of ['registry', 'cache']) assert.equal((await service.request(APP_FILE)).status, 200);
  await service.waitForLog({ event: 'request', outcome: 'ok' }, 2);
  const sources = traces().map((trace) =>
    named(trace, /^download_layer_/).map(({ attributes }) => attributes['passthrough.layer.source']),
  );
  assert.deepEqual(sources, [new Array(3).fill('registry'), new Array(3).fill('cache')]);
});
