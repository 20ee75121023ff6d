import { styleText } from 'node:util';
import { context, isSpanContextValid, logs, SeverityNumber, trace } from '@opentelemetry/api';
import { printableJson, quoted } from '../util/printable.ts';
import { VERSION } from '../version.ts';

/** Levels, from the most to the least verbose. */
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Characters of the longest escape of a UTF-16 unit. */
const MAX_ESCAPE_LENGTH = 6;

/** Facts beside an event. Never a credential, a token or a URL's query. */
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

/** Writes events. */
export interface Logger {
  /**
   * @param level the event is dropped if the logger's level is higher
   * @param event name of the event, in snake_case
   * @param fields facts; `undefined` ones are dropped
   */
  log(level: LogLevel, event: string, fields?: LogFields): void;
}

/** Settings of {@link createLogger}. */
export interface LoggerOptions {
  readonly level: LogLevel;
  /** Whether lines are formatted for a terminal. Otherwise each line is a JSON object. */
  readonly isTerminal: boolean;
  /** Receives one line with its line feed. */
  readonly write: (line: string) => void;
  /** Whether events also go to OpenTelemetry, which drops them unless an SDK is started. Default: no. */
  readonly isExported?: boolean;
  readonly now?: () => Date;
}

/** Creates a logger that writes one line for each event, with `trace_id` and `span_id` of the active span. */
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
  return printableJson({ time: time.toISOString(), level, event, ...fields });
}

const STYLES = { trace: 'gray', debug: 'gray', info: 'green', warn: 'yellow', error: 'red' } as const;

function formatForTerminal(time: Date, level: LogLevel, event: string, fields: LogFields): string {
  const facts = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${styleText('gray', `${name}=`)}${formatValue(value)}`);
  const clock = time.toISOString().slice(11, 23);
  return [styleText('gray', clock), styleText(STYLES[level], level.padEnd(5)), event, ...facts].join(' ');
}

/** Quotes values with spaces and with characters that are not printable ASCII, so that no request can forge a line. */
function formatValue(value: LogFields[string]): string {
  const text = String(value);
  return /^[\x21\x23-\x7e]+$/.test(text) ? text : quoted(text, text.length * MAX_ESCAPE_LENGTH);
}
