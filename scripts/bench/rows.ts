/**
 * Rows of the table of {@link file://./fleet.ts}: the service's value, a peer's value, and the target for their ratio or
 * for the service alone.
 */

import { parseArgs } from 'node:util';
import { inTurns, summarize } from './measure.ts';

/** Text of an empty cell. */
const NONE = '–';

/** Default number of turns for each row. */
const DEFAULT_TURNS = 3;

/** The columns after the first. */
export const HEAD = ['ours', 'peer', 'ratio', 'target'] as const;

/** The cells of a row, its name first. */
export type Row = readonly [what: string, ours: string, peer: string, ratio: string, target: string];

/** A measurement and its target. */
export interface Comparison {
  readonly what: string;
  readonly target: string;
  /** In the unit of `what`. */
  readonly ours: readonly number[];
  /** Absent without a peer, or if it is not installed. */
  readonly peer?: readonly number[] | undefined;
  /** The peer is shown but not compared: the target is for the service alone. */
  readonly isTargetOurs?: boolean;
  /** A fault. It replaces the ratio, since the numbers are invalid then. */
  readonly failure?: string;
}

/** Makes a row: medians, extremes and the ratio of the medians. */
export function row({ what, target, ours, peer, isTargetOurs = false, failure = '' }: Comparison): Row {
  const ratio =
    peer === undefined || isTargetOurs ? NONE : (summarize(ours).median / summarize(peer).median).toFixed(2);
  return [what, cell(ours), peer === undefined ? NONE : cell(peer), failure || ratio, target];
}

/** A row without a measurement. */
export function emptyRow(what: string, target: string): Row {
  return [what, NONE, NONE, NONE, target];
}

function cell(values: readonly number[]): string {
  const { median, min, max } = summarize(values);
  return values.length === 1 ? number(median) : `${number(median)} [${number(min)} ${number(max)}]`;
}

/** Formats with three significant digits and without an exponent. */
function number(value: number): string {
  return value >= 100 ? value.toFixed(0) : Number(value.toPrecision(3)).toString();
}

/** The measurements, in the order of the turns. */
export type Measured<Peer extends string, T> = { readonly ours: readonly T[] } & Readonly<
  Partial<Record<Peer, readonly T[]>>
>;

/**
 * Measures the service and the installed peers in turns.
 *
 * @param peers by name, `undefined` if not installed
 * @param unmeasured number of turns before the measured ones
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
 * @param names of all rows, in the order of their runs
 * @throws Error for an unknown argument
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
