/**
 * Reads tar archives: ustar, pax, and the formats of GNU tar, star and v7. Where readers in use would see different entries in
 * the same bytes, the archive is refused.
 */

import { PassthroughError } from '../errors.ts';
import { quoted } from '../util/printable.ts';
import type { Cursor } from './cursor.ts';
import { BLOCK_SIZE, paddingAfter } from './header.ts';
import { isZeroBlock, parseHeader, type RawHeader, untilNul } from './read-header.ts';
import { parsePax } from './read-pax.ts';

/** An entry of an archive. */
export interface ReadEntry {
  /** As it is written: neither `./` nor `..` is resolved. */
  readonly name: string;
  /** `other` is a device or a pipe. */
  readonly type: 'file' | 'directory' | 'symlink' | 'hardlink' | 'other';
  /** Bytes of content; 0 for everything but files. */
  readonly size: number;
  /** Target of a link, as it is written. */
  readonly linkName: string | undefined;
  /** Offset of the content in the archive. */
  readonly offset: number;
  /** Reads the content, at most once, and before the next entry is asked for. The rest is skipped. */
  readonly content: () => AsyncGenerator<Uint8Array, void, undefined>;
}

/** Most header blocks. 32 images of 127 layers have 16,000 in layout docker; each entry takes some 500 bytes of memory. */
export const MAX_ENTRIES = 100_000;

/** Longest name and link target, in bytes: PATH_MAX of Linux. */
export const MAX_NAME_LENGTH = 4096;

/** Largest pax extended header, in bytes, as in Go's archive/tar. It may hold extended attributes beside the path. */
export const MAX_PAX_SIZE = 1024 ** 2;

/** Most zero bytes after the end of an archive. Tapes have records of up to 1 MiB; more is a bomb. */
const MAX_TRAILING_ZEROS = 16 * 1024 ** 2;

/** Bytes of one read after the end. */
const TRAILER_CHUNK = 64 * 1024;

/** Types by typeflag. `7` is a contiguous file, which everyone treats as a file. */
const TYPES: ReadonlyMap<string, ReadEntry['type']> = new Map([
  ['0', 'file'],
  ['\0', 'file'],
  ['7', 'file'],
  ['1', 'hardlink'],
  ['2', 'symlink'],
  ['3', 'other'],
  ['4', 'other'],
  ['5', 'directory'],
  ['6', 'other'],
]);

/** Entries of GNU tar that cannot be read as a file. https://www.gnu.org/software/tar/manual/html_node/Standard.html */
const GNU_TYPES: ReadonlyMap<string, string> = new Map([
  ['S', 'it is a sparse file of GNU tar'],
  ['M', 'it continues a file of another volume'],
  ['D', 'it is a dump directory of GNU tar'],
  ['V', 'it is a volume label of GNU tar'],
]);

/** Made once: making a decoder takes longer than decoding a name. A byte order mark is a part of a name. */
const STRICT = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const LENIENT = new TextDecoder('utf-8', { ignoreBOM: true });

/** What the headers before an entry say about it, in bytes. */
interface Overrides {
  path?: Uint8Array | undefined;
  linkpath?: Uint8Array | undefined;
  size?: Uint8Array | undefined;
}

/** Readers disagree on which of two headers wins. */
function override(overrides: Overrides, keyword: keyof Overrides, value: Uint8Array | undefined): void {
  if (keyword in overrides) throw cannotRead(`two extended headers in a row give a ${keyword}`);
  overrides[keyword] = value;
}

/**
 * Reads the entries in their order. The archive must end as the format says: with a zero block. So a file that was cut between
 * two entries is found out. After the end there may be zeros only.
 *
 * @param cursor stands at the start of the archive. With a cursor that skips without reading, contents are not read
 * @throws PassthroughError `INVALID_ARCHIVE` naming entry and reason, `IMAGE_TOO_LARGE` beyond a limit; what the cursor throws
 */
export async function* readTar(cursor: Cursor): AsyncGenerator<ReadEntry, void, undefined> {
  let overrides: Overrides = {};
  for (let count = 0; ; count += 1) {
    const at = cursor.position;
    const block = await cursor.take(BLOCK_SIZE);
    if (block.byteLength < BLOCK_SIZE) throw cut(at, block.byteLength);
    if (isZeroBlock(block)) {
      if (Object.keys(overrides).length > 0) throw cannotRead('its last extended header has no entry');
      await checkEnd(cursor);
      return;
    }
    if (count >= MAX_ENTRIES) throw tooLarge(`it has more than ${MAX_ENTRIES} entries`);
    const header = parseHeader(block);
    if (header === undefined) throw notTar(at);
    const isMeta = await readMeta(cursor, header, overrides);
    if (isMeta) continue;

    const entry = interpret(header, overrides);
    overrides = {};
    let left = entry.size;
    yield {
      ...entry,
      offset: cursor.position,
      content: async function* () {
        for await (const chunk of cursor.chunks(left)) {
          left -= chunk.byteLength;
          yield chunk;
        }
        if (left > 0) throw cutEntry(entry, left);
      },
    };
    left -= await cursor.skip(left);
    const padding = paddingAfter(entry.size);
    if (left > 0 || (await cursor.skip(padding)) < padding) throw cutEntry(entry, left);
  }
}

/** Reads a header that describes the next entry, or all entries. Returns false for an entry itself. */
async function readMeta(cursor: Cursor, header: RawHeader, overrides: Overrides): Promise<boolean> {
  const { typeflag } = header;
  switch (typeflag) {
    case 'x':
    case 'X': // Solaris
    case 'g': {
      const records = parsePax(await metaContent(cursor, header, MAX_PAX_SIZE));
      if (typeof records === 'string') throw cannotReadEntry(textOf(header.name), records);
      if (typeflag !== 'g') {
        for (const [keyword, value] of records) override(overrides, keyword, value);
      } else if (records.size > 0) {
        // Go ignores these, GNU tar applies them to every entry.
        throw cannotReadEntry(textOf(header.name), `a global header sets ${[...records.keys()].join(', ')}`);
      }
      return true;
    }
    case 'L':
      override(overrides, 'path', untilNul(await metaContent(cursor, header, MAX_NAME_LENGTH + 1)));
      return true;
    case 'K':
      override(overrides, 'linkpath', untilNul(await metaContent(cursor, header, MAX_NAME_LENGTH + 1)));
      return true;
    default:
      return false;
  }
}

async function metaContent(cursor: Cursor, header: RawHeader, limit: number): Promise<Uint8Array> {
  const name = textOf(header.name);
  const size = sizeOf(header, name);
  if (size > limit) {
    throw tooLarge(`extended header ${quoted(name)} has ${size} bytes, more than ${limit}`);
  }
  const content = await cursor.take(size);
  const padding = paddingAfter(size);
  if (content.byteLength < size || (await cursor.skip(padding)) < padding) {
    throw cannotRead(`it ends in the middle of the extended header ${quoted(name)}`);
  }
  return content;
}

/** Combines a header with what the headers before it say. */
function interpret(
  header: RawHeader,
  overrides: Overrides,
): Pick<ReadEntry, 'name' | 'type' | 'size' | 'linkName'> {
  const path = overrides.path ?? header.name;
  const shown = textOf(path);
  const name = nameOf(path, 'name', shown);
  if (name === '') throw cannotRead('an entry has no name');
  const special = GNU_TYPES.get(header.typeflag);
  if (special !== undefined) throw cannotReadEntry(shown, special);
  const flagged = TYPES.get(header.typeflag);
  if (flagged === undefined) {
    throw cannotReadEntry(shown, `its type ${quoted(header.typeflag)} is unknown`);
  }
  // v7 has no type for directories.
  const isOldDirectory = header.typeflag === '\0' && name.endsWith('/');
  const type = isOldDirectory ? 'directory' : flagged;
  if (type === 'file' && name.endsWith('/')) {
    throw cannotReadEntry(shown, 'it is a file, and its name is that of a directory');
  }
  const size = overrides.size === undefined ? sizeOf(header, shown) : decimalOf(overrides.size, shown);
  // Readers disagree on whether such content is there.
  if (type !== 'file' && size > 0) throw cannotReadEntry(shown, `it is a ${type}, and has ${size} bytes`);
  const isLink = type === 'symlink' || type === 'hardlink';
  const linkName = isLink ? nameOf(overrides.linkpath ?? header.linkName, 'link target', shown) : undefined;
  if (linkName === '') throw cannotReadEntry(shown, 'it links to nothing');
  return { name, type, size, linkName };
}

function nameOf(bytes: Uint8Array, what: string, entry: string): string {
  if (bytes.byteLength > MAX_NAME_LENGTH) {
    throw tooLarge(`the ${what} of entry ${quoted(entry)} has more than ${MAX_NAME_LENGTH} bytes`);
  }
  if (bytes.includes(0)) throw cannotReadEntry(entry, `its ${what} contains a NUL`);
  try {
    return STRICT.decode(bytes);
  } catch (cause) {
    throw cannotReadEntry(entry, `its ${what} is not UTF-8`, cause);
  }
}

function sizeOf({ size }: RawHeader, entry: string): number {
  if (typeof size === 'string') throw cannotReadEntry(entry, `its size ${size}`);
  return size;
}

function decimalOf(bytes: Uint8Array, entry: string): number {
  const text = Buffer.from(bytes).toString('latin1');
  const size = /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(size)) {
    throw cannotReadEntry(entry, `its size ${quoted(text)} is not a number of bytes`);
  }
  return size;
}

/** Checks what follows the first zero block: nothing, or zeros. */
async function checkEnd(cursor: Cursor): Promise<void> {
  for (let seen = 0; ; ) {
    const chunk = await cursor.take(TRAILER_CHUNK);
    if (!chunk.every((byte) => byte === 0)) throw cannotRead('its end is followed by other bytes');
    seen += chunk.byteLength;
    if (chunk.byteLength < TRAILER_CHUNK) return;
    if (seen > MAX_TRAILING_ZEROS) {
      throw tooLarge(`its end is followed by more than ${MAX_TRAILING_ZEROS} zero bytes`);
    }
  }
}

/** For messages only. */
function textOf(bytes: Uint8Array): string {
  return LENIENT.decode(bytes);
}

/** The error for an archive that cannot be read. */
export function cannotRead(why: string, cause?: unknown): PassthroughError {
  return new PassthroughError('INVALID_ARCHIVE', `Cannot read archive: ${why}`, { cause });
}

/** The error for an entry that cannot be read. */
export function cannotReadEntry(name: string, why: string, cause?: unknown): PassthroughError {
  return new PassthroughError('INVALID_ARCHIVE', `Cannot read archive entry ${quoted(name)}: ${why}`, {
    cause,
  });
}

/** The error for an archive that takes more than a limit. */
export function tooLarge(why: string): PassthroughError {
  return new PassthroughError('IMAGE_TOO_LARGE', `Cannot read archive: ${why}`);
}

function cut(at: number, length: number): PassthroughError {
  if (at === 0 && length === 0) return cannotRead('it is empty');
  if (at === 0) return cannotRead(`it is no tar archive: it has ${length} bytes`);
  const where = length === 0 ? 'without the zero blocks that end an archive' : 'in the middle of a header';
  return cannotRead(`it is cut: it ends after ${at + length} bytes, ${where}`);
}

function notTar(at: number): PassthroughError {
  return at === 0
    ? cannotRead('it is no tar archive')
    : cannotRead(`there is no entry at byte ${at}: the checksum of its header is wrong`);
}

function cutEntry({ name, size }: { readonly name: string; readonly size: number }, missing: number): Error {
  return cannotReadEntry(name, `the archive ends after ${size - missing} of its ${size} bytes`);
}
