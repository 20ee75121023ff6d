/** Entries for archives: at the boundaries of the format, and random ones. */

import fc from 'fast-check';
import type { TarSource } from '../../src/tar/encoder.ts';

/** The first number that does not fit into 11 octal digits. */
export const GIB_8 = 8 * 2 ** 30;

/** A source with its bytes, to compare with an archive. */
export interface Sample extends TarSource {
  readonly content: Uint8Array;
}

/** Content of this length. It differs from content of similar lengths. */
export const bytesOf = (length: number) => Uint8Array.from({ length }, (_, at) => at * 31 + length);
export const file = (name: string, size = 0): Sample => ({
  name,
  type: 'file',
  size,
  content: bytesOf(size),
});
export const directory = (name: string): Sample => ({
  name,
  type: 'directory',
  size: 0,
  content: bytesOf(0),
});

/**
 * Files and directories with names of the lengths, in bytes, at which the encoding changes: without a slash, with one at each
 * critical position from both ends, with many, and with characters of several bytes.
 */
export function samplesAtBoundaries(): Sample[] {
  const withSlashes = (start: string, length: number, isSlash: (at: number) => boolean) =>
    Array.from(start.padEnd(length, 'n'), (character, at) =>
      at > start.length && at < length - 1 && isSlash(at) ? '/' : character,
    ).join('');
  const ascii = [99, 100, 101, 155, 156, 157, 255, 256, 257].flatMap((length) =>
    [
      () => false,
      (at: number) => at % 3 === 2,
      ...[99, 100, 101, 154, 155, 156, 157].map((slash) => (at: number) => at === slash),
      ...[98, 99, 100, 101].map((rest) => (at: number) => at === length - rest - 1),
    ].map((isSlash, shape) => (start: string) => withSlashes(`${start}${shape}`, length, isSlash)),
  );
  const wide = ['é', '漢', '😀'].flatMap((character) =>
    [97, 98, 99, 100, 101, 102, 103, 104, 155, 160].map((length) => (start: string) => {
      const count = Math.floor((length - start.length) / Buffer.byteLength(character));
      const characters = `${start}${character.repeat(count)}`;
      return `${characters}${'x'.repeat(length - Buffer.byteLength(characters))}`;
    }),
  );
  const names = [...ascii, ...wide];
  const sizes = [0, 1, 511, 512, 513];
  return [
    ...names.map((name, index) => file(name(`f${index}-`), sizes[index % sizes.length])),
    ...names.map((name, index) => directory(name(`d${index}-`))),
    // 33 characters of three bytes, then one to three of one byte.
    ...['', 'x', 'xx', 'xxx'].map((end) => file(`${'語'.repeat(33)}${end}`, 1)),
    file('with space, ünd "quotes" #=*[?]\\', 513),
    directory('with-slash/'),
  ];
}

/** Random entries with unique names. */
export const samples = (maxLength: number): fc.Arbitrary<Sample[]> => {
  // Each segment gets a `~`, so none is a single dot.
  const segment = fc.string({
    unit: fc.constantFrom(...'abcdefgh._- #=', 'é', '漢', '😀'),
    minLength: 1,
    maxLength: 60,
    size: 'max',
  });
  const sample = fc.record({
    segments: fc.array(segment, { minLength: 1, maxLength: 6 }),
    isDirectory: fc.boolean(),
    size: fc.oneof(fc.constantFrom(0, 1, 511, 512, 513), fc.nat(3_000)),
    mode: fc.option(fc.nat(0o7777)),
    mtime: fc.option(fc.oneof(fc.nat(), fc.constant(GIB_8 - 1))),
  });
  return fc.array(sample, { minLength: 1, maxLength, size: 'max' }).map((list) =>
    list.map(({ segments, isDirectory, size, mode, mtime }, index) => ({
      ...(isDirectory ? directory : file)(
        [index, ...segments.map((text) => `${text}~`)].join('/'),
        isDirectory ? 0 : size,
      ),
      ...(mode !== null && { mode }),
      ...(mtime !== null && { mtime }),
    })),
  );
};
