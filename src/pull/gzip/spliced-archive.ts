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

type Part<Entry> = StoredPart<Entry> | PackedPart<Entry>;

/**
 * An archive as a gzip file that is put together: contents that are there as gzip become members as they are, all other bytes
 * stored members. Nothing is compressed, and the length is known before the first byte.
 *
 * @see https://www.rfc-editor.org/rfc/rfc1952#section-2.2
 */
export class SplicedArchive<Entry extends TarEntry> {
  /** Length of the gzip file, in bytes. */
  readonly size: number;
  readonly #parts: readonly Part<Entry>[];
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
      yield* part.kind === 'packed'
        ? readPacked(part.entry, { start, end })
        : readStored(part, stored, { start, end });
    }
  }

  /** An empty content is stored: there is nothing to save. */
  #packedSizeOf(entry: Entry): number | undefined {
    return entry.size === 0 ? undefined : this.#packedSize(entry);
  }
}

/** An entry of an archive that is spliced while its contents come. */
export interface ComingEntry {
  /** With the final size, and the bytes of the content unless it is packed. */
  readonly source: TarSource;
  /** The content as gzip, if it is there as plain gzip. */
  readonly packed?: { readonly size: number; readonly read: () => AsyncIterable<Uint8Array> } | undefined;
}

/**
 * The bytes of {@link SplicedArchive} for entries that come one by one.
 *
 * @throws what the entries and their contents throw
 */
export async function* spliceInOrder(
  entries: AsyncIterable<ComingEntry>,
): AsyncGenerator<Uint8Array, void, undefined> {
  const collector = new PartCollector<TarSource>();
  for await (const { source, packed } of entries) {
    const isPacked = packed !== undefined && source.size > 0;
    const entry = isPacked ? { ...source, content: elsewhere } : source;
    for (const part of collector.add(entry, isPacked ? packed.size : undefined)) {
      if (part.kind === 'stored') yield* readStored(part, itself, { start: 0, end: part.size });
      else if (packed !== undefined) yield* packed.read();
    }
  }
  const last = collector.end();
  if (last.kind === 'stored') yield* readStored(last, itself, { start: 0, end: last.size });
}

function itself(entry: TarSource): TarSource {
  return entry;
}

function readStored<Entry extends TarEntry>(
  { entries, range }: StoredPart<Entry>,
  sourceOf: (entry: Entry) => TarSource,
  part: ByteRange,
) {
  const open = ({ start, end }: ByteRange) =>
    encodeTar(entries, { start: range.start + start, end: range.start + end }, sourceOf);
  return storedMembers(range.end - range.start, open, part);
}

/** In place of a content that is a part of its own: no range of a stored part reaches into it. */
async function* elsewhere(): AsyncGenerator<Uint8Array, void, undefined> {}

/** Collects the parts of an archive, entry by entry. */
class PartCollector<Entry extends TarEntry> {
  /** The entries of the stored part that is being collected, and where it begins and ends in them. */
  #from: Entry[] = [];
  #start = 0;
  #end = 0;

  /**
   * Adds an entry.
   *
   * @param packed bytes of its content as gzip; `undefined` if it is stored
   * @returns the parts that are complete now
   */
  add(entry: Entry, packed: number | undefined): readonly Part<Entry>[] {
    this.#from.push(entry);
    const contentStart = this.#end + headerBlocks(entry).byteLength;
    const padding = paddingAfter(entry.size);
    if (packed === undefined) {
      this.#end = contentStart + entry.size + padding;
      return [];
    }
    const stored = storedPart(this.#from, { start: this.#start, end: contentStart });
    this.#from = [entry];
    this.#start = contentStart - this.#end + entry.size;
    this.#end = this.#start + padding;
    return [stored, { kind: 'packed', entry, size: packed }];
  }

  /** The last part, with the end of the archive. */
  end(): Part<Entry> {
    return storedPart(this.#from, { start: this.#start, end: tarSize(this.#from) });
  }
}

function partsOf<Entry extends TarEntry>(
  entries: readonly Entry[],
  packedSize: (entry: Entry) => number | undefined,
): readonly Part<Entry>[] {
  const collector = new PartCollector<Entry>();
  return [...entries.flatMap((entry) => collector.add(entry, packedSize(entry))), collector.end()];
}

function storedPart<Entry>(entries: readonly Entry[], range: ByteRange): StoredPart<Entry> {
  return { kind: 'stored', entries, range, size: storedSize(range.end - range.start) };
}
