/** No regular expression of the sources takes more than linear time. */

import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { checkRegexes, countRegexes } from './support/regex-rules.ts';

const SRC = new URL('../src/', import.meta.url);

describe('the regular expressions of the sources', async () => {
  const paths = (await readdir(SRC, { recursive: true })).filter((path) => path.endsWith('.ts'));
  const sources = await Promise.all(paths.map((path) => readFile(new URL(path, SRC), 'utf8')));

  test('are found', () => {
    const count = sources.reduce((sum, source) => sum + countRegexes(source), 0);
    assert.ok(count > 80, `${count} expressions`);
  });

  test('are linear', () => {
    assert.deepEqual(
      sources.flatMap((source, at) => checkRegexes(paths[at] ?? '', source)),
      [],
    );
  });
});

describe('an expression that is not linear is found', () => {
  const wrong: readonly [source: string, kind: string][] = [
    // Those that parsed Authorization, Range, headers of exports and a repository.
    [String.raw`const a = /^(?<scheme>\S*)\s*(?<value>.*?)\s*$/s.exec(b);`, 'Trade'],
    [String.raw`const a = /^\s*bytes\s*=\s*(?:(\d+)\s*-\s*(\d*)|-\s*(\d+))\s*$/i;`, 'Trade'],
    [String.raw`const a = /^\s*([^=]*?)\s*=(.*)$/s;`, 'Trade'],
    ['const a = /[:@][^/]*$/.test(b);', 'Move'],
    [String.raw`const a: RegExp = /\s+$/;`, 'Move'],
    ['const a = /^(?:a+)+$/;', 'Self'],
    ["const a = new RegExp('^(?:a+)+$', 's');", 'Self'],
    [`const a = RegExp(\`^(?:\${NAME}+)+$\`);`, 'Self'],
  ];
  for (const [source, kind] of wrong) {
    test(source, () => {
      const found = checkRegexes('x.ts', source).join('\n');
      assert.match(found, /^x\.ts:1: /);
      assert.ok(found.includes(`is not linear (${kind})`), found);
    });
  }

  test('and so is one that cannot be read', () => {
    assert.deepEqual(checkRegexes('x.ts', '\nconst a = new RegExp(b);'), [
      'x.ts:2: the pattern of a RegExp is no literal',
    ]);
  });

  test('but nothing else', () => {
    for (const source of [
      String.raw`const a = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;`,
      String.raw`const a = /[ \t]*=[ \t]*/y;`,
      "const a = new RegExp('^a+$');",
      'const a = b / c / d;',
      "const a = '/(?:a+)+$/';",
    ]) {
      assert.deepEqual(checkRegexes('x.ts', source), [], source);
    }
  });
});
