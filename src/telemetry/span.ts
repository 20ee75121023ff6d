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
import { printable } from '../util/printable.ts';
import { VERSION } from '../version.ts';
import { instruments } from './metrics.ts';

const tracer = trace.getTracer('docker-http-passthrough', VERSION);

/** Longest description of a status, in characters: an error with several quotes in it. */
const MAX_STATUS_LENGTH = 1000;

/** Settings of a new span. */
export interface SpanStart {
  /** Default: internal. */
  readonly kind?: SpanKind;
  readonly attributes?: Attributes;
  /**
   * Whether an error marks the span as failed. Otherwise it only sets `error.type`: a client's invalid request is not a failure
   * of the step that refuses it. Default: every error.
   */
  readonly isFailure?: (error: unknown) => boolean;
}

/**
 * Runs a step in a new span, which is the parent of all spans of the step. The span ends when the step settles. A failure marks
 * it as an error with `error.type`. A failed verification also adds an event with the digests.
 *
 * @param name one of the documented span names
 * @param step receives the span, to set attributes later
 * @returns the result of the step
 * @throws the error of the step
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
 * Passes a stream on within a span. The span starts with the first read and ends with the last byte, with an error, or when the
 * reader stops early.
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
 * Starts a span for work that is not one function. The caller must end the span.
 *
 * @param parent context of the parent span; default: the active context
 * @returns the span, and a context in which it is active
 */
export function startSpan(
  name: string,
  { kind = SpanKind.INTERNAL, attributes = {} }: SpanStart,
  parent: Context = context.active(),
): { readonly span: Span; readonly within: Context } {
  const span = tracer.startSpan(name, { kind, attributes }, parent);
  return { span, within: trace.setSpan(parent, span) };
}

/** Marks a span as failed, with the code as `error.type` and the message as the description of its status. */
export function recordFailure(span: Span, error: unknown): void {
  span.setAttribute('error.type', errorType(error));
  span.setStatus({
    code: SpanStatusCode.ERROR,
    ...(isPassthroughError(error) && { message: printable(error.message, MAX_STATUS_LENGTH) }),
  });
}

/** The value of `error.type`: the code of a {@link PassthroughError}, else the name of the error's class. */
export function errorType(error: unknown): string {
  if (isPassthroughError(error)) return error.code;
  return error instanceof Error ? error.name : 'INTERNAL';
}

/** Adds an event with the expected and the actual digest to the span of a failed verification. */
function recordVerification(span: Span, error: unknown): void {
  if (!isPassthroughError(error, 'VERIFICATION_FAILED')) return;
  const { expected, actual } = error.details;
  span.addEvent('verification_failed', {
    ...(expected !== undefined && { 'oci.digest.expected': expected }),
    ...(actual !== undefined && { 'oci.digest.actual': actual }),
  });
}

/** Runs a preparation, and measures how many run and how long they take. */
export async function measuringPreparation<T>(work: () => Promise<T>): Promise<T> {
  const { activePreparations, preparationDuration } = instruments();
  const startedAt = performance.now();
  const record = (dimensions: { readonly 'error.type'?: string }) =>
    preparationDuration.record((performance.now() - startedAt) / 1000, dimensions);
  activePreparations.add(1);
  try {
    const result = await work();
    record({});
    return result;
  } catch (error) {
    record({ 'error.type': errorType(error) });
    throw error;
  } finally {
    activePreparations.add(-1);
  }
}
