import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type OptionSpec, parseLine } from '../../../src/cli/options/parse.ts';

const SPECS: readonly OptionSpec[] = [
  { name: 'os', short: 'o', value: 'OS', text: '' },
  { name: 'password', short: 'p', value: 'TEXT', text: '' },
  { name: 'cacert', short: 'x', aliases: ['ca'], value: 'FILE', text: '' },
  { name: 'scheme', short: 's', value: 'SCHEME', choices: ['http', 'https'], text: '' },
  { name: 'insecure', short: 'i', text: '' },
  { name: 'quiet', short: 'q', text: '' },
  { name: 'platform', value: 'PLATFORM', text: '' },
];

type Values = Readonly<Record<string, string | true>>;

describe('a command line is parsed', () => {
  const table: readonly [line: string, values: Values, positionals?: readonly string[]][] = [
    ['--os linux', { os: 'linux' }],
    ['--os=linux', { os: 'linux' }],
    ['-o linux', { os: 'linux' }],
    ['-olinux', { os: 'linux' }],
    ['-o=linux', { os: 'linux' }],
    ['--os=a=b', { os: 'a=b' }],
    ['--ca x.pem', { cacert: 'x.pem' }],
    ['--ca=x.pem', { cacert: 'x.pem' }],
    ['-xx.pem', { cacert: 'x.pem' }],
    ['-i', { insecure: true }],
    ['-qi', { quiet: true, insecure: true }],
    ['-qiolinux', { quiet: true, insecure: true, os: 'linux' }],
    ['--password=', { password: '' }],
    ['--password=-x', { password: '-x' }],
    ['-p=-x', { password: '-x' }],
    ['--os -', { os: '-' }],
    // The rest is the value, as in every program of this kind.
    ['-platform x', { password: 'latform' }, ['x']],
    ['ref file', {}, ['ref', 'file']],
    ['ref -q file --os linux', { quiet: true, os: 'linux' }, ['ref', 'file']],
    ['ref -', {}, ['ref', '-']],
    ['-q -- --os -x', { quiet: true }, ['--os', '-x']],
    ['', {}],
  ];
  for (const [line, values, positionals = []] of table) {
    test(line, () => {
      const args = line === '' ? [] : line.split(' ');
      const parsed = parseLine(args, SPECS);
      assert.deepEqual(Object.fromEntries(parsed.options.entries), values);
      assert.deepEqual(parsed.positionals, positionals);
    });
  }
});

describe('a command line is refused', () => {
  const table: readonly [line: string, message: string, hint?: RegExp][] = [
    ['--oss linux', 'Unknown option "--oss"', /^Did you mean --os\?$/],
    ['--platfrom x', 'Unknown option "--platfrom"', /^Did you mean --platform\?$/],
    ['--platfrom=hunter2', 'Unknown option "--platfrom"', /^Did you mean --platform\?$/],
    ['-z', 'Unknown option "-z"', /^See --help/],
    ['-insecure', 'Unknown option "-insecure"', /^Did you mean --insecure\?$/],
    ['--frobnicate', 'Unknown option "--frobnicate"', /^See --help/],
    ['--os linux --os linux', 'Cannot use --os: --os is given twice'],
    ['--os linux -o windows', 'Cannot use -o: --os is given twice'],
    ['--ca a --cacert b', 'Cannot use --cacert: --cacert is given twice'],
    ['-q -q', 'Cannot use -q: --quiet is given twice'],
    ['--os', 'Cannot use --os: its value is missing', /--os=OS/],
    ['-o', 'Cannot use -o: its value is missing', /--os=OS/],
    ['--os -q', 'Cannot use --os: its value is missing', /begins with "-"/],
    ['--os=', 'Cannot use --os: its value is empty'],
    ['--insecure=yes', 'Cannot use --insecure: it takes no value'],
    ['-i=yes', 'Cannot use -i: it takes no value'],
    ['--scheme htp', 'Cannot use --scheme="htp": expected http or https', /^Did you mean --scheme http\?$/],
    ['--scheme ftps://x', 'Cannot use --scheme="ftps://x": expected http or https'],
  ];
  for (const [line, message, hint] of table) {
    test(line, () => {
      assert.throws(
        () => parseLine(line.split(' '), SPECS),
        (error: Error & { code: string; details: { hints?: string[] } }) => {
          assert.deepEqual([error.code, error.message], ['INVALID_CONFIGURATION', message]);
          if (hint !== undefined) assert.match(error.details.hints?.[0] ?? '', hint);
          return true;
        },
      );
    });
  }
});
