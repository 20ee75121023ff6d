/**
 * Which mutants are run: spread over folders by size, and the same for the same seed. A mutant's rank comes from its line
 * alone, so that moving a file or changing another one leaves the choice within a folder mostly as it was.
 */

import { createHash } from 'node:crypto';
import { codeLines, isModule, type Mutation, mutated, mutationsOf } from './mutate.ts';

/** A source file. */
export interface Source {
  /** Path from the top of the tree, with slashes. */
  readonly path: string;
  readonly text: string;
}

/** A folder and the sources in it and below. */
export interface Folder {
  readonly name: string;
  readonly sources: readonly Source[];
}

/** A mutation with where it is. */
export interface Mutant {
  /** From 1, in the order of the list. */
  readonly number: number;
  readonly folder: string;
  readonly source: Source;
  readonly mutation: Mutation;
}

/**
 * Chooses mutants: no two on one line, and none that is not a module.
 *
 * @returns as many as asked for, or all that there are; by folder, then by path and line
 */
export function chooseMutants(folders: readonly Folder[], count: number, seed: number): Mutant[] {
  const sizes = folders.map(({ sources }) => sources.reduce((sum, { text }) => sum + codeLines(text), 0));
  const shares = shareOut(count, sizes);
  return folders
    .flatMap(({ name, sources }, index) =>
      chooseFrom(sources, shares[index] ?? 0, seed).map((chosen) => ({ ...chosen, folder: name })),
    )
    .map((mutant, index) => ({ ...mutant, number: index + 1 }));
}

/**
 * Divides a whole number in proportion to weights, by largest remainders.
 *
 * @see https://en.wikipedia.org/wiki/Quota_method
 */
export function shareOut(count: number, weights: readonly number[]): number[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  if (total === 0) return weights.map(() => 0);
  const exact = weights.map((weight) => (count * weight) / total);
  const left = count - exact.reduce((sum, share) => sum + Math.floor(share), 0);
  const byRemainder = [...exact.keys()].sort(
    (one, other) => ((exact[other] ?? 0) % 1) - ((exact[one] ?? 0) % 1) || one - other,
  );
  const raised = new Set(byRemainder.slice(0, left));
  return exact.map((share, index) => Math.floor(share) + (raised.has(index) ? 1 : 0));
}

function chooseFrom(sources: readonly Source[], count: number, seed: number) {
  const ranked = sources
    .flatMap((source) => mutationsOf(source.text).map((mutation) => ({ source, mutation })))
    .map((site) => ({ ...site, rank: rankOf(site, seed) }))
    .sort((one, other) => (one.rank < other.rank ? -1 : 1));
  const lines = new Set<string>();
  const chosen: typeof ranked = [];
  for (const site of ranked) {
    if (chosen.length === count) break;
    const line = `${site.source.path}:${site.mutation.line}`;
    if (lines.has(line) || !isModule(mutated(site.source.text, site.mutation))) continue;
    lines.add(line);
    chosen.push(site);
  }
  const key = ({ source, mutation }: (typeof ranked)[number]) =>
    `${source.path}:${String(mutation.line).padStart(6, '0')}`;
  return chosen
    .sort((one, other) => (key(one) < key(other) ? -1 : 1))
    .map(({ source, mutation }) => ({ source, mutation }));
}

/** The path comes last: it decides between equal lines alone. */
function rankOf({ source, mutation }: { source: Source; mutation: Mutation }, seed: number): string {
  const { operator, line, before, after } = mutation;
  const text = source.text.split('\n')[line - 1]?.trim();
  const rank = createHash('sha256').update(JSON.stringify([seed, operator, text, before, after]));
  return `${rank.digest('hex')} ${source.path} ${mutation.start}`;
}
