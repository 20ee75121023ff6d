import {
  type Context,
  context as otel,
  propagation,
  type Span,
  SpanKind,
  SpanStatusCode,
} from '@opentelemetry/api';
import { startSpan } from '../../telemetry/span.ts';
import type { RequestContext } from '../request-context.ts';
import { outcomeOf } from './outcome.ts';
import { methodAttributes, requestAttributes } from './server-attributes.ts';

/**
 * Answers a request inside its server span: the root of the request's trace, or a child of the `traceparent` that came with
 * it. The span lasts until the last byte is out or the client is gone.
 *
 * @param answer also answers failures; must not reject
 * @returns the context of the span, for the log line of the request
 * @see https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server-span
 */
export async function withServerSpan(context: RequestContext, answer: () => Promise<void>): Promise<Context> {
  const { request, facts } = context;
  const above = propagation.extract(otel.active(), request.headers);
  const method = methodAttributes(request.method)['http.request.method'];
  const name = [method === '_OTHER' ? 'HTTP' : method, facts.route].filter(Boolean).join(' ');
  // The attributes have no name here: an answer may take hours, and would keep them in memory.
  const { span, within } = startSpan(
    name,
    { kind: SpanKind.SERVER, attributes: requestAttributes(request, facts.route, context.client) },
    above,
  );
  try {
    await otel.with(within, answer);
  } finally {
    describeAnswer(span, context);
    span.end();
  }
  return within;
}

/** Describes the answer. A 4xx leaves the status unset, since it is the client's error. */
function describeAnswer(span: Span, context: RequestContext): void {
  const { response, facts } = context;
  const { errorType } = outcomeOf(context);
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
