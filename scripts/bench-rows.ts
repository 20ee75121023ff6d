/**
 * Rows of the table that {@link file://./bench-fleet.ts} prints: ours beside a peer's, and the target that their ratio, or
 * ours alone, is to meet.
 */

import { parseArgs } from 'node:util';
import { inTurns, summarize } from './bench.ts';

/** What a cell says where there is nothing to say. */
const NONE = '–';

/** Turns of each row unless the command line names another number. */
const DEFAULT_TURNS = 3;

/** The columns after the first. */
export const HEAD = ['ours', 'peer', 'ratio', 'target'] as const;

/** One cell a column, what it is about first. */
export type Row = readonly [what: string, ours: string, peer: string, ratio: string, target: string];

/** What is measured, and what is to be met. */
export interface Comparison {
  readonly what: string;
  readonly target: string;
  /** In the unit that `what` names. */
  readonly ours: readonly number[];
  /** None where there is no peer, or it is not installed. */
  readonly peer?: readonly number[] | undefined;
  /** The peer is told and not compared with: the target is one of ours alone. */
  readonly isTargetOurs?: boolean;
  /** What went wrong, where something did: it stands in the ratio's place, for the numbers mean nothing then. */
  readonly failure?: string;
}

/** Makes a row: medians, extremes and the ratio of the medians. */
export function row({ what, target, ours, peer, isTargetOurs = false, failure = '' }: Comparison): Row {
  const ratio =
    peer === undefined || isTargetOurs ? NONE : (summarize(ours).median / summarize(peer).median).toFixed(2);
  return [what, cell(ours), peer === undefined ? NONE : cell(peer), failure || ratio, target];
}

/** A row of what was not measured. */
export function emptyRow(what: string, target: string): Row {
  return [what, NONE, NONE, NONE, target];
}

function cell(values: readonly number[]): string {
  const { median, min, max } = summarize(values);
  return values.length === 1 ? number(median) : `${number(median)} [${number(min)} ${number(max)}]`;
}

/** Three digits that count, and no exponent. */
function number(value: number): string {
  return value >= 100 ? value.toFixed(0) : Number(value.toPrecision(3)).toString();
}

/** What was measured in turns, in the order of the turns. */
export type Measured<Peer extends string, T> = { readonly ours: readonly T[] } & Readonly<
  Partial<Record<Peer, readonly T[]>>
>;

/**
 * Takes turns with those peers that there are.
 *
 * @param peers by name, `undefined` for one that is not installed
 * @param unmeasured turns before those that are measured
 */
export async function compete<T, Peer extends string>(
  turns: number,
  ours: () => Promise<T>,
  peers: Readonly<Record<Peer, (() => Promise<T>) | undefined>>,
  unmeasured?: number,
): Promise<Measured<Peer, T>> {
  const there = Object.entries<(() => Promise<T>) | undefined>(peers).filter(
    ([, peer]) => peer !== undefined,
  );
  const contestants = Object.fromEntries([['ours', ours], ...there]) as Record<string, () => Promise<T>>;
  return (await inTurns(turns, contestants, unmeasured)) as Measured<Peer, T>;
}

/**
 * Reads `[turns]`, `--turns` and `--only`.
 *
 * @param names of all rows, in the order in which they run
 * @throws Error when an argument is not understood
 */
export function readArguments<Name extends string>(
  names: readonly Name[],
): { readonly turns: number; readonly only: readonly Name[] } {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { only: { type: 'string' }, turns: { type: 'string' } },
  });
  const wanted: readonly string[] = values.only?.split(',') ?? names;
  const unknown = wanted.filter((name) => !(names as readonly string[]).includes(name));
  if (unknown.length > 0) {
    throw new Error(`No row is named ${unknown.join(', ')}; there are ${names.join(', ')}`);
  }
  const turns = Number(values.turns ?? positionals[0] ?? DEFAULT_TURNS);
  if (!Number.isInteger(turns) || turns < 1) throw new Error('The number of turns must be 1 or more');
  return { turns, only: names.filter((name) => wanted.includes(name)) };
}
