/** How a service starts and ends that telemetry does not hurt. */

import assert from 'node:assert/strict';
import type { BuiltService, Stopped } from '../support/built-service.ts';
import type { LogEvent } from '../support/memory-log.ts';
import { within } from '../support/within.ts';

/** Milliseconds that a start may take: many times what it takes, and less than an export waits for its answer. */
export const START_LIMIT_MS = 8_000;

/** Milliseconds from SIGTERM to the end: twice what the service waits for collectors. */
export const END_LIMIT_MS = 6_000;

/** Milliseconds where there is nobody to wait for. */
export const PROMPT_LIMIT_MS = 2_000;

/**
 * Stops a service and fails unless it ends in good order, in time and without a word on standard error: neither a warning
 * nor a rejection that nobody has caught.
 */
export async function endsInOrder(service: BuiltService, limitMs = END_LIMIT_MS): Promise<Stopped> {
  const stopped = await within(service.stop(), 'the end of the service', limitMs);
  assert.deepEqual([stopped.code, stopped.signal], [0, null], service.output());
  assert.ok(stopped.ms < limitMs, `it took ${stopped.ms} ms`);
  assert.deepEqual(foreignLines(service), []);
  return stopped;
}

/** Lines of either output that are no events of the service's own log. */
function foreignLines(service: BuiltService): string[] {
  const isEvent = (line: string) => {
    try {
      return typeof JSON.parse(line).event === 'string';
    } catch {
      return false;
    }
  };
  return service
    .output()
    .split('\n')
    .filter((line) => line !== '' && !isEvent(line));
}

/** What the log says so far of trouble with telemetry. */
export function troubles(service: BuiltService): readonly LogEvent[] {
  return service
    .logs()
    .filter(({ event, level }) => event === 'telemetry' && /warn|error/.test(String(level)));
}
