import { storedMembers, storedSize } from '../../streams/stored-gzip.ts';
import { type ByteRange, encodeTar, headerBlocks, type TarSource, tarSize } from '../../tar/encoder.ts';
import { paddingAfter, type TarEntry } from '../../tar/header.ts';

/** How the entries of an archive are read. */
export interface SplicedSource<Entry extends TarEntry> {
  /** Bytes of an entry's content as gzip, if it is there as plain gzip; else `undefined`. */
  readonly packedSize: (entry: Entry) => number | undefined;
  /** Opens that gzip. */
  readonly readPacked: (entry: Entry, range: ByteRange) => AsyncIterable<Uint8Array>;
  /** Gives any other entry its content. */
  readonly sourceOf: (entry: Entry) => TarSource;
}

/** Bytes of the archive that become stored members: from somewhere in the first entry to somewhere in the last. */
interface StoredPart<Entry> {
  readonly kind: 'stored';
  readonly entries: readonly Entry[];
  /** Within the archive of these entries alone. */
  readonly range: ByteRange;
  readonly size: number;
}

/** An entry's content, which is gzip already. */
interface PackedPart<Entry> {
  readonly kind: 'packed';
  readonly entry: Entry;
  readonly size: number;
}

/**
 * An archive as a gzip file that is put together: contents that are there as gzip become members as they are, all other bytes
 * stored members. Nothing is compressed, and the length is known before the first byte.
 *
 * @see https://www.rfc-editor.org/rfc/rfc1952#section-2.2
 */
export class SplicedArchive<Entry extends TarEntry> {
  /** Length of the gzip file, in bytes. */
  readonly size: number;
  readonly #parts: readonly (StoredPart<Entry> | PackedPart<Entry>)[];
  readonly #packedSize: SplicedSource<Entry>['packedSize'];

  /**
   * @param entries in the order of the archive
   * @throws PassthroughError `INTERNAL`, see `tarSize`
   */
  constructor(entries: readonly Entry[], packedSize: SplicedSource<Entry>['packedSize']) {
    tarSize(entries);
    this.#packedSize = packedSize;
    this.#parts = partsOf(entries, (entry) => this.#packedSizeOf(entry));
    this.size = this.#parts.reduce((sum, { size }) => sum + size, 0);
  }

  /**
   * The bytes of the gzip file, or of a range of it.
   *
   * @throws what the sources throw, while it is read
   */
  async *bytes(
    range: ByteRange = { start: 0, end: this.size },
    { readPacked, sourceOf }: Omit<SplicedSource<Entry>, 'packedSize'>,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const stored = (entry: Entry): TarSource =>
      this.#packedSizeOf(entry) === undefined ? sourceOf(entry) : { ...entry, content: elsewhere };
    let at = 0;
    for (const part of this.#parts) {
      const start = Math.max(range.start - at, 0);
      const end = Math.min(range.end - at, part.size);
      at += part.size;
      if (start >= end) continue;
      if (part.kind === 'packed') yield* readPacked(part.entry, { start, end });
      else {
        const { entries, range: within } = part;
        const open = (some: ByteRange) =>
          encodeTar(entries, { start: within.start + some.start, end: within.start + some.end }, stored);
        yield* storedMembers(within.end - within.start, open, { start, end });
      }
    }
  }

  /** An empty content is stored: there is nothing to save. */
  #packedSizeOf(entry: Entry): number | undefined {
    return entry.size === 0 ? undefined : this.#packedSize(entry);
  }
}

/** In place of a content that is a part of its own: no range of a stored part reaches into it. */
async function* elsewhere(): AsyncGenerator<Uint8Array, void, undefined> {}

function partsOf<Entry extends TarEntry>(
  entries: readonly Entry[],
  packedSize: (entry: Entry) => number | undefined,
): readonly (StoredPart<Entry> | PackedPart<Entry>)[] {
  const parts: (StoredPart<Entry> | PackedPart<Entry>)[] = [];
  /** The entries of the stored part that is being collected, and where it begins in them. */
  let from: Entry[] = [];
  let start = 0;
  let end = 0;
  for (const entry of entries) {
    from.push(entry);
    const contentStart = end + headerBlocks(entry).byteLength;
    const size = packedSize(entry);
    if (size !== undefined) {
      parts.push(storedPart(from, { start, end: contentStart }), { kind: 'packed', entry, size });
      from = [entry];
      start = contentStart - end + entry.size;
      end = start + paddingAfter(entry.size);
    } else end = contentStart + entry.size + paddingAfter(entry.size);
  }
  parts.push(storedPart(from, { start, end: tarSize(from) }));
  return parts;
}

function storedPart<Entry>(entries: readonly Entry[], range: ByteRange): StoredPart<Entry> {
  return { kind: 'stored', entries, range, size: storedSize(range.end - range.start) };
}
