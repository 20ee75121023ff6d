/** docs/command-line.md has every command, option and exit code. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { COMMANDS } from '../../src/cli/commands.ts';
import { exitCodeOf } from '../../src/cli/output/error-lines.ts';
import { PassthroughError } from '../../src/errors.ts';
import { PROBLEMS } from '../../src/http/problem.ts';
import { quoted, readPage, tableRows } from './markdown.ts';

const PAGE = await readPage('docs/command-line.md');

/** Where a table of the page says which commands have its options. */
const SHARED: readonly [start: string, commands: readonly string[]][] = [
  ['Of `pull`, `manifest`, `tags`, `proxy` and `explain`:', ['pull', 'manifest', 'tags', 'proxy', 'explain']],
  ['Of `pull`, `manifest`, `proxy` and `explain`:', ['pull', 'manifest', 'proxy', 'explain']],
  ['Of `pull`:', ['pull']],
  ['Of `proxy`:', ['proxy']],
];

test('each command has a row, and there is no other', () => {
  const rows = tableRows(PAGE, '| command | what it does |').map(
    ([name = '']) => quoted(name)[0]?.split(' ')[0],
  );
  assert.deepEqual(
    rows,
    COMMANDS.map(({ name }) => name),
  );
});

describe('the options of', () => {
  for (const { name, options } of COMMANDS) {
    test(`${name} are on the page`, () => {
      for (const option of options) assert.ok(PAGE.includes(`--${option.name}`), option.name);
    });
  }

  for (const [start, commands] of SHARED) {
    test(`the table "${start}" are options of these commands, with their short names`, () => {
      const table = PAGE.slice(PAGE.indexOf(start));
      for (const [cell = ''] of tableRows(table, '| option | meaning |')) {
        const names = quoted(cell).map((text) => text.split(/[ =]/)[0] ?? '');
        const long = names.filter((text) => text.startsWith('--')).map((text) => text.slice(2));
        assert.ok(long.length > 0, cell);
        for (const command of COMMANDS.filter((one) => commands.includes(one.name))) {
          const specs = command.options.filter((one) => long.includes(one.name));
          assert.equal(specs.length, long.length, `${command.name}: ${cell}`);
          const short = specs.flatMap((one) => (one.short === undefined ? [] : [`-${one.short}`]));
          assert.deepEqual(names.filter((text) => /^-\w/.test(text)).toSorted(), short.toSorted(), cell);
        }
      }
    });
  }
});

test('each exit code has a row', () => {
  const rows = tableRows(PAGE, '| code | meaning |').flatMap(([code = '']) => code.split(', ').map(Number));
  const codes = Object.keys(PROBLEMS).map((code) =>
    exitCodeOf(new PassthroughError(code as keyof typeof PROBLEMS, '')),
  );
  const signals = ['SIGHUP', 'SIGINT', 'SIGTERM'].map((signal) =>
    exitCodeOf(new PassthroughError('ABORTED', '', { signal })),
  );
  assert.deepEqual(new Set(rows), new Set([0, ...codes, ...signals]));
});
