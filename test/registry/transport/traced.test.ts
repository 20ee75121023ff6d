import assert from 'node:assert/strict';
import { buffer } from 'node:stream/consumers';
import test, { beforeEach } from 'node:test';
import { propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { PassthroughError } from '../../../src/errors.ts';
import { parseHostPattern } from '../../../src/registry/host-pattern.ts';
import { RedirectTransport } from '../../../src/registry/transport/redirect.ts';
import { RetryTransport } from '../../../src/registry/transport/retry.ts';
import { type TracedOptions, TracedTransport } from '../../../src/registry/transport/traced.ts';
import type {
  Transport,
  TransportRequest,
  TransportResponse,
} from '../../../src/registry/transport/transport.ts';
import { recordSpans } from '../../support/span-recorder.ts';
import { RETRY } from '../open.ts';
import { exchange, type Script, ScriptedTransport } from './scripted-transport.ts';

const recorder = recordSpans();
const { spans } = recorder;
beforeEach(() => recorder.reset());

const BLOB = 'https://registry.example.com/v2/team/app/blobs/b?sig=secret';

const traced = (script: Script = () => ({}), options: Partial<TracedOptions> = {}) =>
  new TracedTransport(new ScriptedTransport(script), {
    isAuthConfigured: false,
    userAgent: 'docker-http-passthrough/1',
    propagation: [],
    ...options,
  });

const layer = (fields: Partial<TransportRequest> = {}) =>
  exchange(BLOB, { operation: 'layer', template: '/v2/{repository}/blobs/{digest}', ...fields });

/** Sends a request and reads its answer to the end. */
async function fetched(transport: Transport, request: TransportRequest): Promise<TransportResponse> {
  const response = await transport.send(request);
  await buffer(response.body);
  return response;
}

test('an attempt is a client span that says where it went and how it ended', async () => {
  await fetched(
    traced(() => ({ body: 'four' })),
    layer(),
  );
  const [{ name, kind, status, isEnded, attributes } = assert.fail()] = spans;
  assert.deepEqual(
    { name, kind, status, isEnded, spans: spans.length },
    {
      name: 'GET /v2/{repository}/blobs/{digest}',
      kind: SpanKind.CLIENT,
      status: { code: SpanStatusCode.UNSET },
      isEnded: true,
      spans: 1,
    },
  );
  assert.deepEqual(attributes, {
    'http.request.method': 'GET',
    'url.full': 'https://registry.example.com/v2/team/app/blobs/b',
    'url.path': '/v2/team/app/blobs/b',
    'url.scheme': 'https',
    'url.template': '/v2/{repository}/blobs/{digest}',
    'server.address': 'registry.example.com',
    'server.port': 443,
    'network.peer.address': '192.0.2.1',
    'network.peer.port': 443,
    'network.protocol.name': 'http',
    'network.protocol.version': '1.1',
    'network.transport': 'tcp',
    'user_agent.original': 'docker-http-passthrough/1',
    'registry.operation': 'layer',
    'registry.auth.type': 'none',
    'registry.auth.configured': false,
    'registry.auth.scope_present': false,
    'http.response.status_code': 200,
    'http.response.body.size': 4,
  });
});

test('a span lasts as long as the body: until it is read, breaks off or is given up', async () => {
  const whole = await traced(() => ({ body: 'whole' })).send(layer());
  assert.equal(spans.at(-1)?.isEnded, false);
  await buffer(whole.body);
  assert.equal(spans.at(-1)?.isEnded, true);

  async function* breaking() {
    yield Buffer.from('par');
    throw new PassthroughError('REGISTRY_UNREACHABLE', 'Cannot reach it: the connection broke off');
  }
  const broken = await traced(() => ({ body: breaking() })).send(layer());
  await assert.rejects(buffer(broken.body), { code: 'REGISTRY_UNREACHABLE' });
  const { isEnded, status, attributes } = spans.at(-1) ?? assert.fail();
  assert.deepEqual(
    [isEnded, status.code, attributes['error.type'], attributes['http.response.body.size']],
    [true, SpanStatusCode.ERROR, 'REGISTRY_UNREACHABLE', 3],
  );

  const left = await traced(() => ({ body: breaking() })).send(layer());
  for await (const piece of left.body) if (piece.byteLength > 0) break;
  assert.deepEqual([spans.at(-1)?.isEnded, spans.at(-1)?.status.code], [true, SpanStatusCode.UNSET]);

  const discarded = await traced(() => ({ body: 'unread' })).send(layer());
  discarded.discard();
  assert.equal(spans.at(-1)?.isEnded, true);
  discarded.discard();
  assert.equal(spans.length, 4);
});

test('the trace is told only to those that policy names', async () => {
  propagation.setGlobalPropagator({
    inject: (within, carrier, setter) =>
      setter.set(carrier, 'traceparent', trace.getSpanContext(within)?.spanId ?? 'none'),
    extract: (within) => within,
    fields: () => ['traceparent'],
  });
  const cases: [policy: TracedOptions['propagation'], isTold: boolean][] = [
    [[], false],
    [[parseHostPattern('other.example.com')], false],
    [[parseHostPattern('*.example.com')], true],
    ['all', true],
  ];
  for (const [policy, isTold] of cases) {
    const wire = new ScriptedTransport(() => ({}));
    const options = { isAuthConfigured: false, userAgent: 'test', propagation: policy };
    await fetched(new TracedTransport(wire, options), layer({ headers: { accept: 'x' } }));
    const told = spans.at(-1)?.spanContext().spanId;
    assert.deepEqual(
      wire.requests.map(({ headers }) => headers),
      [isTold ? { accept: 'x', traceparent: told } : { accept: 'x' }],
    );
  }
  propagation.disable();
});

test('address and port are told for every kind of origin', async () => {
  const cases: [url: string, address: string, port: number][] = [
    ['http://10.0.0.5/x', '10.0.0.5', 80],
    ['http://lab:5000/x', 'lab', 5000],
    ['https://[2001:db8::1]:8443/x', '2001:db8::1', 8443],
  ];
  for (const [index, [url, address, port]] of cases.entries()) {
    await fetched(traced(), layer({ url: new URL(url) }));
    const { attributes } = spans[index] ?? assert.fail();
    assert.deepEqual([attributes['server.address'], attributes['server.port']], [address, port]);
  }
});

test('service and scope are told of a token request and of what its token opens, and not past a redirect', async () => {
  const auth = { service: 's', scope: 'repository:team/app:pull' };
  const bearer = { authorization: 'Bearer secret' };
  const token = exchange('https://auth.example.com/token', { operation: 'token', template: '/token', auth });
  await fetched(traced(undefined, { isAuthConfigured: true }), token);
  await fetched(traced(), layer({ auth, headers: bearer }));
  await fetched(traced(), layer({ auth }));
  await fetched(traced(), layer({ headers: bearer }));
  assert.deepEqual(
    spans.map(({ name, attributes }) => [
      name,
      attributes['registry.operation'],
      attributes['registry.auth.service'],
      attributes['registry.auth.scope_present'],
      attributes['registry.auth.configured'],
    ]),
    [
      ['GET {registry_token_endpoint}', 'token', 's', true, true],
      ['GET /v2/{repository}/blobs/{digest}', 'layer', 's', true, false],
      ['GET /v2/{repository}/blobs/{digest}', 'layer', undefined, false, false],
      ['GET /v2/{repository}/blobs/{digest}', 'layer', undefined, false, false],
    ],
  );
});

test('the kind of authorization is told, its value and the query never', async () => {
  for (const [authorization, type] of [
    ['Basic dXNlcjpzZWNyZXQ=', 'basic'],
    ['Bearer secret', 'bearer'],
    ['bearer secret', 'bearer'],
    ['Negotiate secret', 'none'],
  ] as const) {
    await fetched(traced(), layer({ headers: { authorization } }));
    assert.equal(spans.at(-1)?.attributes['registry.auth.type'], type);
  }
  const told = spans.map(({ name, attributes, status }) => ({ name, attributes, status }));
  assert.doesNotMatch(JSON.stringify(told), /secret|dXNlcjpz/i);
});

test('a refusal is an error; a 401 only once somebody looks for the reason', async () => {
  const cases: [status: number, isRead: boolean, isError: boolean][] = [
    [200, true, false],
    [206, true, false],
    [307, false, false],
    [401, false, false],
    [401, true, true],
    [403, true, true],
    [404, true, true],
    [429, false, true],
    [500, true, true],
  ];
  for (const [status, isRead, isError] of cases) {
    const response = await traced(() => ({ status })).send(layer());
    if (isRead) await buffer(response.body);
    else response.discard();
    const span = spans.at(-1) ?? assert.fail();
    assert.equal(span.status.code === SpanStatusCode.ERROR, isError, `${status} ${isRead}`);
    assert.equal(span.attributes['error.type'], isError ? String(status) : undefined);
    assert.equal(span.attributes['http.response.status_code'], status);
  }
});

test('an exchange that fails is an error by its code, and has no status', async () => {
  const broken = traced(() => {
    throw new PassthroughError('REGISTRY_UNREACHABLE', 'Cannot reach "https://registry.example.com"');
  });
  await assert.rejects(broken.send(layer()), { code: 'REGISTRY_UNREACHABLE' });
  const [{ status, attributes } = assert.fail()] = spans;
  assert.deepEqual(
    [status.code, attributes['error.type'], attributes['http.response.status_code']],
    [SpanStatusCode.ERROR, 'REGISTRY_UNREACHABLE', undefined],
  );
});

test('attempts of one request are counted over retries and redirects', async () => {
  const answers = [
    { status: 503 },
    { status: 307, headers: { location: 'https://storage.example.org/x' } },
    {},
  ];
  const transport = new RetryTransport(
    new RedirectTransport(traced((_, index) => answers[index] ?? {})),
    RETRY,
  );
  const request = layer();
  await fetched(transport, request);
  assert.equal(request.attempts.count, 3);
  assert.deepEqual(
    spans.map(({ attributes }) => [
      attributes['server.address'],
      attributes['http.response.status_code'],
      attributes['http.request.resend_count'],
    ]),
    [
      ['registry.example.com', 503, undefined],
      ['registry.example.com', 307, 1],
      ['storage.example.org', 200, 2],
    ],
  );
});

test('tags and HEAD have spans of their own name', async () => {
  const tags = exchange('https://registry.example.com/v2/team/app/tags/list?n=1000', {
    operation: 'tags',
    template: '/v2/{repository}/tags/list',
  });
  await fetched(traced(), tags);
  await fetched(
    traced(),
    exchange('https://registry.example.com/v2/team/app/manifests/1', { method: 'HEAD' }),
  );
  assert.deepEqual(
    spans.map(({ name, attributes }) => [name, attributes['registry.operation'], attributes['url.path']]),
    [
      ['GET /v2/{repository}/tags/list', 'tags', '/v2/team/app/tags/list'],
      ['HEAD /v2/{repository}/manifests/{reference}', 'manifest', '/v2/team/app/manifests/1'],
    ],
  );
});
