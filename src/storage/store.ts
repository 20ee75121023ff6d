import { isPassthroughError, isPersonal, PassthroughError } from '../errors.ts';
import type { ByteRange } from '../tar/encoder.ts';
import { instruments } from '../telemetry/metrics.ts';
import { SingleFlight } from '../util/single-flight.ts';
import type { CheckedFile, Description } from './checked-file.ts';
import { FileDraft } from './draft/file-draft.ts';
import type { StoreFolder } from './folder.ts';
import { FactIndex } from './index/fact-index.ts';
import { FileIndex, type IndexStatistics } from './index/file-index.ts';
import { nameOf, type StoreKey, textOf } from './store-key.ts';

/** Ends a lookup of a file that is not stored. */
const MISS = new PassthroughError('INTERNAL', 'No such file');

/** `cache`: the file was stored; `shared`: another caller produced it at the same time; `made`: this caller produced it. */
export type StoredSource = 'cache' | 'shared' | 'made';

/** A file that is being produced. */
export interface Draft {
  /** Appends bytes; see `CheckedFileWriter.write`. */
  write(bytes: Uint8Array): Promise<void>;
  /** Drops what is written, so that other bytes can be. Absent where they cannot. */
  restart?(): Promise<void>;
}

/** Options of {@link Store.obtain}. */
export interface ObtainOptions<Report> {
  /** Ends this caller's wait. */
  readonly signal: AbortSignal;
  /**
   * Writes and verifies the content of a file that is not stored.
   *
   * @param signal aborts when no caller waits for the file any more
   * @param report passes progress to all callers
   * @returns the facts that are stored with the content
   */
  readonly produce: (
    draft: Draft,
    signal: AbortSignal,
    report: (report: Report) => void,
  ) => Promise<Description>;
  /** The account whose rights `produce` uses; see `JoinOptions.account`. */
  readonly account?: string | undefined;
  /** Receives progress, also that of another caller's production; the latest report at once. */
  readonly onReport?: (report: Report) => void;
}

/** Options of an internal lookup: without `produce` a file that is not stored is a miss. */
type FindOptions<Report> = Omit<ObtainOptions<Report>, 'produce'> &
  Partial<Pick<ObtainOptions<Report>, 'produce'>>;

/** A lease on a stored file. The file is not evicted before the release. */
export interface Stored {
  /** Bytes of content. */
  readonly size: number;
  readonly description: Description;
  readonly source: StoredSource;
  /** Reads the content, or a part of it, as `CheckedFile.read` does. A damaged file is removed from the store. */
  read(range?: ByteRange): AsyncGenerator<Uint8Array, void, undefined>;
  /** Ends the lease. Further calls do nothing. */
  release(): void;
}

/** What is stored, and the number of files that were requested and came, by where they came from. */
export type StoreStatistics = IndexStatistics & { readonly requests: Readonly<Record<StoredSource, number>> };

/** Settings of {@link Store}. */
export interface StoreOptions {
  readonly folder: StoreFolder;
  /** Most bytes on the disk. Files in use stay even above it; 0 stores a file only while it is in use. */
  readonly maxBytes: number;
  /** Receives the name of a file that is missing or damaged on the disk. */
  readonly onDamage?: ((name: string) => void) | undefined;
}

/** An open file, and its name in the folder. */
interface OpenFile {
  readonly name: string;
  readonly file: CheckedFile;
  /** `false` after damage was found: the file must not be used again. */
  isSound: boolean;
}

/**
 * Stores files by key on the disk. A file is produced once for all concurrent callers, and stays for later ones until it is
 * evicted: the least recently used file first, and none that is in use. Files that can be made again go before others.
 *
 * Files are written under a random name, verified by their producer, and then renamed. A file that has its final name is
 * complete, whenever the process is killed. Later damage is found when the file is read.
 */
export class Store<Report = never> {
  readonly #folder: StoreFolder;
  readonly #onDamage: (name: string) => void;
  readonly #maxBytes: number;
  readonly #index: FileIndex;
  /** What is known of files, for longer than they are stored. */
  readonly facts: FactIndex;
  /** The files that are being produced or are in use. */
  readonly #files = new SingleFlight<string, OpenFile, Report>((open) => this.#putBack(open));
  readonly #requests: Record<StoredSource, number> = { cache: 0, shared: 0, made: 0 };

  private constructor({ folder, maxBytes, onDamage = () => undefined }: StoreOptions, facts: FactIndex) {
    this.#folder = folder;
    this.#onDamage = onDamage;
    this.#maxBytes = maxBytes;
    this.facts = facts;
    this.#index = new FileIndex({ folder, maxBytes, isUsed: (name) => this.#files.has(name) });
  }

  /** Opens a store with the files that are in its folder. */
  static async open<Report = never>(options: StoreOptions): Promise<Store<Report>> {
    const { folder, maxBytes } = options;
    const facts = await FactIndex.open({ isOn: maxBytes > 0, notes: folder.isKept ? folder : undefined });
    const store = new Store<Report>(options, facts);
    await store.#index.load();
    return store;
  }

  /** Bytes in the folder, including files that are being written. */
  get bytes(): number {
    return this.#index.bytes;
  }

  /** What is stored, and how requests for files ended since the start. */
  get statistics(): StoreStatistics {
    return { ...this.#index.statistics, requests: { ...this.#requests } };
  }

  /** Whether a file of so many bytes could stay after its use. */
  keeps(bytes: number): boolean {
    return bytes < this.#maxBytes;
  }

  /**
   * Whether a file is stored, or is being produced so that a caller need not produce it.
   *
   * @param account of the caller
   * @param isComplete whether only a complete file counts
   */
  has(key: StoreKey, account?: string, isComplete = false): boolean {
    const name = nameOf(key);
    return this.#index.has(name) || (isComplete ? this.#files.holds(name) : this.#files.comes(name, account));
  }

  /**
   * Returns the stored file. If it is being produced, waits for it; if it is missing, calls `produce`.
   *
   * @param key equal keys mean equal content
   * @throws what `produce` throws; PassthroughError `NO_SPACE` when the disk is full and nothing can be evicted, `BUSY` when too
   *   many files are open, `INTERNAL`; the signal's reason
   */
  obtain(key: StoreKey, options: ObtainOptions<Report>): Promise<Stored> {
    return this.#obtain(key, options);
  }

  async #obtain(key: StoreKey, options: FindOptions<Report>): Promise<Stored> {
    const { signal, produce, onReport, account } = options;
    const name = nameOf(key);
    let source: StoredSource = 'shared';
    const share = await this.#files.join(name, {
      signal,
      onReport,
      account,
      // The other caller was refused, named a wrong size or a repository without the blob, or only looked the file up.
      isPersonal: (error, isSameAccount) => error === MISS || isPersonal(error, isSameAccount),
      produce: async (working, report) => {
        const found = await this.#reopen(name, textOf(key));
        source = found === undefined ? 'made' : 'cache';
        if (found !== undefined) return found;
        if (produce === undefined) throw MISS;
        return await this.#produce(name, textOf(key), produce, working, report);
      },
    });
    if (share.origin === 'held') source = 'cache';
    instruments().storeRequests.add(1, { 'passthrough.store.result': source });
    this.#requests[source] += 1;
    return this.#stored(share.value, source, share.release);
  }

  /**
   * Returns the stored file. If it is being produced, waits for it.
   *
   * @returns `undefined` where it is missing
   * @throws PassthroughError `BUSY`, `INTERNAL`; what its producer throws; the signal's reason
   */
  async find(key: StoreKey, signal: AbortSignal): Promise<Stored | undefined> {
    if (!this.#index.has(nameOf(key)) && !this.#files.has(nameOf(key))) return undefined;
    try {
      return await this.#obtain(key, { signal });
    } catch (error) {
      if (error === MISS) return undefined;
      throw error;
    }
  }

  /**
   * Creates a file for one holder. It has no key, so no other caller finds it.
   *
   * @throws PassthroughError `NO_SPACE`, `BUSY` when too many files are open, `INTERNAL`
   */
  createTemporary(): Promise<FileDraft> {
    return FileDraft.create({ folder: this.#folder, index: this.#index });
  }

  /**
   * Checks that files can be created and written, or could be after an eviction. Evicts nothing itself, because health checks
   * come every few seconds.
   *
   * @throws PassthroughError `NO_SPACE`, `INTERNAL`
   */
  async probe(): Promise<void> {
    try {
      const incoming = await this.#folder.create(async () => false);
      try {
        await incoming.writer.write(Buffer.from('\n'));
      } finally {
        await this.#folder.abandon(incoming);
      }
    } catch (error) {
      if (!isPassthroughError(error, 'NO_SPACE') || !this.#index.hasUnused) throw error;
    }
  }

  /** Waits for removals that are under way. */
  settled(): Promise<void> {
    return this.#index.settled();
  }

  /** Stops productions, closes idle files and gives up the folder. Files in use are closed with their release. */
  async close(): Promise<void> {
    await this.#files.stop(new PassthroughError('ABORTED', 'Stopped: the service ends'));
    await this.#index.close();
    await this.facts.close();
    await this.#folder.close();
  }

  #stored(open: OpenFile, source: StoredSource, release: () => void): Stored {
    const { file } = open;
    const { size, description } = file;
    const read = (range?: ByteRange) => file.read(range, () => this.#drop(open));
    return { size, description, source, read, release };
  }

  /** Opens a stored file. Removes it where it is missing or damaged on the disk. */
  async #reopen(name: string, key: string): Promise<OpenFile | undefined> {
    if (!this.#index.has(name)) return undefined;
    const file = await this.#index.open(name);
    if (file?.description['key'] === key) return { name, file, isSound: true };
    this.#onDamage(name);
    if (file !== undefined) this.#index.discard(file);
    this.#index.remove(name);
    return undefined;
  }

  async #produce(
    name: string,
    key: string,
    produce: ObtainOptions<Report>['produce'],
    signal: AbortSignal,
    report: (report: Report) => void,
  ): Promise<OpenFile> {
    const draft = await this.createTemporary();
    try {
      const description = await produce(draft, signal, report);
      signal.throwIfAborted();
      return await this.#keep(name, draft, { ...description, key });
    } catch (error) {
      await draft.abandon();
      throw error;
    }
  }

  async #keep(name: string, { incoming, taken }: FileDraft, description: Description) {
    const file = await incoming.writer.finish(description);
    await this.#index.removed(name);
    const isKept = await this.#folder.keep(incoming, name);
    this.#index.count(-taken);
    if (isKept) {
      file.movedTo(this.#folder.pathOf(name));
      this.#index.add(name, file.bytesOnDisk);
    }
    return { name, file, isSound: true };
  }

  /** Takes back a file after its last use. */
  #putBack({ name, file, isSound }: OpenFile): void {
    if (isSound && this.#index.has(name)) this.#index.putBack(name, file);
    else this.#index.discard(file);
  }

  /** Removes a damaged file from the index; later lookups miss. */
  #drop(open: OpenFile): void {
    if (!open.isSound) return;
    open.isSound = false;
    this.#onDamage(open.name);
    this.#files.forget(open.name);
    this.#index.remove(open.name);
  }
}
