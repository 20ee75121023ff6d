/** The diagrams of all pages can be read by Mermaid itself. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { codeBlocks, pagePaths, readPage } from './markdown.ts';

/** What is used of Mermaid. Its own types are those of a browser, which this project does not have. */
interface Parser {
  /** @throws Error for a text that is no diagram */
  parse(text: string): Promise<{ readonly diagramType: string }>;
}

/** A package by a name that the compiler does not follow. */
const load = async (name: string): Promise<unknown> => ((await import(name)) as { default: unknown }).default;

/**
 * Mermaid cleans labels with DOMPurify, which does nothing without a browser. What the grammar accepts does not depend on it: the
 * site draws the diagrams in a real browser (`test/real/diagrams.test.ts`).
 */
Object.assign(Object(await load('dompurify')), {
  addHook: () => undefined,
  sanitize: (text: string) => text,
});
const mermaid = (await load('mermaid')) as Parser;

/** Pages that have to show how things belong together, and what they show. */
const WANTED: readonly [path: string, subject: string][] = [
  ['docs/architecture.md', 'rooms, and the walk of a request'],
  ['docs/routes.md', 'which registry is asked'],
  ['docs/credentials.md', 'the way of credentials'],
  ['docs/cisco-ios-xe.md', 'from a copy to a running application'],
  ['docs/telemetry.md', 'where traces go'],
  ['docs/operations.md', 'deployment'],
  ['docs/validation.md', 'how scenarios are tested'],
  ['.github/SECURITY.md', 'who is trusted for what'],
];

const paths = await pagePaths();
const diagrams = (
  await Promise.all(
    paths.map(async (path) =>
      codeBlocks(await readPage(path))
        .filter(({ language }) => language === 'mermaid')
        .map(({ text }, index) => ({ path, name: `${path}, diagram ${index + 1}`, text })),
    ),
  )
).flat();

describe('Mermaid reads', () => {
  for (const { name, text } of diagrams) {
    test(name, async () => {
      const { diagramType } = await mermaid.parse(text);
      assert.ok(['flowchart-v2', 'sequence'].includes(diagramType), diagramType);
    });
  }

  test('not everything', async () => {
    for (const text of ['flowchart TD\n  a["x" --> b\n', 'sequenceDiagram\n  A->>B no colon\n']) {
      await assert.rejects(mermaid.parse(text), /Parse error/);
    }
  });
});

describe('a diagram shows', () => {
  for (const [path, subject] of WANTED) {
    test(`${subject}: ${path}`, () => assert.ok(diagrams.some((diagram) => diagram.path === path)));
  }
});
