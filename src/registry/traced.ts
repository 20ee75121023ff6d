import { type Attributes, SpanKind } from '@opentelemetry/api';
import { recordFailure, withSpan } from '../telemetry/span.ts';
import type { ExchangeRequest, ExchangeResponse, Transport } from './transport.ts';

/** Facts of a pull that stand on each of its upstream spans. */
export interface TracedOptions {
  /** Whether a token endpoint was configured or known beforehand. */
  readonly isAuthConfigured: boolean;
}

/**
 * Gives each attempt that goes out a client span of its own. A span covers the exchange up to the answer's header: the
 * bytes of a layer have a span above it. The URL's query stays out, for it may be signed.
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

  send(request: ExchangeRequest): Promise<ExchangeResponse> {
    const resendCount = request.attempts.count;
    request.attempts.count += 1;
    const name =
      request.operation === 'token'
        ? 'GET {registry_token_endpoint}'
        : `${request.method} ${request.template}`;
    const attributes: Attributes = {
      ...requestAttributes(request),
      'registry.auth.configured': this.#options.isAuthConfigured,
      ...(resendCount > 0 && { 'http.request.resend_count': resendCount }),
    };
    return withSpan(name, { kind: SpanKind.CLIENT, attributes }, async (span) => {
      const response = await this.#inner.send(request);
      span.setAttribute('http.response.status_code', response.status);
      if (response.status >= 400 && !isChallenge(request, response)) {
        recordFailure(span, undefined);
        span.setAttribute('error.type', String(response.status));
      }
      return response;
    });
  }
}

/** A 401 to a request without credentials asks for them; that is how the protocol begins, not a failure. */
function isChallenge(request: ExchangeRequest, response: ExchangeResponse): boolean {
  return response.status === 401 && request.headers['authorization'] === undefined;
}

function requestAttributes({ method, url, headers, operation, template }: ExchangeRequest): Attributes {
  const scheme = headers['authorization']?.split(' ', 1)[0]?.toLowerCase();
  const isToken = operation === 'token';
  return {
    'http.request.method': method,
    'url.full': `${url.origin}${url.pathname}`,
    'url.scheme': url.protocol.slice(0, -1),
    'url.template': template,
    'server.address': url.hostname.replace(/^\[|\]$/g, ''),
    'server.port': Number(url.port || (url.protocol === 'https:' ? 443 : 80)),
    'network.protocol.name': 'http',
    'network.transport': 'tcp',
    'registry.operation': operation,
    'registry.auth.type': scheme === 'basic' || scheme === 'bearer' ? scheme : 'none',
    ...(isToken && {
      'registry.auth.service': url.searchParams.get('service') ?? '',
      'registry.auth.scope_present': url.searchParams.has('scope'),
    }),
  };
}
