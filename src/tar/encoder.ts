/**
 * Entries → a tar archive, as a stream of known length. The bytes depend on the entries alone: no clock, no
 * owner, no process id. Layout of an archive:
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
 * Two zero blocks end an archive. They are not padded further to a record of 20 blocks, 10 240 bytes: that
 * size belongs to tapes, Go's archive/tar, and so `docker save`, stops here too, and small images stay small.
 */
const TRAILER_SIZE = 2 * BLOCK_SIZE;

/**
 * Bytes up to which neighbouring pieces are copied into one: as much as a file stream of Node reads at once.
 */
const JOIN_SIZE = 65_536;

/** An entry with what it contains. */
export interface TarSource extends TarEntry {
  /**
   * Exactly `size` bytes, or a function that opens them; may be absent when `size` is 0. The function is
   * called once, when the archive has got to the entry, and its iterator is always read to the end or closed.
   * It is given a range when not all of the content is wanted, and then opens just these bytes.
   */
  readonly content?: Uint8Array | ((range?: ByteRange) => AsyncIterable<Uint8Array>);
}

/** Bytes from `start` up to, not including, `end`. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/**
 * The blocks that come before an entry's content: a pax header where the name needs one, then the ustar
 * header. They hold all that an archive says of the entry, so a hash over them identifies its plan.
 *
 * @returns a whole number of {@link BLOCK_SIZE} blocks
 * @throws {PassthroughError} `INTERNAL` when a name or number cannot be written, see {@link toUstarHeader}
 */
export function headerBlocks(entry: TarEntry): Uint8Array {
  const header = toUstarHeader(entry);
  return Buffer.concat([paxBlocks(header.path), encodeUstar(header)]);
}

/**
 * Exact length of the archive that {@link encodeTar} makes of these entries.
 *
 * @returns bytes: headers, contents, padding and the two blocks at the end
 * @throws {PassthroughError} `INTERNAL` when an entry cannot be written, two have the same name (a file and a
 *   directory cannot share one either), or the sum is beyond the safe integers
 */
export function tarSize(entries: readonly TarEntry[]): number {
  return measure(entries).size;
}

/** The blocks before each content, and the length of it all: what writes the archive needs both. */
function measure(entries: readonly TarEntry[]): {
  readonly headers: readonly Uint8Array[];
  readonly size: number;
} {
  const names = new Set<string>();
  const headers = entries.map(headerBlocks);
  let size = TRAILER_SIZE;
  for (const [index, entry] of entries.entries()) {
    size += (headers[index]?.byteLength ?? 0) + entry.size + paddingAfter(entry.size);
    if (!Number.isSafeInteger(size)) {
      throw cannotArchive(entry, `the archive grows beyond ${Number.MAX_SAFE_INTEGER} bytes`);
    }
    const name = entry.name.replace(/\/$/, '');
    if (names.has(name)) throw cannotArchive(entry, 'another entry has the same name');
    names.add(name);
  }
  return { headers, size };
}

/**
 * Streams an archive or a part of it, reading only as fast as it is read. Contents are passed on without a
 * copy; headers, padding and small contents at hand are joined, so that a socket is not given many tiny
 * writes.
 *
 * A consumer that stops early closes the content that is open. As in every async generator, its `return()`
 * waits for a read that is under way, so content that may hang needs an abort signal of its own.
 *
 * @param entries in the order in which they are written
 * @param range the bytes of the archive that are wanted, all when not given; contents outside are not opened
 * @returns the archive, {@link tarSize} bytes, or the range of it, in pieces, none of them empty
 * @throws {PassthroughError} `INTERNAL` at once when {@link tarSize} would, a content at hand has not `size`
 *   bytes, or the range does not lie in the archive; while streaming when an opened content has not as many
 *   bytes as were asked for, before any piece that goes beyond them
 */
export function encodeTar(entries: readonly TarSource[], range?: ByteRange): AsyncGenerator<Uint8Array> {
  const { headers, size } = measure(entries);
  for (const entry of entries) {
    if (typeof entry.content === 'function') continue;
    const length = entry.content?.byteLength ?? 0;
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
  return stream(entries, headers, wanted);
}

async function* stream(
  entries: readonly TarSource[],
  headers: readonly Uint8Array[],
  range: ByteRange,
): AsyncGenerator<Uint8Array> {
  let offset = 0;
  /**
   * Goes on by `size` bytes of the archive. @returns those of them that are wanted, counted from the first
   */
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
  /** The pieces so far as one, or none: nothing empty is passed on. */
  const takeJoined = (): readonly Uint8Array[] => {
    const joined = length === 0 ? [] : [Buffer.concat(pieces, length)];
    pieces = [];
    length = 0;
    return joined;
  };
  for (const [index, entry] of entries.entries()) {
    if (offset >= range.end) break;
    const { content = new Uint8Array() } = entry;
    addWanted(headers[index] ?? new Uint8Array());
    const at = offset;
    const wanted = advance(entry.size);
    const isWhole = wanted.end - wanted.start === entry.size;
    if (typeof content === 'function') {
      // Empty content is opened too, to see that it is: where its place is wanted.
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

/** Passes content on, and fails unless it is as long as its header has promised, or the range asked for. */
async function* exactly(
  entry: TarEntry,
  content: AsyncIterable<Uint8Array>,
  { start, end }: ByteRange,
): AsyncGenerator<Uint8Array> {
  const size = end - start;
  const what = size === entry.size ? 'content' : `content from byte ${start} to ${end}`;
  let length = 0;
  // `for await` closes the content's iterator on every way out of the loop but the content's own end or error.
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
