import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { context, INVALID_SPAN_CONTEXT, type LogRecord, logs, trace } from '@opentelemetry/api';
import fc from 'fast-check';
import { createLogger, LOG_LEVELS, type LogFields, type LoggerOptions } from '../../src/telemetry/log.ts';
import { withSpan } from '../../src/telemetry/span.ts';
import { recordSpans } from '../support/span-recorder.ts';

const recorder = recordSpans();
/** The emitted log records, with the names of their loggers. */
const emitted: { readonly scope: string; readonly record: LogRecord }[] = [];
logs.setGlobalLoggerProvider({
  getLogger: (scope) => ({ emit: (record) => emitted.push({ scope, record }), enabled: () => true }),
});
beforeEach(() => {
  recorder.reset();
  emitted.length = 0;
});

const NOW = new Date('2026-01-02T03:04:05.678Z');

/** A logger with its lines. */
function makeLogger(options: Partial<LoggerOptions> = {}) {
  const written: string[] = [];
  const write = (line: string) => written.push(line);
  const logger = createLogger({ level: 'trace', isTerminal: false, write, now: () => NOW, ...options });
  return { logger, written };
}

/** The line of one event. */
function lineOf(fields?: LogFields, isTerminal = false): string {
  const { logger, written } = makeLogger({ isTerminal });
  logger.log('info', 'happened', fields);
  return stripVTControlCharacters(written.join(''));
}

const FIELDS = { image: 'nginx:latest', bytes: 5, ok: true, none: null, left: undefined };

describe('each event is one line of JSON', () => {
  test('with time, level, event and fields', () => {
    const start = '{"time":"2026-01-02T03:04:05.678Z","level":"info","event":"happened"';
    assert.equal(lineOf(FIELDS), `${start},"image":"nginx:latest","bytes":5,"ok":true,"none":null}\n`);
    assert.equal(lineOf(), `${start}}\n`);
  });

  test('for any value of a field', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (value) => {
        const { logger, written } = makeLogger();
        logger.log('info', 'happened', { value });
        const [line = ''] = written;
        assert.equal(line.indexOf('\n'), line.length - 1);
        assert.doesNotMatch(line, /\r/);
        assert.equal(JSON.parse(line).value, value);
      }),
    );
  });

  test('with the current time', () => {
    const written: string[] = [];
    const before = Date.now();
    createLogger({ level: 'info', isTerminal: false, write: (line) => written.push(line) }).log('info', 'x');
    const time = Date.parse(JSON.parse(written.join('')).time);
    assert.ok(time >= before && time <= Date.now());
  });
});

describe('each event is one line on a terminal', () => {
  test('with time of day, level, event and fields', () => {
    const line = '03:04:05.678 info  happened image=nginx:latest bytes=5 ok=true none=null\n';
    assert.equal(lineOf(FIELDS, true), line);
  });

  const table: Readonly<Record<string, string>> = {
    plain: 'plain',
    '': '""',
    'two words': '"two words"',
    'a"b': '"a\\"b"',
    'x\n03:04:05.678 error forged': '"x\\n03:04:05.678 error forged"',
    'x\r\nforged': '"x\\r\\nforged"',
    '\u001b[2Jgone': '"\\u001b[2Jgone"',
    // Characters that JSON does not escape: DEL, the one-character CSI, a line separator, a change of direction.
    'x\u007f': '"x\\u007f"',
    'x\u009b2J': '"x\\u009b2J"',
    'x\u2028y': '"x\\u2028y"',
    '\u202egpj.exe': '"\\u202egpj.exe"',
    'x\u{e0001}': '"x\\udb40\\udc01"',
    'Größe 漢 😀': '"Größe 漢 😀"',
  };
  for (const [value, shown] of Object.entries(table)) {
    test(`with ${JSON.stringify(value)} as ${shown}`, () => {
      assert.equal(lineOf({ value }, true), `03:04:05.678 info  happened value=${shown}\n`);
    });
  }

  test('for any value of a field, and quoted values are JSON', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (value) => {
        const { logger, written } = makeLogger({ isTerminal: true });
        logger.log('info', 'happened', { value });
        const [line = ''] = written;
        assert.equal(line.indexOf('\n'), line.length - 1);
        const shown = stripVTControlCharacters(line).slice('03:04:05.678 info  happened value='.length, -1);
        assert.doesNotMatch(shown, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
        assert.equal(shown.startsWith('"') ? JSON.parse(shown) : shown, value);
      }),
      { numRuns: 500 },
    );
  });
});

describe('a level', () => {
  for (const isTerminal of [false, true]) {
    for (const [index, level] of LOG_LEVELS.entries()) {
      test(`${level} writes ${LOG_LEVELS.slice(index).join(', ')} ${isTerminal ? 'to a terminal' : 'as JSON'}`, () => {
        const { logger, written } = makeLogger({ level, isTerminal });
        for (const other of LOG_LEVELS) logger.log(other, `event_${other}`);
        assert.deepEqual(
          written.map((line) => /event_(\w+)/.exec(line)?.[1]),
          LOG_LEVELS.slice(index),
        );
      });
    }
  }

  test('is in each line', () => {
    const { logger, written } = makeLogger();
    for (const level of LOG_LEVELS) logger.log(level, 'x');
    assert.deepEqual(
      written.map((line) => JSON.parse(line).level),
      LOG_LEVELS,
    );
  });
});

describe('an event inside a span', () => {
  test('has trace and span IDs that its fields cannot replace', async () => {
    const { logger, written } = makeLogger();
    await withSpan('outer', {}, () =>
      withSpan('inner', {}, () => logger.log('info', 'happened', { bytes: 5, trace_id: 'forged' })),
    );
    const { traceId, spanId } = recorder.only('inner').spanContext();
    assert.equal(traceId, recorder.only('outer').spanContext().traceId);
    const { time: _, ...line } = JSON.parse(written.join(''));
    assert.deepEqual(line, {
      level: 'info',
      event: 'happened',
      bytes: 5,
      trace_id: traceId,
      span_id: spanId,
    });
  });

  test('has them on a terminal too', async () => {
    const { logger, written } = makeLogger({ isTerminal: true });
    await withSpan('step', {}, () => logger.log('info', 'happened'));
    const { traceId, spanId } = recorder.only('step').spanContext();
    assert.equal(
      stripVTControlCharacters(written.join('')),
      `03:04:05.678 info  happened trace_id=${traceId} span_id=${spanId}\n`,
    );
  });

  test('has no IDs of an invalid or ended span', async () => {
    const { logger, written } = makeLogger();
    const none = trace.setSpan(context.active(), trace.wrapSpanContext(INVALID_SPAN_CONTEXT));
    context.with(none, () => logger.log('info', 'happened'));
    await withSpan('step', {}, () => undefined);
    logger.log('info', 'happened');
    const bare = '{"time":"2026-01-02T03:04:05.678Z","level":"info","event":"happened"}\n';
    assert.deepEqual(written, [bare, bare]);
  });
});

describe('an exported event', () => {
  const SEVERITIES = { trace: 1, debug: 5, info: 9, warn: 13, error: 17 } as const;

  for (const level of LOG_LEVELS) {
    test(`is a record with the severity of ${level}, and a line`, () => {
      const { logger, written } = makeLogger({ isExported: true });
      logger.log(level, 'happened', { image: 'nginx:latest', bytes: 5, ok: true });
      const [{ scope, record } = { scope: '', record: {} }, ...others] = emitted;
      const { context: _, ...rest } = record;
      assert.deepEqual([scope, others], ['docker-http-passthrough', []]);
      assert.deepEqual(rest, {
        timestamp: NOW,
        severityNumber: SEVERITIES[level],
        severityText: level.toUpperCase(),
        eventName: 'happened',
        body: 'happened',
        attributes: { image: 'nginx:latest', bytes: 5, ok: true },
      });
      assert.equal(JSON.parse(written.join('')).image, 'nginx:latest');
    });
  }

  test('has no attributes for null and undefined', () => {
    const { logger } = makeLogger({ isExported: true });
    logger.log('info', 'happened', { none: null, left: undefined, zero: 0, no: false, empty: '' });
    logger.log('info', 'happened');
    assert.deepEqual(
      emitted.map(({ record }) => record.attributes),
      [{ zero: 0, no: false, empty: '' }, {}],
    );
  });

  test('has the context of its span, but no attribute for it', async () => {
    const { logger } = makeLogger({ isExported: true });
    await withSpan('step', {}, () => logger.log('info', 'happened', { bytes: 5 }));
    logger.log('info', 'later');
    const spans = emitted.map(({ record }) => record.context && trace.getSpan(record.context));
    assert.deepEqual(spans, [recorder.only('step'), undefined]);
    assert.deepEqual(emitted[0]?.record.attributes, { bytes: 5 });
  });

  test('has the time of its line', () => {
    const written: string[] = [];
    const write = (line: string) => written.push(line);
    createLogger({ level: 'info', isTerminal: false, write, isExported: true }).log('info', 'happened');
    const time = emitted[0]?.record.timestamp;
    assert.ok(time instanceof Date);
    assert.equal(JSON.parse(written.join('')).time, time.toISOString());
  });

  test('has at least the level of its logger', () => {
    const { logger } = makeLogger({ level: 'warn', isExported: true });
    for (const level of LOG_LEVELS) logger.log(level, 'happened');
    assert.deepEqual(
      emitted.map(({ record }) => record.severityText),
      ['WARN', 'ERROR'],
    );
  });

  test('needs isExported', () => {
    for (const options of [{}, { isExported: false }]) {
      const { logger, written } = makeLogger(options);
      logger.log('error', 'happened');
      assert.equal(written.length, 1);
    }
    assert.deepEqual(emitted, []);
  });
});
