import type { Job } from '../../pull/preparations.ts';
import type { Logger, LogLevel } from '../../telemetry/log.ts';
import { problemOf } from '../problem.ts';
import type { RequestContext } from '../request-context.ts';
import { type Outcome, outcomeOf } from './outcome.ts';

/** What the log makes of each outcome: what went wrong here or upstream is worth a look. */
const LEVELS: Readonly<Record<Outcome, LogLevel>> = {
  ok: 'info',
  refused: 'info',
  aborted: 'info',
  failed: 'warn',
  broken: 'warn',
};

/**
 * Writes a request's one line.
 *
 * @param isProbe whether it came from whoever runs the service, to ask for its health every few seconds
 * @param ms from its header to the end of its answer
 */
export function logRequest(exchange: RequestContext, isProbe: boolean, ms: number, logger: Logger): void {
  const { id, request, response, facts } = exchange;
  const { outcome } = outcomeOf(exchange);
  logger.log(isProbe ? 'debug' : LEVELS[outcome], 'request', {
    id,
    client: request.socket.remoteAddress,
    method: request.method,
    ...facts,
    status: response.headersSent ? response.statusCode : undefined,
    ms,
    outcome,
  });
}

/** Writes the line of a preparation that has ended and that no request has waited for. */
export function logPreparation(job: Job, logger: Logger): void {
  const { id, subject, state, progress, startedAt, endedAt, error } = job;
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
