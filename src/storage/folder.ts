import { randomBytes } from 'node:crypto';
import {
  type FileHandle,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  statfs,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { PassthroughError } from '../errors.ts';
import { CheckedFile, CheckedFileWriter, type MakeRoom } from './checked-file.ts';
import { FolderLock } from './lock.ts';
import { storageError } from './storage-error.ts';

/** Starts the name of every folder that lives as long as its process. */
const TEMPORARY_PREFIX = 'docker-http-passthrough-';

/** Bytes of chance in a name: no two meet. */
const RANDOM_BYTES = 16;

/** The names of such folders: nothing else is ever removed, such as `docker-http-passthrough-1.0`. */
const TEMPORARY_NAME = new RegExp(`^${TEMPORARY_PREFIX}[0-9a-f]{${2 * RANDOM_BYTES}}$`);

/** How often a temporary folder is made anew: others that start may be in the way. */
const ATTEMPTS = 3;

/** Names of files in a store: a SHA-256. */
const FILE_NAME = /^[0-9a-f]{64}$/;

/** A file that lies in the folder. */
export interface StoredFile {
  readonly name: string;
  /** Bytes on the disk. */
  readonly bytes: number;
}

/**
 * The folder of a store:
 *
 *     lock         says that it is in use
 *     incoming/    files that are being written, under names of chance; what is here at the start is a dead process's
 *     prepared/    complete files: each came here in one step, by renaming, so that none is ever seen in part
 *     …            notes
 */
export class StoreFolder {
  readonly #directory: string;
  readonly #lock: FolderLock;
  readonly #isTemporary: boolean;

  private constructor(directory: string, lock: FolderLock, isTemporary: boolean) {
    this.#directory = directory;
    this.#lock = lock;
    this.#isTemporary = isTemporary;
  }

  /**
   * Opens a folder that is kept, making it where it is missing, and repairs it after a kill: what was being written goes.
   *
   * @throws PassthroughError `INVALID_CONFIGURATION` when it cannot be used, or another process has it
   */
  static async openKept(directory: string): Promise<StoreFolder> {
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      return await StoreFolder.#take(directory, false);
    } catch (error) {
      throw unusable('CACHE_DIR', directory, error);
    }
  }

  /**
   * Makes a folder that goes with this process, and removes those of processes that were killed.
   *
   * @param parent is made where it is missing
   * @throws PassthroughError `INVALID_CONFIGURATION` when it cannot be used
   */
  static async makeTemporary(parent: string): Promise<StoreFolder> {
    try {
      await mkdir(parent, { recursive: true, mode: 0o700 });
      const left = (await readdir(parent)).filter((name) => TEMPORARY_NAME.test(name));
      await Promise.all(left.map((name) => removeIfDead(join(parent, name))));
      for (let attempt = 1; ; attempt += 1) {
        const directory = join(parent, temporaryName());
        await mkdir(directory, { mode: 0o700 });
        try {
          return await StoreFolder.#take(directory, true);
        } catch (error) {
          await rm(directory, { recursive: true, force: true });
          // Before it was locked, another process that starts may have taken it for one that was left.
          if (attempt === ATTEMPTS) throw error;
        }
      }
    } catch (error) {
      throw unusable('WORKSPACE_DIR', parent, error);
    }
  }

  static async #take(directory: string, isTemporary: boolean): Promise<StoreFolder> {
    const lock = await FolderLock.take(directory);
    if (lock === undefined) throw new Error('another process uses it; each needs a folder of its own');
    const folder = new StoreFolder(directory, lock, isTemporary);
    try {
      await rm(folder.#incoming(), { recursive: true, force: true });
      await mkdir(folder.#incoming(), { mode: 0o700 });
      await mkdir(folder.#prepared(), { recursive: true, mode: 0o700 });
      return folder;
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  /** Bytes of the whole file system. */
  async capacity(): Promise<number> {
    const { blocks, bsize } = await statfs(this.#directory);
    return blocks * bsize;
  }

  /** The files that are here, those that were used last at the end. */
  async list(): Promise<readonly StoredFile[]> {
    const names = (await readdir(this.#prepared())).filter((name) => FILE_NAME.test(name));
    const files = await Promise.all(
      names.map(async (name) => {
        const { size: bytes, mtimeMs } = await stat(this.#prepared(name));
        return { name, bytes, mtimeMs };
      }),
    );
    return files.toSorted((one, other) => one.mtimeMs - other.mtimeMs);
  }

  /**
   * Begins a file.
   *
   * @param makeRoom is asked when the disk is full
   * @throws PassthroughError `NO_SPACE`, `BUSY` when too many files are open, `INTERNAL`
   */
  async create(makeRoom: MakeRoom): Promise<IncomingFile> {
    const path = this.#incoming(randomName());
    for (;;) {
      try {
        const handle: FileHandle = await open(path, 'wx+', 0o600);
        return { writer: new CheckedFileWriter(handle, makeRoom), path };
      } catch (error) {
        const failure = storageError(error);
        if (failure.code !== 'NO_SPACE' || !(await makeRoom())) throw failure;
      }
    }
  }

  /**
   * Puts a finished file in its place, in one step.
   *
   * @throws PassthroughError `NO_SPACE`, `INTERNAL`
   */
  async keep({ path }: IncomingFile, name: string): Promise<void> {
    try {
      await rename(path, this.#prepared(name));
    } catch (error) {
      throw storageError(error);
    }
  }

  /** Removes a file that is not finished. */
  async abandon({ writer, path }: IncomingFile): Promise<void> {
    await rm(path, { force: true }).catch(() => undefined);
    await writer.close();
  }

  /** Opens a file; `undefined` where it is missing or damaged. */
  open(name: string): Promise<CheckedFile | undefined> {
    return CheckedFile.open(this.#prepared(name));
  }

  /** Notes that a file was used, for the order of {@link list} at the next start. */
  async touch(name: string): Promise<void> {
    const now = new Date();
    if (!this.#isTemporary) await utimes(this.#prepared(name), now, now).catch(() => undefined);
  }

  /** Removes a file. Those who have it open keep it. */
  async remove(name: string): Promise<void> {
    await rm(this.#prepared(name), { force: true }).catch(() => undefined);
  }

  /**
   * Reads a note: a small text that is kept beside the files.
   *
   * @returns `undefined` where there is none, or it cannot be read
   */
  async readNote(name: string): Promise<string | undefined> {
    return await readFile(join(this.#directory, name), 'utf8').catch(() => undefined);
  }

  /**
   * Writes a note, in one step: a kill leaves the old one or the new one.
   *
   * @throws PassthroughError `NO_SPACE`, `INTERNAL`
   */
  async writeNote(name: string, text: string): Promise<void> {
    const path = this.#incoming(randomName());
    try {
      await writeFile(path, text, { mode: 0o600 });
      await rename(path, join(this.#directory, name));
    } catch (error) {
      await rm(path, { force: true }).catch(() => undefined);
      throw storageError(error);
    }
  }

  /** Gives the folder up, and removes it where it is a temporary one. */
  async close(): Promise<void> {
    if (this.#isTemporary) await rm(this.#directory, { recursive: true, force: true }).catch(() => undefined);
    await this.#lock.release();
  }

  #incoming(name = ''): string {
    return join(this.#directory, 'incoming', name);
  }

  #prepared(name = ''): string {
    return join(this.#directory, 'prepared', name);
  }
}

/** A file that is being written, and where. */
export interface IncomingFile {
  readonly writer: CheckedFileWriter;
  readonly path: string;
}

function randomName(): string {
  return randomBytes(RANDOM_BYTES).toString('hex');
}

function temporaryName(): string {
  return `${TEMPORARY_PREFIX}${randomName()}`;
}

/**
 * Removes the folder of a process that has ended without doing so itself. Another one may do the same just now, or the folder
 * belong to one that is about to lock it: under another name, it will notice that it has lost it.
 */
async function removeIfDead(directory: string): Promise<void> {
  const lock = await FolderLock.take(directory).catch(() => undefined);
  if (lock === undefined) return;
  const aside = join(dirname(directory), temporaryName());
  try {
    await rename(directory, aside);
    await rm(aside, { recursive: true, force: true });
  } catch {
    // Whoever starts next tries again.
  } finally {
    await lock.release();
  }
}

function unusable(variable: string, directory: string, cause: unknown): PassthroughError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new PassthroughError(
    'INVALID_CONFIGURATION',
    `Cannot use ${variable}=${JSON.stringify(directory)}: ${why}`,
    { cause },
  );
}
