import { type Attributes, context, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { isPassthroughError } from '../errors.ts';

const tracer = trace.getTracer('docker-http-passthrough');

/** How a span begins. */
export interface SpanStart {
  /** Internal where it is left out. */
  readonly kind?: SpanKind;
  readonly attributes?: Attributes;
}

/**
 * Runs a step inside a span of its own, which is the parent of all that the step starts. The span ends when the step
 * settles; a failure marks it as an error with `error.type`.
 *
 * @param name as the telemetry table has it
 * @param step is given the span, for attributes that are known later
 * @returns what the step returns; rejects as it rejects
 */
export async function withSpan<T>(
  name: string,
  start: SpanStart,
  step: (span: Span) => Promise<T> | T,
): Promise<T> {
  return await tracer.startActiveSpan(name, spanOptions(start), async (span) => {
    try {
      return await step(span);
    } catch (error) {
      recordFailure(span, error);
      throw error;
    } finally {
      span.end();
    }
  });
}

/**
 * Passes a stream through a span that lasts as long as the stream: it begins with the first read and ends when the last
 * byte is through, the stream fails, or the reader leaves.
 */
export async function* streamWithSpan<T>(
  name: string,
  start: SpanStart,
  source: () => AsyncIterable<T>,
): AsyncGenerator<T, void, undefined> {
  const span = tracer.startSpan(name, spanOptions(start), context.active());
  let isSettled = false;
  try {
    yield* source();
    isSettled = true;
  } catch (error) {
    isSettled = true;
    recordFailure(span, error);
    throw error;
  } finally {
    if (!isSettled) span.setAttribute('error.type', 'ABORTED').setStatus({ code: SpanStatusCode.ERROR });
    span.end();
  }
}

/** Marks a span as failed: the code as `error.type`, the message as the status's description. */
export function recordFailure(span: Span, error: unknown): void {
  const isOurs = isPassthroughError(error);
  span.setAttribute('error.type', isOurs ? error.code : error instanceof Error ? error.name : 'INTERNAL');
  span.setStatus({
    code: SpanStatusCode.ERROR,
    ...(isOurs && { message: error.message }),
  });
}

function spanOptions({ kind = SpanKind.INTERNAL, attributes = {} }: SpanStart) {
  return { kind, attributes };
}
