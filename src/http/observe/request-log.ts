import type { Preparation } from '../../pull/preparations.ts';
import type { Logger, LogLevel } from '../../telemetry/log.ts';
import { problemOf } from '../problem.ts';
import type { RequestContext } from '../request-context.ts';
import { type Outcome, outcomeOf } from './outcome.ts';
import { redactedPath } from './server-attributes.ts';

/** The level of each outcome. */
const LEVELS: Readonly<Record<Outcome, LogLevel>> = {
  ok: 'info',
  refused: 'info',
  aborted: 'info',
  failed: 'warn',
  broken: 'warn',
};

/**
 * Writes the log line of a request. It has the path if no image says what was requested.
 *
 * @param isProbe whether the request is one that a monitor repeats every few seconds
 * @param ms from the header of the request to the end of the answer
 */
export function logRequest(context: RequestContext, isProbe: boolean, ms: number, logger: Logger): void {
  const { id, request, response, facts } = context;
  const { outcome } = outcomeOf(context);
  logger.log(isProbe ? 'debug' : LEVELS[outcome], 'request', {
    id,
    client: request.socket.remoteAddress,
    method: request.method,
    ...(facts.image === undefined && { path: redactedPath(request.url) }),
    ...facts,
    status: response.headersSent ? response.statusCode : undefined,
    ms,
    outcome,
  });
}

/** Writes the log line of a preparation that has ended. */
export function logPreparation(preparation: Preparation, logger: Logger): void {
  const { id, subject, state, progress, startedAt, endedAt, error } = preparation;
  const problem = error === undefined ? undefined : problemOf(error);
  logger.log(state === 'failed' ? 'warn' : 'info', 'preparation', {
    id,
    path: subject.path,
    image: subject.images.join(' '),
    state,
    layers: progress.layers.total,
    bytes: progress.bytes.total,
    ms: (endedAt?.getTime() ?? Date.now()) - startedAt.getTime(),
    ...(problem !== undefined && { error: problem.error.code, message: problem.detail }),
  });
}
