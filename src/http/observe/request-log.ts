import type { PassthroughError } from '../../errors.ts';
import type { Preparation } from '../../pull/preparations.ts';
import type { Logger, LogLevel } from '../../telemetry/log.ts';
import { printable } from '../../util/printable.ts';
import { problemOf } from '../problem.ts';
import type { RequestContext } from '../request-context.ts';
import { type Outcome, outcomeOf } from './outcome.ts';
import { redactedPath, redactedTarget } from './server-attributes.ts';

/** Most of a cause that is read, in characters. */
const MAX_CAUSE_LENGTH = 1000;

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
  const { id, request, response, facts, client } = context;
  const { outcome } = outcomeOf(context);
  logger.log(isProbe ? 'debug' : LEVELS[outcome], 'request', {
    id,
    client: client.address || undefined,
    ...(client.address !== client.peer.address && { proxy: client.peer.address }),
    certificate: client.peer.certificate,
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
    path: redactedTarget(subject.path),
    image: subject.images.join(' '),
    state,
    layers: progress.layers.total,
    bytes: progress.bytes.total,
    ms: (endedAt?.getTime() ?? Date.now()) - startedAt.getTime(),
    ...(problem !== undefined && {
      error: problem.error.code,
      message: problem.detail,
      cause: causeOf(problem.error),
    }),
  });
}

/**
 * What the system said of a failed connection, with the address that clients do not see. The causes of other errors are not shown,
 * since they may quote a document.
 *
 * @param error of a request or a preparation
 * @returns the text; `undefined` if the error is of another kind
 */
export function causeOf(error: PassthroughError): string | undefined {
  if (error.code !== 'REGISTRY_UNREACHABLE' || !(error.cause instanceof Error)) return undefined;
  const { message } = error.cause;
  // A proxy's address may have a password.
  return printable(message.slice(0, MAX_CAUSE_LENGTH).replaceAll(/\/\/[^\s/@]*@/g, '//'));
}
