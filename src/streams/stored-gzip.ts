/**
 * Bytes as gzip members that do not compress them: "stored" blocks. So gzip files are put together from parts that are compressed
 * already, and from small parts that are not worth it. Readers take members that follow each other as one file.
 *
 * @see https://www.rfc-editor.org/rfc/rfc1952#section-2.2
 * @see https://www.rfc-editor.org/rfc/rfc1951#page-11
 */

import { crc32 } from 'node:zlib';
import { ownChunk, releaseChunk } from './chunk.ts';

/** Most bytes of a stored block. */
const MAX_BLOCK_BYTES = 65_535;

/** Byte for the kind of block, and its length twice. */
const BLOCK_HEADER_BYTES = 5;

/** Header without name and time, of an unknown system, so that equal bytes give equal members. */
const MEMBER_HEADER = Buffer.from([0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 0, 0xff]);

/** Checksum and length. */
const MEMBER_TRAILER_BYTES = 8;

/**
 * Bytes in a member, but for the last one of a part. A range that begins in a member is answered by reading the member from its
 * start, since its checksum stands at the end.
 */
const MEMBER_BYTES = 16 * MAX_BLOCK_BYTES;

/** Bytes from `start` up to but not including `end`. */
interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** Length of the members for so many bytes, in bytes; 0 for none. */
export function storedSize(bytes: number): number {
  const whole = Math.floor(bytes / MEMBER_BYTES);
  return whole * memberSize(MEMBER_BYTES) + memberSize(bytes % MEMBER_BYTES);
}

function memberSize(bytes: number): number {
  if (bytes === 0) return 0;
  const blocks = Math.ceil(bytes / MAX_BLOCK_BYTES);
  return MEMBER_HEADER.byteLength + blocks * BLOCK_HEADER_BYTES + bytes + MEMBER_TRAILER_BYTES;
}

/**
 * Writes bytes as members.
 *
 * @param bytes number of bytes
 * @param open opens a range of them; it must yield exactly that range. Its chunks are taken over
 * @param range of the members; default: all
 * @returns {@link storedSize} bytes, or the range
 * @throws what `open` and its bytes throw; RangeError for too few or too many bytes
 */
export async function* storedMembers(
  bytes: number,
  open: (range: ByteRange) => AsyncIterable<Uint8Array>,
  range: ByteRange = { start: 0, end: storedSize(bytes) },
): AsyncGenerator<Uint8Array, void, undefined> {
  if (range.start >= range.end) return;
  const first = Math.floor(range.start / memberSize(MEMBER_BYTES));
  const last = Math.floor((range.end - 1) / memberSize(MEMBER_BYTES));
  const source = { start: first * MEMBER_BYTES, end: Math.min((last + 1) * MEMBER_BYTES, bytes) };
  let left = source.end - source.start;
  let position = first * memberSize(MEMBER_BYTES);
  let member: Member | undefined;
  for await (const chunk of open(source)) {
    let rest = chunk;
    while (rest.byteLength > 0) {
      if (left === 0) throw new RangeError('There are more bytes than were told');
      member ??= new Member(Math.min(left, MEMBER_BYTES));
      const taken = member.add(rest);
      rest = rest.subarray(taken);
      left -= taken;
      if (!member.isFull) break;
      const whole = member.finish();
      member = undefined;
      const start = Math.max(range.start - position, 0);
      const end = Math.min(range.end - position, whole.byteLength);
      position += whole.byteLength;
      yield start === 0 && end === whole.byteLength ? whole : whole.subarray(start, end);
    }
    releaseChunk(chunk);
  }
  if (left > 0) throw new RangeError(`There are ${left} bytes less than were told`);
}

/**
 * The bytes of {@link storedMembers} for a source that may pause: all that is there of a member is passed on at once.
 *
 * @throws as {@link storedMembers}
 */
export async function* storedMembersAtOnce(
  bytes: number,
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  let left = bytes;
  let member: Member | undefined;
  for await (const chunk of source) {
    for (let rest = chunk; rest.byteLength > 0; ) {
      if (left === 0) throw new RangeError('There are more bytes than were told');
      member ??= new Member(Math.min(left, MEMBER_BYTES));
      const taken = member.add(rest);
      rest = rest.subarray(taken);
      left -= taken;
      yield member.takeFilled();
      if (member.isFull) member = undefined;
    }
    releaseChunk(chunk);
  }
  if (left > 0) throw new RangeError(`There are ${left} bytes less than were told`);
}

/**
 * The bytes of {@link storedMembers} for a source of unknown length, which may pause: all but the last block is passed on at once.
 * Whether a block ends its member shows only with the next byte, or with the end.
 *
 * @throws what the source throws
 */
export async function* storedMembersToEnd(
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  const block = Buffer.allocUnsafeSlow(MAX_BLOCK_BYTES);
  let filled = 0;
  let written = 0;
  let checksum = 0;
  const take = (isEnd: boolean): Uint8Array => {
    const isFirst = written === 0;
    const bytes = block.subarray(0, filled);
    checksum = crc32(bytes, checksum);
    written += filled;
    filled = 0;
    const isLast = isEnd || written === MEMBER_BYTES;
    const parts = [blockHeader(bytes.byteLength, isLast), bytes];
    if (isFirst) parts.unshift(MEMBER_HEADER);
    if (!isLast) return Buffer.concat(parts);
    parts.push(memberTrailer(checksum, written));
    written = 0;
    checksum = 0;
    return Buffer.concat(parts);
  };
  for await (const chunk of source) {
    for (let from = 0; from < chunk.byteLength; ) {
      if (filled === MAX_BLOCK_BYTES) yield take(false);
      const to = Math.min(chunk.byteLength, from + MAX_BLOCK_BYTES - filled);
      block.set(chunk.subarray(from, to), filled);
      filled += to - from;
      from = to;
    }
    releaseChunk(chunk);
  }
  if (filled > 0) yield take(true);
}

function blockHeader(length: number, isLast: boolean): Buffer {
  const header = Buffer.alloc(BLOCK_HEADER_BYTES);
  header[0] = isLast ? 1 : 0;
  header.writeUInt16LE(length, 1);
  header.writeUInt16LE(~length & 0xffff, 3);
  return header;
}

function memberTrailer(checksum: number, bytes: number): Buffer {
  const trailer = Buffer.alloc(MEMBER_TRAILER_BYTES);
  trailer.writeUInt32LE(checksum);
  trailer.writeUInt32LE(bytes, 4);
  return trailer;
}

/** A member that is being filled. */
class Member {
  readonly #bytes: number;
  readonly #buffer: Buffer;
  #added = 0;
  #at = MEMBER_HEADER.byteLength;
  #checksum = 0;
  /** End of what was taken. */
  #taken = 0;

  /** @param bytes that it will have */
  constructor(bytes: number) {
    this.#bytes = bytes;
    this.#buffer = Buffer.allocUnsafeSlow(memberSize(bytes));
    MEMBER_HEADER.copy(this.#buffer);
  }

  get isFull(): boolean {
    return this.#added === this.#bytes;
  }

  /** Adds bytes, and returns how many were taken. */
  add(chunk: Uint8Array): number {
    const taken = Math.min(chunk.byteLength, this.#bytes - this.#added);
    this.#checksum = crc32(chunk.subarray(0, taken), this.#checksum);
    for (let from = 0; from < taken; ) {
      const inBlock = this.#added % MAX_BLOCK_BYTES;
      if (inBlock === 0) this.#beginBlock();
      const to = Math.min(taken, from + MAX_BLOCK_BYTES - inBlock);
      this.#buffer.set(chunk.subarray(from, to), this.#at);
      this.#at += to - from;
      this.#added += to - from;
      from = to;
    }
    return taken;
  }

  /** Ends a full member, and returns it. */
  finish(): Uint8Array {
    this.#end();
    return ownChunk(this.#buffer);
  }

  /** Returns what was added since the last call; of a full member, all that is left. */
  takeFilled(): Uint8Array {
    if (this.isFull) this.#end();
    const from = this.#taken;
    this.#taken = this.isFull ? this.#buffer.byteLength : this.#at;
    return this.#buffer.subarray(from, this.#taken);
  }

  #end(): void {
    memberTrailer(this.#checksum, this.#bytes).copy(this.#buffer, this.#at);
  }

  #beginBlock(): void {
    const left = this.#bytes - this.#added;
    const length = Math.min(left, MAX_BLOCK_BYTES);
    blockHeader(length, length === left).copy(this.#buffer, this.#at);
    this.#at += BLOCK_HEADER_BYTES;
  }
}
