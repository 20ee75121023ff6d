/**
 * Reads the 512-byte header blocks of the tar formats in use: v7, ustar, GNU and star.
 * https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13_06
 * https://www.gnu.org/software/tar/manual/html_node/Standard.html
 */

import { BLOCK_SIZE, FIELDS } from './header.ts';

/** A header block, read but not interpreted. */
export interface RawHeader {
  /** UTF-8 is not checked yet. A prefix is joined. */
  readonly name: Uint8Array;
  readonly linkName: Uint8Array;
  /** One character; NUL stands for `0` in v7. */
  readonly typeflag: string;
  /** Bytes of content, or what is wrong with the number, to follow "its size". */
  readonly size: number | string;
}

/** Prefix field of star, in bytes: two times follow it. */
const STAR_PREFIX_LENGTH = 131;

/** Mark at the end of star's header block. */
const STAR_TRAILER = { offset: 508, text: 'tar\0' };

/** Whether a block is all zeros, as at the end of an archive. */
export function isZeroBlock(block: Uint8Array): boolean {
  return block.every((byte) => byte === 0);
}

/**
 * Reads a header block.
 *
 * @param block {@link BLOCK_SIZE} bytes
 * @returns `undefined` if the checksum is wrong, so that this is no header
 */
export function parseHeader(block: Uint8Array): RawHeader | undefined {
  const bytes = Buffer.from(block.buffer, block.byteOffset, block.byteLength);
  const field = ({ offset, length }: Field) => bytes.subarray(offset, offset + length);
  if (!hasChecksum(bytes)) return undefined;
  const prefix = prefixOf(bytes);
  const name = untilNul(field(FIELDS.name));
  return {
    name: prefix.byteLength === 0 ? name : Buffer.concat([prefix, Buffer.from('/'), name]),
    linkName: untilNul(field(FIELDS.linkname)),
    typeflag: String.fromCharCode(bytes[FIELDS.typeflag.offset] ?? 0),
    size: parseNumber(field(FIELDS.size)),
  };
}

interface Field {
  readonly offset: number;
  readonly length: number;
}

/**
 * Compares the checksum: the sum of all bytes, with spaces in its own field. Historic programs added signed bytes, so both
 * sums are accepted, as POSIX says for readers.
 */
function hasChecksum(bytes: Buffer): boolean {
  const { offset, length } = FIELDS.chksum;
  const expected = parseNumber(bytes.subarray(offset, offset + length));
  // The field itself counts as spaces.
  let unsigned = length * 0x20;
  let negative = 0;
  const add = (start: number, end: number) => {
    for (let at = start; at < end; at += 1) {
      const byte = bytes[at] ?? 0;
      unsigned += byte;
      negative += byte >> 7;
    }
  };
  add(0, offset);
  add(offset + length, BLOCK_SIZE);
  const signed = unsigned - 0x100 * negative;
  return expected === unsigned || expected === signed;
}

/**
 * Reads a number: octal digits between spaces and NULs, or base-256 if the top bit is set.
 *
 * @returns the number, or what is wrong with it
 */
function parseNumber(field: Buffer): number | string {
  const [first = 0] = field;
  if ((first & 0x80) === 0) {
    const text = field.toString('latin1').replaceAll('\0', ' ');
    const digits = text.trim();
    const isOctal = /^[ 0-7]*$/.test(text) && !digits.includes(' ');
    return isOctal ? Number.parseInt(`0${digits}`, 8) : 'is not an octal number';
  }
  if (first === 0xff) return 'is negative';
  let value = BigInt(first & 0x7f);
  for (const byte of field.subarray(1)) value = (value << 8n) | BigInt(byte);
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : 'is beyond the safe integers';
}

/** Only ustar has a prefix. GNU's old format, which has another magic, keeps times in its place. */
function prefixOf(bytes: Buffer): Uint8Array {
  const { magic, prefix } = FIELDS;
  if (bytes.toString('latin1', magic.offset, magic.offset + magic.length) !== 'ustar\0') {
    return new Uint8Array();
  }
  const { offset, text } = STAR_TRAILER;
  const isStar = bytes.toString('latin1', offset, offset + text.length) === text;
  const length = isStar ? STAR_PREFIX_LENGTH : prefix.length;
  return untilNul(bytes.subarray(prefix.offset, prefix.offset + length));
}

/** The bytes before the first NUL. */
export function untilNul(bytes: Uint8Array): Uint8Array {
  const end = bytes.indexOf(0);
  return end === -1 ? bytes : bytes.subarray(0, end);
}
