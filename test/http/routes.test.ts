import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { findRoute, ROUTES } from '../../src/http/routes.ts';
import { IGNORED_PARAMETERS } from '../../src/http/routing/parameters.ts';
import { quoted, tableRows } from '../docs/markdown.ts';
import { startTestService } from '../support/service.ts';

/** An example for each pattern. */
const EXAMPLES: Readonly<Record<string, string>> = {
  '/{layout}/{filename}': '/docker/a_1.tar',
  '/registry/{scheme}/{host}/{layout}/{filename}': '/registry/https/a.example/oci/a_1.tar',
  '/registry-auth/{scheme}/{host}/{layout}/{filename}': '/registry-auth/https/a.example/docker/a_1.tar',
  '/{reference}': '/a.example/app:1',
  '/bundle.{ending}': '/bundle.tar',
  '/manifest/{reference}': '/manifest/a:1',
  '/tags/{repository}': '/tags/a',
  '/prepare/{archive}': '/prepare/docker/a_1.tar',
  '/preparations/{id}': '/preparations/1',
  '/status': '/status',
  '/policy/{reference}': '/policy/a:1',
  '/health': '/health',
  '/ready': '/ready',
  '/': '/',
};

describe('the table of routes', () => {
  test('has the patterns of the examples', () => {
    assert.deepEqual(ROUTES.map(({ pattern }) => pattern).toSorted(), Object.keys(EXAMPLES).toSorted());
  });

  for (const row of ROUTES) {
    const path = EXAMPLES[row.pattern] ?? '';
    test(`matches ${path} with ${row.pattern}`, () => assert.equal(findRoute(path).row, row));

    test(`allows the methods ${row.methods} for ${path}; others get 405`, async () => {
      await using service = await startTestService();
      const reply = await service.request(path, { method: 'PATCH' });
      assert.equal(reply.status, 405);
      assert.equal(reply.headers['allow'], row.methods.join(', '));
    });
  }

  test('is shown in the usage text', async () => {
    await using service = await startTestService();
    const text = (await service.request('/')).body.toString();
    for (const { usage } of ROUTES) {
      for (const part of usage) assert.ok(text.includes(part), part);
    }
  });
});

describe('docs/routes.md', async () => {
  const page = await readFile(new URL('../../docs/routes.md', import.meta.url), 'utf8');
  /** Cells of the rows whose first column is a pattern in backquotes. */
  const rows = new Map(
    Array.from(page.matchAll(/^\| `(\/[^`]*)` \|(.*)\|$/gm), ([, pattern = '', rest = '']) => [
      pattern,
      rest.split('|').map((cell) => cell.trim()),
    ]),
  );

  for (const { pattern, methods, parameters, prefixes } of ROUTES) {
    test(`has the methods, prefixes and parameters of ${pattern}`, () => {
      const list = (names: readonly string[]) => names.map((name) => `\`${name}\``).join(', ') || '–';
      const [documentedMethods, documentedPrefixes, documentedParameters] = rows.get(pattern) ?? [];
      assert.deepEqual(
        [documentedMethods, documentedPrefixes, documentedParameters],
        [list(methods), list(prefixes.map((name) => `/${name}/…`)), list(parameters)],
      );
    });
  }

  test('has the parameters of others that are ignored', () => {
    const rows = tableRows(page, '| parameters | of |').map(([names = '', of = '']) => [of, quoted(names)]);
    assert.deepEqual(Object.fromEntries(rows), IGNORED_PARAMETERS);
  });

  test('has no other route', () => {
    assert.deepEqual([...rows.keys()].toSorted(), ROUTES.map(({ pattern }) => pattern).toSorted());
  });
});
