/**
 * The 512-byte header block of a tar archive in the ustar interchange format:
 * https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13_06
 */

import { PassthroughError } from '../errors.ts';
import { quoted } from '../util/printable.ts';

/** Bytes in a block. Headers and contents fill whole blocks. */
export const BLOCK_SIZE = 512;

/** All permission bits: set-user-ID, set-group-ID, sticky, and `rwx` three times. */
const MAX_MODE = 0o7777;

/** Largest number in the 12-byte fields, 11 octal digits and a NUL: as a size, 8 GiB minus one byte. */
const MAX_OCTAL = 0o77777777777;

/** Offset and length of each field in bytes. Text is padded with NULs. Numbers are octal and end in a NUL. */
export const FIELDS = {
  name: { offset: 0, length: 100 },
  mode: { offset: 100, length: 8 },
  uid: { offset: 108, length: 8 },
  gid: { offset: 116, length: 8 },
  size: { offset: 124, length: 12 },
  mtime: { offset: 136, length: 12 },
  chksum: { offset: 148, length: 8 },
  typeflag: { offset: 156, length: 1 },
  linkname: { offset: 157, length: 100 },
  magic: { offset: 257, length: 6 },
  version: { offset: 263, length: 2 },
  devmajor: { offset: 329, length: 8 },
  devminor: { offset: 337, length: 8 },
  prefix: { offset: 345, length: 155 },
} as const;

/** Longest UTF-8 name in the name field, in bytes; a NUL at its end is not required. */
export const NAME_LENGTH = FIELDS.name.length;

/** Metadata of a file or directory in an archive. */
export interface TarEntry {
  /** Relative path, separated by `/`. The `/` at the end of a directory's name is optional here. */
  readonly name: string;
  readonly type: 'file' | 'directory';
  /** Bytes of content; 0 for directories. */
  readonly size: number;
  /** Permission bits. Default: 0o644 for files, 0o755 for directories. */
  readonly mode?: number;
  /** Whole seconds since 1970. Default: 0. */
  readonly mtime?: number;
}

/** The checked values of a header block. */
export interface UstarHeader {
  /** A directory's path ends in `/`. */
  readonly path: string;
  /** `0` file, `5` directory, `x` pax records about the next entry. */
  readonly typeflag: '0' | '5' | 'x';
  readonly mode: number;
  readonly size: number;
  readonly mtime: number;
}

/**
 * Checks an entry and adds the defaults. Invalid values are never clamped or corrected.
 *
 * @throws {PassthroughError} `INTERNAL` when the name is not a plain relative path of well-formed Unicode, or a number is
 *   negative, fractional or out of range
 */
export function toUstarHeader(entry: TarEntry): UstarHeader {
  const { name, type, size, mtime = 0 } = entry;
  const isDirectory = type === 'directory';
  const mode = entry.mode ?? (isDirectory ? 0o755 : 0o644);
  const bare = isDirectory && name.endsWith('/') ? name.slice(0, -1) : name;

  const refuse = (why: string) => {
    throw cannotArchive(entry, why);
  };
  if (bare === '') refuse('name is empty');
  if (bare.includes('\0')) refuse('name has a NUL, which ends a name in tar');
  // A lone surrogate would become U+FFFD in UTF-8, so two names could become equal.
  if (!bare.isWellFormed()) refuse('name is not well-formed Unicode');
  // Some readers drop such segments, some refuse them, some write outside of their folder.
  if (bare.split('/').some((segment) => segment === '' || segment === '.' || segment === '..')) {
    refuse('name is not a plain relative path');
  }
  const refuseUnlessUpTo = (max: number, what: string, value: number) => {
    if (!Number.isSafeInteger(value) || value < 0 || value > max) {
      refuse(`${what} ${value} is not a whole number from 0 to ${max}`);
    }
  };
  refuseUnlessUpTo(isDirectory ? 0 : Number.MAX_SAFE_INTEGER, 'size', size);
  refuseUnlessUpTo(MAX_MODE, 'mode', mode);
  refuseUnlessUpTo(MAX_OCTAL, 'mtime', mtime);
  return isDirectory
    ? { path: `${bare}/`, typeflag: '5', mode, size, mtime }
    : { path: bare, typeflag: '0', mode, size, mtime };
}

/**
 * Splits a path into the two fields of ustar. Readers join them with `/`.
 *
 * @returns both parts as UTF-8, with an empty prefix if the name field is enough; `undefined` if no `/` divides the path into
 *   a prefix of 1 to 155 bytes and a name of 1 to 100 bytes
 */
export function splitPath(path: string): { readonly prefix: Buffer; readonly name: Buffer } | undefined {
  const bytes = Buffer.from(path);
  if (bytes.length <= NAME_LENGTH) return { prefix: Buffer.alloc(0), name: bytes };
  // The last `/` with a prefix that fits gives the shortest name. A `/` at the end of the path cannot separate.
  const slash = bytes.lastIndexOf('/', Math.min(FIELDS.prefix.length, bytes.length - 2));
  const name = bytes.subarray(slash + 1);
  return name.length <= NAME_LENGTH ? { prefix: bytes.subarray(0, slash), name } : undefined;
}

/**
 * Encodes one header block. Owner and group are 0, without names. A path that {@link splitPath} cannot split is cut to the
 * name field; a pax header before this block has the full path.
 *
 * @param header checked by {@link toUstarHeader}
 * @returns {@link BLOCK_SIZE} bytes
 */
export function encodeUstar(header: UstarHeader): Uint8Array {
  const block = Buffer.alloc(BLOCK_SIZE);
  const { prefix, name } = splitPath(header.path) ?? { prefix: Buffer.alloc(0), name: cutPath(header.path) };
  block.set(name, FIELDS.name.offset);
  putOctal(block, 'mode', header.mode);
  putOctal(block, 'uid', 0);
  putOctal(block, 'gid', 0);
  if (header.size <= MAX_OCTAL) putOctal(block, 'size', header.size);
  else block.set(base256(header.size), FIELDS.size.offset);
  putOctal(block, 'mtime', header.mtime);
  putText(block, 'typeflag', header.typeflag);
  putText(block, 'magic', 'ustar\0');
  putText(block, 'version', '00');
  putOctal(block, 'devmajor', 0);
  putOctal(block, 'devminor', 0);
  block.set(prefix, FIELDS.prefix.offset);
  // The sum of all bytes with spaces in the checksum field. It is written as six digits, a NUL and a space.
  block.fill(' ', FIELDS.chksum.offset, FIELDS.chksum.offset + FIELDS.chksum.length);
  let sum = 0;
  for (let at = 0; at < BLOCK_SIZE; at += 1) sum += block[at] ?? 0;
  putText(block, 'chksum', `${sum.toString(8).padStart(6, '0')}\0`);
  return block;
}

function putText(block: Buffer, field: keyof typeof FIELDS, ascii: string): void {
  block.write(ascii, FIELDS[field].offset, 'latin1');
}

function putOctal(block: Buffer, field: keyof typeof FIELDS, value: number): void {
  putText(block, field, value.toString(8).padStart(FIELDS[field].length - 1, '0'));
}

/** The error for an entry that cannot be written. `INTERNAL`, since the layouts make no such entries. */
export function cannotArchive(entry: TarEntry, why: string): PassthroughError {
  return new PassthroughError('INTERNAL', `Cannot archive ${quoted(entry.name)}: ${why}`);
}

/** Number of zero bytes after `size` bytes of content, up to the end of the block: 0 to 511. */
export function paddingAfter(size: number): number {
  return (BLOCK_SIZE - (size % BLOCK_SIZE)) % BLOCK_SIZE;
}

/**
 * A size that is too large for octal: the top bit is set, the other 95 bits are a big-endian number. A GNU extension that also
 * readers without pax support: https://www.gnu.org/software/tar/manual/html_node/Extensions.html
 */
function base256(size: number): Buffer {
  const field = Buffer.alloc(FIELDS.size.length);
  field.writeBigUInt64BE(BigInt(size), field.length - 8);
  field[0] = 0x80;
  return field;
}

/** Cuts a path to the name field, between characters. A directory's path keeps its final `/`. */
function cutPath(path: string): Buffer {
  const bytes = Buffer.from(path);
  const closing = path.endsWith('/') ? '/' : '';
  let end = NAME_LENGTH - closing.length;
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1; // 10xxxxxx continues a character in UTF-8
  // Some readers treat a file whose cut name ends in `/` as a directory, and ignore its pax header there:
  // https://github.com/isaacs/node-tar/pull/187
  if (bytes[end - 1] === 0x2f) end -= 1;
  return Buffer.concat([bytes.subarray(0, end), Buffer.from(closing)]);
}
