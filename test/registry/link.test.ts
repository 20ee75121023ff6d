import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { nextLink, parseLinks } from '../../src/registry/link.ts';

const TABLE: [name: string, header: string, links: [target: string, params: Record<string, string>][]][] = [
  ['a quoted parameter', '</v2/a>; rel="next"', [['/v2/a', { rel: 'next' }]]],
  ['a bare parameter', '</v2/a>;rel=next', [['/v2/a', { rel: 'next' }]]],
  [
    'an absolute target',
    '<https://example.com/v2/?n=1&last=b>; rel=next',
    [['https://example.com/v2/?n=1&last=b', { rel: 'next' }]],
  ],
  ['names in upper case', '<a>; REL="Next"', [['a', { rel: 'Next' }]]],
  ['whitespace', ' <a>\t ; rel = "next" ; x=y ', [['a', { rel: 'next', x: 'y' }]]],
  ['separators inside a target', '<a,b;c="d">; rel=next', [['a,b;c="d"', { rel: 'next' }]]],
  [
    'separators inside quotes',
    '<a>; title="x, <b>; rel=prev"; rel=next',
    [['a', { title: 'x, <b>; rel=prev', rel: 'next' }]],
  ],
  ['escapes inside quotes', '<a>; title="\\"b\\""', [['a', { title: '"b"' }]]],
  ['a parameter without a value', '<a>; crossorigin; rel=next', [['a', { crossorigin: '', rel: 'next' }]]],
  ['a link without parameters', '<a>', [['a', {}]]],
  ['an empty target', '<>; rel=next', [['', { rel: 'next' }]]],
  ['a URL as a relation', '<a>; rel=https://example.com/r', [['a', { rel: 'https://example.com/r' }]]],
  ['the first of a repeated parameter', '<a>; rel=prev; rel=next', [['a', { rel: 'prev' }]]],
  [
    'two links',
    '<a>; rel=prev, <b>; rel=next',
    [
      ['a', { rel: 'prev' }],
      ['b', { rel: 'next' }],
    ],
  ],
  [
    'empty elements',
    ', ,<a>,,<b>; ;rel=next;,',
    [
      ['a', {}],
      ['b', { rel: 'next' }],
    ],
  ],
  ['nothing', '', []],
  ['no link at all', 'next page', []],
  ['a target without brackets', '/v2/a; rel=next', []],
  ['a target without an end', '</v2/a; rel=next', []],
  ['the part before a syntax error', '<a>; rel=next oops, <b>', [['a', { rel: 'next' }]]],
];

describe('a Link header', () => {
  for (const [name, header, links] of TABLE) {
    test(`parses ${name}`, () => {
      assert.deepEqual(
        parseLinks(header).map(({ target, params }) => [target, Object.fromEntries(params)]),
        links,
      );
    });
  }

  test('is parsed to its end, whatever it contains', () => {
    const part = fc.constantFrom('<', '>', '"', '\\', ';', ',', '=', ' ', 'rel', 'next', 'a', '\t');
    fc.assert(
      fc.property(fc.array(part, { maxLength: 40 }), (parts) => {
        for (const { target } of parseLinks(parts.join(''))) assert.ok(!target.includes('>'));
      }),
    );
  });
});

describe('the next page', () => {
  const table: [header: string, target: string | undefined][] = [
    ['</v2/a>; rel="next"', '/v2/a'],
    ['</v2/a>; rel=NEXT', '/v2/a'],
    ['</v2/a>; rel="last  next"', '/v2/a'],
    ['<a>; rel=prev, <b>; rel=next, <c>; rel=next', 'b'],
    ['<a>; rel=next; anchor="#b"', undefined],
    ['<a>; rel="nextish"', undefined],
    ['<a>; rel="prev"; title="rel=next"', undefined],
    ['<a>; rev=next', undefined],
    ['<a>', undefined],
    ['', undefined],
  ];
  for (const [header, target] of table) {
    test(`of ${JSON.stringify(header)} is ${target}`, () => assert.equal(nextLink(header), target));
  }
});
