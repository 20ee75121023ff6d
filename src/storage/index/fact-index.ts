import { crc32 } from 'node:zlib';
import { BoundedMap } from '../../util/bounded-map.ts';
import type { Description } from '../checked-file.ts';

/** Name of the note that holds the facts. */
const NOTE = 'facts';

/** Most bytes of memory for facts, keys included: some 7,000 layers. The note is smaller. */
const MAX_BYTES = 4 * 1024 * 1024;

/** Memory that an entry takes besides its texts: the objects, and the entry of the map. */
const OVERHEAD_BYTES = 200;

/** Delay in milliseconds before changes are written. A killed process loses the facts of this time, which costs only work. */
const WRITE_DELAY_MS = 2_000;

/** A folder that takes small texts. */
export interface Notes {
  readNote(name: string): Promise<string | undefined>;
  writeNote(name: string, text: string): Promise<void>;
}

/** Settings of {@link FactIndex}. */
export interface FactIndexOptions {
  /** Whether facts are kept at all. */
  readonly isOn: boolean;
  /** Where facts outlive the process; nowhere unless given. */
  readonly notes?: Notes | undefined;
}

/**
 * Small facts about files, by key. They outlive the files: eviction of a file leaves what is known of it. Their number is bounded,
 * and those that were used least recently go first.
 *
 * A note in the folder has them for the next process, with a checksum. A damaged note counts as empty, and a failed write costs
 * only that.
 */
export class FactIndex {
  readonly #notes: Notes | undefined;
  readonly #facts: BoundedMap<string, Description>;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<unknown> = Promise.resolve();

  private constructor({ isOn, notes }: FactIndexOptions, stored: Iterable<readonly [string, Description]>) {
    this.#notes = isOn ? notes : undefined;
    this.#facts = new BoundedMap({ maxCost: isOn ? MAX_BYTES : 0, costOf }, stored);
  }

  /** Opens the index with the facts that an earlier process has left. */
  static async open(options: FactIndexOptions): Promise<FactIndex> {
    const text = options.isOn ? await options.notes?.readNote(NOTE) : undefined;
    return new FactIndex(options, parse(text));
  }

  /** The facts of a key; they count as used. */
  get(key: string): Description | undefined {
    return this.#facts.get(key);
  }

  /** Sets the facts of a key. */
  set(key: string, facts: Description): void {
    this.#facts.set(key, facts);
    if (this.#notes !== undefined) this.#timer ??= setTimeout(() => this.#write(), WRITE_DELAY_MS).unref();
  }

  /** Writes what is left to write. */
  async close(): Promise<void> {
    if (this.#timer !== undefined) this.#write();
    await this.#writing;
  }

  #write(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const write = async () => await this.#notes?.writeNote(NOTE, format(this.#facts.entries()));
    this.#writing = this.#writing.then(write).catch(() => undefined);
  }
}

function costOf(facts: Description, key: string): number {
  return OVERHEAD_BYTES + 2 * (key.length + JSON.stringify(facts).length);
}

/** The note: the CRC-32 of the second line in hex, and a list of keys and facts as JSON. */
function format(entries: Iterable<readonly [string, Description]>): string {
  const text = JSON.stringify([...entries]);
  return `${crc32(text).toString(16)}\n${text}`;
}

/** Reads what {@link format} has written. */
function parse(note = ''): readonly (readonly [string, Description])[] {
  const end = note.indexOf('\n');
  const text = note.slice(end + 1);
  if (end === -1 || note.slice(0, end) !== crc32(text).toString(16)) return [];
  // The checksum says that this program has written it.
  return JSON.parse(text) as [string, Description][];
}
