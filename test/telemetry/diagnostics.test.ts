import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type DiagLogger, DiagLogLevel } from '@opentelemetry/api';
import { diagLogger, diagLogLevel } from '../../src/telemetry/diagnostics.ts';
import { createLogger, type LogFields, type LogLevel } from '../../src/telemetry/log.ts';
import { withSpan } from '../../src/telemetry/span.ts';
import { recordSpans } from '../support/span-recorder.ts';

const MINUTE_MS = 60_000;

/** What the SDK talks to, under a clock that the test turns. */
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
    /** Of each line: its message, and how many it says were suppressed. */
    told: () => written.map(({ fields }) => [fields?.['message'], fields?.['suppressed']]),
  };
}

/** The message of a line that the SDK writes of these parts. */
function messageOf(...parts: [message: string, ...rest: unknown[]]): unknown {
  const { diag, written } = makeDiag();
  diag.warn(...parts);
  return written[0]?.fields?.['message'];
}

describe('what the SDK says', () => {
  for (const [method, level] of [
    ['error', 'warn'],
    ['warn', 'warn'],
    ['info', 'info'],
    ['debug', 'debug'],
    ['verbose', 'trace'],
  ] as const satisfies readonly [keyof DiagLogger, LogLevel][]) {
    test(`as ${method} is a line of the event telemetry at ${level}`, () => {
      const { diag, written } = makeDiag();
      diag[method]('something happened');
      assert.deepEqual(written, [
        { level, event: 'telemetry', fields: { message: 'something happened', suppressed: undefined } },
      ]);
    });
  }
});

describe('trouble', () => {
  test('is told once a minute, with the number of times that it was not', () => {
    const { diag, clock, told } = makeDiag();
    for (const at of [0, 1, 20_000, MINUTE_MS - 1]) {
      clock.ms = at;
      diag.error(`at ${at}`);
    }
    assert.deepEqual(told(), [['at 0', undefined]]);
    clock.ms = MINUTE_MS;
    diag.error('a minute later');
    assert.deepEqual(told().slice(1), [['a minute later', 3]]);
  });

  test('is told with the number of this minute alone', () => {
    const { diag, clock, told } = makeDiag();
    for (const message of ['first', 'suppressed', 'suppressed']) diag.warn(message);
    clock.ms += MINUTE_MS;
    for (const message of ['second', 'suppressed']) diag.warn(message);
    clock.ms += MINUTE_MS;
    diag.warn('third');
    clock.ms += MINUTE_MS;
    diag.warn('fourth');
    assert.deepEqual(told(), [
      ['first', undefined],
      ['second', 2],
      ['third', 1],
      ['fourth', undefined],
    ]);
  });

  test('is told at once after a long silence, and the minute begins anew with each line', () => {
    const { diag, clock, told } = makeDiag();
    diag.warn('first');
    clock.ms += 10 * MINUTE_MS;
    diag.warn('second');
    clock.ms += MINUTE_MS - 1;
    diag.warn('suppressed');
    assert.deepEqual(told(), [
      ['first', undefined],
      ['second', undefined],
    ]);
  });

  test('is one, whether it is called error or warning and whatever it is about', () => {
    const { diag, clock, told } = makeDiag();
    diag.error('traces');
    diag.warn('metrics');
    diag.error('logs');
    clock.ms += MINUTE_MS;
    diag.warn('metrics');
    assert.deepEqual(told(), [
      ['traces', undefined],
      ['metrics', 2],
    ]);
  });

  test('is not kept back by news that are none, nor these by it', () => {
    const { diag, clock, told } = makeDiag();
    for (const message of ['news', 'more news']) diag.info(message);
    for (const message of ['trouble', 'more trouble', 'even more']) diag.warn(message);
    clock.ms += MINUTE_MS;
    diag.info('late news');
    diag.warn('late trouble');
    assert.deepEqual(told(), [
      ['news', undefined],
      ['trouble', undefined],
      ['late news', 1],
      ['late trouble', 2],
    ]);
  });

  test('over a night fills no disk', () => {
    const { diag, clock, written } = makeDiag();
    // 12 hours of an export every 5 seconds.
    for (let export_ = 0; export_ < 12 * 720; export_ += 1) {
      diag.error('no collector');
      clock.ms += 5_000;
    }
    assert.equal(written.length, 12 * 60);
  });

  test('of one process does not silence that of another logger', () => {
    const [one, other] = [makeDiag(), makeDiag()];
    one.diag.warn('here');
    other.diag.warn('there');
    assert.deepEqual([one.told(), other.told()], [[['here', undefined]], [['there', undefined]]]);
  });
});

test('what was asked for by debug or verbose comes whole, and has nothing to do with trouble', () => {
  const { diag, clock, told } = makeDiag();
  for (const message of ['trouble', 'more trouble']) diag.warn(message);
  for (let times = 0; times < 50; times += 1) {
    diag.debug('batch');
    diag.verbose('detail');
  }
  clock.ms += MINUTE_MS;
  diag.warn('late trouble');
  const [first, ...others] = told();
  assert.deepEqual(
    [first, others.pop()],
    [
      ['trouble', undefined],
      ['late trouble', 1],
    ],
  );
  assert.equal(others.length, 100);
  for (const [, suppressed] of others) assert.equal(suppressed, undefined);
});

test('what is said in the course of a request belongs to no request', async () => {
  recordSpans();
  const written: string[] = [];
  const write = (line: string) => written.push(line);
  const diag = diagLogger(createLogger({ level: 'trace', isTerminal: false, write }));
  await withSpan('request', {}, () => {
    diag.warn('trouble');
    diag.debug('batch');
  });
  assert.equal(written.length, 2);
  for (const line of written) assert.equal(JSON.parse(line).trace_id, undefined);
});

describe('a message', () => {
  test('is all of its parts', () => {
    assert.equal(messageOf('export', 'failed', 'twice'), 'export failed twice');
  });

  test('of an error is its own message, without its stack', () => {
    const error = new TypeError('connect ECONNREFUSED 127.0.0.1:4317');
    assert.match(error.stack ?? '', /diagnostics\.test/);
    assert.equal(messageOf('Cannot export:', error), 'Cannot export: connect ECONNREFUSED 127.0.0.1:4317');
  });

  test("of an error in the SDK's form is the message in it, without its stack", () => {
    // What its global error handler makes of an error: all properties, as JSON.
    const form = JSON.stringify({
      stack: 'Error: 14 UNAVAILABLE\n    at callErrorFromStatus (/app/call.js:32:19)',
      message: '14 UNAVAILABLE: No connection established',
      code: '14',
      name: 'Error',
    });
    assert.equal(messageOf(form), '14 UNAVAILABLE: No connection established');
  });

  for (const text of ['{"code":14}', '{"message":7}', '{not JSON', '{}']) {
    test(`that only looks like that form stays as it is: ${text}`, () => assert.equal(messageOf(text), text));
  }

  test('of other things is their kind: nobody knows what they hold', () => {
    assert.equal(
      messageOf('items to be sent', [{ token: 'secret' }], 5, undefined, null),
      ['items to be sent', 'object', 'number', 'undefined', 'object'].join(' '),
    );
  });

  test('is cut where it is long, part by part', () => {
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
    test(`may be ${text}, in any case`, () => {
      assert.equal(diagLogLevel(text), level);
      assert.equal(diagLogLevel(` ${text.toUpperCase()} `), level);
    });
  }

  test('lets warnings through where it is unset, or says nothing', () => {
    for (const text of [undefined, '', ' ', 'loud', '50']) {
      assert.equal(diagLogLevel(text), DiagLogLevel.WARN, `${text}`);
    }
  });
});
