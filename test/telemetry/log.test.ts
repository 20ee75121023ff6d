import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { context, INVALID_SPAN_CONTEXT, type LogRecord, logs, trace } from '@opentelemetry/api';
import fc from 'fast-check';
import { createLogger, LOG_LEVELS, type LogFields, type LogLevel } from '../../src/telemetry/log.ts';
import { withSpan } from '../../src/telemetry/span.ts';
import { recordSpans } from '../support/span-recorder.ts';

const recorder = recordSpans();
/** What went to the logs signal, by the name of the logger that it came from. */
const emitted: { readonly scope: string; readonly record: LogRecord }[] = [];
logs.setGlobalLoggerProvider({
  getLogger: (scope) => ({ emit: (record) => emitted.push({ scope, record }), enabled: () => true }),
});
beforeEach(() => {
  recorder.reset();
  emitted.length = 0;
});

const NOW = new Date('2026-01-02T03:04:05.678Z');

/** A logger, and the lines that it wrote. */
function makeLogger({
  level = 'trace',
  isTerminal = false,
  isExported,
}: {
  level?: LogLevel;
  isTerminal?: boolean;
  isExported?: boolean;
} = {}) {
  const written: string[] = [];
  const logger = createLogger({
    level,
    isTerminal,
    write: (line) => written.push(line),
    now: () => NOW,
    ...(isExported !== undefined && { isExported }),
  });
  return { logger, written };
}

const jsonLine = (fields?: LogFields) => {
  const { logger, written } = makeLogger();
  logger.log('info', 'happened', fields);
  return written.join('');
};

const terminalLine = (fields?: LogFields) => {
  const { logger, written } = makeLogger({ isTerminal: true });
  logger.log('info', 'happened', fields);
  return stripVTControlCharacters(written.join(''));
};

describe('each event is one line of JSON', () => {
  test('with time, level, event and facts', () => {
    assert.equal(
      jsonLine({ image: 'nginx:latest', bytes: 5, ok: true, none: null, left: undefined }),
      '{"time":"2026-01-02T03:04:05.678Z","level":"info","event":"happened",' +
        '"image":"nginx:latest","bytes":5,"ok":true,"none":null}\n',
    );
  });

  test('without facts', () => {
    assert.equal(jsonLine(), '{"time":"2026-01-02T03:04:05.678Z","level":"info","event":"happened"}\n');
  });

  test('whatever the facts hold', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (value) => {
        const line = jsonLine({ value });
        assert.equal(line.indexOf('\n'), line.length - 1);
        assert.doesNotMatch(line, /\r/);
        assert.equal(JSON.parse(line).value, value);
      }),
    );
  });

  test('stamped with the time at which it is written', () => {
    const written: string[] = [];
    const before = Date.now();
    createLogger({ level: 'info', isTerminal: false, write: (line) => written.push(line) }).log('info', 'x');
    const time = Date.parse(JSON.parse(written.join('')).time);
    assert.ok(time >= before && time <= Date.now());
  });
});

describe('each event is one line on a terminal', () => {
  test('with clock, level, event and facts', () => {
    assert.equal(
      terminalLine({ image: 'nginx:latest', bytes: 5, ok: true, none: null, left: undefined }),
      '03:04:05.678 info  happened image=nginx:latest bytes=5 ok=true none=null\n',
    );
  });

  const table: Readonly<Record<string, string>> = {
    plain: 'plain',
    '': '""',
    'two words': '"two words"',
    'a"b': '"a\\"b"',
    'x\n03:04:05.678 error forged': '"x\\n03:04:05.678 error forged"',
    'x\r\nforged': '"x\\r\\nforged"',
    '\u001b[2Jgone': '"\\u001b[2Jgone"',
    // Controls that JSON leaves as they are: DEL, the one-character CSI, a line separator, a turn of direction.
    'x\u007f': '"x\\u007f"',
    'x\u009b2J': '"x\\u009b2J"',
    'x\u2028y': '"x\\u2028y"',
    '\u202egpj.exe': '"\\u202egpj.exe"',
    'x\u{e0001}': '"x\\udb40\\udc01"',
    'Größe 漢 😀': '"Größe 漢 😀"',
  };
  for (const [value, shown] of Object.entries(table)) {
    test(`with ${JSON.stringify(value)} as ${shown}`, () => {
      assert.equal(terminalLine({ value }), `03:04:05.678 info  happened value=${shown}\n`);
    });
  }

  test('whatever the facts hold, and quoted facts are read back the same', () => {
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
      test(`${level} lets ${LOG_LEVELS.slice(index).join(', ')} through ${isTerminal ? 'to a terminal' : 'as JSON'}`, () => {
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
  test('names its trace and its span behind its facts, which cannot pretend to be them', async () => {
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

  test('names them on a terminal too', async () => {
    const { logger, written } = makeLogger({ isTerminal: true });
    await withSpan('step', {}, () => logger.log('info', 'happened'));
    const { traceId, spanId } = recorder.only('step').spanContext();
    assert.equal(
      stripVTControlCharacters(written.join('')),
      `03:04:05.678 info  happened trace_id=${traceId} span_id=${spanId}\n`,
    );
  });

  test('names none where the span is that of an API without an SDK, or where it is over', async () => {
    const { logger, written } = makeLogger();
    const none = trace.setSpan(context.active(), trace.wrapSpanContext(INVALID_SPAN_CONTEXT));
    context.with(none, () => logger.log('info', 'happened'));
    await withSpan('step', {}, () => undefined);
    logger.log('info', 'happened');
    const bare = '{"time":"2026-01-02T03:04:05.678Z","level":"info","event":"happened"}\n';
    assert.deepEqual(written, [bare, bare]);
  });
});

describe('an event that is exported', () => {
  const SEVERITIES = { trace: 1, debug: 5, info: 9, warn: 13, error: 17 } as const;

  for (const level of LOG_LEVELS) {
    test(`is a record with the severity of ${level}, and is written as well`, () => {
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

  test('has no attribute for a fact that is not there', () => {
    const { logger } = makeLogger({ isExported: true });
    logger.log('info', 'happened', { none: null, left: undefined, zero: 0, no: false, empty: '' });
    logger.log('info', 'happened');
    assert.deepEqual(
      emitted.map(({ record }) => record.attributes),
      [{ zero: 0, no: false, empty: '' }, {}],
    );
  });

  test('belongs to the span in which it happened, and says so in no attribute', async () => {
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

  test('is none below the level of its logger', () => {
    const { logger } = makeLogger({ level: 'warn', isExported: true });
    for (const level of LOG_LEVELS) logger.log(level, 'happened');
    assert.deepEqual(
      emitted.map(({ record }) => record.severityText),
      ['WARN', 'ERROR'],
    );
  });

  test('is none of a logger that exports nothing, as a logger does unless told to', () => {
    for (const isExported of [undefined, false]) {
      const { logger, written } = makeLogger({ ...(isExported !== undefined && { isExported }) });
      logger.log('error', 'happened');
      assert.equal(written.length, 1);
    }
    assert.deepEqual(emitted, []);
  });
});
