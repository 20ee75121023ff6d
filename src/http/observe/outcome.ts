import type { RequestContext } from '../request-context.ts';

/**
 * How a request ended: `refused` with a 4xx, `failed` with a 5xx, `aborted` by its client, or `broken` by this side after the
 * 200.
 */
export type Outcome = 'ok' | 'refused' | 'failed' | 'aborted' | 'broken';

/** The outcome of a request whose answer is over. */
export interface Ending {
  readonly outcome: Outcome;
  /** `error.type` of span and duration; `undefined` unless the service failed. */
  readonly errorType: string | undefined;
}

/** The outcome, from the status and the recorded facts. */
export function outcomeOf({ response, facts }: RequestContext): Ending {
  if (facts.error === 'ABORTED') return { outcome: 'aborted', errorType: 'ABORTED' };
  const status = response.headersSent ? response.statusCode : 500;
  if (status >= 500) return { outcome: 'failed', errorType: facts.error ?? String(status) };
  if (status >= 400) return { outcome: 'refused', errorType: undefined };
  return facts.error === undefined
    ? { outcome: 'ok', errorType: undefined }
    : { outcome: 'broken', errorType: 'BROKEN_STREAM' };
}
