import { type Context, context, propagation, type Span, SpanKind, SpanStatusCode } from '@opentelemetry/api';
import { startSpan } from '../../telemetry/span.ts';
import type { RequestContext } from '../request-context.ts';
import { outcomeOf } from './outcome.ts';
import { methodAttributes, requestAttributes } from './server-attributes.ts';

/**
 * Answers a request inside its server span: the root of the request's trace, or a child of the `traceparent` that came with
 * it. The span lasts until the last byte is out or the client is gone.
 *
 * @param answer answers, failures too; must not reject
 * @returns the context of the span, for what is said of the request afterwards
 * @see https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server-span
 */
export async function withServerSpan(
  exchange: RequestContext,
  answer: () => Promise<void>,
): Promise<Context> {
  const { request, facts } = exchange;
  const above = propagation.extract(context.active(), request.headers);
  const method = methodAttributes(request.method)['http.request.method'];
  const name = [method === '_OTHER' ? 'HTTP' : method, facts.route].filter(Boolean).join(' ');
  const attributes = requestAttributes(request, facts.route);
  const { span, within } = startSpan(name, { kind: SpanKind.SERVER, attributes }, above);
  try {
    await context.with(within, answer);
  } finally {
    describeAnswer(span, exchange);
    span.end();
  }
  return within;
}

/** What came of it. Refusals leave the status unset: that a client asked for the wrong thing is no failure here. */
function describeAnswer(span: Span, exchange: RequestContext): void {
  const { response, facts } = exchange;
  const { errorType } = outcomeOf(exchange);
  span.setAttributes({
    ...(response.headersSent && { 'http.response.status_code': response.statusCode }),
    ...(facts.bytes !== undefined && { 'http.response.body.size': facts.bytes }),
    ...(errorType !== undefined && { 'error.type': errorType }),
  });
  if (errorType !== undefined) {
    span.setStatus({
      code: SpanStatusCode.ERROR,
      ...(facts.message !== undefined && { message: facts.message }),
    });
  }
}
