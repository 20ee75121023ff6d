import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type DiagLogger, DiagLogLevel } from '@opentelemetry/api';
import { diagLogger, diagLogLevel } from '../../src/telemetry/diagnostics.ts';
import { createLogger, type LogFields, type LogLevel } from '../../src/telemetry/log.ts';
import { withSpan } from '../../src/telemetry/span.ts';
import { recordSpans } from '../support/span-recorder.ts';

const MINUTE_MS = 60_000;

/** The SDK's logger with a clock of the test. */
function makeDiag() {
  const written: { level: LogLevel; event: string; fields: LogFields | undefined }[] = [];
  const clock = { ms: 1_234_567 };
  const diag = diagLogger(
    { log: (level, event, fields) => written.push({ level, event, fields }) },
    () => clock.ms,
  );
  return {
    diag,
    clock,
    written,
    /** Message and number of suppressed messages of each line. */
    lines: () =>
      written.map(({ fields: { message, suppressed } = {} }) =>
        suppressed === undefined ? message : `${message} +${suppressed}`,
      ),
  };
}

/** The message of the line for these parts. */
function messageOf(...parts: [message: string, ...rest: unknown[]]): unknown {
  const { diag, written } = makeDiag();
  diag.warn(...parts);
  return written[0]?.fields?.['message'];
}

describe('a message of the SDK', () => {
  for (const [method, level] of [
    ['error', 'warn'],
    ['warn', 'warn'],
    ['info', 'info'],
    ['debug', 'debug'],
    ['verbose', 'trace'],
  ] as const satisfies readonly [keyof DiagLogger, LogLevel][]) {
    test(`of level ${method} is a line with event telemetry and level ${level}`, () => {
      const { diag, written } = makeDiag();
      diag[method]('something happened');
      assert.deepEqual(written, [
        { level, event: 'telemetry', fields: { message: 'something happened', suppressed: undefined } },
      ]);
    });
  }
});

describe('warnings', () => {
  /** Messages of the SDK as `second method message…`, and the expected lines with their numbers of suppressed messages. */
  const table: readonly [what: string, said: readonly string[], lines: readonly string[]][] = [
    [
      'are written once a minute, with the number of suppressed ones',
      ['0 error first x', '0.001 error x', '59.999 error x', '60 error second'],
      ['first', 'second +3'],
    ],
    [
      'count only the suppressed ones since the last line',
      ['0 warn first x x', '60 warn second x', '120 warn third', '180 warn fourth'],
      ['first', 'second +2', 'third +1', 'fourth'],
    ],
    [
      'are written at once after a pause, and each line starts a new minute',
      ['0 warn first', '600 warn second', '659.999 warn x'],
      ['first', 'second'],
    ],
    [
      'share their limit with errors, for all signals',
      ['0 error traces', '0 warn metrics', '0 error logs', '60 warn metrics'],
      ['traces', 'metrics +2'],
    ],
    [
      'do not share their limit with infos',
      ['0 info news x', '0 warn warning x x', '60 info later', '60 warn last'],
      ['news', 'warning', 'later +1', 'last +2'],
    ],
  ];
  for (const [what, said, expected] of table) {
    test(what, () => {
      const { diag, clock, lines } = makeDiag();
      const start = clock.ms;
      for (const text of said) {
        const [seconds, method, ...messages] = text.split(' ');
        clock.ms = start + Number(seconds) * 1000;
        for (const message of messages) diag[method as keyof DiagLogger](message);
      }
      assert.deepEqual(lines(), expected);
    });
  }

  test('do not fill the disk in a night', () => {
    const { diag, clock, written } = makeDiag();
    // 12 hours of an export every 5 seconds.
    for (let count = 0; count < 12 * 720; count += 1) {
      diag.error('no collector');
      clock.ms += 5_000;
    }
    assert.equal(written.length, 12 * 60);
  });

  test('have a separate limit for each logger', () => {
    const [one, other] = [makeDiag(), makeDiag()];
    one.diag.warn('here');
    other.diag.warn('there');
    assert.deepEqual([one.lines(), other.lines()], [['here'], ['there']]);
  });

  test('do not share their limit with debug and verbose, which have none', () => {
    const { diag, clock, lines } = makeDiag();
    for (const message of ['first', 'x']) diag.warn(message);
    for (let times = 0; times < 50; times += 1) {
      diag.debug('batch');
      diag.verbose('batch');
    }
    clock.ms += MINUTE_MS;
    diag.warn('last');
    assert.deepEqual(lines(), ['first', ...Array(100).fill('batch'), 'last +1']);
  });
});

test('a line has no trace ID, also during a request', async () => {
  recordSpans();
  const written: string[] = [];
  const write = (line: string) => written.push(line);
  const diag = diagLogger(createLogger({ level: 'trace', isTerminal: false, write }));
  await withSpan('request', {}, () => {
    diag.warn('warning');
    diag.debug('batch');
  });
  assert.equal(written.length, 2);
  for (const line of written) assert.equal(JSON.parse(line).trace_id, undefined);
});

describe('the text of a message', () => {
  test('has all parts', () => {
    assert.equal(messageOf('export', 'failed', 'twice'), 'export failed twice');
  });

  test('has the message of an error without its stack', () => {
    const error = new TypeError('connect ECONNREFUSED 127.0.0.1:4317');
    assert.match(error.stack ?? '', /diagnostics\.test/);
    assert.equal(messageOf('Cannot export:', error), 'Cannot export: connect ECONNREFUSED 127.0.0.1:4317');
  });

  test("has the message of an error in the SDK's JSON, without its stack", () => {
    // The SDK's global error handler writes all properties of an error as JSON.
    const form = JSON.stringify({
      stack: 'Error: 14 UNAVAILABLE\n    at callErrorFromStatus (/app/call.js:32:19)',
      message: '14 UNAVAILABLE: No connection established',
      code: '14',
      name: 'Error',
    });
    assert.equal(messageOf(form), '14 UNAVAILABLE: No connection established');
  });

  for (const text of ['{"code":14}', '{"message":7}', '{not JSON', '{}']) {
    test(`keeps other text that looks like JSON: ${text}`, () => assert.equal(messageOf(text), text));
  }

  test('has only the type of other values, which may contain secrets', () => {
    assert.equal(
      messageOf('items to be sent', [{ token: 'secret' }], 5, undefined, null),
      ['items to be sent', 'object', 'number', 'undefined', 'object'].join(' '),
    );
  });

  test('has at most 500 characters of each part', () => {
    const long = 'x'.repeat(10_000);
    const shown = `${'x'.repeat(500)}…`;
    assert.equal(messageOf('x'.repeat(500)), 'x'.repeat(500));
    assert.equal(messageOf(long), shown);
    assert.equal(messageOf('a', new Error(long), long), `a ${shown} ${shown}`);
    assert.equal(messageOf(JSON.stringify({ message: long, stack: 'y' })), shown);
  });
});

describe('OTEL_LOG_LEVEL', () => {
  for (const [text, level] of [
    ['none', DiagLogLevel.NONE],
    ['error', DiagLogLevel.ERROR],
    ['warn', DiagLogLevel.WARN],
    ['info', DiagLogLevel.INFO],
    ['debug', DiagLogLevel.DEBUG],
    ['verbose', DiagLogLevel.VERBOSE],
    ['all', DiagLogLevel.ALL],
  ] as const) {
    test(`may be ${text}, in upper or lower case`, () => {
      assert.equal(diagLogLevel(text), level);
      assert.equal(diagLogLevel(` ${text.toUpperCase()} `), level);
    });
  }

  test('defaults to warnings, also for unknown values', () => {
    for (const text of [undefined, '', ' ', 'loud', '50']) {
      assert.equal(diagLogLevel(text), DiagLogLevel.WARN, `${text}`);
    }
  });
});
