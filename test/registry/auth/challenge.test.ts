import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { parseChallenges } from '../../../src/registry/auth/challenge.ts';

/** Challenges as text: `scheme[name=value; name=value]`. */
const parsed = (header: string): string[] =>
  parseChallenges(header).map(
    ({ scheme, params }) => `${scheme}[${[...params].map((param) => param.join('=')).join('; ')}]`,
  );

const REALM = 'https://auth.example.com/token';
const USUAL = `bearer[realm=${REALM}; service=s; scope=repository:a/b:pull]`;

const ROWS: readonly [name: string, header: string, challenges: readonly string[]][] = [
  ['quoted values', `Bearer realm="${REALM}",service="s",scope="repository:a/b:pull"`, [USUAL]],
  ['a scheme in lower case', `bearer realm="${REALM}",service="s",scope="repository:a/b:pull"`, [USUAL]],
  ['names in upper case', `BEARER REALM="${REALM}",SERVICE="s",SCOPE="repository:a/b:pull"`, [USUAL]],
  ['unquoted values', `Bearer realm=${REALM},service=s,scope=repository:a/b:pull`, [USUAL]],
  ['spaces at commas', `Bearer realm="${REALM}" ,\t service="s" , scope="repository:a/b:pull"`, [USUAL]],
  ['spaces at =', `Bearer realm = "${REALM}", service\t=\ts, scope ="repository:a/b:pull"`, [USUAL]],
  ['spaces at unquoted values', `Bearer realm = ${REALM} , service= s , scope=repository:a/b:pull`, [USUAL]],
  ['spaces for commas', `Bearer realm="${REALM}" service="s" scope="repository:a/b:pull"`, [USUAL]],
  ['spaces after a scheme', `Bearer   realm="${REALM}",service="s",scope="repository:a/b:pull"`, [USUAL]],
  ['empty elements', `, ,Bearer realm="${REALM}",, service="s",scope="repository:a/b:pull",`, [USUAL]],
  ['any order', 'Bearer scope="a",service="s",realm="b"', ['bearer[scope=a; service=s; realm=b]']],
  [
    'unknown parameters',
    'Bearer error="e",x-y=1,uri="https://a/?b=c,d"',
    ['bearer[error=e; x-y=1; uri=https://a/?b=c,d]'],
  ],
  [
    'commas in values',
    'Bearer scope="repository:a:pull,push b",service="s"',
    ['bearer[scope=repository:a:pull,push b; service=s]'],
  ],
  [
    'escapes',
    String.raw`Basic realm="a \"b\", c=\\d", charset="UTF-8"`,
    [String.raw`basic[realm=a "b", c=\d; charset=UTF-8]`],
  ],
  ['an empty value', 'Bearer realm="",service="s"', ['bearer[realm=; service=s]']],
  ['the first of a repeated parameter', 'Bearer realm="a",realm="b"', ['bearer[realm=a]']],
  ['a missing closing quote', 'Bearer service="s",realm="a b', ['bearer[service=s; realm=a b]']],
  [
    'two challenges',
    'Basic realm="a, b", Bearer realm="c",service="s"',
    ['basic[realm=a, b]', 'bearer[realm=c; service=s]'],
  ],
  [
    'two unquoted challenges',
    'Bearer realm=a,service=s,Basic realm=b',
    ['bearer[realm=a; service=s]', 'basic[realm=b]'],
  ],
  ['a scheme alone', 'Negotiate', ['negotiate[]']],
  ['a scheme alone before another', 'Negotiate, Bearer realm="a"', ['negotiate[]', 'bearer[realm=a]']],
  ['token68', 'NTLM TlRMTVNTUAAB/+-._~==, Bearer realm="a"', ['ntlm[]', 'bearer[realm=a]']],
  ['token68 at the end', 'Bearer realm="a", Negotiate YII=', ['bearer[realm=a]', 'negotiate[]']],
  ['nothing', '', []],
  ['spaces and commas', ' , ,\t', []],
  ['a parameter without a scheme', 'realm="a"', []],
  ['the part before a syntax error', 'Bearer realm="a", "b", Basic realm="c"', ['bearer[realm=a]']],
];

for (const [name, header, challenges] of ROWS) {
  test(`parses ${name}`, () => assert.deepEqual(parsed(header), challenges));
}

test('parses every header of the grammar', () => {
  const token = fc.stringMatching(/^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,12}$/);
  const gap = fc.stringMatching(/^[ \t]{0,2}$/);
  // Field values contain tabs and printable Latin-1.
  const text = fc.stringMatching(/^[\t\x20-\x7e\xa0-\xff]{0,20}$/);
  const param = fc.record({ name: token, value: text, before: gap, after: gap, bare: fc.boolean() });
  const challenge = fc.record({ scheme: token, params: fc.uniqueArray(param, { minLength: 1, selector }) });

  fc.assert(
    fc.property(fc.array(challenge, { minLength: 1, maxLength: 4 }), (challenges) => {
      const header = challenges.map((one) => `${one.scheme} ${one.params.map(write).join(',')}`).join(', ');
      const expected = challenges.map(({ scheme, params }) => [
        scheme.toLowerCase(),
        new Map(params.map(({ name, value }) => [name.toLowerCase(), value])),
      ]);
      assert.deepEqual(
        parseChallenges(header).map(({ scheme, params }) => [scheme, params]),
        expected,
      );
    }),
  );
});

interface Param {
  readonly name: string;
  readonly value: string;
  readonly before: string;
  readonly after: string;
  readonly bare: boolean;
}

function selector({ name }: Param): string {
  return name.toLowerCase();
}

function write({ name, value, before, after, bare }: Param): string {
  const isToken = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(value);
  const written = bare && isToken ? value : `"${value.replace(/["\\]/g, '\\$&')}"`;
  return `${name}${before}=${after}${written}`;
}
