import { createHash } from 'node:crypto';
import { isPassthroughError, PassthroughError } from '../errors.ts';
import type { ByteRange } from '../tar/encoder.ts';
import { instruments } from '../telemetry/metrics.ts';
import { SingleFlight } from '../util/single-flight.ts';
import type { CheckedFile, Description } from './checked-file.ts';
import { FileIndex } from './file-index.ts';
import type { IncomingFile, StoreFolder } from './folder.ts';

/** Why a file that is only looked for is not given. */
const NOT_HERE = new PassthroughError('INTERNAL', 'No such file');

/** Failures of one asker that say nothing of another, whose image or repository is another one. */
const PERSONAL = [
  'REGISTRY_DENIED',
  'REGISTRY_NOT_ALLOWED',
  'IMAGE_NOT_FOUND',
  'UNSUPPORTED_IMAGE',
  'VERIFICATION_FAILED',
] as const;

/** How the bytes of a stored file came to whoever asked for it. */
export type StoredSource = 'cache' | 'shared' | 'made';

/** A file that is being made. */
export interface Draft {
  /** Appends bytes; see `CheckedFileWriter.write`. */
  write(bytes: Uint8Array): Promise<void>;
}

/** How a file is to be had that is not there. */
export interface ObtainOptions<Report> {
  /** Of whoever asks: leaves. */
  readonly signal: AbortSignal;
  /**
   * Writes the content, and says what is to be known of it. The content must be verified when this resolves.
   *
   * @param signal aborts once nobody waits for the file any more
   * @param report tells all who wait how far it is
   */
  readonly produce: (
    draft: Draft,
    signal: AbortSignal,
    report: (report: Report) => void,
  ) => Promise<Description>;
  readonly onReport?: (report: Report) => void;
}

/** The same, for a file that may also not be had. */
type FindOptions<Report> = Pick<ObtainOptions<Report>, 'signal' | 'onReport'> &
  Partial<Pick<ObtainOptions<Report>, 'produce'>>;

/** A file of the store, held: it is not evicted until it is released. */
export interface Stored {
  /** Bytes of content. */
  readonly size: number;
  readonly description: Description;
  readonly source: StoredSource;
  /** The content, or a part of it; see `CheckedFile.read`. What turns out to be damaged is dropped from the store. */
  read(range?: ByteRange): AsyncGenerator<Uint8Array, void, undefined>;
  /** Gives the file up. Calling it twice does nothing. */
  release(): void;
}

/** Settings of {@link Store}. */
export interface StoreOptions {
  readonly folder: StoreFolder;
  /** Most bytes on the disk, but for files in use; 0 keeps nothing that nobody uses. */
  readonly maxBytes: number;
  /** Is told of a file that was damaged on the disk, by its name there. */
  readonly onDamage?: ((name: string) => void) | undefined;
}

/** An open file and the name that it is known by. */
interface OpenFile {
  readonly name: string;
  readonly file: CheckedFile;
  /** Whether it may serve again once nobody uses it. */
  isSound: boolean;
}

/**
 * Prepared files by key, made once for all who ask at the same time, and kept for those who come later as long as there is room:
 * what was used longest ago goes first, and nothing that is in use.
 *
 * A file comes into being under a name of chance, is verified by whoever makes it, and gets its name in one step. So every file
 * that has its name is whole, at whatever moment a process was killed. Damage that comes later is found when it is read.
 */
export class Store<Report = never> {
  readonly #folder: StoreFolder;
  readonly #onDamage: (name: string) => void;
  readonly #shelf: FileIndex;
  /** The files that are made or used. */
  readonly #files = new SingleFlight<string, OpenFile, Report>((open) => this.#putAside(open));

  private constructor({ folder, maxBytes, onDamage = () => undefined }: StoreOptions) {
    this.#folder = folder;
    this.#onDamage = onDamage;
    this.#shelf = new FileIndex({ folder, maxBytes, isUsed: (name) => this.#files.has(name) });
  }

  /** Opens a store on what lies in a folder. */
  static async open<Report = never>(options: StoreOptions): Promise<Store<Report>> {
    const store = new Store<Report>(options);
    await store.#shelf.load();
    return store;
  }

  /** Bytes that lie in the folder, those of files that are being written included. */
  get bytes(): number {
    return this.#shelf.bytes;
  }

  /** Whether a file is there, or somebody makes it. */
  has(key: string): boolean {
    const name = nameOf(key);
    return this.#shelf.has(name) || this.#files.has(name);
  }

  /**
   * Gives a file, from the folder or from whoever makes it just now, or has it made.
   *
   * @param key what it is: equal keys mean equal content
   * @throws what `produce` throws, `NO_SPACE` when the disk is full and nothing can be evicted, the signal's reason
   */
  obtain(key: string, options: ObtainOptions<Report>): Promise<Stored> {
    return this.#obtain(key, options);
  }

  async #obtain(key: string, { signal, produce, onReport }: FindOptions<Report>): Promise<Stored> {
    const name = nameOf(key);
    let source: StoredSource = 'shared';
    const share = await this.#files.join(name, {
      signal,
      onReport,
      // Somebody else may have been refused, have named a wrong size or a repository without it, or only have looked.
      isPersonal: (error) => error === NOT_HERE || isPassthroughError(error, ...PERSONAL),
      produce: async (working, report) => {
        const found = await this.#reopen(name, key);
        source = found === undefined ? 'made' : 'cache';
        if (found !== undefined) return found;
        if (produce === undefined) throw NOT_HERE;
        return await this.#make(name, key, produce, working, report);
      },
    });
    if (share.origin === 'held') source = 'cache';
    instruments().storeRequests.add(1, { 'passthrough.store.result': source });
    return this.#stored(share.value, source, share.release);
  }

  /**
   * Gives a file where it is there, or somebody makes it just now.
   *
   * @throws PassthroughError `BUSY`, `INTERNAL`; what whoever makes it throws; the signal's reason
   */
  async find(key: string, signal: AbortSignal): Promise<Stored | undefined> {
    if (!this.has(key)) return undefined;
    try {
      return await this.#obtain(key, { signal });
    } catch (error) {
      if (error === NOT_HERE) return undefined;
      throw error;
    }
  }

  /**
   * Checks that files can be created and written, or could be once something is evicted. Evicts nothing itself: whoever asks for
   * the health of a service does so every few seconds.
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
      if (!isPassthroughError(error, 'NO_SPACE') || !this.#shelf.hasUnused) throw error;
    }
  }

  /** Waits until what was given up is gone. */
  settled(): Promise<void> {
    return this.#shelf.settled();
  }

  /** Ends: stops what is being made, closes what is open, and gives up the folder. */
  async close(): Promise<void> {
    await this.#files.stop(new PassthroughError('ABORTED', 'Stopped: the service ends'));
    await this.#shelf.close();
    await this.#folder.close();
  }

  #stored(open: OpenFile, source: StoredSource, release: () => void): Stored {
    const { file } = open;
    const { size, description } = file;
    const read = (range?: ByteRange) => file.read(range, () => this.#drop(open));
    return { size, description, source, read, release };
  }

  /** Opens a file of the folder; forgets it where it is missing or damaged. */
  async #reopen(name: string, key: string): Promise<OpenFile | undefined> {
    if (!this.#shelf.has(name)) return undefined;
    const file = await this.#shelf.open(name);
    if (file?.description['key'] === key) return { name, file, isSound: true };
    this.#onDamage(name);
    if (file !== undefined) this.#shelf.discard(file);
    this.#shelf.remove(name);
    return undefined;
  }

  async #make(
    name: string,
    key: string,
    produce: ObtainOptions<Report>['produce'],
    signal: AbortSignal,
    report: (report: Report) => void,
  ): Promise<OpenFile> {
    const incoming = await this.#folder.create(() => this.#shelf.makeRoom());
    let taken = 0;
    const write = async (bytes: Uint8Array) => {
      taken += bytes.byteLength;
      this.#shelf.count(bytes.byteLength);
      this.#shelf.trim();
      await incoming.writer.write(bytes);
    };
    try {
      const description = await produce({ write }, signal, report);
      signal.throwIfAborted();
      return await this.#keep(name, incoming, { ...description, key }, taken);
    } catch (error) {
      this.#shelf.count(-taken);
      await this.#folder.abandon(incoming);
      throw error;
    }
  }

  async #keep(name: string, incoming: IncomingFile, description: Description, taken: number) {
    const file = await incoming.writer.finish(description);
    await this.#shelf.clear(name);
    await this.#folder.keep(incoming, name);
    this.#shelf.count(-taken);
    this.#shelf.add(name, file.bytesOnDisk);
    return { name, file, isSound: true };
  }

  /** Nobody uses a file any more. */
  #putAside({ name, file, isSound }: OpenFile): void {
    if (isSound && this.#shelf.has(name)) this.#shelf.putBack(name, file);
    else this.#shelf.discard(file);
  }

  /** Lets nobody have a file any more that is not as it was written. */
  #drop(open: OpenFile): void {
    if (!open.isSound) return;
    open.isSound = false;
    this.#onDamage(open.name);
    this.#files.forget(open.name);
    this.#shelf.remove(open.name);
  }
}

/** The name of a file: its key may hold anything. */
function nameOf(key: string): string {
  return createHash('sha256').update(key).digest('hex');
}
