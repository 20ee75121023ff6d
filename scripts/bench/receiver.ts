/**
 * An OTLP/gRPC receiver for benchmarks, as a separate process. It prints its port. For each line on standard input it prints
 * what it has received so far.
 */

import { startOtlpReceiver } from '../../test/support/otlp-receiver.ts';
import { serveAsHelper } from './measure.ts';

/** One answer of the receiver. */
export interface Received {
  /** Number of spans of each trace. */
  readonly traces: Readonly<Record<string, number>>;
  /** Number of spans without their parent. */
  readonly orphans: number;
  /** Number of distinct metrics. */
  readonly metrics: number;
  /** Number of log records. */
  readonly logs: number;
  /** Number of exports. */
  readonly requests: number;
}

if (import.meta.main) {
  const receiver = await startOtlpReceiver();
  serveAsHelper(receiver.port, (): Received => {
    const traces: Record<string, number> = {};
    for (const { traceId } of receiver.spans) traces[traceId] = (traces[traceId] ?? 0) + 1;
    const ids = new Set(receiver.spans.map(({ spanId }) => spanId));
    const isOrphan = (parent: string | undefined) => parent !== undefined && !ids.has(parent);
    return {
      traces,
      orphans: receiver.spans.filter(({ parentSpanId }) => isOrphan(parentSpanId)).length,
      metrics: new Set(receiver.metrics.map(({ name }) => name)).size,
      logs: receiver.logs.length,
      requests: receiver.requests,
    };
  });
}
