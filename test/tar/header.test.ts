import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import {
  BLOCK_SIZE,
  encodeUstar,
  paddingAfter,
  splitPath,
  type TarEntry,
  toUstarHeader,
} from '../../src/tar/header.ts';
import { decodeHeader } from './readers.ts';
import { GIB_8 } from './samples.ts';

const file: TarEntry = { name: 'a.txt', type: 'file', size: 5 };
const header = (entry: Partial<TarEntry> = {}) =>
  Buffer.from(encodeUstar(toUstarHeader({ ...file, ...entry })));

test('every byte of a header is at its place in the POSIX table', () => {
  const fields = [
    'dir/a.txt'.padEnd(100, '\0'),
    '0004751\0', // mode
    '0000000\0', // uid
    '0000000\0', // gid
    '00000001750\0', // size
    '07346545000\0', // mtime
    '        ', // chksum, as spaces in the sum
    '0', // typeflag
    '\0'.repeat(100), // linkname
    'ustar\0',
    '00', // version
    '\0'.repeat(32), // uname
    '\0'.repeat(32), // gname
    '0000000\0', // devmajor
    '0000000\0', // devminor
    '\0'.repeat(155), // prefix
    '\0'.repeat(12), // unused
  ];
  const sum = Buffer.from(fields.join('')).reduce((total, byte) => total + byte);
  fields[6] = `${sum.toString(8).padStart(6, '0')}\0 `;
  const mtime = Date.parse('2001-09-09T01:46:40Z') / 1000; // 10 ** 9, in octal 7346545000
  const entry: TarEntry = { name: 'dir/a.txt', type: 'file', size: 1000, mode: 0o4751, mtime };
  assert.equal(header(entry).toString('latin1'), fields.join(''));
});

test('the defaults are mode 0644 for files, 0755 for directories, and 1970', () => {
  const fields = (block: Buffer) => [block.toString('latin1', 100, 107), block.toString('latin1', 136, 147)];
  assert.deepEqual(fields(header()), ['0000644', '00000000000']);
  assert.deepEqual(fields(header({ type: 'directory', size: 0 })), ['0000755', '00000000000']);
  assert.deepEqual(fields(header({ mode: 0, mtime: 1 })), ['0000000', '00000000001']);
});

test('a directory has type 5 and one slash at the end', () => {
  for (const name of ['a/b', 'a/b/']) {
    const { typeflag, name: written } = decodeHeader(header({ name, type: 'directory', size: 0 }));
    assert.deepEqual({ typeflag, written }, { typeflag: '5', written: 'a/b/' });
  }
});

test('a size is octal below 8 GiB and base-256 above', () => {
  const field = (size: number) => header({ size }).subarray(124, 136);
  assert.equal(field(GIB_8 - 1).toString('latin1'), '77777777777\0');
  for (const size of [GIB_8, GIB_8 + 1, Number.MAX_SAFE_INTEGER]) {
    const bytes = field(size);
    assert.equal(bytes[0], 0x80);
    assert.equal(BigInt(`0x${bytes.subarray(1).toString('hex')}`), BigInt(size));
  }
});

test('the checksum is right for any header', () => {
  const name = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 300 })
    .map((text) => `n${text.replace(/[\0/]/g, '_')}`);
  const entry = fc.record({
    name,
    type: fc.constant('file' as const),
    size: fc.maxSafeNat(),
    mode: fc.nat(0o7777),
    mtime: fc.nat(),
  });
  fc.assert(
    fc.property(entry, (given) => {
      const block = header(given);
      const { checksum, sum } = decodeHeader(block);
      assert.equal(block.length, BLOCK_SIZE);
      assert.equal(checksum, sum);
    }),
  );
});

test('a path is split only if both parts fit', () => {
  const parts = (path: string) => {
    const split = splitPath(path);
    return split && [split.prefix.length, split.name.length];
  };
  const p = (length: number) => 'p'.repeat(length);
  const cases: [path: string, expected: [number, number] | undefined][] = [
    [p(99), [0, 99]],
    [p(100), [0, 100]],
    [p(101), undefined],
    [p(257), undefined],
    [`${p(1)}/${p(99)}`, [1, 99]],
    [`${p(1)}/${p(101)}`, undefined],
    [`${p(155)}/${p(100)}`, [155, 100]],
    [`${p(156)}/${p(99)}`, undefined],
    [`${p(155)}/${p(101)}`, undefined],
    [`${p(155)}/${p(99)}/`, [155, 100]],
    [`${p(100)}/`, undefined],
    [`${p(99)}/`, [0, 100]],
    [`${p(50)}/${p(50)}/${p(50)}`, [101, 50]],
    [`${p(10)}/${p(90)}/${p(155)}`, undefined],
    // Limits are in bytes, not characters: 33 of three bytes and one or two of one byte.
    [`${'漢'.repeat(33)}x`, [0, 100]],
    [`${'漢'.repeat(33)}xx`, undefined],
    [`${'漢'.repeat(51)}pp/${'漢'.repeat(33)}x`, [155, 100]],
    [`${'漢'.repeat(52)}/${'漢'.repeat(33)}x`, undefined],
  ];
  for (const [path, expected] of cases) assert.deepEqual(parts(path), expected, path);
});

test('the parts of a path, joined by a slash, are the path', () => {
  const segment = fc.string({ unit: fc.constantFrom('a', 'é', '漢', '😀'), minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(fc.array(segment, { minLength: 1, maxLength: 6 }), (segments) => {
      const path = segments.join('/');
      const { prefix, name } = decodeHeader(header({ name: path }));
      const isWhole = (prefix === '' ? name : `${prefix}/${name}`) === path;
      assert.equal(isWhole, splitPath(path) !== undefined);
      // There is no other valid split.
      const bytes = Buffer.from(path);
      const couldSplit = [...bytes.keys()].some(
        (at) => bytes[at] === 0x2f && at <= 155 && bytes.length - at <= 101,
      );
      assert.equal(isWhole, bytes.length <= 100 || couldSplit);
    }),
  );
});

test('a path that does not fit is cut between characters', () => {
  const cut = (name: string, type: TarEntry['type'] = 'file') =>
    decodeHeader(header({ name, type, size: 0 })).name;
  assert.equal(cut('n'.repeat(101)), 'n'.repeat(100));
  assert.equal(cut('漢'.repeat(34)), '漢'.repeat(33));
  assert.equal(cut(`x${'漢'.repeat(34)}`), `x${'漢'.repeat(33)}`);
  assert.equal(cut(`xx${'漢'.repeat(34)}`), `xx${'漢'.repeat(32)}`);
  assert.equal(cut('😀'.repeat(26)), '😀'.repeat(25));
  assert.equal(cut(`x${'😀'.repeat(26)}`), `x${'😀'.repeat(24)}`);
});

test('a cut path ends in a slash only for a directory', () => {
  const name = `${'d'.repeat(99)}/${'n'.repeat(101)}`;
  const cut = (type: TarEntry['type'], path: string) =>
    decodeHeader(header({ name: path, type, size: 0 })).name;
  assert.equal(cut('file', name), 'd'.repeat(99));
  assert.equal(cut('directory', name), `${'d'.repeat(99)}/`);
  assert.equal(cut('directory', '漢'.repeat(34)), `${'漢'.repeat(33)}/`);
  assert.equal(cut('directory', `${'d'.repeat(98)}/${'n'.repeat(101)}`), `${'d'.repeat(98)}/`);
});

test('padding fills the last block', () => {
  const sizes = [0, 1, 511, 512, 513, GIB_8, GIB_8 + 1, Number.MAX_SAFE_INTEGER];
  assert.deepEqual(sizes.map(paddingAfter), [0, 511, 1, 0, 511, 0, 511, 1]);
});

test('values that tar cannot express are refused', () => {
  const numbers = [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY];
  const cases: [entry: Partial<TarEntry>, message: string][] = [
    ...numbers.flatMap((value): [Partial<TarEntry>, string][] => [
      [{ size: value }, `"a.txt": size ${value} is not a whole number from 0 to 9007199254740991`],
      [{ mode: value }, `"a.txt": mode ${value} is not a whole number from 0 to 4095`],
      [{ mtime: value }, `"a.txt": mtime ${value} is not a whole number from 0 to 8589934591`],
    ]),
    [{ size: 2 ** 53 }, '"a.txt": size 9007199254740992 is not a whole number from 0 to 9007199254740991'],
    [{ mode: 0o10000 }, '"a.txt": mode 4096 is not a whole number from 0 to 4095'],
    [{ mtime: GIB_8 }, '"a.txt": mtime 8589934592 is not a whole number from 0 to 8589934591'],
    [{ type: 'directory', size: 1 }, '"a.txt": size 1 is not a whole number from 0 to 0'],
    [{ name: '' }, '"": name is empty'],
    [{ name: '/', type: 'directory', size: 0 }, '"/": name is empty'],
    [{ name: 'a\0b' }, '"a\\u0000b": name has a NUL, which ends a name in tar'],
    [{ name: 'a\ud83d' }, '"a\\ud83d": name is not well-formed Unicode'],
    ...['/a', 'a//b', 'a/', './a', 'a/../b', '..'].map((name): [Partial<TarEntry>, string] => [
      { name },
      `"${name}": name is not a plain relative path`,
    ]),
  ];
  for (const [entry, message] of cases) {
    const error = { name: 'PassthroughError', code: 'INTERNAL', message: `Cannot archive ${message}` };
    assert.throws(() => toUstarHeader({ ...file, ...entry }), error);
  }
});

test('the largest values are allowed', () => {
  const entry = { size: Number.MAX_SAFE_INTEGER, mode: 0o7777, mtime: GIB_8 - 1 };
  const block = header(entry);
  assert.equal(block.toString('latin1', 100, 108), '0007777\0');
  assert.equal(block.toString('latin1', 136, 148), '77777777777\0');
});
