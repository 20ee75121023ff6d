/**
 * Chance that can be had again: the same seed gives the same numbers.
 */

/** A source of chance. */
export interface Chance {
  /** What it began with, to be printed. */
  readonly seed: number;
  /** From 0 up to, not including, 1. */
  next(): number;
  /** A whole number from 0 up to, not including, `below`. */
  below(below: number): number;
  /** One of several. */
  pick<T>(from: readonly T[]): T;
  /** All of several, in another order. */
  shuffled<T>(from: readonly T[]): T[];
}

/**
 * @param seed a whole number; another one each time where it is left out or empty, as an unset variable is
 * @see https://gist.github.com/tommyettinger/46a874533244883189143505d203312c (mulberry32)
 */
export function chanceOf(seed: number | string = ''): Chance {
  const first = seed === '' ? Math.floor(Math.random() * 2 ** 31) : Number(seed);
  let state = first;
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit: number): number => Math.floor(next() * limit);
  return {
    seed: first,
    next,
    below,
    pick: <T>(from: readonly T[]): T => {
      if (from.length === 0) throw new RangeError('Cannot pick one of nothing');
      return from[below(from.length)] as T;
    },
    shuffled: <T>(from: readonly T[]): T[] =>
      from
        .map((value) => ({ value, key: next() }))
        .sort((one, other) => one.key - other.key)
        .map(({ value }) => value),
  };
}
