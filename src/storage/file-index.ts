import { instruments } from '../telemetry/metrics.ts';
import type { CheckedFile } from './checked-file.ts';
import type { StoreFolder } from './folder.ts';

/** Most files that are kept open while nobody uses them: opening one costs as much as sending a small one. */
const MAX_IDLE_OPEN = 128;

/** Milliseconds within which a use of a file is not noted on the disk again. */
const TOUCH_INTERVAL_MS = 60_000;

/** Settings of {@link FileIndex}. */
export interface FileIndexOptions {
  readonly folder: StoreFolder;
  /** Most bytes, but for files in use. */
  readonly maxBytes: number;
  /** Whether a file is in use, and so stays. */
  readonly isUsed: (name: string) => boolean;
}

/** What is known of a file that lies in the folder. */
interface Entry {
  readonly bytes: number;
  touchedAt: number;
}

/** The files that lie in a folder, in the order of their last use, and the room that they take. Evicts what nobody uses. */
export class FileIndex {
  readonly #options: FileIndexOptions;
  readonly #entries = new Map<string, Entry>();
  /** Files that are open and not used, in the order of their last use. */
  readonly #idle = new Map<string, CheckedFile>();
  /** Removals and closings under way. */
  readonly #pending = new Set<Promise<unknown>>();
  /** Removals among them, by name: a new file of that name must come after. */
  readonly #removals = new Map<string, Promise<unknown>>();
  #bytes = 0;

  constructor(options: FileIndexOptions) {
    this.#options = options;
  }

  /** Takes stock of what lies in the folder. */
  async load(): Promise<void> {
    for (const { name, bytes } of await this.#options.folder.list()) {
      this.#entries.set(name, { bytes, touchedAt: Number.NEGATIVE_INFINITY });
      this.count(bytes);
    }
    this.trim();
  }

  /** Bytes that lie in the folder, those of files that are being written included. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether a file lies here. */
  has(name: string): boolean {
    return this.#entries.has(name);
  }

  /** Opens a file that lies here; `undefined` where it is missing or damaged after all. */
  async open(name: string): Promise<CheckedFile | undefined> {
    this.#use(name);
    const idle = this.#idle.get(name);
    this.#idle.delete(name);
    return idle ?? (await this.#options.folder.open(name));
  }

  /** Waits until a file of this name may be put into the folder. */
  async clear(name: string): Promise<void> {
    await this.#removals.get(name);
  }

  /** Notes a file that lies in the folder now; its bytes must not be counted yet. */
  add(name: string, bytes: number): void {
    this.count(bytes - (this.#entries.get(name)?.bytes ?? 0));
    this.#entries.delete(name);
    this.#entries.set(name, { bytes, touchedAt: performance.now() });
  }

  /** Takes an open file back that nobody uses any more: keeps it open for the next one, or closes it. */
  putBack(name: string, file: CheckedFile): void {
    this.#use(name);
    // Another of the same name where two were opened or made, the first of them for somebody who had left.
    this.#closeIdle(name);
    this.#idle.set(name, file);
    const [oldest] = this.#idle.keys();
    if (this.#idle.size > MAX_IDLE_OPEN && oldest !== undefined) this.#closeIdle(oldest);
    this.trim();
  }

  /** Closes a file that is not to be put back. */
  discard(file: CheckedFile): void {
    this.#later(file.close());
  }

  /** Removes a file. Those who have it open keep it. */
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

  /** Counts bytes that have come into the folder, or gone. */
  count(bytes: number): void {
    this.#bytes += bytes;
    instruments().workspaceUsage.add(bytes);
  }

  /** Evicts what was used longest ago until the rest fits, or all the rest is in use. */
  trim(): void {
    const { maxBytes } = this.#options;
    if (this.#bytes <= maxBytes) return;
    for (const name of this.#unused()) {
      this.#evict(name);
      if (this.#bytes <= maxBytes) return;
    }
  }

  /** Evicts a file for the sake of another that the disk has no room for; `false` where there is none. */
  async makeRoom(): Promise<boolean> {
    // What is on its way out may be enough; the system counts it until then.
    if (this.#pending.size === 0) {
      const [name] = this.#unused();
      if (name === undefined) return false;
      this.#evict(name);
    }
    await this.settled();
    return true;
  }

  /** Whether something could be evicted. */
  get hasUnused(): boolean {
    return this.#unused().next().done !== true;
  }

  /** Waits until what was given up is gone. */
  async settled(): Promise<void> {
    while (this.#pending.size > 0) await Promise.allSettled(this.#pending);
  }

  /** Closes what is open; the files stay. What is still in use is to be discarded. */
  async close(): Promise<void> {
    this.#entries.clear();
    for (const name of this.#idle.keys()) this.#closeIdle(name);
    await this.settled();
    this.count(-this.#bytes);
  }

  *#unused(): Generator<string, void, undefined> {
    for (const name of this.#entries.keys()) if (!this.#options.isUsed(name)) yield name;
  }

  #evict(name: string): void {
    instruments().storeEvictions.add(1);
    this.remove(name);
  }

  #use(name: string): void {
    const entry = this.#entries.get(name);
    if (entry === undefined) return;
    this.#entries.delete(name);
    this.#entries.set(name, entry);
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
