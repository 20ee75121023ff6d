/**
 * The 512-byte header block of a tar archive in the ustar interchange format:
 * https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13_06
 */

import { PassthroughError } from '../errors.ts';

/** Bytes in a block, the unit of a tar archive: headers and contents both fill whole ones. */
export const BLOCK_SIZE = 512;

/** Most permission bits there are: set-user-ID, set-group-ID, sticky, and `rwx` three times. */
const MAX_MODE = 0o7777;

/** Largest number in the 12-byte fields: 11 octal digits and a NUL. As a size one byte short of 8 GiB. */
const MAX_OCTAL = 0o77777777777;

/** Where each field of the header lies, in bytes. Text is padded with NULs; numbers are octal and end in one. */
const FIELDS = {
  name: { offset: 0, length: 100 },
  mode: { offset: 100, length: 8 },
  uid: { offset: 108, length: 8 },
  gid: { offset: 116, length: 8 },
  size: { offset: 124, length: 12 },
  mtime: { offset: 136, length: 12 },
  chksum: { offset: 148, length: 8 },
  typeflag: { offset: 156, length: 1 },
  magic: { offset: 257, length: 6 },
  version: { offset: 263, length: 2 },
  devmajor: { offset: 329, length: 8 },
  devminor: { offset: 337, length: 8 },
  prefix: { offset: 345, length: 155 },
} as const;

/** Longest UTF-8 name, in bytes, that the name field takes; it needs no NUL at its end. */
export const NAME_LENGTH = FIELDS.name.length;

/** What an archive says of one file or directory. */
export interface TarEntry {
  /** Relative path with `/` between its segments. A directory's may end in `/`, and is written so. */
  readonly name: string;
  readonly type: 'file' | 'directory';
  /** Bytes of content; 0 for directories. */
  readonly size: number;
  /** Permission bits; 0o644 for files and 0o755 for directories when not given. */
  readonly mode?: number;
  /** Whole seconds since 1970, 0 when not given. */
  readonly mtime?: number;
}

/** A header block before it is encoded, its values already checked. */
export interface UstarHeader {
  /** As it is written: a directory's ends in `/`. */
  readonly path: string;
  /** `0` a file, `5` a directory, `x` records about the entry that follows. */
  readonly typeflag: '0' | '5' | 'x';
  readonly mode: number;
  readonly size: number;
  readonly mtime: number;
}

/**
 * Checks an entry and fills in its defaults.
 *
 * @throws {PassthroughError} `INTERNAL` when the name is not a plain relative path of well-formed Unicode, or
 *   a number is negative, fractional or out of range. Nothing is clamped or cleaned up.
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
  // A lone surrogate has no UTF-8 form: it would turn into U+FFFD, and two names into one.
  if (!bare.isWellFormed()) refuse('name is not well-formed Unicode');
  // Readers differ on what they make of these: some drop them, some refuse, some write outside their folder.
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
 * Splits a path over the two fields that ustar has for it; a reader puts a `/` between them.
 *
 * @returns both parts as UTF-8, the prefix empty where the name field is enough, or `undefined` when no `/`
 *   divides the path into a prefix of 1 to 155 bytes and a name of 1 to 100
 */
export function splitPath(path: string): { readonly prefix: Buffer; readonly name: Buffer } | undefined {
  const bytes = Buffer.from(path);
  if (bytes.length <= NAME_LENGTH) return { prefix: Buffer.alloc(0), name: bytes };
  // The last `/` that leaves a prefix which fits leaves the shortest name. A `/` that ends the path is not it.
  const slash = bytes.lastIndexOf('/', Math.min(FIELDS.prefix.length, bytes.length - 2));
  const name = bytes.subarray(slash + 1);
  return name.length <= NAME_LENGTH ? { prefix: bytes.subarray(0, slash), name } : undefined;
}

/**
 * Encodes one header block. Owner and group are 0 and have no names. A path that {@link splitPath} cannot
 * place is cut to the name field; its whole is then the matter of a pax header before this block.
 *
 * @param header values that {@link toUstarHeader} has checked
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
  // The sum of all bytes, its own field taken as eight spaces; then six digits, a NUL and one of the spaces.
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

/** The error for an entry that cannot be written: `INTERNAL`, since no archive that is asked for has one. */
export function cannotArchive(entry: TarEntry, why: string): PassthroughError {
  return new PassthroughError('INTERNAL', `Cannot archive ${JSON.stringify(entry.name)}: ${why}`);
}

/** Zero bytes that follow `size` bytes of content up to the end of a block: 0 to 511. */
export function paddingAfter(size: number): number {
  return (BLOCK_SIZE - (size % BLOCK_SIZE)) % BLOCK_SIZE;
}

/**
 * A size too large for octal: the top bit set, then a big-endian number over the other 95. A GNU extension
 * that readers without pax know as well: https://www.gnu.org/software/tar/manual/html_node/Extensions.html
 */
function base256(size: number): Buffer {
  const field = Buffer.alloc(FIELDS.size.length);
  field.writeBigUInt64BE(BigInt(size), field.length - 8);
  field[0] = 0x80;
  return field;
}

/** As much of a path as the name field takes, cut between characters; a directory's keeps its closing `/`. */
function cutPath(path: string): Buffer {
  const bytes = Buffer.from(path);
  const closing = path.endsWith('/') ? '/' : '';
  let end = NAME_LENGTH - closing.length;
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1; // UTF-8 continues a character with 10xxxxxx
  // Some readers take a file for a directory when its cut name ends in `/`, whatever its pax header says:
  // https://github.com/isaacs/node-tar/pull/187
  if (bytes[end - 1] === 0x2f) end -= 1;
  return Buffer.concat([bytes.subarray(0, end), Buffer.from(closing)]);
}
