import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { decodeSegment, mayHoldCredentials, splitTarget } from '../../../src/http/routing/path.ts';

describe('splitTarget', () => {
  for (const [target, path, query] of [
    ['/a/b', '/a/b', ''],
    ['/a?', '/a', ''],
    ['/a?x=1&y=a/b', '/a', 'x=1&y=a%2Fb'],
    ['/a?x=1?y', '/a', 'x=1%3Fy'],
    ['http://host.example:8080/a?x=1', '/a', 'x=1'],
    ['HTTPS://user@host.example/a', '/a', ''],
    ['http://host.example', '/', ''],
    ['http://host.example?x=1', '/', 'x=1'],
    ['*', '*', ''],
  ] as const) {
    test(target, () => {
      const split = splitTarget(target);
      assert.deepEqual([split.path, split.query.toString()], [path, query]);
    });
  }
});

test('an @ may separate credentials, except before a digest', () => {
  for (const text of ['a@b', '@', 'a%40b', 'a%2540b', 'a%252540b', 'app@sha256', 'u:p@sha256/app']) {
    assert.equal(mayHoldCredentials(text), true, text);
  }
  for (const text of ['', 'a', 'a%2b', 'app@sha256:0', 'app%40sha256%3A0', 'app@sha512:0']) {
    assert.equal(mayHoldCredentials(text), false, text);
  }
});

describe('decodeSegment', () => {
  const decode = (segment: string) => decodeSegment(segment, 'INVALID_FILENAME', 'filename');

  test('decodes once', () => assert.equal(decode('a%41%2541'), 'aA%41'));

  for (const [segment, reason] of [
    ['', 'it is empty'],
    ['%ZZ', 'malformed percent-encoding'],
    ['%', 'malformed percent-encoding'],
    ['%ff', 'malformed percent-encoding'],
    ['%c0%af', 'malformed percent-encoding'],
    ['a%00', 'it holds a control character'],
    ['a%0a', 'it holds a control character'],
    ['a%c2%85', 'it holds a control character'],
    ['.', 'dot segments name nothing here'],
    ['..', 'dot segments name nothing here'],
    ['%2e%2e', 'dot segments name nothing here'],
    ['a%2Fb', 'it holds a slash'],
    ['a%5Cb', 'it holds a slash'],
  ] as const) {
    test(`refuses ${JSON.stringify(segment)}: ${reason}`, () => {
      const message = `Cannot parse filename ${JSON.stringify(segment)}: ${reason}`;
      assert.throws(() => decode(segment), { code: 'INVALID_FILENAME', message });
    });
  }

  test('does not quote a segment that may hold credentials', () => {
    const message = 'Cannot parse filename: it holds an @, and credentials do not belong in an address';
    assert.throws(() => decode('user:hunter2@host%zz'), { code: 'INVALID_FILENAME', message });
  });
});
