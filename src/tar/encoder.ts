/**
 * Writes tar archives as streams of known length. The bytes depend on the entries alone: no clock, no owner, no process ID.
 * Layout of an archive:
 * https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13
 */

import { PassthroughError } from '../errors.ts';
import {
  BLOCK_SIZE,
  cannotArchive,
  encodeUstar,
  paddingAfter,
  type TarEntry,
  toUstarHeader,
} from './header.ts';
import { paxBlocks } from './pax.ts';

/**
 * Two zero blocks end an archive. There is no padding to a record of 20 blocks (10,240 bytes), which only tapes need. Go's
 * archive/tar, and so `docker save`, does not write it either.
 */
export const TRAILER_SIZE = 2 * BLOCK_SIZE;

/** Neighbouring pieces are joined up to this size, in bytes: the size of one read of Node's file streams. */
const JOIN_SIZE = 65_536;

/** An entry with its content. */
export interface TarSource extends TarEntry {
  /**
   * Exactly `size` bytes, or a function that opens them; may be absent when `size` is 0. The function is called once, when
   * the stream reaches the entry. Its iterator is always read to the end or closed. With a range, it opens only those bytes.
   */
  readonly content?: Uint8Array | ((range?: ByteRange) => AsyncIterable<Uint8Array>);
}

/** Bytes from `start` up to but not including `end`. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/**
 * The blocks before an entry's content: a pax header if the name needs one, then the ustar header.
 *
 * @returns a whole number of {@link BLOCK_SIZE} blocks
 * @throws {PassthroughError} `INTERNAL` as {@link toUstarHeader}
 */
export function headerBlocks(entry: TarEntry): Uint8Array {
  const header = toUstarHeader(entry);
  return Buffer.concat([paxBlocks(header.path), encodeUstar(header)]);
}

/**
 * Exact length of the archive that {@link encodeTar} writes, in bytes.
 *
 * @throws {PassthroughError} `INTERNAL` when an entry cannot be written, two have the same name (a file and a
 *   directory cannot share one either), or the sum is beyond the safe integers
 */
export function tarSize(entries: readonly TarEntry[]): number {
  return measure(entries);
}

/** Computes the length of the archive. */
function measure(entries: readonly TarEntry[]): number {
  const names = new Set<string>();
  let size = TRAILER_SIZE;
  for (const entry of entries) {
    size += headerBlocks(entry).byteLength + entry.size + paddingAfter(entry.size);
    if (!Number.isSafeInteger(size)) {
      throw cannotArchive(entry, `the archive grows beyond ${Number.MAX_SAFE_INTEGER} bytes`);
    }
    const name = entry.name.replace(/\/$/, '');
    if (names.has(name)) throw cannotArchive(entry, 'another entry has the same name');
    names.add(name);
  }
  return size;
}

/**
 * Streams an archive or a range of its bytes, at the speed of the reader. Large contents are passed on without a copy.
 * Headers, padding and small contents in memory are joined, which saves the socket many tiny writes.
 *
 * A reader that stops early closes the open content. The `return()` of an async generator waits for the current read, so
 * content that may hang needs its own abort signal.
 *
 * @param entries in the order of the archive
 * @param range default: all bytes. Contents outside of the range are not opened
 * @param sourceOf gives an entry its content when the stream reaches it. So what a slow reader holds does not grow with the
 *   number of entries; nor does it by the headers, which are encoded then
 * @returns {@link tarSize} bytes, or the range, in pieces that are not empty
 * @throws {PassthroughError} `INTERNAL`, at once: as {@link tarSize}, for content in memory that does not have `size` bytes,
 *   for a range outside of the archive. While streaming: for opened content of another length, before any piece beyond it
 */
export function encodeTar<Entry extends TarEntry = TarSource>(
  entries: readonly Entry[],
  range?: ByteRange,
  sourceOf: (entry: Entry) => TarSource = (entry) => entry,
): AsyncGenerator<Uint8Array> {
  const size = measure(entries);
  for (const entry of entries) {
    const { content } = sourceOf(entry);
    if (typeof content === 'function') continue;
    const length = content?.byteLength ?? 0;
    if (length !== entry.size) throw wrongLength(entry, length);
  }
  const wanted = range ?? { start: 0, end: size };
  const { start, end } = wanted;
  if (![start, end].every(Number.isSafeInteger) || start < 0 || start > end || end > size) {
    throw new PassthroughError(
      'INTERNAL',
      `Cannot archive bytes ${start} to ${end}: it is no range of ${size} bytes`,
    );
  }
  return stream(entries, sourceOf, wanted);
}

async function* stream<Entry extends TarEntry>(
  entries: readonly Entry[],
  sourceOf: (entry: Entry) => TarSource,
  range: ByteRange,
): AsyncGenerator<Uint8Array> {
  let offset = 0;
  /** Moves on by `size` bytes of the archive. Returns the part of these bytes that is in the range. */
  const advance = (size: number): ByteRange => {
    const within = (position: number) => Math.min(Math.max(position - offset, 0), size);
    const wanted = { start: within(range.start), end: within(range.end) };
    offset += size;
    return wanted;
  };
  let pieces: Uint8Array[] = [];
  let length = 0;
  const add = (piece: Uint8Array) => {
    pieces.push(piece);
    length += piece.byteLength;
  };
  const addWanted = (bytes: Uint8Array) => {
    const { start, end } = advance(bytes.byteLength);
    add(bytes.subarray(start, end));
  };
  /** The collected pieces, joined; nothing if they are empty. */
  const takeJoined = (): readonly Uint8Array[] => {
    const joined = length === 0 ? [] : [Buffer.concat(pieces, length)];
    pieces = [];
    length = 0;
    return joined;
  };
  for (const entry of entries) {
    if (offset >= range.end) break;
    const { content = new Uint8Array() } = sourceOf(entry);
    addWanted(headerBlocks(entry));
    const at = offset;
    const wanted = advance(entry.size);
    const isWhole = wanted.end - wanted.start === entry.size;
    if (typeof content === 'function') {
      // Empty content is opened too, to check that it is empty, if its position is in the range.
      const isWanted = entry.size === 0 ? at >= range.start && at < range.end : wanted.end > wanted.start;
      if (isWanted) {
        yield* takeJoined();
        yield* exactly(entry, isWhole ? content() : content(wanted), wanted);
      }
    } else {
      const bytes = isWhole ? content : content.subarray(wanted.start, wanted.end);
      if (bytes.byteLength > JOIN_SIZE) {
        yield* takeJoined();
        yield bytes;
      } else {
        add(bytes);
      }
    }
    addWanted(new Uint8Array(paddingAfter(entry.size)));
    if (length >= JOIN_SIZE) yield* takeJoined();
  }
  addWanted(new Uint8Array(TRAILER_SIZE));
  yield* takeJoined();
}

/** Passes content on, and fails if its length differs from the header or the range. */
async function* exactly(
  entry: TarEntry,
  content: AsyncIterable<Uint8Array>,
  { start, end }: ByteRange,
): AsyncGenerator<Uint8Array> {
  const size = end - start;
  const what = size === entry.size ? 'content' : `content from byte ${start} to ${end}`;
  let length = 0;
  // `for await` closes the content's iterator on every exit but the content's own end or error.
  for await (const chunk of content) {
    length += chunk.byteLength;
    if (length > size) throw cannotArchive(entry, `${what} has more than ${size} bytes`);
    if (chunk.byteLength > 0) yield chunk;
  }
  if (length < size) throw wrongLength({ ...entry, size }, length, what);
}

function wrongLength(entry: TarEntry, length: number, what = 'content'): Error {
  return cannotArchive(entry, `${what} has ${length} bytes instead of ${entry.size}`);
}
