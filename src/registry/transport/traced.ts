import { type Attributes, context, propagation, type Span, SpanKind } from '@opentelemetry/api';
import { instruments } from '../../telemetry/metrics.ts';
import { errorType, recordFailure, startSpan } from '../../telemetry/span.ts';
import { type HostPattern, matchesHost } from '../host-pattern.ts';
import type { Transport, TransportRequest, TransportResponse } from './transport.ts';

/** Facts of a pull that stand on each of its upstream spans. */
export interface TracedOptions {
  /** Whether a token endpoint was configured or known beforehand. */
  readonly isAuthConfigured: boolean;
  /** Sent by the wire. */
  readonly userAgent: string;
  readonly propagation: PropagationPolicy;
}

/** Who upstream is told of the trace, by `traceparent`: everybody, or the hosts of a list, which may be empty. */
export type PropagationPolicy = 'all' | readonly HostPattern[];

/**
 * Gives each attempt that goes out a client span of its own, and a place in the durations. It lasts until the answer's body
 * is read to its end, breaks off, or is given up. Of the URL the query stays out, for it may be signed.
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
    const attempt = new Attempt(request, span);
    try {
      const response = await context.with(within, () => this.#inner.send(this.#propagated(request)));
      attempt.answered(response);
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

  /** Adds the trace's context where policy has it: third parties need not learn of it. */
  #propagated(request: TransportRequest): TransportRequest {
    const policy = this.#options.propagation;
    if (policy !== 'all' && !policy.some((host) => matchesHost(host, request.url))) return request;
    const carrier: Record<string, string> = {};
    propagation.inject(context.active(), carrier);
    // What a client says beside its trace is for whom it says it to.
    delete carrier['baggage'];
    return { ...request, headers: { ...carrier, ...request.headers } };
  }
}

/** One attempt, from its start until nobody waits for its bytes any more. */
class Attempt {
  readonly #span: Span;
  readonly #begun = performance.now();
  /** What the duration is told by: few values each, none of them a single image's. */
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

  /** Takes note of an answer's header. */
  answered({ status, peer, protocolVersion }: TransportResponse): void {
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
    // A 401 says how the registry wants to be asked: no failure, unless nobody can answer it and its body is looked at.
    this.#isChallenge = status === 401;
    if (status >= 400 && !this.#isChallenge) this.fail(undefined, String(status));
  }

  /** Passes the body on, and ends with it. */
  async *read(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
    const { received } = instruments();
    const dimensions = { 'registry.operation': this.#operation };
    let size = 0;
    if (this.#isChallenge) this.fail(undefined, '401');
    try {
      for await (const piece of body) {
        size += piece.byteLength;
        received.add(piece.byteLength, dimensions);
        yield piece;
      }
    } catch (error) {
      this.fail(error);
      throw error;
    } finally {
      if (!this.#isEnded) this.#span.setAttribute('http.response.body.size', size);
      this.end();
    }
  }

  fail(error: unknown, type = errorType(error)): void {
    if (this.#isEnded) return;
    recordFailure(this.#span, error);
    this.#span.setAttribute('error.type', type);
    this.#dimensions['error.type'] = type;
  }

  /** Ends the span, once. */
  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    instruments().clientDuration.record((performance.now() - this.#begun) / 1000, this.#dimensions);
    this.#span.end();
  }
}

function spanName({ method, operation, template }: TransportRequest): string {
  return `${method} ${operation === 'token' ? '{registry_token_endpoint}' : template}`;
}

function requestAttributes(request: TransportRequest): Attributes {
  const { method, url, headers, operation, template } = request;
  const scheme = headers['authorization']?.split(' ', 1)[0]?.toLowerCase();
  // Past a redirect to another origin a request has lost its token, and with it what it was asked with.
  const auth = operation === 'token' || scheme === 'bearer' ? request.auth : undefined;
  const { hostname, port } = addressOf(url);
  return {
    'http.request.method': method,
    'url.full': `${url.origin}${url.pathname}`,
    'url.path': url.pathname,
    'url.scheme': schemeOf(url),
    'url.template': template,
    'server.address': hostname,
    'server.port': port,
    'network.protocol.name': 'http',
    'network.transport': 'tcp',
    'registry.operation': operation,
    'registry.auth.type': scheme === 'basic' || scheme === 'bearer' ? scheme : 'none',
    'registry.auth.scope_present': auth?.scope !== undefined,
    ...(auth !== undefined && { 'registry.auth.service': auth.service }),
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
