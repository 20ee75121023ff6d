import type { RequestContext } from '../request-context.ts';

/**
 * How a request ended: `refused` by this service with a 4xx, `failed` with a 5xx, `aborted` by its client, `broken` on this
 * side with the 200 already out.
 */
export type Outcome = 'ok' | 'refused' | 'failed' | 'aborted' | 'broken';

/** What came of a request, once its answer is over. */
export interface Ending {
  readonly outcome: Outcome;
  /** `error.type` of its span and its duration: one of each kind of failure; `undefined` where the service did its part. */
  readonly errorType: string | undefined;
}

/** Tells how a request ended, from its status and what was noted on the way. */
export function outcomeOf({ response, facts }: RequestContext): Ending {
  if (facts.error === 'ABORTED') return { outcome: 'aborted', errorType: 'ABORTED' };
  const status = response.headersSent ? response.statusCode : 500;
  if (status >= 500) return { outcome: 'failed', errorType: facts.error ?? String(status) };
  if (status >= 400) return { outcome: 'refused', errorType: undefined };
  return facts.error === undefined
    ? { outcome: 'ok', errorType: undefined }
    : { outcome: 'broken', errorType: 'BROKEN_STREAM' };
}
