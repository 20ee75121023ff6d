import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { decodeBase64, readStrictJson } from '../../../src/pull/signatures/strict-json.ts';

describe('a document is read', () => {
  const table = [
    '{}',
    '{"a":{"b":[{"c":1},{"c":2}]},"d":"x:y"}',
    String.raw`{"a\"":":","b":"\\","c:":{"__proto__":{"x":1}}}`,
    ' {"a" : null , "b":[[],[[{"a":1}]]]} ',
  ];
  for (const text of table)
    test(text, () => assert.deepEqual(readStrictJson(Buffer.from(text)), JSON.parse(text)));
});

describe('a document is refused', () => {
  const table: readonly [name: string, text: string | Buffer, why: RegExp][] = [
    ['with a field twice', '{"a":1,"a":1}', /two of its fields/],
    ['with a field twice, deeply', '{"a":[{"b":{"c":1,"d":2,"c":3}}]}', /two of its fields/],
    ['with a field twice, once with an escape', String.raw`{"a":1,"\u0061":2}`, /two of its fields/],
    ['with a prototype twice', '{"__proto__":1,"__proto__":2}', /two of its fields/],
    ['that is a list', '[]', /not a JSON object/],
    ['that is cut', '{"a":', /not JSON/],
    ['with a byte order mark', '\uFEFF{}', /not JSON/],
    ['that is not UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), /not JSON/],
    ['that is too large', `{"a":"${'x'.repeat(65_536)}"}`, /more than 65536 bytes/],
  ];
  for (const [name, text, why] of table)
    test(name, () => assert.throws(() => readStrictJson(Buffer.from(text)), why));
});

describe('base64', () => {
  test('is decoded', () => assert.equal(decodeBase64('aGVsbG8=', 'x').toString(), 'hello'));
  for (const text of [
    '',
    'aGVsbG8',
    'aGVsbG9=',
    'aGVs bG8=',
    'aGVsbG8=\n',
    '_-8=',
    'aGVsbG8==',
    1,
    undefined,
  ])
    test(`is refused in another form: ${JSON.stringify(text)}`, () =>
      assert.throws(() => decodeBase64(text, 'x'), /x is not base64/));
});
