/** docs/errors.md has the error table of the service. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PROBLEMS } from '../../src/http/problem.ts';
import { quoted, readPage, tableRows } from './markdown.ts';

test('each code has its status and title, and no row is without a code', async () => {
  const rows = tableRows(await readPage('docs/errors.md'), '| status | title | code | when |');
  const documented = rows.map(([status = '', title = '', code = '']) => [
    ...quoted(code),
    { status: Number(status), title },
  ]);
  const byCode = ([one]: readonly unknown[], [other]: readonly unknown[]) =>
    String(one).localeCompare(String(other));
  assert.deepEqual(documented.toSorted(byCode), Object.entries(PROBLEMS).toSorted(byCode));
});

test('each row says when', async () => {
  const rows = tableRows(await readPage('docs/errors.md'), '| status | title | code | when |');
  assert.deepEqual(
    rows.filter(([, , , when = '']) => when.length < 10),
    [],
  );
});
