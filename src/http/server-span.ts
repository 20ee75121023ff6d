import { type Attributes, context, propagation, type Span, SpanKind } from '@opentelemetry/api';
import { recordFailure, withSpan } from '../telemetry/span.ts';
import type { Exchange } from './exchange.ts';
import type { Route } from './route.ts';

/**
 * Answers a request inside its server span: the root of the request's trace, or a child of the `traceparent` that came with
 * it. The span lasts until the last byte is out. Client errors leave its status unset, as the conventions have it.
 *
 * @param answer answers, failures too; gives the failure that it met
 * @see https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server-span
 */
export async function withServerSpan(
  exchange: Exchange,
  route: Route,
  answer: () => Promise<unknown>,
): Promise<void> {
  const { request, response } = exchange;
  const parent = propagation.extract(context.active(), request.headers);
  const start = { kind: SpanKind.SERVER, attributes: requestAttributes(exchange, route) };
  await context.with(parent, () =>
    withSpan(`${request.method} ${route.template}`, start, async (span) => {
      const failure = await answer();
      if (failure !== undefined && (response.statusCode >= 500 || response.destroyed)) {
        recordFailure(span, failure);
      }
      describeAnswer(span, exchange);
    }),
  );
}

function requestAttributes({ request }: Exchange, route: Route): Attributes {
  const { remoteAddress, remotePort, localPort } = request.socket;
  const userAgent = request.headers['user-agent'];
  return {
    'http.request.method': request.method ?? '',
    'http.route': route.template,
    'url.scheme': 'http',
    'network.protocol.name': 'http',
    'network.transport': 'tcp',
    ...(localPort !== undefined && { 'server.port': localPort }),
    ...(remoteAddress !== undefined && {
      'client.address': remoteAddress,
      'network.peer.address': remoteAddress,
    }),
    ...(remotePort !== undefined && { 'network.peer.port': remotePort }),
    ...(userAgent !== undefined && { 'user_agent.original': userAgent }),
  };
}

function describeAnswer(span: Span, { response, facts }: Exchange): void {
  if (response.headersSent) span.setAttribute('http.response.status_code', response.statusCode);
  if (facts.bytes !== undefined) span.setAttribute('http.response.body.size', facts.bytes);
  if (facts.digest !== undefined) span.setAttribute('oci.manifest.digest', facts.digest);
}
