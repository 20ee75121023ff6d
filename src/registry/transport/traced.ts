import { type Attributes, context, propagation, type Span, SpanKind } from '@opentelemetry/api';
import { instruments } from '../../telemetry/metrics.ts';
import { errorType, recordFailure, startSpan } from '../../telemetry/span.ts';
import { printable } from '../../util/printable.ts';
import { type HostPattern, matchesHost } from '../host-pattern.ts';
import type { Transport, TransportRequest, TransportResponse } from './transport.ts';

/** Longest URL in an attribute, in characters. A redirect may name any. */
const MAX_URL_LENGTH = 2048;

/** Settings of {@link TracedTransport}. */
export interface TracedOptions {
  /** Whether the token endpoint is configured or known without a challenge. An attribute of each span. */
  readonly isAuthConfigured: boolean;
  /** `User-Agent` of the requests. An attribute of each span. */
  readonly userAgent: string;
  readonly propagation: PropagationPolicy;
}

/** Hosts that receive the trace context (`traceparent`): all, or those of a list, which may be empty. */
export type PropagationPolicy = 'all' | readonly HostPattern[];

/**
 * Records a client span and a duration for each attempt. Both end when the body of the response is read to its end,
 * breaks off or is discarded. The query of the URL is not recorded, because it may be a signature.
 *
 * @see https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client-span
 */
export class TracedTransport implements Transport {
  readonly #inner: Transport;
  readonly #options: TracedOptions;

  constructor(inner: Transport, options: TracedOptions) {
    this.#inner = inner;
    this.#options = options;
  }

  async send(request: TransportRequest): Promise<TransportResponse> {
    const resendCount = request.attempts.count;
    request.attempts.count += 1;
    const { span, within } = startSpan(spanName(request), {
      kind: SpanKind.CLIENT,
      attributes: {
        ...requestAttributes(request),
        'user_agent.original': this.#options.userAgent,
        'registry.auth.configured': this.#options.isAuthConfigured,
        ...(resendCount > 0 && { 'http.request.resend_count': resendCount }),
      },
    });
    const attempt = new TracedAttempt(request, span);
    try {
      const response = await context.with(within, () => this.#inner.send(this.#withTraceContext(request)));
      attempt.setResponse(response);
      return {
        ...response,
        body: attempt.read(response.body),
        discard: () => {
          response.discard();
          attempt.end();
        },
      };
    } catch (error) {
      attempt.fail(error);
      attempt.end();
      throw error;
    }
  }

  /** Adds the trace context if the policy lists the host. Other hosts must not learn it. */
  #withTraceContext(request: TransportRequest): TransportRequest {
    const policy = this.#options.propagation;
    if (policy !== 'all' && !policy.some((host) => matchesHost(host, request.url))) return request;
    const carrier: Record<string, string> = {};
    propagation.inject(context.active(), carrier);
    // The baggage of a client is meant for this service, not for registries.
    delete carrier['baggage'];
    return { ...request, headers: { ...carrier, ...request.headers } };
  }
}

/** The span and the duration of one attempt. */
class TracedAttempt {
  readonly #span: Span;
  readonly #startedAt = performance.now();
  /** Attributes of the duration. Each has few values; none depends on the image. */
  readonly #dimensions: Attributes;
  readonly #operation: string;
  #isChallenge = false;
  #isEnded = false;

  constructor(request: TransportRequest, span: Span) {
    this.#span = span;
    this.#operation = request.operation;
    const { hostname, port } = addressOf(request.url);
    this.#dimensions = {
      'http.request.method': request.method,
      'url.scheme': schemeOf(request.url),
      'url.template': request.template,
      'server.address': hostname,
      'server.port': port,
    };
  }

  /** Records the header of the response. */
  setResponse({ status, peer, protocolVersion }: TransportResponse): void {
    this.#dimensions['http.response.status_code'] = status;
    this.#dimensions['network.protocol.version'] = protocolVersion;
    this.#span.setAttributes({
      'http.response.status_code': status,
      'network.protocol.version': protocolVersion,
      ...(peer !== undefined && {
        'network.peer.address': peer.address,
        'network.peer.port': peer.port,
      }),
    });
    // A 401 is usually a challenge that the next attempt answers. It is a failure only if its body is read for the reason.
    this.#isChallenge = status === 401;
    if (status >= 400 && !this.#isChallenge) this.fail(undefined, String(status));
  }

  /** Passes the body through; ends the span with it. */
  async *read(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
    const { received } = instruments();
    const dimensions = { 'registry.operation': this.#operation };
    let size = 0;
    if (this.#isChallenge) this.fail(undefined, '401');
    try {
      for await (const chunk of body) {
        size += chunk.byteLength;
        received.add(chunk.byteLength, dimensions);
        yield chunk;
      }
    } catch (error) {
      this.fail(error);
      throw error;
    } finally {
      if (!this.#isEnded) this.#span.setAttribute('http.response.body.size', size);
      this.end();
    }
  }

  /** Records a failure. Does nothing after the end. */
  fail(error: unknown, type = errorType(error)): void {
    if (this.#isEnded) return;
    recordFailure(this.#span, error);
    this.#span.setAttribute('error.type', type);
    this.#dimensions['error.type'] = type;
  }

  /** Ends the span and records the duration. Further calls do nothing. */
  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    instruments().clientDuration.record((performance.now() - this.#startedAt) / 1000, this.#dimensions);
    this.#span.end();
  }
}

function spanName({ method, operation, template }: TransportRequest): string {
  return `${method} ${operation === 'token' ? '{registry_token_endpoint}' : template}`;
}

function requestAttributes(request: TransportRequest): Attributes {
  const { method, url, headers, operation, template, credentials = 'none' } = request;
  const scheme = headers['authorization']?.split(' ', 1)[0]?.toLowerCase();
  // After a redirect to another origin the request has no token, so service and scope do not describe it.
  const auth = operation === 'token' || scheme === 'bearer' ? request.auth : undefined;
  const { hostname, port } = addressOf(url);
  return {
    'http.request.method': method,
    'url.full': printable(`${url.origin}${url.pathname}`, MAX_URL_LENGTH),
    'url.path': printable(url.pathname, MAX_URL_LENGTH),
    'url.scheme': schemeOf(url),
    'url.template': template,
    'server.address': hostname,
    'server.port': port,
    'network.protocol.name': 'http',
    'network.transport': 'tcp',
    'registry.operation': operation,
    'registry.auth.type': scheme === 'basic' || scheme === 'bearer' ? scheme : 'none',
    ...(credentials !== 'none' && { 'registry.auth.source': credentials }),
    'registry.auth.scope_present': auth?.scope !== undefined,
    ...(auth !== undefined && { 'registry.auth.service': printable(auth.service) }),
  };
}

function addressOf({ hostname, port, protocol }: URL): { readonly hostname: string; readonly port: number } {
  return {
    hostname: hostname.replace(/^\[|\]$/g, ''),
    port: Number(port || (protocol === 'https:' ? 443 : 80)),
  };
}

function schemeOf({ protocol }: URL): string {
  return protocol.slice(0, -1);
}
