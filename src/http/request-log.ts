import type { Logger, LogLevel } from '../telemetry/log.ts';
import type { Exchange } from './exchange.ts';

/** How a request ended: see {@link outcomeOf}. */
export type Outcome = 'ok' | 'refused' | 'failed' | 'aborted' | 'broken';

/** What the log makes of each outcome: what went wrong here or upstream is worth a look. */
const LEVELS: Readonly<Record<Outcome, LogLevel>> = {
  ok: 'info',
  refused: 'info',
  aborted: 'info',
  failed: 'warn',
  broken: 'warn',
};

/** Routes that are asked every few seconds by whoever runs the service. */
const PROBES: readonly (string | undefined)[] = ['/health', '/ready'];

/**
 * Writes a request's one line.
 *
 * @param ms from its header to the end of its answer
 */
export function logRequest(exchange: Exchange, ms: number, logger: Logger): void {
  const { id, request, response, facts } = exchange;
  const outcome = outcomeOf(exchange);
  logger.log(PROBES.includes(facts.route) ? 'debug' : LEVELS[outcome], 'request', {
    id,
    client: request.socket.remoteAddress,
    method: request.method,
    ...facts,
    status: response.headersSent ? response.statusCode : undefined,
    ms,
    outcome,
  });
}

/** `aborted` by its client, `broken` on this side with the 200 already out, else by its status. */
function outcomeOf({ response, facts }: Exchange): Outcome {
  if (facts.error === 'ABORTED') return 'aborted';
  const status = response.headersSent ? response.statusCode : 500;
  if (status < 400) return facts.error === undefined ? 'ok' : 'broken';
  return status < 500 ? 'refused' : 'failed';
}
