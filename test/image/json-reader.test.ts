import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { JsonLimitError, readJson } from '../../src/image/json-reader.ts';
import type { JsonShape } from '../../src/image/json-shape.ts';

const read = (text: string, shape: Exclude<JsonShape, string>) => readJson(Buffer.from(text), shape);
const ALL = { fields: { a: 'scalar' } } as const;

/** Whether `JSON.parse` takes a text. */
function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

describe('a shape', () => {
  const table: readonly [shape: JsonShape, text: string, value: unknown][] = [
    ['scalar', '"x"', 'x'],
    ['scalar', '-1.5e2', -150],
    ['scalar', 'true', true],
    ['scalar', 'false', false],
    ['scalar', 'null', null],
    ['scalar', '[1]', []],
    ['scalar', '{"a":1}', {}],
    ['source', ' {"b" : [1.0]} ', '{"b" : [1.0]}'],
    ['source', '"\\u00e4"', '"\\u00e4"'],
    [
      'pairs',
      '{"x":"1","":2,"x":null}',
      [
        ['x', '1'],
        ['', 2],
        ['x', null],
      ],
    ],
    ['pairs', '{"x":{"y":1}}', [['x', {}]]],
    ['pairs', '[1]', []],
    [{ items: 'scalar' }, '[1,"x",{"a":1}]', [1, 'x', {}]],
    [{ items: 'scalar' }, '{"a":1}', {}],
    [{ items: 'scalar' }, 'null', null],
    [{ fields: { x: 'scalar', y: { items: 'scalar' } } }, '{"y":[1],"z":2,"x":3}', { y: [1], x: 3 }],
    [{ fields: { x: 'scalar' } }, '{"x":1,"x":2}', { x: 2 }],
    [{ fields: { x: 'scalar' } }, '{"\\u0078":1}', { x: 1 }],
    [{ fields: { x: 'scalar' } }, '{"__proto__":1,"xx":1,"":1}', {}],
    [{ fields: { x: 'scalar' } }, '[1]', []],
    [
      { fields: { 'os.version': 'scalar', ä: 'scalar' } },
      '{"ä":"ü","os.version":"1"}',
      { 'os.version': '1', ä: 'ü' },
    ],
  ];
  for (const [shape, text, value] of table) {
    test(`${JSON.stringify(shape)} reads ${text}`, () => {
      assert.deepEqual(read(`{"a":${text}}`, { fields: { a: shape } }), { a: value });
    });
  }

  test('reads no more than 33 pairs', () => {
    const text = JSON.stringify(
      Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`n${index}`, 1])),
    );
    const { a } = read(`{"a":${text}}`, { fields: { a: 'pairs' } }) as { a: unknown[] };
    assert.equal(a.length, 33);
  });
});

describe('a text is taken for JSON exactly if JSON.parse takes it', () => {
  const pieces = [
    '{',
    '}',
    '[',
    ']',
    ':',
    ',',
    '"',
    '\\',
    'u',
    '0',
    '1',
    '-',
    '+',
    '.',
    'e',
    'E',
    'true',
    'nul',
    'l',
  ];
  const more = [' ', '\t', '"a":1', '"x"', '"\\u00e9"', '\\u12', '\u0001', 'é', '1.5e3', '00', '\ufeff'];
  const text = fc.array(fc.constantFrom(...pieces, ...more), { maxLength: 8 }).map((parts) => parts.join(''));

  test('whatever it is made of', () => {
    fc.assert(
      fc.property(text, fc.constantFrom('X', '{"a":X}', '{"b":[X]}'), (part, frame) => {
        const whole = frame.replace('X', () => part);
        // A byte order mark at the start is skipped, as by TextDecoder.
        const expected = isJson(whole.replace(/^\ufeff/, ''));
        if (expected) assert.doesNotThrow(() => read(whole, ALL), whole);
        else assert.throws(() => read(whole, ALL), SyntaxError, whole);
      }),
      { numRuns: 3000 },
    );
  });

  test('and what is read is what it has', () => {
    fc.assert(
      fc.property(fc.json(), (part) => {
        const { a } = read(` {"a": ${part} } `, { fields: { a: 'source' } }) as { a: string };
        assert.deepEqual(JSON.parse(a), JSON.parse(part));
      }),
    );
  });

  test('but for other bytes than UTF-8', () => {
    assert.throws(() => readJson(Buffer.from('{"b":"\xff"}', 'latin1'), ALL), SyntaxError);
  });
});

describe('a document is refused', () => {
  const list = (count: number) => `{"b":[${Array(count).fill('{}').join(',')}]}`;
  const table: readonly [text: string, why: string][] = [
    [list(400_000), 'it has more than 400000 values'],
    [`{"b":${'['.repeat(100)}${']'.repeat(100)}}`, 'it is nested deeper than 100 levels'],
    [`{"a":[${Array(20_001).fill(1).join(',')}]}`, 'a field of it has more than 20000 values'],
  ];
  for (const [text, why] of table) {
    test(`because ${why}`, () => {
      const reading = () => read(text, { fields: { a: 'source' } });
      assert.throws(reading, (error) => error instanceof JsonLimitError && error.message === why);
    });
  }

  test('not below these limits', () => {
    assert.deepEqual(read(list(399_000), ALL), {});
    assert.deepEqual(read(`{"b":${'['.repeat(99)}${']'.repeat(99)}}`, ALL), {});
  });
});

test('names of fields in many orders take no longer than other bytes', () => {
  // JSON.parse makes a hidden class for each order: 0.3 s for these 2 MB on a machine that needs 30 ms for 2 MB of text.
  const names = Array.from({ length: 20 }, (_, index) => `"n${index}":1`);
  const objects = Array.from({ length: 12_000 }, (_, index) => {
    const turned = [...names.slice(index % 20), ...names.slice(0, index % 20)];
    turned.splice(index % 19, 0, `"n${index}":1`);
    return `{${turned.join(',')}}`;
  });
  const document = Buffer.from(`{"b":[${objects.join(',')}]}`);
  const text = Buffer.from(JSON.stringify({ b: 'x'.repeat(document.length) }));
  const msOf = (bytes: Buffer) => {
    // Time of the processor, which other processes do not lengthen.
    const begun = process.threadCpuUsage();
    readJson(bytes, ALL);
    const { user, system } = process.threadCpuUsage(begun);
    return (user + system) / 1000;
  };
  const best = (bytes: Buffer) => Math.min(...Array.from({ length: 5 }, () => msOf(bytes)));
  const [ofText, ofNames] = [best(text), best(document)];
  assert.ok(ofNames < 40 * ofText + 50, `${ofNames} ms, and ${ofText} ms for text`);
});
