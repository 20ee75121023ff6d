import {
  type Attributes,
  type Context,
  context,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { isPassthroughError } from '../errors.ts';
import { VERSION } from '../version.ts';

const tracer = trace.getTracer('docker-http-passthrough', VERSION);

/** How a span begins. */
export interface SpanStart {
  /** Internal where it is left out. */
  readonly kind?: SpanKind;
  readonly attributes?: Attributes;
  /**
   * Tells failures that mark the span as an error from refusals, which only name themselves in `error.type`: that a client
   * asked for something that cannot be is no failure of the step that says so. Where it is left out, all are failures.
   */
  readonly isFailure?: (error: unknown) => boolean;
}

/**
 * Runs a step inside a span of its own, which is the parent of all that the step starts. The span ends when the step
 * settles; a failure marks it as an error with `error.type`, and one of verification adds an event with the digests.
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
  const { span, within } = startSpan(name, start);
  try {
    return await context.with(within, () => step(span));
  } catch (error) {
    if (start.isFailure?.(error) ?? true) recordFailure(span, error);
    else span.setAttribute('error.type', errorType(error));
    recordVerification(span, error);
    throw error;
  } finally {
    span.end();
  }
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
  const { span } = startSpan(name, start);
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

/**
 * Begins a span below the active one, for work that has no one function to wrap: whoever begins it must end it.
 *
 * @param above where it hangs; the active context unless said
 * @returns the span, and the context in which it is the active one
 */
export function startSpan(
  name: string,
  { kind = SpanKind.INTERNAL, attributes = {} }: SpanStart,
  above: Context = context.active(),
): { readonly span: Span; readonly within: Context } {
  const span = tracer.startSpan(name, { kind, attributes }, above);
  return { span, within: trace.setSpan(above, span) };
}

/** Marks a span as failed: the code as `error.type`, the message as the status's description. */
export function recordFailure(span: Span, error: unknown): void {
  span.setAttribute('error.type', errorType(error));
  span.setStatus({
    code: SpanStatusCode.ERROR,
    ...(isPassthroughError(error) && { message: error.message }),
  });
}

/** What `error.type` says of an error: the code of one of ours, else the name of its class. */
export function errorType(error: unknown): string {
  if (isPassthroughError(error)) return error.code;
  return error instanceof Error ? error.name : 'INTERNAL';
}

/** Bytes that are not what they should be: which they should be, and which they are, where both are known. */
function recordVerification(span: Span, error: unknown): void {
  if (!isPassthroughError(error, 'VERIFICATION_FAILED')) return;
  const { expected, actual } = error.details;
  span.addEvent('verification_failed', {
    ...(expected !== undefined && { 'oci.digest.expected': expected }),
    ...(actual !== undefined && { 'oci.digest.actual': actual }),
  });
}
