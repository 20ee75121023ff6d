/**
 * Entries → a tar archive, as a stream of known length. The bytes depend on the entries alone: no clock, no
 * owner, no process id. Layout of an archive:
 * https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13
 */

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

/** Bytes up to which neighbouring pieces are copied into one: as much as a file stream of Node reads at once. */
const JOIN_SIZE = 65_536;

/** An entry with what it contains. */
export interface TarSource extends TarEntry {
  /**
   * Exactly `size` bytes, or a function that opens them; may be absent when `size` is 0. The function is
   * called once, when the archive has got to the entry, and its iterator is always read to the end or closed.
   */
  readonly content?: Uint8Array | (() => AsyncIterable<Uint8Array>);
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
  const names = new Set<string>();
  let total = TRAILER_SIZE;
  for (const entry of entries) {
    total += headerBlocks(entry).byteLength + entry.size + paddingAfter(entry.size);
    if (!Number.isSafeInteger(total)) {
      throw cannotArchive(entry, `the archive grows beyond ${Number.MAX_SAFE_INTEGER} bytes`);
    }
    const name = entry.name.replace(/\/$/, '');
    if (names.has(name)) throw cannotArchive(entry, 'another entry has the same name');
    names.add(name);
  }
  return total;
}

/**
 * Streams an archive, reading only as fast as it is read. Contents are passed on without a copy; headers,
 * padding and small contents at hand are joined, so that a socket is not given many tiny writes.
 *
 * A consumer that stops early closes the content that is open. As in every async generator, its `return()`
 * waits for a read that is under way, so content that may hang needs an abort signal of its own.
 *
 * @param entries in the order in which they are written
 * @returns the archive: {@link tarSize} bytes in pieces, none of them empty
 * @throws {PassthroughError} `INTERNAL` at once when {@link tarSize} would, or a content at hand has not `size`
 *   bytes; while streaming when an opened one has not, before any piece that goes beyond them
 */
export function encodeTar(entries: readonly TarSource[]): AsyncGenerator<Uint8Array> {
  tarSize(entries);
  for (const entry of entries) {
    if (typeof entry.content === 'function') continue;
    const length = entry.content?.byteLength ?? 0;
    if (length !== entry.size) throw wrongLength(entry, length);
  }
  return stream(entries);
}

async function* stream(entries: readonly TarSource[]): AsyncGenerator<Uint8Array> {
  let pieces: Uint8Array[] = [];
  let length = 0;
  const add = (piece: Uint8Array) => {
    pieces.push(piece);
    length += piece.byteLength;
  };
  const takeJoined = () => {
    const joined = Buffer.concat(pieces, length);
    pieces = [];
    length = 0;
    return joined;
  };
  for (const entry of entries) {
    const { content = new Uint8Array() } = entry;
    add(headerBlocks(entry));
    if (typeof content === 'function') {
      yield takeJoined();
      yield* exactly(entry, content());
    } else if (content.byteLength > JOIN_SIZE) {
      yield takeJoined();
      yield content;
    } else {
      add(content);
    }
    add(new Uint8Array(paddingAfter(entry.size)));
    if (length >= JOIN_SIZE) yield takeJoined();
  }
  add(new Uint8Array(TRAILER_SIZE));
  yield takeJoined();
}

/** Passes content on, and fails unless it is as long as its header has promised. */
async function* exactly(entry: TarEntry, content: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let length = 0;
  // `for await` closes the content's iterator on every way out of the loop but the content's own end or error.
  for await (const chunk of content) {
    length += chunk.byteLength;
    if (length > entry.size) throw cannotArchive(entry, `content has more than ${entry.size} bytes`);
    if (chunk.byteLength > 0) yield chunk;
  }
  if (length < entry.size) throw wrongLength(entry, length);
}

function wrongLength(entry: TarEntry, length: number): Error {
  return cannotArchive(entry, `content has ${length} bytes instead of ${entry.size}`);
}
