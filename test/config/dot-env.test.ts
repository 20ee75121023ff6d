import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { parseDotEnv } from '../../src/config/dot-env.ts';

function read(text: string | Buffer, set: readonly string[] = []) {
  const { variables, warnings } = parseDotEnv(Buffer.from(text), (name) => set.includes(name));
  return { variables: { ...variables }, warnings };
}

describe('.env', () => {
  const silent: readonly [what: string, text: string, variables: Record<string, string>][] = [
    [
      'names, values and comments',
      '# c\n\nA=1\n  B = two words \nexport C=3\n',
      { A: '1', B: 'two words', C: '3' },
    ],
    ['a comment behind a space', 'A=pa #ss\n', { A: 'pa' }],
    ['"#" in quotes', `A="pa#ss"\nB='pa#ss' # c\nC=\`pa#ss\`\n`, { A: 'pa#ss', B: 'pa#ss', C: 'pa#ss' }],
    ['quotes in other quotes', `A='say "x"'\n`, { A: 'say "x"' }],
    ['several lines in quotes', 'A="one\ntwo = #2\nthree"\nB=2\n', { A: 'one\ntwo = #2\nthree', B: '2' }],
    ['lines of Windows', 'A=1\r\nB="2"\r\n', { A: '1', B: '2' }],
    ['an empty value', 'A=\nB=""\n', { A: '', B: '' }],
    ['"=" in a value', 'A=b=c==\n', { A: 'b=c==' }],
    ['a byte order mark', '\ufeffA=1\nB=2\n', { A: '1', B: '2' }],
    ['nothing', '', {}],
  ];
  for (const [what, text, variables] of silent) {
    test(`with ${what} is read without a warning`, () => {
      assert.deepEqual(read(text), { variables, warnings: [] });
    });
  }

  const warned: readonly [what: string, text: string, warning: RegExp, variables: Record<string, string>][] =
    [
      [
        '"#" in a value',
        '\nA=pa#ss',
        /^\.env line 2: the value of A ends before "#", .* quotes$/,
        { A: 'pa' },
      ],
      ['"#" at the start of a value', 'A=#ss', /^\.env line 1: the value of A ends before "#"/, { A: '' }],
      [
        'a colon',
        'HTTP_PORT: 1\nB=2',
        /^\.env line 1: it has no "=" and is ignored; write NAME=value$/,
        { B: '2' },
      ],
      ['a space in a name', 'HTTP PORT=1', /^\.env line 1: .* no name of a variable$/, { 'HTTP PORT': '1' }],
      ['no name', '=1', /^\.env line 1: .* no name of a variable$/, {}],
      [
        'a quote without an end',
        'B=1\nA="x',
        /^\.env line 2: the quote at the beginning of A has no end/,
        { A: '"x', B: '1' },
      ],
      [
        'text behind a quote',
        `A="x" y`,
        /^\.env line 1: what follows the closing quote of A is ignored/,
        { A: 'x' },
      ],
      ['an escaped quote', `A="x\\"y"`, /^\.env line 1: what follows the closing quote of A/, { A: 'x\\' }],
      [
        'a name twice',
        'A=1\nB=2\nA=3',
        /^\.env line 3: A is set in line 1 already; this line counts$/,
        { A: '3', B: '2' },
      ],
      ['a line behind several', 'A="1\n2"\nB', /^\.env line 3: it has no "="/, { A: '1\n2' }],
      [
        'what Node.js reads at its start',
        'NODE_EXTRA_CA_CERTS=/ca.pem',
        /^\.env line 1: NODE_EXTRA_CA_CERTS has no effect here: .*; set it in the environment$/,
        { NODE_EXTRA_CA_CERTS: '/ca.pem' },
      ],
    ];
  for (const [what, text, warning, variables] of warned) {
    test(`with ${what} gets a warning with the number of the line`, () => {
      const { warnings, variables: found } = read(text);
      assert.equal(warnings.length, 1, String(warnings));
      assert.match(warnings[0] ?? '', warning);
      assert.deepEqual(found, variables);
    });
  }

  test('shows no value in a warning', () => {
    const { warnings } = read('hunter2\nA=hunter2#hunter2\nB="hunter2" hunter2\nC="hunter2\n hunter2 x=1');
    assert.equal(warnings.length, 5);
    assert.doesNotMatch(warnings.join(), /hunter2/);
  });

  test('with what the environment has, too, gets none for it', () => {
    assert.deepEqual(read('NODE_EXTRA_CA_CERTS=/ca.pem', ['NODE_EXTRA_CA_CERTS']).warnings, []);
  });

  test('of the documentation is read as it says', async () => {
    const page = await readFile(new URL('../../docs/configuration.md', import.meta.url), 'utf8');
    const [, example = ''] = page.split('```');
    assert.deepEqual(read(example), {
      variables: {
        REGISTRY_URL: 'https://registry.example.com',
        REGISTRY_USERNAME: 'robot',
        REGISTRY_PASSWORD: 'pa#ss "word"',
      },
      warnings: [],
    });
  });

  test('in UTF-16 is refused', () => {
    for (const bytes of [Buffer.from('\ufeffA=1', 'utf16le'), Buffer.from('\ufeffA=1', 'utf16le').swap16()]) {
      assert.throws(() => read(bytes), {
        code: 'INVALID_CONFIGURATION',
        message: 'Cannot read .env: it is UTF-16, expected UTF-8',
      });
    }
  });
});
