/**
 * A tracer that remembers, for the API that the product calls: no SDK, no exporter, no clock.
 */

import { AsyncLocalStorage } from 'node:async_hooks';
import {
  type Attributes,
  type AttributeValue,
  type Context,
  type ContextManager,
  context,
  type Exception,
  type Link,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  type SpanOptions,
  type SpanStatus,
  SpanStatusCode,
  TraceFlags,
  type Tracer,
  trace,
} from '@opentelemetry/api';

/**
 * A span as its owner left it. Any change after the end throws: a real span would drop it, and the test would not see
 * that it is lost.
 */
export class RecordedSpan implements Span {
  name: string;
  readonly kind: SpanKind;
  readonly attributes: Attributes = {};
  status: SpanStatus = { code: SpanStatusCode.UNSET };
  readonly events: { readonly name: string; readonly attributes: Attributes }[] = [];
  readonly exceptions: Exception[] = [];
  readonly links: Link[] = [];
  /** The span that this one hangs below, where it was recorded here. */
  readonly parent: RecordedSpan | undefined;
  /** Context that came from another process, as `traceparent` brings it. */
  readonly remoteParent: SpanContext | undefined;
  isEnded = false;
  readonly #context: SpanContext;

  constructor(name: string, options: SpanOptions, above: Span | undefined, number: number) {
    this.name = name;
    this.kind = options.kind ?? SpanKind.INTERNAL;
    this.parent = above instanceof RecordedSpan ? above : undefined;
    this.remoteParent = above === undefined || this.parent ? undefined : above.spanContext();
    this.#context = {
      traceId: above?.spanContext().traceId ?? number.toString(16).padStart(32, '0'),
      spanId: number.toString(16).padStart(16, '0'),
      traceFlags: TraceFlags.SAMPLED,
    };
    Object.assign(this.attributes, options.attributes);
  }

  spanContext(): SpanContext {
    return this.#context;
  }

  setAttribute(key: string, value: AttributeValue): this {
    return this.setAttributes({ [key]: value });
  }

  setAttributes(attributes: Attributes): this {
    this.#change();
    Object.assign(this.attributes, attributes);
    return this;
  }

  addEvent(name: string, attributes: unknown = {}): this {
    this.#change();
    this.events.push({ name, attributes: attributes as Attributes });
    return this;
  }

  addLink(link: Link): this {
    return this.addLinks([link]);
  }

  addLinks(links: Link[]): this {
    this.#change();
    this.links.push(...links);
    return this;
  }

  setStatus(status: SpanStatus): this {
    this.#change();
    this.status = status;
    return this;
  }

  updateName(name: string): this {
    this.#change();
    this.name = name;
    return this;
  }

  end(): void {
    this.#change();
    this.isEnded = true;
  }

  isRecording(): boolean {
    return !this.isEnded;
  }

  recordException(exception: Exception): void {
    this.#change();
    this.exceptions.push(exception);
  }

  #change(): void {
    if (this.isEnded) throw new Error(`Cannot change span ${JSON.stringify(this.name)}: it has ended`);
  }
}

/** What was recorded in this process. */
export interface SpanRecorder {
  /** In the order in which they began. */
  readonly spans: readonly RecordedSpan[];
  /** The one span of that name. */
  only(name: string): RecordedSpan;
  /** Forget all spans. */
  reset(): void;
}

/** Carries the active context through promises, timers and callbacks. */
class AsyncContextManager implements ContextManager {
  readonly #storage = new AsyncLocalStorage<Context>();

  active(): Context {
    return this.#storage.getStore() ?? ROOT_CONTEXT;
  }

  with<Args extends unknown[], F extends (...args: Args) => ReturnType<F>>(
    active: Context,
    run: F,
    self?: ThisParameterType<F>,
    ...args: Args
  ): ReturnType<F> {
    return this.#storage.run(active, () => run.apply(self, args));
  }

  bind<T>(bound: Context, target: T): T {
    if (typeof target !== 'function') return target;
    const run = (...args: unknown[]): unknown => this.with(bound, () => target(...args));
    return run as T;
  }

  enable(): this {
    return this;
  }

  disable(): this {
    this.#storage.disable();
    return this;
  }
}

class RecordingTracer implements Tracer {
  readonly #spans: RecordedSpan[];

  constructor(spans: RecordedSpan[]) {
    this.#spans = spans;
  }

  startSpan(name: string, options: SpanOptions = {}, within: Context = context.active()): RecordedSpan {
    const above = options.root === true ? undefined : trace.getSpan(within);
    const span = new RecordedSpan(name, options, above, this.#spans.length + 1);
    this.#spans.push(span);
    return span;
  }

  startActiveSpan<F extends (span: Span) => ReturnType<F>>(
    name: string,
    ...rest: [F] | [SpanOptions, F] | [SpanOptions, Context, F]
  ): ReturnType<F> {
    const run = rest.at(-1) as F;
    const options = rest.length > 1 ? (rest[0] as SpanOptions) : {};
    const within = rest.length > 2 ? (rest[1] as Context) : context.active();
    const span = this.startSpan(name, options, within);
    return context.with(trace.setSpan(within, span), run, undefined, span);
  }
}

let recorder: SpanRecorder | undefined;

/**
 * Record the spans of this process from now on. The API takes one provider a process, so that there is one recorder,
 * which stays.
 *
 * @returns the recorder, emptied
 */
export function recordSpans(): SpanRecorder {
  recorder ??= install();
  recorder.reset();
  return recorder;
}

function install(): SpanRecorder {
  const spans: RecordedSpan[] = [];
  const isSet =
    context.setGlobalContextManager(new AsyncContextManager()) &&
    trace.setGlobalTracerProvider({ getTracer: () => new RecordingTracer(spans) });
  if (!isSet) throw new Error('Cannot record spans: another provider is set already');
  return {
    spans,
    only(name) {
      const [span, another] = spans.filter((candidate) => candidate.name === name);
      if (span === undefined || another !== undefined) {
        const names = spans.map((candidate) => candidate.name).join(', ');
        throw new Error(`Cannot find the one span ${JSON.stringify(name)}: there are ${names || 'none'}`);
      }
      return span;
    },
    reset() {
      spans.length = 0;
    },
  };
}
