import {
  lstat,
  open,
  opendir,
  readdir,
  readFile,
  rename,
  rm,
  statfs,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { systemErrorCode } from '../util/system-error.ts';
import { CheckedFile, CheckedFileWriter, type MakeRoom } from './checked-file.ts';
import { LockedFolder } from './locked-folder.ts';
import { checkOwn, checkShared, makeFolder, ownerIn } from './make-folder.ts';
import { ReadMemory } from './read-memory.ts';
import { type SetFolder, step, storageErrorIn, unusableFolderError } from './storage-error.ts';
import { FILE_NAME } from './store-key.ts';
import { DEFAULT_PARENT, randomName, removeDeadFolders, temporaryName } from './temporary-folder.ts';

/** Attempts to create a temporary folder: another process that starts may remove it before it is locked. */
const ATTEMPTS = 3;

/** Folders in the folder, see {@link StoreFolder}. */
const [INCOMING, PREPARED] = ['incoming', 'prepared'];

/** System errors of a file that is to replace a folder. */
const IN_THE_WAY = new Set<string | undefined>(['EISDIR', 'ENOTEMPTY', 'EEXIST', 'EBUSY']);

/** A complete file in the folder. */
export interface StoredFile {
  readonly name: string;
  /** Bytes on the disk. */
  readonly bytes: number;
  /** Time of the last use, in milliseconds since 1970. */
  readonly usedAt: number;
}

/** A file that is being written. */
export interface IncomingFile {
  readonly writer: CheckedFileWriter;
  readonly path: string;
}

/**
 * The folder of a store:
 *
 *     lock         marks it as used
 *     incoming/    files that are being written, under random names; removed at the start, when no process writes them any more
 *     prepared/    complete files, renamed from incoming/, so that a reader never sees a partial file
 *     …            notes
 *
 * Another program may remove any of it, see {@link LockedFolder}.
 */
export class StoreFolder {
  readonly #directory: string;
  readonly #isTemporary: boolean;
  readonly #set: SetFolder;
  readonly #locked: LockedFolder;
  readonly #memory = new ReadMemory();

  private constructor(directory: string, set: SetFolder, locked: LockedFolder, owner: number) {
    this.#memory.owner = owner;
    this.#directory = directory;
    this.#isTemporary = set.setting === 'workspaceDirectory';
    this.#set = set;
    this.#locked = locked;
  }

  /**
   * Opens a folder that outlives the process, and creates it where it is missing. Partial files of a killed process are removed.
   *
   * @throws PassthroughError `INVALID_CONFIGURATION` with `folder` and `reason`: it cannot be used, or another process uses it
   */
  static async openKept(directory: string): Promise<StoreFolder> {
    try {
      await step('create it', () => makeFolder(directory));
      return await StoreFolder.#take(directory, { setting: 'cacheDirectory', folder: directory });
    } catch (error) {
      throw unusableFolderError(directory, error);
    }
  }

  /**
   * Creates a folder that is removed with this process. Those of processes that were killed are removed.
   *
   * @param parent is created where it is missing
   * @throws PassthroughError `INVALID_CONFIGURATION` with `folder` and `reason`: the parent cannot be used
   */
  static async makeTemporary(parent: string): Promise<StoreFolder> {
    try {
      await step('create it', () => makeFolder(parent));
      await step('read it', () => removeDeadFolders(parent));
      // The folder for temporary files of the system is the system's own affair.
      if (parent !== DEFAULT_PARENT) {
        const owner = await step('create a folder in it', () => ownerIn(parent));
        await checkShared(parent, owner);
      }
      for (let attempt = 1; ; attempt += 1) {
        const directory = join(parent, temporaryName());
        await step('create a folder in it', () => makeFolder(directory));
        try {
          return await StoreFolder.#take(directory, { setting: 'workspaceDirectory', folder: parent });
        } catch (error) {
          await rm(directory, { recursive: true, force: true });
          if (attempt === ATTEMPTS) throw error;
        }
      }
    } catch (error) {
      throw unusableFolderError(parent, error);
    }
  }

  static async #take(directory: string, set: SetFolder): Promise<StoreFolder> {
    const isTemporary = set.setting === 'workspaceDirectory';
    const [incoming, prepared] = [join(directory, INCOMING), join(directory, PREPARED)];
    const locked = await LockedFolder.take(directory, [incoming, prepared]);
    try {
      const owner = await step('create a folder in it', () => ownerIn(directory));
      if (isTemporary) await checkOwn(directory, owner);
      else await checkShared(directory, owner);
      await step('remove partial files', () => rm(incoming, { recursive: true, force: true }));
      await step('create folders in it', () => locked.create());
      await step('read "prepared" in it', async () => (await opendir(prepared)).close());
      for (const part of [INCOMING, PREPARED])
        await step(`use "${part}" in it`, () => checkOwn(join(directory, part), owner));
      // Also where the folders are created again: another user may be first where a cleaner has removed them.
      locked.check = async () => {
        await (isTemporary ? checkOwn : checkShared)(directory, owner);
        for (const part of [incoming, prepared]) await checkOwn(part, owner);
      };
      return new StoreFolder(directory, set, locked, owner);
    } catch (error) {
      await locked.release();
      throw error;
    }
  }

  /** Whether the folder outlives the process. */
  get isKept(): boolean {
    return !this.#isTemporary;
  }

  /** Calls a function after another program has removed files, and the folders were created again. */
  onRemoved(listener: () => void): void {
    this.#locked.onRemoved = listener;
  }

  /** Bytes of the whole file system. */
  async capacity(): Promise<number> {
    const { blocks, bsize } = await statfs(this.#directory);
    return blocks * bsize;
  }

  /** The complete files, the most recently used last. */
  async list(): Promise<readonly StoredFile[]> {
    const files = await Promise.all(
      [...(await this.names())].map(async (name) => {
        const found = await lstat(this.#prepared(name)).catch(() => undefined);
        if (found?.isFile() === true) return [{ name, bytes: found.size, usedAt: found.mtimeMs }];
        // A folder or a link of that name would be in the way of the file.
        if (found !== undefined) await this.remove(name);
        return [];
      }),
    );
    return files.flat().toSorted((one, other) => one.usedAt - other.usedAt);
  }

  /** Names of the complete files. */
  async names(): Promise<ReadonlySet<string>> {
    const names = await readdir(this.#prepared()).catch(async (error: unknown) => {
      if (systemErrorCode(error) === 'ENOENT') return [];
      throw await storageErrorIn(this.#set, error);
    });
    return new Set(names.filter((name) => FILE_NAME.test(name)));
  }

  /**
   * Creates a file to be written.
   *
   * @param makeRoom is called when the disk is full
   * @throws PassthroughError `NO_SPACE`, `BUSY` when too many files are open, `INTERNAL`
   */
  async create(makeRoom: MakeRoom): Promise<IncomingFile> {
    const path = this.#incoming(randomName());
    for (;;) {
      try {
        await this.#locked.ensureLocked();
        const handle = await this.#locked.run(() => open(path, 'wx+', 0o600));
        const describe = (error: unknown) => storageErrorIn(this.#set, error);
        return { writer: new CheckedFileWriter(handle, makeRoom, this.#memory, describe), path };
      } catch (error) {
        const failure = await storageErrorIn(this.#set, error);
        if (failure.code !== 'NO_SPACE' || !(await makeRoom())) throw failure;
      }
    }
  }

  /**
   * Moves a finished file to its name, in one step.
   *
   * @returns `false` where another program has removed the file, or put something in its place that cannot be removed: its
   *   content can be read by its descriptor alone
   * @throws PassthroughError `NO_SPACE`, `INTERNAL`
   */
  async keep({ path }: IncomingFile, name: string): Promise<boolean> {
    const move = () => this.#locked.run(() => rename(path, this.#prepared(name)));
    try {
      await move().catch(async (error: unknown) => {
        if (!IN_THE_WAY.has(systemErrorCode(error))) throw error;
        await this.remove(name);
        await move();
      });
      return true;
    } catch (error) {
      const code = systemErrorCode(error);
      if (code === 'ENOENT' || IN_THE_WAY.has(code)) return false;
      throw await storageErrorIn(this.#set, error);
    }
  }

  /** Path of a complete file. */
  pathOf(name: string): string {
    return this.#prepared(name);
  }

  /** Removes a file that is not finished. */
  async abandon({ writer, path }: IncomingFile): Promise<void> {
    await rm(path, { force: true }).catch(() => undefined);
    await writer.close();
  }

  /** Opens a file; `undefined` where it is missing or damaged. */
  open(name: string): Promise<CheckedFile | undefined> {
    return CheckedFile.open(this.#prepared(name), this.#memory);
  }

  /** Stores the time of a file's use, for the order of {@link list} at the next start. */
  async touch(name: string): Promise<void> {
    const now = new Date();
    if (!this.#isTemporary) await utimes(this.#prepared(name), now, now).catch(() => undefined);
  }

  /** Removes a file. Readers that have it open can read on. */
  async remove(name: string): Promise<void> {
    // Another program may have put a folder there.
    await rm(this.#prepared(name), { recursive: true, force: true }).catch(() => undefined);
  }

  /**
   * Reads a note, a small text beside the files.
   *
   * @returns `undefined` where it is missing or cannot be read
   */
  async readNote(name: string): Promise<string | undefined> {
    return await readFile(join(this.#directory, name), 'utf8').catch(() => undefined);
  }

  /**
   * Writes a note in one step: after a kill the old or the new text is there.
   *
   * @throws PassthroughError `NO_SPACE`, `INTERNAL`
   */
  async writeNote(name: string, text: string): Promise<void> {
    const path = this.#incoming(randomName());
    try {
      await this.#locked.run(async () => {
        await writeFile(path, text, { mode: 0o600 });
        await rename(path, join(this.#directory, name));
      });
    } catch (error) {
      await rm(path, { force: true }).catch(() => undefined);
      throw await storageErrorIn(this.#set, error);
    }
  }

  /** Gives the folder up, and removes a temporary one. */
  async close(): Promise<void> {
    const remove = () => rm(this.#directory, { recursive: true, force: true }).catch(() => undefined);
    await this.#locked.release(this.#isTemporary ? remove : undefined);
  }

  #incoming(name = ''): string {
    return join(this.#directory, INCOMING, name);
  }

  #prepared(name = ''): string {
    return join(this.#directory, PREPARED, name);
  }
}
