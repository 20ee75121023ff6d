import assert from 'node:assert/strict';
import test, { beforeEach } from 'node:test';
import { SpanKind, SpanStatusCode } from '@opentelemetry/api';
import { PassthroughError } from '../../src/errors.ts';
import { RedirectTransport } from '../../src/registry/redirect.ts';
import { RetryTransport } from '../../src/registry/retry.ts';
import { TracedTransport } from '../../src/registry/traced.ts';
import type { ExchangeRequest } from '../../src/registry/transport.ts';
import { recordSpans } from '../support/span-recorder.ts';
import { RETRY } from './open.ts';
import { exchange, type Script, ScriptedTransport } from './scripted-transport.ts';

const recorder = recordSpans();
const { spans } = recorder;
beforeEach(() => recorder.reset());

const BLOB = 'https://registry.example.com/v2/team/app/blobs/b?sig=secret';

const traced = (script: Script = () => ({}), isAuthConfigured = false) =>
  new TracedTransport(new ScriptedTransport(script), { isAuthConfigured });

const layer = (fields: Partial<ExchangeRequest> = {}) =>
  exchange(BLOB, { operation: 'layer', template: '/v2/{repository}/blobs/{digest}', ...fields });

test('an attempt is a client span that says where it went and how it ended', async () => {
  await traced().send(layer());
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
    'url.scheme': 'https',
    'url.template': '/v2/{repository}/blobs/{digest}',
    'server.address': 'registry.example.com',
    'server.port': 443,
    'network.protocol.name': 'http',
    'network.transport': 'tcp',
    'registry.operation': 'layer',
    'registry.auth.type': 'none',
    'registry.auth.configured': false,
    'http.response.status_code': 200,
  });
});

test('address and port are told for every kind of origin', async () => {
  const cases: [url: string, address: string, port: number][] = [
    ['http://10.0.0.5/x', '10.0.0.5', 80],
    ['http://lab:5000/x', 'lab', 5000],
    ['https://[2001:db8::1]:8443/x', '2001:db8::1', 8443],
  ];
  for (const [index, [url, address, port]] of cases.entries()) {
    await traced().send(layer({ url: new URL(url) }));
    const { attributes } = spans[index] ?? assert.fail();
    assert.deepEqual([attributes['server.address'], attributes['server.port']], [address, port]);
  }
});

test('a token request tells service and scope, and no path that may be a secret', async () => {
  const url = new URL('https://auth.example.com/token?service=s&scope=repository:team/app:pull');
  await traced(undefined, true).send(exchange(url.href, { operation: 'token', template: '/token' }));
  await traced().send(exchange('https://auth.example.com/token', { operation: 'token', template: '/token' }));
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
      ['GET {registry_token_endpoint}', 'token', '', false, false],
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
    await traced().send(layer({ headers: { authorization } }));
    assert.equal(spans.at(-1)?.attributes['registry.auth.type'], type);
  }
  const told = spans.map(({ name, attributes, status }) => ({ name, attributes, status }));
  assert.doesNotMatch(JSON.stringify(told), /secret|dXNlcjpz/i);
});

test('a 401 to a request without credentials is how the protocol begins; all other refusals are errors', async () => {
  const cases: [status: number, authorization: string | undefined, isError: boolean][] = [
    [200, undefined, false],
    [206, undefined, false],
    [307, undefined, false],
    [401, undefined, false],
    [401, 'Bearer t', true],
    [403, undefined, true],
    [404, undefined, true],
    [429, 'Bearer t', true],
    [500, undefined, true],
  ];
  for (const [status, authorization, isError] of cases) {
    await traced(() => ({ status })).send(
      layer({ headers: authorization === undefined ? {} : { authorization } }),
    );
    const span = spans.at(-1) ?? assert.fail();
    assert.equal(span.status.code === SpanStatusCode.ERROR, isError, `${status} ${authorization}`);
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
  await transport.send(request);
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
