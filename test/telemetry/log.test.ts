import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import fc from 'fast-check';
import { createLogger, LOG_LEVELS, type LogFields, type LogLevel } from '../../src/telemetry/log.ts';

const NOW = new Date('2026-01-02T03:04:05.678Z');

/** A logger, and the lines that it wrote. */
function makeLogger({
  level = 'trace',
  isTerminal = false,
}: {
  level?: LogLevel;
  isTerminal?: boolean;
} = {}) {
  const written: string[] = [];
  const logger = createLogger({ level, isTerminal, write: (line) => written.push(line), now: () => NOW });
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
