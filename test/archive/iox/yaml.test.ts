import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parse, parseDocument } from 'yaml';
import { formatYaml, type YamlMap, type YamlValue } from '../../../src/archive/iox/yaml.ts';
import { isPassthroughError } from '../../../src/errors.ts';

/** Texts that mean something to a reader of YAML when they are not quoted. */
const TRICKY = [
  ...[
    '',
    ' ',
    '~',
    'null',
    'Yes',
    'no',
    'on',
    'y',
    'true',
    '0x1f',
    '0o7',
    '012',
    '1e3',
    '2.10',
    '.inf',
    '1:20',
  ],
  ...[
    '2001-12-14',
    '- a',
    'a: b',
    'a #b',
    '#',
    '&a',
    '*a',
    '!!js/function x',
    '!tag',
    '|',
    '>',
    '%YAML 1.2',
    '---',
    '...',
  ],
  ...[
    '{a: b}',
    '[a]',
    '"',
    "'",
    '\\',
    '\n',
    'a\nb: c',
    '\r\n',
    '\t',
    '\u0085',
    '\u2028',
    '\ufeff',
    '\u0000',
    '\u001b[2J',
  ],
  ...['\u{e0001}', '\u{1f600}', '@a', '`a', '<<', '?', ': ', 'a:', '__proto__', '\u202e', '='],
];

const text = fc.oneof(
  fc.constantFrom(...TRICKY),
  fc.string({ unit: 'grapheme' }),
  fc.string({ unit: 'binary' }).map((one) => one.toWellFormed()),
);
const number = fc.oneof(fc.integer(), fc.double({ min: 0.001, max: 1e9, noNaN: true }));
const name = text.map((one) => one.slice(0, 80).toWellFormed());

const { value } = fc.letrec<{ value: YamlValue; map: YamlMap; list: readonly YamlValue[] }>((tie) => ({
  value: fc.oneof({ maxDepth: 4 }, text, number, fc.boolean(), tie('list'), tie('map')),
  list: fc.array(tie('value'), { maxLength: 4 }),
  map: fc.array(fc.tuple(name, tie('value')), { maxLength: 4 }).map((pairs) => new Map(pairs)),
}));
const document = fc.array(fc.tuple(name, value), { maxLength: 5 }).map((pairs) => new Map(pairs));

describe('YAML', () => {
  for (const version of ['1.1', '1.2'] as const) {
    test(`is read back by a reader of YAML ${version}`, () => {
      fc.assert(
        fc.property(document, (map) => {
          assert.deepEqual(parse(formatYaml(map), { version, mapAsMap: true, merge: false }), map);
        }),
        { numRuns: 400 },
      );
    });
  }

  test('has no tag, anchor, alias, comment or second document, whatever the values are', () => {
    fc.assert(
      fc.property(document, (map) => {
        const read = parseDocument(formatYaml(map));
        assert.deepEqual([read.errors, read.warnings], [[], []]);
        assert.equal(read.comment ?? read.commentBefore ?? null, null);
        assert.doesNotMatch(formatYaml(map).replaceAll(/"(?:[^"\\]|\\.)*"/g, ''), /[&*!#|>%'`@]/);
      }),
    );
  });

  test('has one line for each field, and printable characters only', () => {
    for (const one of TRICKY) {
      const lines = formatYaml(new Map([['a', one]])).split('\n');
      assert.equal(lines.length, 2, JSON.stringify(one));
      assert.match(lines[0] ?? '', /^a: "[\x20-\x7e\u{1f600}]*"$/u);
    }
  });

  test('is in block style, with lists of scalars on one line', () => {
    const map = new Map<string, YamlValue>([
      ['version', '2.10'],
      ['no', new Map()],
      ['list', []],
      [
        'network',
        [
          new Map<string, YamlValue>([
            ['interface-name', 'eth0'],
            ['ports', new Map([['tcp', [80, 443]]])],
          ]),
          new Map([['interface-name', 'eth1']]),
        ],
      ],
    ]);
    assert.equal(
      formatYaml(map),
      [
        'version: "2.10"',
        '"no": {}',
        'list: []',
        'network:',
        '  - interface-name: "eth0"',
        '    ports:',
        '      tcp: [80, 443]',
        '  - interface-name: "eth1"',
        '',
      ].join('\n'),
    );
  });

  test('replaces half a surrogate, as UTF-8 does', () => {
    assert.equal(parse(formatYaml(new Map([['a', 'x\ud800y']]))).a, 'x\ufffdy');
  });

  for (const one of [Number.NaN, Number.POSITIVE_INFINITY]) {
    test(`has no ${one}`, () => {
      assert.throws(
        () => formatYaml(new Map([['a', one]])),
        (error) => isPassthroughError(error, 'INTERNAL'),
      );
    });
  }

  test('has no name that readers do not read', () => {
    const long = new Map([['a b'.repeat(400), 1]]);
    assert.throws(
      () => formatYaml(long),
      (error) => isPassthroughError(error, 'INTERNAL'),
    );
  });
});
