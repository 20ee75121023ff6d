import { crc32 } from 'node:zlib';

/** The first bytes of a gzip member: the magic, and the only method. */
const MAGIC = Buffer.from([0x1f, 0x8b, 0x08]);

/** Bytes of a header without optional fields. */
const FIXED_BYTES = 10;

/**
 * Most bytes of a name or a comment that are read; a longer one counts as odd. They have no limit of their own, and wait in memory
 * for their end.
 */
const MAX_FIELD_BYTES = 128 * 1024;

/**
 * Most bytes of headers that are read in one stream; a stream with more counts as odd. Chance makes a few of them in a gigabyte, but a
 * blob can be made in which every few bytes begin a header of 200 KB, and reading each of them would stop all other work for minutes.
 */
const MAX_READ_BYTES = 16 * 1024 * 1024;

/** What a place costs besides the bytes of its header, in bytes. */
const PLACE_BYTES = 64;

/** Flags of a header. @see https://www.rfc-editor.org/rfc/rfc1952#section-2.3.1 */
const [CHECKSUM, EXTRA, NAME, COMMENT, RESERVED] = [0x02, 0x04, 0x08, 0x10, 0xe0];

/**
 * Finds members of a gzip stream whose headers have a checksum, wherever they begin. gzip before 1.10 takes its flag for that of a
 * file in several parts. Reserved flags need no search: zlib refuses them in any member.
 *
 * The decoder does not tell where a member begins, so every place with the bytes of a header is tried. Compressed bytes that look like
 * one are told apart by the checksum itself, which zlib verifies in a real header: chance passes once in 2⁴⁰ places.
 */
export class HeaderChecksums {
  #found = false;
  /** Bytes of headers that may still be read. */
  #left = MAX_READ_BYTES;
  /** The end of the bytes so far, from where a header may begin that is not complete. */
  #rest = Buffer.alloc(0);

  /** Whether a header with a checksum was found, or too much that looks like one. */
  get found(): boolean {
    return this.#found;
  }

  /** Takes the next bytes of the stream. */
  update(chunk: Uint8Array): void {
    if (this.#found) return;
    const view = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const bytes = this.#rest.byteLength === 0 ? view : Buffer.concat([this.#rest, view]);
    let at = bytes.indexOf(MAGIC);
    for (; at !== -1; at = bytes.indexOf(MAGIC, at + 1)) {
      const header = readHeader(bytes, at);
      if (header === 'incomplete') break;
      this.#left -= header.cost;
      this.#found = header.isOdd || this.#left < 0;
      if (this.#found) return;
    }
    // Copied: the chunk is taken over by the decoder.
    this.#rest = Buffer.from(bytes.subarray(at === -1 ? startOfMagic(bytes) : at));
  }
}

/** What bytes that begin like a header are. */
interface ReadHeader {
  /** Whether it is a header with a valid checksum, or with a field that is too long. */
  readonly isOdd: boolean;
  /** What it has taken to see that, in bytes. */
  readonly cost: number;
}

/** Reads bytes that begin like a header. The result depends on nothing but the bytes of the stream: replicas must agree. */
function readHeader(stream: Buffer, start: number): ReadHeader | 'incomplete' {
  const flags = stream[start + MAGIC.byteLength];
  if (flags === undefined) return 'incomplete';
  if ((flags & CHECKSUM) === 0 || (flags & RESERVED) !== 0) return { isOdd: false, cost: 0 };
  const bytes = stream.subarray(start);
  let end = FIXED_BYTES;
  if ((flags & EXTRA) !== 0) {
    if (bytes.byteLength < end + 2) return 'incomplete';
    end += 2 + bytes.readUInt16LE(end);
  }
  for (const flag of [NAME, COMMENT]) {
    if ((flags & flag) === 0) continue;
    const zero = end >= bytes.byteLength ? -1 : bytes.indexOf(0, end);
    const isTooLong = (zero === -1 ? bytes.byteLength : zero) - end > MAX_FIELD_BYTES;
    if (isTooLong) return { isOdd: true, cost: 0 };
    if (zero === -1) return 'incomplete';
    end = zero + 1;
  }
  if (bytes.byteLength < end + 2) return 'incomplete';
  const isOdd = (crc32(bytes.subarray(0, end)) & 0xffff) === bytes.readUInt16LE(end);
  return { isOdd, cost: end + PLACE_BYTES };
}

/** Where the magic may begin at the end of bytes that do not have all of it. */
function startOfMagic(bytes: Buffer): number {
  for (let length = Math.min(MAGIC.byteLength - 1, bytes.byteLength); length > 0; length -= 1) {
    const start = bytes.byteLength - length;
    if (bytes.subarray(start).equals(MAGIC.subarray(0, length))) return start;
  }
  return bytes.byteLength;
}
