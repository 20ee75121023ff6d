import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { EnvironmentReader, invalidVariable } from '../../src/config/environment.ts';

const readerOf = (value: string | undefined) => new EnvironmentReader({ NAME: value });
const refused = (value: string, why: string) => ({
  name: 'PassthroughError',
  code: 'INVALID_CONFIGURATION',
  message: `Cannot use NAME=${JSON.stringify(value)}: ${why}`,
});

describe('a variable', () => {
  test('that is empty or only spaces counts as unset, except in the raw', () => {
    for (const value of [undefined, '', '  ']) {
      const reader = readerOf(value);
      assert.equal(reader.text('NAME'), undefined);
      assert.equal(reader.integer('NAME', 7, 0, 9), 7);
      assert.equal(reader.milliseconds('NAME', 2), 2000);
      assert.equal(reader.bytes('NAME', 5), 5);
      assert.equal(reader.choice('NAME', ['a', 'b'], 'b'), 'b');
      assert.deepEqual(reader.hosts('NAME'), []);
      assert.equal(
        reader.parsed('NAME', 'x', (text) => `${text}!`),
        'x!',
      );
      assert.equal(reader.raw('NAME'), value?.trim());
    }
  });

  test('loses the spaces around it, unless it is a secret', () => {
    assert.equal(readerOf(' x y ').text('NAME'), 'x y');
    assert.equal(readerOf(' x y ').secret('NAME'), ' x y ');
    assert.equal(readerOf('').secret('NAME'), undefined);
  });
});

describe('a choice', () => {
  test('is taken in any case', () =>
    assert.equal(readerOf('OFF').choice('NAME', ['on', 'off'], 'on'), 'off'));
  test('is refused when it is none of the list', () => {
    assert.throws(
      () => readerOf('Maybe').choice('NAME', ['on', 'off'], 'on'),
      refused('Maybe', 'expected one of on, off'),
    );
  });
});

describe('a whole number', () => {
  test('is taken within its bounds, these included', () => {
    for (const [text, value] of [
      ['1', 1],
      ['64', 64],
      ['007', 7],
    ] as const) {
      assert.equal(readerOf(text).integer('NAME', 4, 1, 64), value);
    }
  });
  for (const text of ['0', '65', '-1', '+1', '1.0', '1e1', '0x10', 'four', '1 2', '٣', '9'.repeat(400)]) {
    test(`is refused as ${text.slice(0, 10)}`, () => {
      assert.throws(
        () => readerOf(text).integer('NAME', 4, 1, 64),
        refused(text, 'expected a whole number from 1 to 64'),
      );
    });
  }
});

describe('seconds', () => {
  for (const [text, milliseconds] of [
    ['1', 1000],
    ['0.5', 500],
    ['2.25', 2250],
    ['0.0001', 1],
    ['2000000', 2_000_000_000],
  ] as const) {
    test(`of ${text} are ${milliseconds} ms`, () => {
      assert.equal(readerOf(text).milliseconds('NAME', 10), milliseconds);
    });
  }
  for (const text of ['0', '0.0', '-1', '1s', '1,5', '.5', '5.', '1e3', '2000001', 'Infinity', 'NaN']) {
    test(`are refused as ${text}`, () => {
      assert.throws(
        () => readerOf(text).milliseconds('NAME', 10),
        refused(text, 'expected seconds, more than 0 and at most 2000000'),
      );
    });
  }
  test('that are allowed fit the timers of Node', () => {
    assert.ok(readerOf('2000000').milliseconds('NAME', 10) < 2 ** 31);
  });
});

describe('bytes', () => {
  for (const [text, bytes] of [
    ['1', 1],
    ['1048576', 1_048_576],
    ['10b', 10],
    ['10 B', 10],
    ['2k', 2000],
    ['2KB', 2000],
    ['2Ki', 2048],
    ['2kib', 2048],
    ['512MiB', 536_870_912],
    ['512 MiB', 536_870_912],
    ['3M', 3_000_000],
    ['4GB', 4_000_000_000],
    ['4g', 4_000_000_000],
    ['4GiB', 4_294_967_296],
    ['1T', 1_000_000_000_000],
    ['1TiB', 1_099_511_627_776],
    ['9007199254740991', 9_007_199_254_740_991],
  ] as const) {
    test(`may be written ${text}`, () => assert.equal(readerOf(text).bytes('NAME', 5), bytes));
  }
  for (const text of [
    '0',
    '0MiB',
    '-1',
    '1.5GB',
    '1PB',
    '5ib',
    'MiB',
    '1 2',
    '1MiBs',
    '0x10',
    '9007199254740992',
    '9'.repeat(400),
  ]) {
    test(`are refused as ${text.slice(0, 20)}`, () => {
      assert.throws(
        () => readerOf(text).bytes('NAME', 5),
        refused(text, 'expected a number of bytes, such as 1048576, 512MiB or 4GB'),
      );
    });
  }
});

describe('a list of hosts', () => {
  test('has commas, with or without spaces and with gaps', () => {
    const hosts = readerOf(' ghcr.io , *.example.com,, http://10.0.0.5:5000,').hosts('NAME');
    assert.deepEqual(
      hosts.map(({ scheme, hostname, isWildcard, port }) => [scheme, hostname, isWildcard, port]),
      [
        [undefined, 'ghcr.io', false, undefined],
        [undefined, 'example.com', true, undefined],
        ['http:', '10.0.0.5', false, 5000],
      ],
    );
  });

  test('is refused for one entry, which is named', () => {
    assert.throws(() => readerOf('ghcr.io,bad host').hosts('NAME'), {
      code: 'INVALID_CONFIGURATION',
      message: /^Cannot use NAME="bad host": /,
    });
  });
});

test('a parser that refuses a value is told with the name of the variable', () => {
  const parse = () => {
    throw new Error('it is odd');
  };
  assert.throws(() => readerOf('x').parsed('NAME', 'y', parse), refused('x', 'it is odd'));
});

describe('a password in a URL is not shown', () => {
  const hidden: Readonly<Record<string, string>> = {
    'https://user:pw@host/': 'https://[redacted]@host/',
    'https://user:p@w@host/': 'https://[redacted]@host/',
    'https://user:p/w@host/': 'https://[redacted]@host/',
    'https://user:p?w#x@host': 'https://[redacted]@host',
    'https://user:p\nw@host': 'https://[redacted]@host',
    'HTTPS://token@host': 'HTTPS://[redacted]@host',
    'user:pw@host': '[redacted]@host',
    '//user:pw@host': '[redacted]@host',
    'https://host/path': 'https://host/path',
  };
  for (const [value, shown] of Object.entries(hidden)) {
    test(`but ${JSON.stringify(value)} as ${JSON.stringify(shown)}`, () => {
      assert.equal(
        invalidVariable('NAME', value, 'why').message,
        `Cannot use NAME=${JSON.stringify(shown)}: why`,
      );
    });
  }

  test('whatever it is, by nothing that reads a host', () => {
    const secret = fc.string({ unit: 'binary', maxLength: 30 }).map((text) => `se${text}cret`);
    fc.assert(
      fc.property(secret, fc.constantFrom('https', 'ftp', 'x'), (password, scheme) => {
        const read = () => readerOf(`ghcr.io,${scheme}://user:${password}@host`).hosts('NAME');
        assert.throws(read, (error: Error) => {
          assert.ok(!/se.*cret/s.test(error.message), error.message);
          return true;
        });
      }),
    );
  });
});
