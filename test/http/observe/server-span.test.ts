import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { SpanKind, SpanStatusCode } from '@opentelemetry/api';
import { makeImage, makeIndex, makeLayer } from '../../support/image.ts';
import { basic, startPair } from '../../support/pair.ts';
import { type RecordedSpan, recordSpans } from '../../support/span-recorder.ts';

const IMAGE = makeImage({
  layers: [
    { tar: makeLayer({ one: 'first' }), compression: 'gzip' },
    { tar: makeLayer({ two: 'second' }), compression: 'zstd' },
  ],
});
const PATH = '/docker/team_app_1.tar';
const ROUTE = 'GET /docker/{filename}';
const MANIFEST = 'GET /v2/{repository}/manifests/{reference}';
const BLOB = 'GET /v2/{repository}/blobs/{digest}';
const TOKEN = 'GET {registry_token_endpoint}';
const USER = { name: 'user', password: 'something-secret' };

const recorder = recordSpans();
beforeEach(() => recorder.reset());

const start = (auth = {}, env = {}) =>
  startPair({ auth, env }, (registry) => registry.push('team/app', '1', makeIndex([{ image: IMAGE }])));

/** Each span as `parent > name`, sorted, since siblings run concurrently. */
function tree(spans: readonly RecordedSpan[]): readonly string[] {
  return spans.map((span) => `${span.parent?.name ?? ''} > ${span.name}`).toSorted();
}

test('a pull is one trace with a span for each step, without secrets', async () => {
  const auth = { mode: 'token', users: new Map([[USER.name, USER.password]]) };
  await using pair = await start(auth, { REGISTRY_USERNAME: USER.name, REGISTRY_PASSWORD: USER.password });
  const reply = await pair.service.request(PATH);
  assert.equal(reply.status, 200);
  await pair.service.waitForLog({ event: 'request', route: '/docker/{filename}' });

  assert.deepEqual(
    tree(recorder.spans),
    [
      ` > ${ROUTE}`,
      `${ROUTE} > parse_image_request`,
      `${ROUTE} > extract_registry_client_credentials`,
      `${ROUTE} > resolve_manifest`,
      `resolve_manifest > ${MANIFEST}`,
      `resolve_manifest > ${TOKEN}`,
      `resolve_manifest > ${MANIFEST}`,
      `resolve_manifest > ${MANIFEST}`,
      `${ROUTE} > fetch_config_blob`,
      `fetch_config_blob > ${BLOB}`,
      `${ROUTE} > download_layer_1`,
      `download_layer_1 > ${BLOB}`,
      `${ROUTE} > download_layer_2`,
      `download_layer_2 > ${BLOB}`,
      `${ROUTE} > write_layer_tar_1`,
      `${ROUTE} > write_layer_tar_2`,
    ].toSorted(),
  );
  assert.equal(new Set(recorder.spans.map((span) => span.spanContext().traceId)).size, 1);
  assert.ok(recorder.spans.every(({ isEnded }) => isEnded));
  assert.ok(recorder.spans.every(({ status }) => status.code === SpanStatusCode.UNSET));
  assert.deepEqual(
    recorder.spans
      .filter(({ kind }) => kind === SpanKind.CLIENT)
      .map(({ name }) => name)
      .toSorted(),
    [BLOB, BLOB, BLOB, TOKEN, MANIFEST, MANIFEST, MANIFEST].toSorted(),
  );

  const root = recorder.only(ROUTE);
  assert.equal(root.kind, SpanKind.SERVER);
  assert.equal(root.attributes['http.response.status_code'], 200);
  assert.equal(root.attributes['http.response.body.size'], reply.body.length);
  const everything = JSON.stringify(recorder.spans.map(({ attributes, status }) => ({ attributes, status })));
  assert.doesNotMatch(everything, new RegExp(`${USER.password}|Bearer|${basic(USER.name, USER.password)}`));
});

test('a probe has no span', async () => {
  await using pair = await start();
  await pair.service.request('/health');
  await pair.service.request('/ready');
  assert.deepEqual(recorder.spans, []);
});

test('the status of the span is an error for a registry error, and unset for a client error', async () => {
  await using pair = await start();
  const outcomes = [
    ['/docker/Team_App_1.tar', 400, SpanStatusCode.UNSET, undefined],
    ['/docker/team_app_2.tar', 502, SpanStatusCode.ERROR, 'IMAGE_NOT_FOUND'],
  ] as const;
  for (const [path, status, code, type] of outcomes) {
    recorder.reset();
    await pair.service.request(path);
    await pair.service.waitForLog({ event: 'request', status });
    const root = recorder.only(ROUTE);
    assert.deepEqual(
      [root.status.code, root.attributes['error.type'], root.isEnded],
      [code, type, true],
      path,
    );
  }
});
