/** The span of a request. `test/telemetry/traces.test.ts` has whole traces of pulls. */

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { SpanKind, SpanStatusCode } from '@opentelemetry/api';
import { makeImage, makeLayer } from '../../support/image.ts';
import { startPair } from '../../support/pair.ts';
import { recordSpans } from '../../support/span-recorder.ts';

const IMAGE = makeImage({ layers: [{ tar: makeLayer({ one: 'first' }) }] });
const ROUTE = 'GET /docker/{filename}';

const recorder = recordSpans();
beforeEach(() => recorder.reset());

const start = () => startPair({}, (registry) => registry.push('team/app', '1', IMAGE));

for (const [path, status, code, error] of [
  ['/docker/team_app_1.tar', 200, SpanStatusCode.UNSET, undefined],
  ['/docker/Team_App_1.tar', 400, SpanStatusCode.UNSET, undefined],
  ['/docker/team_app_2.tar', 502, SpanStatusCode.ERROR, 'IMAGE_NOT_FOUND'],
] as const) {
  test(`the span of a ${status} has the status ${SpanStatusCode[code]}, and all spans end in one trace`, async () => {
    await using pair = await start();
    const { body } = await pair.request(path);
    await pair.service.waitForLog({ event: 'request', status });
    const { kind, attributes, ...root } = recorder.only(ROUTE);
    assert.equal(kind, SpanKind.SERVER);
    assert.deepEqual([root.status.code, attributes['error.type']], [code, error]);
    assert.equal(attributes['http.response.status_code'], status);
    if (status === 200) assert.equal(attributes['http.response.body.size'], body.length);
    assert.ok(recorder.spans.every(({ isEnded }) => isEnded));
    assert.equal(new Set(recorder.spans.map((span) => span.spanContext().traceId)).size, 1);
  });
}

test('a probe has no span', async () => {
  await using pair = await start();
  for (const path of ['/health', '/ready']) await pair.request(path);
  assert.deepEqual(recorder.spans, []);
});
