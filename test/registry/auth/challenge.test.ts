import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { parseChallenges } from '../../../src/registry/auth/challenge.ts';

type Plain = readonly (readonly [scheme: string, params: Readonly<Record<string, string>>])[];

const plain = (header: string): Plain =>
  parseChallenges(header).map(({ scheme, params }) => [scheme, Object.fromEntries(params)]);

const REALM = 'https://auth.example.com/token';
const FULL: Plain = [['bearer', { realm: REALM, service: 's', scope: 'repository:a/b:pull' }]];

const CASES: readonly [name: string, header: string, expected: Plain][] = [
  ['the usual spelling', `Bearer realm="${REALM}",service="s",scope="repository:a/b:pull"`, FULL],
  ['a scheme in lower case', `bearer realm="${REALM}",service="s",scope="repository:a/b:pull"`, FULL],
  ['all names in upper case', `BEARER REALM="${REALM}",SERVICE="s",SCOPE="repository:a/b:pull"`, FULL],
  ['values without quotes', `Bearer realm=${REALM},service=s,scope=repository:a/b:pull`, FULL],
  ['blanks around commas', `Bearer realm="${REALM}" ,\t service="s" , scope="repository:a/b:pull"`, FULL],
  ['blanks around =', `Bearer realm = "${REALM}", service\t=\ts, scope ="repository:a/b:pull"`, FULL],
  [
    'blanks around an unquoted value',
    `Bearer realm = ${REALM} , service= s , scope=repository:a/b:pull`,
    FULL,
  ],
  ['blanks in place of commas', `Bearer realm="${REALM}" service="s" scope="repository:a/b:pull"`, FULL],
  [
    'several blanks behind the scheme',
    `Bearer   realm="${REALM}",service="s",scope="repository:a/b:pull"`,
    FULL,
  ],
  ['empty elements', `, ,Bearer realm="${REALM}",, service="s",scope="repository:a/b:pull",`, FULL],
  ['another order', `Bearer scope="repository:a/b:pull",service="s",realm="${REALM}"`, FULL],
  [
    'parameters that nobody knows',
    `Bearer realm="${REALM}",error="invalid_token",x-y=1,authorization_uri="https://a/?b=c,d"`,
    [['bearer', { realm: REALM, error: 'invalid_token', 'x-y': '1', authorization_uri: 'https://a/?b=c,d' }]],
  ],
  [
    'commas in a scope',
    'Bearer scope="repository:a:pull,push repository:b:pull",service="s"',
    [['bearer', { scope: 'repository:a:pull,push repository:b:pull', service: 's' }]],
  ],
  [
    'escaped quotes and backslashes',
    String.raw`Basic realm="a \"b\", c=\\d", charset="UTF-8"`,
    [['basic', { realm: String.raw`a "b", c=\d`, charset: 'UTF-8' }]],
  ],
  ['an empty value', 'Bearer realm="",service="s"', [['bearer', { realm: '', service: 's' }]]],
  ['the first of a repeated parameter', 'Bearer realm="a",realm="b"', [['bearer', { realm: 'a' }]]],
  ['a missing last quote', 'Bearer service="s",realm="a b', [['bearer', { service: 's', realm: 'a b' }]]],
  [
    'two challenges in one header',
    `Basic realm="a, b", Bearer realm="${REALM}",service="s"`,
    [
      ['basic', { realm: 'a, b' }],
      ['bearer', { realm: REALM, service: 's' }],
    ],
  ],
  [
    'two challenges without quotes',
    `Bearer realm=${REALM},service=s,Basic realm=a`,
    [
      ['bearer', { realm: REALM, service: 's' }],
      ['basic', { realm: 'a' }],
    ],
  ],
  ['a scheme alone', 'Negotiate', [['negotiate', {}]]],
  [
    'a scheme alone before another',
    'Negotiate, Bearer realm="a"',
    [
      ['negotiate', {}],
      ['bearer', { realm: 'a' }],
    ],
  ],
  [
    'token68',
    'NTLM TlRMTVNTUAAB/+-._~==, Bearer realm="a"',
    [
      ['ntlm', {}],
      ['bearer', { realm: 'a' }],
    ],
  ],
  [
    'token68 at the end',
    'Bearer realm="a", Negotiate YII=',
    [
      ['bearer', { realm: 'a' }],
      ['negotiate', {}],
    ],
  ],
  ['nothing', '', []],
  ['blanks and commas alone', ' , ,\t', []],
  ['a parameter of no scheme', 'realm="a"', []],
  ['up to what cannot be read', 'Bearer realm="a", "b", Basic realm="c"', [['bearer', { realm: 'a' }]]],
];

for (const [name, header, expected] of CASES) {
  test(`reads ${name}`, () => assert.deepEqual(plain(header), expected));
}

test('reads back whatever the grammar can write', () => {
  const token = fc.stringMatching(/^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,12}$/);
  const gap = fc.stringMatching(/^[ \t]{0,2}$/);
  // A field value holds tabs and anything printable; more than Latin-1 cannot arrive in a header.
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
