/** The documents of the repository, and the parts of them that tests compare with the code. */

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Folder of the repository. */
export const ROOT = join(import.meta.dirname, '..', '..');

/** A fenced block. */
export interface CodeBlock {
  /** What follows the fence; empty where nothing does. */
  readonly language: string;
  readonly text: string;
}

/** A document by its path from the repository's folder: `docs/routes.md`. */
export function readPage(path: string): Promise<string> {
  return readFile(join(ROOT, path), 'utf8');
}

/** Paths of all documents, from the repository's folder. */
export async function pagePaths(): Promise<readonly string[]> {
  const [docs, github] = await Promise.all(
    ['docs', '.github'].map(async (folder) => {
      const names = await readdir(join(ROOT, folder), { recursive: true });
      return names.filter((name) => name.endsWith('.md')).map((name) => join(folder, name));
    }),
  );
  return ['README.md', 'CHANGELOG.md', ...(docs ?? []), ...(github ?? [])].toSorted();
}

/**
 * The rows of a table, without its header and the line below that.
 *
 * @param columns the header as it is written: `| variable | default | meaning |`
 * @returns the cells of each row, as Markdown
 * @throws Error where the page has no such table, or a row has another number of cells
 */
export function tableRows(page: string, columns: string): readonly (readonly string[])[] {
  const lines = page.split('\n');
  const header = lines.indexOf(columns);
  if (header === -1) throw new Error(`Cannot find the table ${columns}`);
  const end = lines.findIndex((line, at) => at > header && !line.startsWith('|'));
  const width = cellsOf(columns).length;
  return lines.slice(header + 2, end === -1 ? undefined : end).map((line) => {
    const cells = cellsOf(line);
    if (cells.length !== width) throw new Error(`Cannot read a row: ${width} cells are expected in ${line}`);
    return cells;
  });
}

function cellsOf(line: string): string[] {
  return line
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim());
}

/** Texts in backticks, in their order. */
export function quoted(text: string): readonly string[] {
  return [...text.matchAll(/`([^`\n]+)`/g)].map(([, name = '']) => name);
}

/** The fenced blocks of a page. */
export function codeBlocks(page: string): readonly CodeBlock[] {
  return [...page.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, language = '', text = '']) => ({
    language,
    text,
  }));
}

/** A page without its fenced blocks. */
export function prose(page: string): string {
  return page.replace(/^```\w*\n[\s\S]*?^```$/gm, '');
}
