/** The differences of two sides, gathered by kind: the same difference in a thousand answers is one. */

import type { Rendered, Section } from './render.ts';
import { SECTIONS } from './render.ts';

/** Lines that are here on one side alone. */
export interface Difference {
  /** What was done. */
  readonly label: string;
  readonly section: Section;
  /** Lines above, each of them further out than the next. */
  readonly above: readonly string[];
  readonly removed: readonly string[];
  readonly added: readonly string[];
}

/** Most lines of one section that are put side by side in full: the table grows with the square. */
const MAX_LINES = 3_000;

/** Everything in which two sides differ. */
export function differencesOf(
  before: readonly Rendered[],
  after: readonly Rendered[],
): readonly Difference[] {
  const length = Math.max(before.length, after.length);
  return Array.from({ length }, (_, at) => at).flatMap((at) => {
    const [one, other] = [before[at], after[at]];
    const label = one?.label === other?.label ? (one?.label ?? '') : `${one?.label} / ${other?.label}`;
    return SECTIONS.flatMap((section) => {
      const hunks = hunksOf(one?.sections[section] ?? [], other?.sections[section] ?? []);
      return hunks.map((hunk) => ({ label, section, ...hunk }));
    });
  });
}

type Hunk = Pick<Difference, 'above' | 'removed' | 'added'>;

function hunksOf(before: readonly string[], after: readonly string[]): Hunk[] {
  let start = 0;
  while (start < before.length && before[start] === after[start]) start += 1;
  let [endBefore, endAfter] = [before.length, after.length];
  while (endBefore > start && endAfter > start && before[endBefore - 1] === after[endAfter - 1]) {
    endBefore -= 1;
    endAfter -= 1;
  }
  const [one, other] = [before.slice(start, endBefore), after.slice(start, endAfter)];
  if (one.length === 0 && other.length === 0) return [];
  if (Math.max(one.length, other.length) > MAX_LINES) {
    return [{ above: [], removed: one.slice(0, 20), added: other.slice(0, 20) }];
  }
  return inHunks(one, other, before.slice(0, start));
}

/** The longest common subsequence, and what is left over between its lines. */
function inHunks(before: readonly string[], after: readonly string[], shared: readonly string[]): Hunk[] {
  const table = Array.from({ length: before.length + 1 }, () => new Uint16Array(after.length + 1));
  const cell = (row: number, column: number): number => table[row]?.[column] ?? 0;
  for (let row = before.length - 1; row >= 0; row -= 1) {
    for (let column = after.length - 1; column >= 0; column -= 1) {
      const longest =
        before[row] === after[column]
          ? cell(row + 1, column + 1) + 1
          : Math.max(cell(row + 1, column), cell(row, column + 1));
      (table[row] as Uint16Array)[column] = longest;
    }
  }
  const hunks: Hunk[] = [];
  const passed = [...shared];
  let [row, column] = [0, 0];
  while (row < before.length || column < after.length) {
    const removed: string[] = [];
    const added: string[] = [];
    while ((row < before.length || column < after.length) && before[row] !== after[column]) {
      if (column >= after.length || (row < before.length && cell(row + 1, column) >= cell(row, column + 1))) {
        removed.push(before[row] ?? '');
        row += 1;
      } else {
        added.push(after[column] ?? '');
        column += 1;
      }
    }
    if (removed.length > 0 || added.length > 0) {
      hunks.push({ above: enclosing(passed, removed[0] ?? added[0] ?? ''), removed, added });
    }
    if (row < before.length && column < after.length) {
      passed.push(before[row] ?? '');
      row += 1;
      column += 1;
    }
  }
  return hunks;
}

/** The lines that a line stands below, by their indentation. */
function enclosing(lines: readonly string[], line: string): string[] {
  const found: string[] = [];
  let indentation = indentationOf(line);
  for (const candidate of lines.toReversed()) {
    if (indentation === 0) break;
    if (indentationOf(candidate) >= indentation) continue;
    found.unshift(candidate.trim());
    indentation = indentationOf(candidate);
  }
  return found;
}

function indentationOf(line: string): number {
  return line.length - line.trimStart().length;
}

/** What makes a difference one of a kind: the same lines but for the values in them. */
export function kindOf({ section, removed, added }: Difference): string {
  const plain = (line: string): string =>
    line
      .trim()
      .replace(/"(?:[^"\\]|\\.)*"/g, '""')
      .replace(/\b[\da-f]{12,}\b|\d+/g, '0')
      .replace(/\/[^\s"]+/g, '/');
  return JSON.stringify([section, removed.map(plain), added.map(plain)]);
}

/**
 * The lines of a difference as they are printed: long ones from a little before where they differ.
 *
 * @param width most characters of a line
 */
export function shownLines({ removed, added }: Difference, width: number): readonly string[] {
  const isPaired = removed.length === added.length;
  const shown = (lines: readonly string[], others: readonly string[], mark: string): string[] =>
    lines.map((line, at) => {
      const text = line.trim();
      const start = isPaired ? firstDifference(text, (others[at] ?? '').trim()) - CONTEXT : 0;
      const cut = start > 0 && text.length > width ? `…${text.slice(start)}` : text;
      return `${mark} ${cut.length > width ? `${cut.slice(0, width)}…` : cut}`;
    });
  return [...shown(removed, added, '-'), ...shown(added, removed, '+')];
}

/** Characters that are shown before the first that differs. */
const CONTEXT = 80;

function firstDifference(one: string, other: string): number {
  let at = 0;
  while (at < one.length && one[at] === other[at]) at += 1;
  return at;
}
