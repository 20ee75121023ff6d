/**
 * An OTLP/gRPC receiver for benchmarks, in a process of its own: prints its port, and tells for each line on its standard
 * input what has arrived so far.
 */

import { startOtlpReceiver } from '../test/support/otlp-receiver.ts';
import { serveAsHelper } from './bench.ts';

/** What a receiver tells. */
export interface Received {
  /** How many spans each trace has. */
  readonly traces: Readonly<Record<string, number>>;
  /** Spans whose parent has not arrived. */
  readonly orphans: number;
  /** Names of distinct metrics. */
  readonly metrics: number;
  /** Log records. */
  readonly logs: number;
  /** How many exports brought all this. */
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
