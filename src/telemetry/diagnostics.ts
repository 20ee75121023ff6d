import { context, type DiagLogger, DiagLogLevel, ROOT_CONTEXT } from '@opentelemetry/api';
import type { Logger, LogLevel } from './log.ts';

/** Between two lines of trouble, in milliseconds: a collector that is away for a night must not fill a disk. */
const SILENCE_MS = 60_000;

/** Values of `OTEL_LOG_LEVEL`, in any case. */
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

/** The level that `OTEL_LOG_LEVEL` names; warnings where it names none. */
export function diagLogLevel(text: string | undefined): DiagLogLevel {
  return LEVELS.get(text?.trim().toLowerCase() ?? '') ?? DiagLogLevel.WARN;
}

/**
 * Brings what the SDK has to say into the log, as the event `telemetry`. What it says of trouble it says again with every
 * export, so that only one line a minute gets through, with the number of those that did not; news that are no trouble have a
 * minute of their own. What was asked for by a level of `debug` or more comes whole. None of it belongs to the request in
 * whose course it happens to be said.
 *
 * @param now milliseconds of any clock that does not go back
 */
export function diagLogger(logger: Logger, now: () => number = () => performance.now()): DiagLogger {
  const write = (level: LogLevel, parts: readonly unknown[], suppressed = 0) => {
    const message = parts.map(describe).join(' ');
    const fields = { message, suppressed: suppressed === 0 ? undefined : suppressed };
    context.with(ROOT_CONTEXT, () => logger.log(level, 'telemetry', fields));
  };
  const seldom = (level: LogLevel) => {
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
  const always =
    (level: LogLevel) =>
    (...parts: unknown[]) =>
      write(level, parts);
  const trouble = seldom('warn');
  return {
    error: trouble,
    warn: trouble,
    info: seldom('info'),
    debug: always('debug'),
    verbose: always('trace'),
  };
}

/** Longest part of a message that is shown, in characters: at `debug` the SDK hands over whole batches. */
const MAX_PART_LENGTH = 500;

/** One part of a message. Errors come as themselves or, from the SDK's own handler, as JSON with their stack in it. */
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
