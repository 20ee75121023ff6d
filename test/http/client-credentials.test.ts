import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isPassthroughError } from '../../src/errors.ts';
import { parseBasicCredentials } from '../../src/http/client-credentials.ts';
import { basicAuthorization } from '../../src/registry/auth/credentials.ts';

const base64 = (text: string) => Buffer.from(text).toString('base64');

describe('parseBasicCredentials', () => {
  test('returns nothing without a header', () => assert.equal(parseBasicCredentials(undefined), undefined));

  const accepted: readonly [header: string, username: string, password: string][] = [
    [`Basic ${base64('user:secret')}`, 'user', 'secret'],
    [`basic ${base64('user:secret')}`, 'user', 'secret'],
    [`BASIC   ${base64('user:secret')}  `, 'user', 'secret'],
    [`Basic ${base64('user:se:cr:et')}`, 'user', 'se:cr:et'],
    [`Basic ${base64('user:')}`, 'user', ''],
    [`Basic ${base64(':secret')}`, '', 'secret'],
    [`Basic ${base64('üser:pässword')}`, 'üser', 'pässword'],
    [`Basic ${base64('user:a').replaceAll('=', '')}`, 'user', 'a'],
    [`Basic ${base64(`user:${'x'.repeat(4_000)}`)}`, 'user', 'x'.repeat(4_000)],
  ];
  for (const [header, username, password] of accepted) {
    test(`parses ${header.slice(0, 40)}`, () => {
      assert.deepEqual(parseBasicCredentials(header), { username, password });
    });
  }

  test('keeps the bytes of another encoding than UTF-8', () => {
    const [bytes, username, password] = [
      Buffer.from('\xfcser:\x80p\xe4ss', 'latin1'),
      '\xfcser',
      '\x80p\xe4ss',
    ];
    const parsed = parseBasicCredentials(`Basic ${bytes.toString('base64')}`) ?? assert.fail();
    assert.deepEqual(parsed, { username, password, encoding: 'latin1' });
    assert.equal(basicAuthorization(parsed), `Basic ${bytes.toString('base64')}`);
    const malformed = Buffer.from('\xfcser:p\xe4ss\x7f', 'latin1').toString('base64');
    assert.throws(() => parseBasicCredentials(`Basic ${malformed}`), /control character/);
  });

  test('reads a header full of blanks in linear time', () => {
    // Time of the processor, which other processes do not lengthen.
    const begun = process.cpuUsage();
    for (const header of [
      `Basic ${' '.repeat(60_000)}x y`,
      `${' '.repeat(60_000)}x`,
      `Basic${'\t'.repeat(60_000)}`,
    ])
      assert.throws(() => parseBasicCredentials(header));
    assert.ok(process.cpuUsage(begun).user < 1_000_000);
  });

  const refused: readonly [header: string, reason: RegExp][] = [
    ['', /scheme is not Basic/],
    ['Bearer sesame', /scheme is not Basic/],
    [`Digest ${base64('user:sesame')}`, /scheme is not Basic/],
    [base64('user:sesame'), /scheme is not Basic/],
    ['Basic', /not base64/],
    ['Basic ', /not base64/],
    ['Basic user:sesame', /not base64/],
    [`Basic ${base64('user:sesame')} ${base64('user:sesame')}`, /not base64/],
    [`Basic =${base64('user:sesame')}`, /not base64/],
    [`Basic ${base64('sesame')}`, /no colon/],
    [`Basic ${base64(':')}`, /empty/],
    [`Basic ${base64('user:sesame\n')}`, /control character/],
    [`Basic ${base64('us\0er:sesame')}`, /control character/],
  ];
  for (const [header, reason] of refused) {
    test(`refuses ${JSON.stringify(header)} without quoting it`, () => {
      assert.throws(
        () => parseBasicCredentials(header),
        (error) => {
          assert.ok(isPassthroughError(error, 'CREDENTIALS_REQUIRED'));
          assert.match(error.message, /Authorization header/);
          assert.match(error.message, reason);
          assert.doesNotMatch(error.message, /sesame|c2VzYW1l/);
          return true;
        },
      );
    });
  }
});
