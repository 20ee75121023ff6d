import assert from 'node:assert/strict';
import { buffer } from 'node:stream/consumers';
import { beforeEach, describe, test } from 'node:test';
import { propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { PassthroughError } from '../../../src/errors.ts';
import { parseHostPattern } from '../../../src/registry/host-pattern.ts';
import { RedirectTransport } from '../../../src/registry/transport/redirect.ts';
import { RetryTransport } from '../../../src/registry/transport/retry.ts';
import { type TracedOptions, TracedTransport } from '../../../src/registry/transport/traced.ts';
import type { Transport, TransportRequest } from '../../../src/registry/transport/transport.ts';
import { recordSpans } from '../../support/span-recorder.ts';
import { RETRY } from '../support/scene.ts';
import { requestTo, type Script, ScriptedTransport } from '../support/scripted-transport.ts';

const recorder = recordSpans();
const { spans } = recorder;
beforeEach(() => recorder.reset());

const LAYER = '/v2/{repository}/blobs/{digest}';

const traced = (script: Script = () => ({}), options: Partial<TracedOptions> = {}) =>
  new TracedTransport(new ScriptedTransport(script), {
    isAuthConfigured: false,
    userAgent: 'docker-http-passthrough/1',
    propagation: [],
    ...options,
  });

/** A request for a layer at a signed URL. */
const layer = (fields: Partial<TransportRequest> = {}) =>
  requestTo('https://registry.example.com/v2/team/app/blobs/b?sig=secret', {
    operation: 'layer',
    template: LAYER,
    ...fields,
  });

/** Sends a request and reads the response to its end. */
async function fetched(transport: Transport, request: TransportRequest): Promise<void> {
  await buffer((await transport.send(request)).body);
}

const lastSpan = () => spans.at(-1) ?? assert.fail();

/** The values of attributes of each span. */
const attributesOf = (...keys: readonly string[]) =>
  spans.map(({ attributes }) => keys.map((key) => attributes[key]));

const broken = new PassthroughError('REGISTRY_UNREACHABLE', 'Cannot reach it: the connection broke off');

async function* breaking() {
  yield Buffer.from('par');
  throw broken;
}

describe('an attempt', () => {
  test('has a client span with the URL without its query, and the outcome', async () => {
    const transport = traced(() => ({ body: 'four' }));
    await fetched(transport, layer());
    const [{ name, kind, status, isEnded, attributes } = assert.fail()] = spans;
    assert.deepEqual([name, kind, isEnded, spans.length], [`GET ${LAYER}`, SpanKind.CLIENT, true, 1]);
    assert.deepEqual(status, { code: SpanStatusCode.UNSET });
    assert.deepEqual(attributes, {
      'http.request.method': 'GET',
      'url.full': 'https://registry.example.com/v2/team/app/blobs/b',
      'url.path': '/v2/team/app/blobs/b',
      'url.scheme': 'https',
      'url.template': LAYER,
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

  test('has the name of its method and template', async () => {
    const url = 'https://registry.example.com/v2/team/app';
    const template = '/v2/{repository}/tags/list';
    await fetched(traced(), requestTo(`${url}/tags/list?n=1000`, { operation: 'tags', template }));
    await fetched(traced(), requestTo(`${url}/manifests/1`, { method: 'HEAD' }));
    assert.deepEqual(
      spans.map(({ name }) => name),
      [`GET ${template}`, 'HEAD /v2/{repository}/manifests/{reference}'],
    );
    assert.deepEqual(attributesOf('registry.operation', 'url.path'), [
      ['tags', '/v2/team/app/tags/list'],
      ['manifest', '/v2/team/app/manifests/1'],
    ]);
  });

  test('has the address and the port of every kind of origin', async () => {
    for (const url of ['http://10.0.0.5/x', 'http://lab:5000/x', 'https://[2001:db8::1]:8443/x']) {
      await fetched(traced(), layer({ url: new URL(url) }));
    }
    assert.deepEqual(attributesOf('server.address', 'server.port'), [
      ['10.0.0.5', 80],
      ['lab', 5000],
      ['2001:db8::1', 8443],
    ]);
  });

  test('has the type of authorization, but no value of it', async () => {
    for (const value of ['Basic dXNlcjpzZWNyZXQ=', 'Bearer secret', 'bearer secret', 'Negotiate secret']) {
      await fetched(traced(), layer({ headers: { authorization: value } }));
    }
    assert.deepEqual(attributesOf('registry.auth.type').flat(), ['basic', 'bearer', 'bearer', 'none']);
    const recorded = spans.map(({ name, attributes, status }) => ({ name, attributes, status }));
    assert.doesNotMatch(JSON.stringify(recorded), /secret|dXNlcjpz/i);
  });

  test('has service and scope if it requests or carries a token', async () => {
    const auth = { service: 's', scope: 'repository:team/app:pull' };
    const headers = { authorization: 'Bearer secret' };
    const token = requestTo('https://auth.example.com/token', {
      operation: 'token',
      template: '/token',
      auth,
    });
    await fetched(traced(undefined, { isAuthConfigured: true }), token);
    // A redirect to another origin drops the token.
    for (const fields of [{ auth, headers }, { auth }, { headers }]) await fetched(traced(), layer(fields));
    assert.equal(spans[0]?.name, 'GET {registry_token_endpoint}');
    const keys = ['operation', 'auth.service', 'auth.scope_present', 'auth.configured'];
    assert.deepEqual(attributesOf(...keys.map((key) => `registry.${key}`)), [
      ['token', 's', true, true],
      ['layer', 's', true, false],
      ['layer', undefined, false, false],
      ['layer', undefined, false, false],
    ]);
  });

  test('is counted over retries and redirects of one request', async () => {
    const location = 'https://storage.example.org/x';
    const answers = [{ status: 503 }, { status: 307, headers: { location } }, {}];
    const inner = traced((_, index) => answers[index] ?? {});
    const request = layer();
    await fetched(new RetryTransport(new RedirectTransport(inner), RETRY), request);
    assert.equal(request.attempts.count, 3);
    const keys = ['server.address', 'http.response.status_code', 'http.request.resend_count'];
    assert.deepEqual(attributesOf(...keys), [
      ['registry.example.com', 503, undefined],
      ['registry.example.com', 307, 1],
      ['storage.example.org', 200, 2],
    ]);
  });
});

describe('a span ends', () => {
  test('when the body is read to its end, not before', async () => {
    const { body } = await traced(() => ({ body: 'whole' })).send(layer());
    assert.equal(lastSpan().isEnded, false);
    await buffer(body);
    assert.equal(lastSpan().isEnded, true);
  });

  test('with the error and the size when the body breaks off', async () => {
    const { body } = await traced(() => ({ body: breaking() })).send(layer());
    await assert.rejects(buffer(body), broken);
    const { isEnded, status, attributes } = lastSpan();
    assert.deepEqual([isEnded, status.code], [true, SpanStatusCode.ERROR]);
    assert.deepEqual(
      [attributes['error.type'], attributes['http.response.body.size']],
      ['REGISTRY_UNREACHABLE', 3],
    );
  });

  test('without an error when the reader stops', async () => {
    const { body } = await traced(() => ({ body: breaking() })).send(layer());
    for await (const chunk of body) if (chunk.byteLength > 0) break;
    assert.deepEqual([lastSpan().isEnded, lastSpan().status.code], [true, SpanStatusCode.UNSET]);
  });

  test('once when the body is discarded', async () => {
    const response = await traced(() => ({ body: 'unread' })).send(layer());
    response.discard();
    assert.equal(lastSpan().isEnded, true);
    response.discard();
    assert.equal(spans.length, 1);
  });

  test('with the error and no status when there is no response', async () => {
    const failing = traced(() => {
      throw broken;
    });
    await assert.rejects(failing.send(layer()), broken);
    assert.equal(lastSpan().status.code, SpanStatusCode.ERROR);
    const attributes = attributesOf('error.type', 'http.response.status_code');
    assert.deepEqual(attributes, [['REGISTRY_UNREACHABLE', undefined]]);
  });

  const statuses: [status: number, isRead: boolean, isError: boolean][] = [
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
  for (const [status, isRead, isError] of statuses) {
    const body = isRead ? 'read' : 'discarded';
    test(`${isError ? 'with' : 'without'} an error for ${status} whose body is ${body}`, async () => {
      const response = await traced(() => ({ status })).send(layer());
      if (isRead) await buffer(response.body);
      else response.discard();
      assert.equal(lastSpan().status.code === SpanStatusCode.ERROR, isError);
      const attributes = attributesOf('error.type', 'http.response.status_code');
      assert.deepEqual(attributes, [[isError ? String(status) : undefined, status]]);
    });
  }
});

test('the trace context is sent only to the hosts of the policy', async (t) => {
  propagation.setGlobalPropagator({
    inject: (within, carrier, setter) => {
      setter.set(carrier, 'traceparent', trace.getSpanContext(within)?.spanId ?? 'none');
      setter.set(carrier, 'baggage', 'a=b');
    },
    extract: (within) => within,
    fields: () => ['traceparent'],
  });
  t.after(() => propagation.disable());
  const rows: [policy: TracedOptions['propagation'], isSent: boolean][] = [
    [[], false],
    [[parseHostPattern('other.example.com')], false],
    [[parseHostPattern('*.example.com')], true],
    ['all', true],
  ];
  for (const [policy, isSent] of rows) {
    const wire = new ScriptedTransport(() => ({}));
    const options = { isAuthConfigured: false, userAgent: 'test', propagation: policy };
    await fetched(new TracedTransport(wire, options), layer({ headers: { accept: 'x' } }));
    const traceparent = isSent ? { traceparent: lastSpan().spanContext().spanId } : {};
    assert.deepEqual(wire.requests[0]?.headers, { accept: 'x', ...traceparent });
  }
});
