import type { Logger, LogLevel } from '../telemetry/log.ts';
import type { Exchange } from './exchange.ts';
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
export function logRequest(exchange: Exchange, isProbe: boolean, ms: number, logger: Logger): void {
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
