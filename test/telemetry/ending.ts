/** The start and the end of a service with a faulty collector. */

import assert from 'node:assert/strict';
import type { BuiltService, Stopped } from '../support/built-service.ts';
import type { LogEvent } from '../support/memory-log.ts';
import { within } from '../support/within.ts';

/** Timeout of an export, in milliseconds, in tests of a collector that does not answer: a start or end that waits for it is late. */
export const EXPORT_TIMEOUT_MS = 60_000;

/** Longest start, in milliseconds: many times the usual start, also on a busy machine. */
export const START_LIMIT_MS = EXPORT_TIMEOUT_MS / 2;

/** Longest end after SIGTERM, in milliseconds: many times the longest flush. */
export const END_LIMIT_MS = EXPORT_TIMEOUT_MS / 2;

/** Longest end without a flush that waits, in milliseconds: a flush that waits takes 3 s. */
export const PROMPT_LIMIT_MS = 2_900;

/**
 * Stops a service and checks that it ends in time, with exit code 0 and without foreign output, such as warnings of Node or
 * unhandled rejections.
 */
export async function endsInOrder(service: BuiltService, limitMs = END_LIMIT_MS): Promise<Stopped> {
  const stopped = await within(service.stop(), 'the end of the service', limitMs);
  assert.deepEqual([stopped.code, stopped.signal], [0, null], service.output());
  assert.ok(stopped.ms < limitMs, `it took ${stopped.ms} ms`);
  assert.deepEqual(foreignLines(service), []);
  return stopped;
}

/** Lines of both outputs that are not events of the log. */
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

/** Warnings and errors about telemetry in the log. */
export function troubles(service: BuiltService): readonly LogEvent[] {
  return service
    .logs()
    .filter(({ event, level }) => event === 'telemetry' && /warn|error/.test(String(level)));
}
