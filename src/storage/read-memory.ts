import { ReadBudget } from './read-budget.ts';
import { ReadCache } from './read-cache.ts';

/** Memory of all readers of a folder, in bytes: what slow readers hold must not grow with their number. */
const BUDGET_BYTES = 24 * 1024 * 1024;

/** Memory for chunks that are kept for other readers of the same file, in bytes. */
const CACHE_BYTES = 12 * 1024 * 1024;

/** The memory that the readers of a folder's files share. */
export class ReadMemory {
  readonly budget = new ReadBudget(BUDGET_BYTES);
  readonly cache = new ReadCache(CACHE_BYTES);
  #lastId = 0;

  /** An ID for a file, unique in the keys of the cache. */
  nextId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }
}
