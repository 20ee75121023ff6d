import { instruments } from '../../telemetry/metrics.ts';
import type { CheckedFile } from '../checked-file.ts';
import type { StoreFolder } from '../folder.ts';
import { sourceOf } from '../store-key.ts';

/** Most unused files that stay open. Opening a file takes as long as sending a small one. */
const MAX_IDLE_OPEN = 128;

/** Least time between two updates of a file's time of use on the disk, in milliseconds. */
const TOUCH_INTERVAL_MS = 60_000;

/**
 * How much faster a file ages that can be made again from another stored file. The file with the greatest age is evicted.
 *
 * An inflated layer takes two to four times the disk of its blob, and inflating costs seconds, but no registry. Fetching a blob again
 * costs the network, and fails while the registry is down. So the inflated file goes first when both were last used together, while
 * one that is used every hour outlives a blob that nothing has used for 16 hours.
 */
const DERIVED_AGING = 16;

/** Settings of {@link FileIndex}. */
export interface FileIndexOptions {
  readonly folder: StoreFolder;
  /** Most bytes in the folder. Files in use stay even above it. */
  readonly maxBytes: number;
  /** Whether a file is in use, and so must not be evicted. */
  readonly isUsed: (name: string) => boolean;
}

/** What a store has on the disk now, and what it has evicted since the start. */
export interface IndexStatistics {
  /** Bytes in the folder, including files that are being written. */
  readonly bytes: number;
  readonly maxBytes: number;
  /** Number of complete files. */
  readonly files: number;
  /** Number of files that were removed to make room. */
  readonly evicted: number;
}

/** A file in the folder. */
interface Entry {
  readonly bytes: number;
  /** Time of the last use, in milliseconds since 1970. */
  usedAt: number;
  /** The file that this one can be made from; `undefined` where there is none. */
  readonly source: string | undefined;
  /** Time of the last update of its time of use on the disk, by `performance.now()`. */
  touchedAt: number;
}

/**
 * The complete files of a folder in the order of their last use, and their bytes. Evicts the least recently used ones (LRU); those
 * that can be made again age faster, see {@link DERIVED_AGING}.
 */
export class FileIndex {
  readonly #options: FileIndexOptions;
  /** From the least to the most recently used. */
  readonly #entries = new Map<string, Entry>();
  /** Open files that are not in use, from the least to the most recently used. */
  readonly #idle = new Map<string, CheckedFile>();
  /** Removals and other work that nothing waits for. */
  readonly #pending = new Set<Promise<unknown>>();
  /** The removals among them, by name: a new file of that name must wait for its removal. */
  readonly #removals = new Map<string, Promise<unknown>>();
  #bytes = 0;
  #evicted = 0;

  constructor(options: FileIndexOptions) {
    this.#options = options;
    options.folder.onRemoved(() => this.#later(this.#forgetMissing()));
  }

  /** Reads the content of the folder. */
  async load(): Promise<void> {
    for (const { name, bytes, usedAt } of await this.#options.folder.list()) {
      const source = sourceOf(name);
      this.#entries.set(name, { bytes, usedAt, source, touchedAt: Number.NEGATIVE_INFINITY });
      this.count(bytes);
    }
    this.trim();
  }

  /** Bytes in the folder, including files that are being written. */
  get bytes(): number {
    return this.#bytes;
  }

  /** What is stored now, and what was evicted since the start. */
  get statistics(): IndexStatistics {
    const { maxBytes } = this.#options;
    return { bytes: this.#bytes, maxBytes, files: this.#entries.size, evicted: this.#evicted };
  }

  /** Whether a file is in the index. */
  has(name: string): boolean {
    return this.#entries.has(name);
  }

  /**
   * Opens a file of the index; it counts as used.
   *
   * @returns `undefined` where it is missing or damaged on the disk
   * @throws PassthroughError `BUSY` when too many files are open, `INTERNAL`
   */
  async open(name: string): Promise<CheckedFile | undefined> {
    this.#use(name);
    const idle = this.#idle.get(name);
    this.#idle.delete(name);
    return idle ?? (await this.#options.folder.open(name));
  }

  /** Waits for the removal of an earlier file of this name. */
  async removed(name: string): Promise<void> {
    await this.#removals.get(name);
  }

  /** Adds a file that is in the folder now, and counts its bytes. */
  add(name: string, bytes: number): void {
    this.count(bytes - (this.#entries.get(name)?.bytes ?? 0));
    this.#entries.delete(name);
    const times = { usedAt: Date.now(), touchedAt: performance.now() };
    this.#entries.set(name, { bytes, source: sourceOf(name), ...times });
  }

  /** Takes back an open file after its last use. It stays open for the next one, within a limit. */
  putBack(name: string, file: CheckedFile): void {
    this.#use(name);
    // Another file of this name is idle where two callers opened it, the first of which had left.
    this.#closeIdle(name);
    this.#idle.set(name, file);
    const [oldest] = this.#idle.keys();
    if (this.#idle.size > MAX_IDLE_OPEN && oldest !== undefined) this.#closeIdle(oldest);
    this.trim();
  }

  /** Closes a file that must not be used again. */
  discard(file: Pick<CheckedFile, 'close'>): void {
    this.#later(file.close());
  }

  /** Removes a file. Readers that have it open can read on. */
  remove(name: string): void {
    const entry = this.#entries.get(name);
    if (entry === undefined) return;
    this.#entries.delete(name);
    this.count(-entry.bytes);
    this.#closeIdle(name);
    const removal = this.#options.folder.remove(name).then(() => {
      if (this.#removals.get(name) === removal) this.#removals.delete(name);
    });
    this.#removals.set(name, removal);
    this.#later(removal);
  }

  /** Adds to the bytes in the folder; negative for bytes that were removed. */
  count(bytes: number): void {
    this.#bytes += bytes;
    instruments().workspaceUsage.add(bytes);
  }

  /** Evicts files until the rest is within the limit, or is in use. */
  trim(): void {
    while (this.#bytes > this.#options.maxBytes) {
      const name = this.#oldest();
      if (name === undefined) return;
      this.#evict(name);
    }
  }

  /**
   * Frees disk space by an eviction.
   *
   * @returns `false` where all files are in use
   */
  async makeRoom(): Promise<boolean> {
    // Removals under way may free enough.
    if (this.#pending.size === 0) {
      const name = this.#oldest();
      if (name === undefined) return false;
      this.#evict(name);
    }
    await this.settled();
    return true;
  }

  /** Whether a file could be evicted. */
  get hasUnused(): boolean {
    return this.#oldest() !== undefined;
  }

  /** Waits for removals that are under way. */
  async settled(): Promise<void> {
    while (this.#pending.size > 0) await Promise.allSettled(this.#pending);
  }

  /** Closes the idle files. The caller discards those in use. All files stay in the folder. */
  async close(): Promise<void> {
    this.#entries.clear();
    for (const name of this.#idle.keys()) this.#closeIdle(name);
    await this.settled();
    this.count(-this.#bytes);
  }

  /** Removes entries whose files another program has removed. */
  async #forgetMissing(): Promise<void> {
    const before = [...this.#entries];
    const present = await this.#options.folder.names();
    for (const [name, entry] of before) {
      // A file that was added since has another entry.
      if (!present.has(name) && this.#entries.get(name) === entry) this.remove(name);
    }
  }

  /** The file to evict next; `undefined` where all are in use. */
  #oldest(): string | undefined {
    const now = Date.now();
    const found = new Map<boolean, { readonly name: string; readonly age: number }>();
    // The first of each kind is the least recently used one.
    for (const [name, { usedAt, source }] of this.#entries) {
      const isDerived = source !== undefined && this.#entries.has(source);
      if (found.has(isDerived) || this.#options.isUsed(name)) continue;
      found.set(isDerived, { name, age: Math.max(1, now - usedAt) * (isDerived ? DERIVED_AGING : 1) });
      if (found.size === 2) break;
    }
    const [derived, other] = [found.get(true), found.get(false)];
    return (derived?.age ?? 0) >= (other?.age ?? 0) ? derived?.name : other?.name;
  }

  #evict(name: string): void {
    instruments().storeEvictions.add(1);
    this.#evicted += 1;
    this.remove(name);
  }

  #use(name: string): void {
    const entry = this.#entries.get(name);
    if (entry === undefined) return;
    this.#entries.delete(name);
    this.#entries.set(name, entry);
    entry.usedAt = Date.now();
    const now = performance.now();
    if (now - entry.touchedAt < TOUCH_INTERVAL_MS) return;
    entry.touchedAt = now;
    this.#later(this.#options.folder.touch(name));
  }

  #closeIdle(name: string): void {
    const idle = this.#idle.get(name);
    this.#idle.delete(name);
    if (idle !== undefined) this.#later(idle.close());
  }

  #later(work: Promise<unknown>): void {
    const done = work.catch(() => undefined).finally(() => this.#pending.delete(done));
    this.#pending.add(done);
  }
}
