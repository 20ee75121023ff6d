/** docs/validation.md has the scenarios that test/real/validation.test.ts runs, and no other. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SCENARIOS } from '../real/scenarios.ts';
import { readPage, tableRows } from './markdown.ts';

test('each scenario has its row, with its route, registry, credentials and result', async () => {
  const page = await readPage('docs/validation.md');
  const rows = tableRows(page, '| scenario | route | registry | credentials | result |');
  assert.deepEqual(
    rows,
    SCENARIOS.map(({ name, route, registry, credentials }) => {
      const result = credentials === 'client' ? '401, then 200, the archive' : '200, the archive';
      return [name, `\`${route}\``, registry, credentials, result];
    }),
  );
});

test('the scenarios are the seven of the first Docker HTTP Passthrough', () => {
  assert.equal(new Set(SCENARIOS.map(({ name }) => name)).size, 7);
});
