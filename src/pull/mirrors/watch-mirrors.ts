import { trace } from '@opentelemetry/api';
import type { MirrorWatch } from '../../registry/mirrors/mirror-health.ts';
import { instruments } from '../../telemetry/metrics.ts';

/** Counts the requests to mirrors, and passes each report on. */
export function watchMirrors(tell: MirrorWatch = () => undefined): MirrorWatch {
  return (report) => {
    const { mirror, result } = report;
    const dimensions = { 'passthrough.mirror.url': mirror, 'passthrough.mirror.result': result };
    instruments().mirrorRequests.add(1, dimensions);
    tell(report);
  };
}

/**
 * Marks the span of the step with who answered; of a layer in several parts, with who gave the last one.
 *
 * @param source a mirror, or the origin of the registry
 */
export function markSource(source: string): void {
  trace.getActiveSpan()?.setAttribute('passthrough.registry.source', source);
}
