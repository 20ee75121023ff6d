/** Changes inputs at random. */

import type { Chance } from '../../../test/support/seeded.ts';

/** Numbers at which parsers change their mind. */
const NUMBERS = [
  '0',
  '-1',
  '1',
  '127',
  '128',
  '255',
  '256',
  '65536',
  '2147483648',
  '9007199254740993',
  '1e309',
];

/** Most changes of one input. */
const MAX_CHANGES = 6;

/** Most bytes that are repeated, and how often: expressions that take quadratic time show with thousands of equal bytes. */
const MAX_REPEATED = 16;
const MAX_REPETITIONS = 4_000;

/** What {@link mutate} works with. */
export interface MutateOptions {
  /** Words of the input's language. */
  readonly words: readonly string[];
  /** Another input, to take parts from. */
  readonly other: Buffer;
  readonly maxBytes: number;
}

type Change = (input: Buffer, chance: Chance, options: MutateOptions) => Buffer;

const CHANGES: readonly Change[] = [
  // A bit.
  (input, chance) => {
    const copy = Buffer.from(input);
    if (copy.length > 0) {
      const at = chance.below(copy.length);
      copy[at] = (copy[at] ?? 0) ^ (1 << chance.below(8));
    }
    return copy;
  },
  // A byte of any value.
  (input, chance) => insert(input, chance, Buffer.of(chance.below(256))),
  // A piece less.
  (input, chance) => {
    const [start, end] = piece(input, chance);
    return Buffer.concat([input.subarray(0, start), input.subarray(end)]);
  },
  // A piece at another place.
  (input, chance) => insert(input, chance, input.subarray(...piece(input, chance))),
  // A piece of another input.
  (input, chance, { other }) => insert(input, chance, other.subarray(...piece(other, chance))),
  // A word, or two.
  (input, chance, { words }) =>
    insert(input, chance, Buffer.from(chance.pick([...words, ...NUMBERS]), 'latin1')),
  (input, chance, { words }) =>
    insert(input, chance, Buffer.from(chance.pick(words) + chance.pick(words), 'latin1')),
  // A number in place of one.
  (input, chance) => Buffer.from(input.toString('latin1').replace(/\d+/, chance.pick(NUMBERS)), 'latin1'),
  // Many equal pieces.
  (input, chance) => {
    const [start, end] = piece(input, chance);
    const part = input.subarray(start, Math.min(end, start + MAX_REPEATED));
    const times = chance.below(MAX_REPETITIONS);
    return insert(input, chance, Buffer.concat(Array.from({ length: times }, () => part)));
  },
];

/** Returns a changed copy of an input. */
export function mutate(input: Buffer, chance: Chance, options: MutateOptions): Buffer {
  let changed = input;
  for (let left = 1 + chance.below(MAX_CHANGES); left > 0; left -= 1)
    changed = chance.pick(CHANGES)(changed, chance, options);
  return changed.subarray(0, options.maxBytes);
}

function insert(input: Buffer, chance: Chance, part: Uint8Array): Buffer {
  const at = chance.below(input.length + 1);
  return Buffer.concat([input.subarray(0, at), part, input.subarray(at)]);
}

function piece(input: Buffer, chance: Chance): [start: number, end: number] {
  const start = chance.below(input.length + 1);
  return [start, start + chance.below(Math.min(64, input.length - start) + 1)];
}
