import { systemErrorCode } from '../util/system-error.ts';
import { FolderLock } from './lock.ts';
import { makeFolder } from './make-folder.ts';
import { removedFolderError, step } from './storage-error.ts';

/** Attempts at what another program can undo at the same time. */
const ATTEMPTS = 3;

/** System errors of an action in a folder that is not there. */
const MISSING = new Set<string | undefined>(['ENOENT', 'ENOTDIR']);

/**
 * A folder that this process has locked, and the folders in it. Another program may remove any of them while the process runs,
 * such as a cleaner of temporary folders. They are created and locked again when they are needed.
 */
export class LockedFolder {
  readonly #directory: string;
  readonly #parts: readonly string[];
  /** `undefined` after the lock was removed, until it could be taken again. */
  #lock: FolderLock | undefined;
  #creating: Promise<void> | undefined;
  #isReleased = false;
  /** Called after folders were created again: files that were in them are gone. */
  onRemoved: () => void = () => undefined;
  /** Called after folders were created again. Throws where they belong to another user. */
  check: () => Promise<void> = async () => undefined;

  private constructor(directory: string, parts: readonly string[], lock: FolderLock) {
    this.#directory = directory;
    this.#parts = parts;
    this.#lock = lock;
  }

  /**
   * Locks a folder.
   *
   * @param parts paths of the folders in it that {@link create} and {@link run} create
   * @throws Error with a reason in words: it cannot be used, or another process uses it
   */
  static async take(directory: string, parts: readonly string[]): Promise<LockedFolder> {
    const lock = await step('lock it', () => FolderLock.take(directory));
    if (lock === undefined) throw new Error('another process uses it; each needs a folder of its own');
    return new LockedFolder(directory, parts, lock);
  }

  /**
   * Creates the folder, and those in it, where they are missing.
   *
   * @throws the system's error
   */
  async create(): Promise<void> {
    await makeFolder(this.#directory);
    for (const part of this.#parts) await makeFolder(part);
  }

  /**
   * Makes sure that this process holds the lock: without it, the next process that starts would remove or use the folder.
   *
   * @throws PassthroughError as {@link run}
   */
  async ensureLocked(): Promise<void> {
    if ((await this.#lock?.isHeld()) !== true) await this.#createAgain();
  }

  /**
   * Runs an action on files. Where it fails because a folder was removed, creates the folders again and repeats the action.
   *
   * @throws what the action throws; PassthroughError `NO_SPACE`, `BUSY` or `INTERNAL` when a folder cannot be created again
   */
  async run<T>(action: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await action();
      } catch (error) {
        if (!MISSING.has(systemErrorCode(error)) || attempt === ATTEMPTS) throw error;
        await this.#createAgain();
      }
    }
  }

  /** Gives the lock up, after a last action that needs it. Nothing is created again from here on. */
  async release(last: () => Promise<void> = async () => undefined): Promise<void> {
    this.#isReleased = true;
    await this.#creating?.catch(() => undefined);
    await last();
    await this.#lock?.release();
  }

  /** Creates and locks again what was removed, once for all concurrent callers. */
  #createAgain(): Promise<void> {
    this.#creating ??= this.#createAndLock().finally(() => {
      this.#creating = undefined;
    });
    return this.#creating;
  }

  async #createAndLock(): Promise<void> {
    for (let attempt = 1; !this.#isReleased; attempt += 1) {
      try {
        await makeFolder(this.#directory);
        await this.#lockAgain();
        await this.create();
        await this.check();
        return this.onRemoved();
      } catch (error) {
        // The other program may still be at work.
        if (systemErrorCode(error) === 'ENOENT' && attempt < ATTEMPTS) continue;
        throw removedFolderError(this.#directory, error);
      }
    }
  }

  async #lockAgain(): Promise<void> {
    const lost = this.#lock;
    if ((await lost?.isHeld()) === true) return;
    this.#lock = undefined;
    await lost?.release();
    this.#lock = await FolderLock.take(this.#directory);
    if (this.#lock === undefined) throw new Error('another process uses it');
  }
}
