/** Helpers that read bytes without the code of the product: collect a stream, hash it, list a tar. */

import { createHash } from 'node:crypto';

/** Most bytes that {@link readAll} collects: more than any body that a test holds in memory. */
const READ_ALL_LIMIT_BYTES = 1024 ** 3;

/** Length of a tar block (POSIX.1-2024, pax, "ustar Interchange Format"). */
const BLOCK_BYTES = 512;

/**
 * Collects a stream.
 *
 * @param limitBytes most bytes to accept
 * @throws RangeError above the limit; the error of the source
 */
export async function readAll(
  source: AsyncIterable<Uint8Array | string>,
  limitBytes = READ_ALL_LIMIT_BYTES,
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of source) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : Buffer.from(chunk);
    size += bytes.length;
    if (size > limitBytes) {
      throw new RangeError(`Cannot gather stream: it is longer than ${limitBytes} bytes`);
    }
    chunks.push(bytes);
  }
  return Buffer.concat(chunks, size);
}

/**
 * @param bytes what to hash; text is taken as UTF-8
 * @returns the digest as registries write it, `sha256:` and 64 hexadecimal digits
 */
export function sha256(bytes: Uint8Array | string): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** The type of a tar entry. */
export type TarEntryType =
  | 'file'
  | 'hardlink'
  | 'symlink'
  | 'character-device'
  | 'block-device'
  | 'directory'
  | 'fifo';

/** One entry of a tar, with its pax records applied. */
export interface TarEntry {
  readonly name: string;
  readonly type: TarEntryType;
  /** Bytes of content. */
  readonly size: number;
  readonly mode: number;
  /** Seconds since 1970, with a fraction if a pax record has one. */
  readonly mtime: number;
  readonly uid: number;
  readonly gid: number;
  readonly uname: string;
  readonly gname: string;
  readonly linkname: string;
  readonly content: Buffer;
  /** The pax records before this entry; empty for plain ustar. */
  readonly pax: ReadonlyMap<string, string>;
}

const ENTRY_TYPES: Readonly<Record<string, TarEntryType>> = {
  '\0': 'file',
  '0': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'character-device',
  '4': 'block-device',
  '5': 'directory',
  '6': 'fifo',
};

/**
 * Reads a tar of ustar and pax entries strictly: checksums, magic, padding, and zero blocks only at the end are
 * required.
 *
 * @param archive the whole archive, not compressed
 * @returns its entries in their order
 * @throws Error naming the offset at which the archive is not a tar
 */
export function listTar(archive: Uint8Array): TarEntry[] {
  const bytes = Buffer.from(archive.buffer, archive.byteOffset, archive.byteLength);
  const entries: TarEntry[] = [];
  let pax = new Map<string, string>();
  let offset = 0;
  for (;;) {
    const header = block(bytes, offset);
    if (header.every((byte) => byte === 0)) {
      break;
    }
    checkHeader(header, offset);
    const flag = String.fromCharCode(header[156] ?? 0);
    const size = pax.has('size') ? Number(pax.get('size')) : number(header, 124, 12, offset);
    const end = offset + BLOCK_BYTES + size;
    if (end > bytes.length) {
      throw new Error(`Cannot list tar: content at offset ${offset + BLOCK_BYTES} ends after the archive`);
    }
    const content = bytes.subarray(offset + BLOCK_BYTES, end);
    const next = Math.ceil(end / BLOCK_BYTES) * BLOCK_BYTES;
    if (bytes.subarray(end, next).some((byte) => byte !== 0)) {
      throw new Error(`Cannot list tar: padding at offset ${end} is not zero`);
    }
    if (flag === 'x') {
      pax = parsePax(content, offset);
    } else {
      entries.push(entryOf(header, flag, content, pax, offset));
      pax = new Map();
    }
    offset = next;
  }
  block(bytes, offset + BLOCK_BYTES);
  if (bytes.length % BLOCK_BYTES !== 0 || bytes.subarray(offset).some((byte) => byte !== 0)) {
    throw new Error(`Cannot list tar: bytes after the end at offset ${offset} are not whole zero blocks`);
  }
  return entries;
}

function block(bytes: Buffer, offset: number): Buffer {
  if (offset + BLOCK_BYTES > bytes.length) {
    throw new Error(`Cannot list tar: it ends at ${bytes.length}, inside the block at offset ${offset}`);
  }
  return bytes.subarray(offset, offset + BLOCK_BYTES);
}

function checkHeader(header: Buffer, offset: number): void {
  const sum = header.reduce((total, byte, index) => total + (index >= 148 && index < 156 ? 0x20 : byte), 0);
  if (sum !== number(header, 148, 8, offset)) {
    throw new Error(`Cannot list tar: checksum of the header at offset ${offset} is wrong`);
  }
  if (header.toString('latin1', 257, 265) !== 'ustar\x0000') {
    throw new Error(`Cannot list tar: header at offset ${offset} is not ustar`);
  }
}

function entryOf(
  header: Buffer,
  flag: string,
  content: Buffer,
  pax: ReadonlyMap<string, string>,
  offset: number,
): TarEntry {
  const type = ENTRY_TYPES[flag];
  if (type === undefined) {
    throw new Error(`Cannot list tar: type "${flag}" at offset ${offset} is unknown`);
  }
  const prefix = text(header, 345, 155);
  const name = text(header, 0, 100);
  return {
    name: pax.get('path') ?? (prefix === '' ? name : `${prefix}/${name}`),
    type,
    size: content.length,
    mode: number(header, 100, 8, offset),
    mtime: Number(pax.get('mtime') ?? number(header, 136, 12, offset)),
    uid: Number(pax.get('uid') ?? number(header, 108, 8, offset)),
    gid: Number(pax.get('gid') ?? number(header, 116, 8, offset)),
    uname: pax.get('uname') ?? text(header, 265, 32),
    gname: pax.get('gname') ?? text(header, 297, 32),
    linkname: pax.get('linkpath') ?? text(header, 157, 100),
    content,
    pax,
  };
}

function text(header: Buffer, start: number, length: number): string {
  const field = header.subarray(start, start + length);
  const end = field.indexOf(0);
  return field.toString('utf8', 0, end === -1 ? length : end);
}

/** Octal digits ended by NUL or space, or base-256 when the first bit is set (GNU, for sizes from 8 GiB on). */
function number(header: Buffer, start: number, length: number, offset: number): number {
  const field = header.subarray(start, start + length);
  if (((field[0] ?? 0) & 0x80) !== 0) {
    return field.reduce((value, byte, index) => value * 256 + (index === 0 ? byte & 0x7f : byte), 0);
  }
  const digits = field.toString('latin1').replace(/[\0 ]+$/, '');
  if (!/^ *[0-7]*$/.test(digits)) {
    throw new Error(`Cannot list tar: "${digits}" in the header at offset ${offset} is not octal`);
  }
  return digits.trim() === '' ? 0 : Number.parseInt(digits, 8);
}

/** Records of the form `length key=value\n`, the length counting the whole record in bytes. */
function parsePax(content: Buffer, offset: number): Map<string, string> {
  const records = new Map<string, string>();
  let position = 0;
  while (position < content.length) {
    const length = Number.parseInt(content.toString('latin1', position, position + 20), 10);
    const record = content.toString('utf8', position, position + length);
    const match = /^\d+ ([^=]+)=(.*)\n$/s.exec(record);
    if (!(length > 0) || position + length > content.length || match?.[1] === undefined) {
      throw new Error(
        `Cannot list tar: pax record at offset ${offset + BLOCK_BYTES + position} is malformed`,
      );
    }
    records.set(match[1], match[2] ?? '');
    position += length;
  }
  return records;
}
