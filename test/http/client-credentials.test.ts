import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isPassthroughError } from '../../src/errors.ts';
import { parseBasicCredentials } from '../../src/http/client-credentials.ts';

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
