import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { openFileLimit } from '../util/open-file-limit.ts';
import { ROOT } from './make-folder.ts';
import { ReadBudget } from './read-budget.ts';
import { ReadCache } from './read-cache.ts';

/** Memory of all readers of a folder, in bytes: what slow readers hold must not grow with their number. */
const BUDGET_BYTES = 24 * 1024 * 1024;

/** Memory for chunks that are kept for other readers of the same file, in bytes. */
const CACHE_BYTES = 12 * 1024 * 1024;

/**
 * Most files of a folder that stay open. An archive of all platforms has thousands of layers, and a slow reader holds them for
 * hours. Opening a file again takes as long as sending 100 KB.
 */
const MAX_OPEN = 256;

/** Part of the process's descriptors that stored files may take. The rest is for connections. */
const OPEN_PART = 1 / 4;

/**
 * No symbolic link is followed, and no FIFO waits for a writer: a program that can write to the folder could put one in the place
 * of a file.
 */
const OPEN_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * Opens a stored file.
 *
 * @param owner its user ID; any unless given
 * @throws the system's error; Error if it is no file, or belongs to another user
 */
export async function openStored(path: string, owner: number | undefined): Promise<FileHandle> {
  const handle = await open(path, OPEN_FLAGS);
  try {
    const found = await handle.stat();
    if (!found.isFile()) throw new Error('it is not a file');
    // Who can write to a folder can replace its files, but not give them to another user.
    const isOurs = owner === undefined || found.uid === owner || found.uid === ROOT;
    if (!isOurs) throw new Error('it belongs to another user');
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** What the readers of a folder's files share: memory and descriptors. */
export class ReadMemory {
  readonly budget = new ReadBudget(BUDGET_BYTES);
  readonly cache = new ReadCache(CACHE_BYTES);
  readonly handles: HandlePool;
  /** User ID of the files; any unless set. */
  owner: number | undefined;
  #lastId = 0;

  /** @param maxOpen files that stay open */
  constructor(maxOpen: number = Math.min(MAX_OPEN, Math.floor(openFileLimit() * OPEN_PART))) {
    this.handles = new HandlePool(maxOpen);
  }

  /** An ID for a file, unique in the keys of the cache. */
  nextId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }
}

/** Bounds the files that are open. Closes the least recently used one that nothing reads just now. */
class HandlePool {
  readonly #most: number;
  /** The open ones, from the least to the most recently used. */
  readonly #open = new Set<PooledHandle>();

  constructor(most: number) {
    this.#most = most;
  }

  /** Notes the use of an open file, and closes others above the bound. */
  use(handle: PooledHandle): void {
    this.#open.delete(handle);
    this.#open.add(handle);
    let above = this.#open.size - this.#most;
    for (const other of this.#open) {
      if (above <= 0) return;
      if (other === handle || !other.suspend()) continue;
      this.#open.delete(other);
      above -= 1;
    }
  }

  /** Forgets a file that is closed. */
  forget(handle: PooledHandle): void {
    this.#open.delete(handle);
  }
}

/** A file that is open while it is read, and as long after as the pool allows. */
export class PooledHandle {
  readonly #memory: ReadMemory;
  /** Where to open it again; `undefined` while it has no final name. */
  #path: string | undefined;
  #handle: FileHandle | undefined;
  #opening: Promise<FileHandle> | undefined;
  #closing: Promise<void> = Promise.resolve();
  #users = 0;

  /** @param handle is closed here */
  constructor(handle: FileHandle, path: string | undefined, memory: ReadMemory) {
    this.#memory = memory;
    this.#handle = handle;
    this.#path = path;
    memory.handles.use(this);
  }

  /** Says where the file can be opened again. Until then it stays open. */
  movedTo(path: string): void {
    this.#path = path;
    this.#memory.handles.use(this);
  }

  /**
   * Runs work on the open file.
   *
   * @throws the system's error if it cannot be opened again; what the work throws
   */
  async use<T>(work: (handle: FileHandle) => Promise<T>): Promise<T> {
    this.#users += 1;
    try {
      return await work(this.#handle ?? (await this.#reopen()));
    } finally {
      this.#users -= 1;
      if (this.#handle !== undefined) this.#memory.handles.use(this);
    }
  }

  /** Closes the file until its next use; returns `false` if it is being read, or could not be opened again. */
  suspend(): boolean {
    const handle = this.#handle;
    if (this.#users > 0 || this.#path === undefined || handle === undefined) return false;
    this.#handle = undefined;
    this.#closing = handle.close().catch(() => undefined);
    return true;
  }

  /** Closes the file for good. */
  async close(): Promise<void> {
    this.#memory.handles.forget(this);
    const handle = this.#handle ?? (await this.#opening?.catch(() => undefined));
    this.#handle = undefined;
    await this.#closing;
    await handle?.close();
  }

  /** Opens the file once for all concurrent uses. */
  #reopen(): Promise<FileHandle> {
    this.#opening ??= openStored(this.#path ?? '', this.#memory.owner)
      .then((handle) => {
        this.#handle = handle;
        return handle;
      })
      .finally(() => {
        this.#opening = undefined;
      });
    return this.#opening;
  }
}
