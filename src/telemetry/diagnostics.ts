import { context, type DiagLogger, DiagLogLevel, ROOT_CONTEXT } from '@opentelemetry/api';
import type { Logger, LogLevel } from './log.ts';

/** Time between two warnings, in milliseconds: a collector that is down for a night must not fill the disk with logs. */
const SILENCE_MS = 60_000;

/** Values of `OTEL_LOG_LEVEL`, which may be upper or lower case. */
const LEVELS: ReadonlyMap<string, DiagLogLevel> = new Map(
  Object.entries({
    none: DiagLogLevel.NONE,
    error: DiagLogLevel.ERROR,
    warn: DiagLogLevel.WARN,
    info: DiagLogLevel.INFO,
    debug: DiagLogLevel.DEBUG,
    verbose: DiagLogLevel.VERBOSE,
    all: DiagLogLevel.ALL,
  }),
);

/** The level of `OTEL_LOG_LEVEL`; warnings by default. */
export function diagLogLevel(text: string | undefined): DiagLogLevel {
  return LEVELS.get(text?.trim().toLowerCase() ?? '') ?? DiagLogLevel.WARN;
}

/**
 * Writes the SDK's messages to the log, as event `telemetry`. The SDK repeats a warning with every export. So at most one line
 * a minute is written, with the number of suppressed ones. Errors and warnings share this limit; `info` has its own. `debug` and
 * `verbose` have no limit. The lines carry no trace ID: the active request is not their cause.
 *
 * @param now a monotonic clock, in milliseconds
 */
export function diagLogger(logger: Logger, now: () => number = () => performance.now()): DiagLogger {
  const write = (level: LogLevel, parts: readonly unknown[], suppressed = 0) => {
    const message = parts.map(describe).join(' ');
    const fields = { message, suppressed: suppressed === 0 ? undefined : suppressed };
    context.with(ROOT_CONTEXT, () => logger.log(level, 'telemetry', fields));
  };
  const limited = (level: LogLevel) => {
    let silentUntil = Number.NEGATIVE_INFINITY;
    let suppressed = 0;
    return (...parts: unknown[]) => {
      if (now() < silentUntil) {
        suppressed += 1;
        return;
      }
      write(level, parts, suppressed);
      silentUntil = now() + SILENCE_MS;
      suppressed = 0;
    };
  };
  const unlimited =
    (level: LogLevel) =>
    (...parts: unknown[]) =>
      write(level, parts);
  const warn = limited('warn');
  return {
    error: warn,
    warn,
    info: limited('info'),
    debug: unlimited('debug'),
    verbose: unlimited('trace'),
  };
}

/** Longest part of a message in the log, in characters: at `debug` the SDK passes whole batches. */
const MAX_PART_LENGTH = 500;

/** One part of a message as text. The SDK passes errors as objects, or as JSON with a stack from its own handler. */
function describe(part: unknown): string {
  const text =
    part instanceof Error ? part.message : typeof part === 'string' ? messageIn(part) : typeof part;
  return text.length > MAX_PART_LENGTH ? `${text.slice(0, MAX_PART_LENGTH)}…` : text;
}

function messageIn(text: string): string {
  if (!text.startsWith('{')) return text;
  try {
    const { message }: { message?: unknown } = JSON.parse(text);
    return typeof message === 'string' ? message : text;
  } catch {
    return text;
  }
}
