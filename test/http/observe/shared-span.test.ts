/** Traces of requests that share work, or find it in the cache. */

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { APP_FILE, startScene } from '../../support/cached.ts';
import { type RecordedSpan, recordSpans } from '../../support/span-recorder.ts';

const ROUTE = 'GET /docker/{filename}';

const recorder = recordSpans();
beforeEach(() => recorder.reset());

/** The spans of each request, in the order of the requests. */
function traces(): readonly (readonly RecordedSpan[])[] {
  const roots = recorder.spans.filter(({ name }) => name === ROUTE);
  const rootOf = (span: RecordedSpan): RecordedSpan => (span.parent ? rootOf(span.parent) : span);
  return roots.map((root) => recorder.spans.filter((span) => rootOf(span) === root));
}

const named = (spans: readonly RecordedSpan[] | undefined, pattern: RegExp) =>
  (spans ?? []).filter(({ name }) => pattern.test(name));

test('a request that joins a pull has a span for the wait, with a link to the trace of the pull', async () => {
  await using scene = await startScene({ defects: { stallBlob: { afterBytes: 1 } } });
  await using service = await scene.start();
  const first = service.request(APP_FILE);
  await scene.untilStalled();
  const second = service.request(APP_FILE);
  await service.waitForCallers('files', 2);
  scene.registry.defects.stallBlob = undefined;
  scene.registry.releaseStalled();
  for (const reply of await Promise.all([first, second])) assert.equal(reply.status, 200);
  await service.waitForLog({ event: 'request', outcome: 'ok' }, 2);

  const [worker, joiner] = traces();
  assert.equal(named(worker, /^download_layer_/).length, 3);
  assert.equal(named(worker, /^await_preparation$/).length, 0);
  assert.equal(named(joiner, /^download_layer_/).length, 0);
  const [root] = named(worker, /^GET \/docker/);
  assert.deepEqual(
    named(joiner, /^await_preparation$/).map(({ links }) => links.map(({ context }) => context.traceId)),
    [[root?.spanContext().traceId]],
  );
  for (const trace of [worker, joiner]) assert.equal(named(trace, /^write_layer_tar_/).length, 3);
  for (const span of recorder.spans) assert.equal(span.isEnded, true, span.name);
});

test('the span of a layer names its source: registry or cache', async () => {
  await using scene = await startScene();
  await using service = await scene.start();
  for (const _ of ['registry', 'cache']) assert.equal((await service.request(APP_FILE)).status, 200);
  await service.waitForLog({ event: 'request', outcome: 'ok' }, 2);
  const sources = traces().map((trace) =>
    named(trace, /^download_layer_/).map(({ attributes }) => attributes['passthrough.layer.source']),
  );
  assert.deepEqual(sources, [Array(3).fill('registry'), Array(3).fill('cache')]);
});
