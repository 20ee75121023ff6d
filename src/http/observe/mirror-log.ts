import type { MirrorReport } from '../../registry/mirrors/mirror-health.ts';
import type { Logger } from '../../telemetry/log.ts';
import { causeOf } from './request-log.ts';

/** Writes the log line of what a mirror does that its operator should know. Answers have none. */
export function logMirror(report: MirrorReport, logger: Logger): void {
  const { mirror, operation, result, error, pauseMs, repository, isRecovered } = report;
  const why = error && { error: error.code, message: error.message, cause: causeOf(error) };
  if (isRecovered === true) logger.log('info', 'mirror_recovered', { mirror });
  if (pauseMs !== undefined)
    logger.log('warn', 'mirror_left_alone', {
      ...{ mirror, repository, operation, seconds: pauseMs / 1000 },
      ...why,
    });
  else if (result === 'refused') logger.log('warn', 'mirror_refused', { mirror, operation, ...why });
  else if (result === 'wrong') logger.log('warn', 'mirror_wrong', { mirror, operation, ...why });
  else if (result === 'failed' || result === 'missing')
    logger.log('debug', 'mirror_passed_over', { mirror, operation, result, ...why });
}
