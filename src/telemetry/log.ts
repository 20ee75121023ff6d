import { styleText } from 'node:util';
import { context, isSpanContextValid, logs, SeverityNumber, trace } from '@opentelemetry/api';
import { VERSION } from '../version.ts';

/** Levels, the most talkative first. */
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Facts beside an event. Never a credential, a token or a URL's query. */
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

/** Where events go. */
export interface Logger {
  /**
   * @param level left out when the logger's own level is higher
   * @param event what happened, in one snake_case word
   * @param fields facts; `undefined` ones are left out
   */
  log(level: LogLevel, event: string, fields?: LogFields): void;
}

/** Settings of {@link createLogger}. */
export interface LoggerOptions {
  readonly level: LogLevel;
  /** Readable lines for a person at a terminal, else one JSON object a line. */
  readonly isTerminal: boolean;
  /** Takes one line, its end included. */
  readonly write: (line: string) => void;
  /** Whether events also go to the logs signal of OpenTelemetry, which does nothing until an SDK is started. */
  readonly isExported?: boolean;
  readonly now?: () => Date;
}

/** A logger that writes one line an event; one that is logged inside a span names it by `trace_id` and `span_id`. */
export function createLogger(options: LoggerOptions): Logger {
  const { isTerminal, write, isExported = false, now = () => new Date() } = options;
  const threshold = LOG_LEVELS.indexOf(options.level);
  const format = isTerminal ? formatForTerminal : formatJson;
  return {
    log(level, event, fields = {}) {
      if (LOG_LEVELS.indexOf(level) < threshold) return;
      const time = now();
      write(`${format(time, level, event, { ...fields, ...activeSpan() })}\n`);
      if (isExported) emit(time, level, event, fields);
    },
  };
}

function activeSpan(): LogFields {
  const span = trace.getActiveSpan()?.spanContext();
  return span !== undefined && isSpanContextValid(span)
    ? { trace_id: span.traceId, span_id: span.spanId }
    : {};
}

const exported = logs.getLogger('docker-http-passthrough', VERSION);

/** https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber */
const SEVERITIES: Readonly<Record<LogLevel, SeverityNumber>> = {
  trace: SeverityNumber.TRACE,
  debug: SeverityNumber.DEBUG,
  info: SeverityNumber.INFO,
  warn: SeverityNumber.WARN,
  error: SeverityNumber.ERROR,
};

function emit(timestamp: Date, level: LogLevel, event: string, fields: LogFields): void {
  const present = Object.entries(fields).filter(([, value]) => value !== undefined && value !== null);
  exported.emit({
    timestamp,
    severityNumber: SEVERITIES[level],
    severityText: level.toUpperCase(),
    eventName: event,
    body: event,
    attributes: Object.fromEntries(present) as Record<string, string | number | boolean>,
    context: context.active(),
  });
}

function formatJson(time: Date, level: LogLevel, event: string, fields: LogFields): string {
  return JSON.stringify({ time: time.toISOString(), level, event, ...fields });
}

const STYLES = { trace: 'gray', debug: 'gray', info: 'green', warn: 'yellow', error: 'red' } as const;

function formatForTerminal(time: Date, level: LogLevel, event: string, fields: LogFields): string {
  const facts = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${styleText('gray', `${name}=`)}${formatValue(value)}`);
  const clock = time.toISOString().slice(11, 23);
  return [styleText('gray', clock), styleText(STYLES[level], level.padEnd(5)), event, ...facts].join(' ');
}

/**
 * Values that hold a space or a control character are quoted, so that no request can forge a line. JSON leaves the upper
 * control characters as they are, to which terminals listen too, and those that turn the direction of the text.
 */
function formatValue(value: LogFields[string]): string {
  const text = String(value);
  if (/^[\x21-\x7e]+$/.test(text) && !text.includes('"')) return text;
  return JSON.stringify(text).replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, (character) =>
    Array.from({ length: character.length }, (_, at) => escapeUnit(character.charCodeAt(at))).join(''),
  );
}

function escapeUnit(unit: number): string {
  return `\\u${unit.toString(16).padStart(4, '0')}`;
}
