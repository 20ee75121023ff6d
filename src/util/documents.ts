import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import type { Content } from './content.ts';
import type { MemoryBudget } from './memory-budget.ts';
import { Spool, type SpoolFile } from './spool.ts';

/** What {@link Documents} is made from. */
export interface DocumentsOptions {
  /** Counts the documents that are read whole. */
  readonly memory: MemoryBudget;
  /** Creates a file for a document that is too large for memory. */
  readonly openFile: () => Promise<SpoolFile>;
}

/**
 * The documents that requests make the process hold: manifests, configs, tag lists. Large ones lie in files. They are read into
 * memory one at a time, only to be parsed, so the budget is held for milliseconds and never while a registry or a client is slow.
 */
export class Documents {
  readonly #options: DocumentsOptions;
  /**
   * End of the rest after large documents, by the clock of `performance.now`. It takes as long as they took: parsing stops the
   * event loop, so clients that request large documents all the time leave half of it to the others.
   */
  #restEnd = 0;
  /** Ends with the work whose turn it is last. */
  #last: Promise<void> = Promise.resolve();

  constructor(options: DocumentsOptions) {
    this.#options = options;
  }

  /** Begins to collect a document. The caller must finish or abandon it. */
  spool(): Spool {
    return new Spool(this.#options.openFile);
  }

  /**
   * Uses all bytes of a document. A large one gets a turn of the event loop to itself, so that many of them do not delay other
   * requests by their sum.
   *
   * @param what name of the document, for messages
   * @param use must not keep the bytes
   * @returns what `use` returns
   * @throws what `use` and reading throw; PassthroughError `BUSY` and `IMAGE_TOO_LARGE`, see `MemoryBudget`; the signal's reason
   */
  async use<T>(
    content: Content,
    what: string,
    signal: AbortSignal,
    use: (bytes: Uint8Array) => T,
  ): Promise<T> {
    if (content.bytes !== undefined) return use(content.bytes);
    const lease = await this.#options.memory.reserve(content.size, what, signal);
    try {
      return await this.#read(content, signal, use);
    } finally {
      lease.release();
    }
  }

  /**
   * Makes other bytes of a large document, and writes them while the memory for them is reserved.
   *
   * @param steps `use` makes the bytes, at most as many as the document has; `write` must not keep them
   * @returns what `write` returns
   * @throws as {@link use}, and what `write` throws
   */
  async transform<T>(
    content: Content,
    what: string,
    signal: AbortSignal,
    { use, write }: { use: (bytes: Uint8Array) => Uint8Array; write: (bytes: Uint8Array) => Promise<T> },
  ): Promise<T> {
    const lease = await this.#options.memory.reserve(2 * content.size, what, signal);
    try {
      return await write(await this.#read(content, signal, use));
    } finally {
      lease.release();
    }
  }

  /** Reads a large document when all that came before are done, so that one at a time is in memory. */
  #read<T>(content: Content, signal: AbortSignal, use: (bytes: Uint8Array) => T): Promise<T> {
    return this.#inTurn(async () => {
      const restMs = this.#restEnd - performance.now();
      if (restMs > 0) await delay(restMs, undefined, { signal }).catch(() => undefined);
      signal.throwIfAborted();
      const bytes = await content.readWhole();
      const begun = performance.now();
      try {
        return use(bytes);
      } finally {
        free(bytes);
        const now = performance.now();
        this.#restEnd = now + (now - begun);
      }
    });
  }

  /** Waits for a turn of the event loop that no other long work has. */
  turn(): Promise<void> {
    return this.#inTurn(async () => undefined);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(() => nextTurn()).then(work);
    this.#last = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }
}

/** Frees memory at once. Left to the garbage collector, ten documents of 8 MB may stay for a while. */
function free({ buffer }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer) buffer.transfer(0);
}
