import { PassthroughError } from '../errors.ts';

/** Settings of {@link MemoryBudget}. */
export interface MemoryBudgetOptions {
  /** Most bytes that are reserved at once. */
  readonly maxBytes: number;
  /** Longest wait for a reservation, in milliseconds. */
  readonly maxWaitMs: number;
}

/** Reserved memory. The holder must release it. */
export interface MemoryLease {
  /** Bytes that are reserved now. */
  readonly bytes: number;
  /** Gives back what turned out not to be needed. A larger number than the reserved one does nothing. */
  shrink(bytes: number): void;
  /** Gives everything back. Further calls do nothing. */
  release(): void;
}

/** A caller that waits for memory. */
interface Waiter {
  readonly bytes: number;
  readonly admit: () => void;
}

/** A reservation above this part of the budget is large. */
const LARGE_PART = 1 / 8;

/** Part of the budget that large reservations share. The rest stays for small ones, so a document never waits for decoders. */
const LARGE_SHARE = 3 / 4;

/** `Retry-After` of a caller that waited in vain, in seconds: most documents are sent by then. */
const RETRY_AFTER_S = 15;

/**
 * Counts the memory that requests make the process hold. It is reserved before the bytes are read or a decoder is made, and
 * given back when they are sent or dropped. Callers that do not fit wait: small ones first, because large ones could delay them
 * for minutes; otherwise first come, first served.
 */
export class MemoryBudget {
  readonly #options: MemoryBudgetOptions;
  readonly #small = new Set<Waiter>();
  readonly #large = new Set<Waiter>();
  #used = 0;
  #usedByLarge = 0;

  constructor(options: MemoryBudgetOptions) {
    this.#options = options;
  }

  /** Bytes that are reserved now. */
  get used(): number {
    return this.#used;
  }

  /** Most bytes that are reserved at once. */
  get maxBytes(): number {
    return this.#options.maxBytes;
  }

  /**
   * Reserves memory, and waits until it is there.
   *
   * A caller that holds a lease and waits for a second one can wait for itself: reserve the sum at once where it is known. The
   * time limit ends such a wait.
   *
   * @param bytes whole bytes, 0 or more
   * @param what needs them, for the message: `index of "nginx:latest"`
   * @param signal ends the wait
   * @param maxWaitMs longest wait in milliseconds, if not that of the budget; `Infinity` for as long as the signal allows
   * @throws PassthroughError `IMAGE_TOO_LARGE` for more than the whole budget; `BUSY` when the wait took too long; the signal's
   *   reason
   */
  async reserve(
    bytes: number,
    what: string,
    signal: AbortSignal,
    maxWaitMs = this.#options.maxWaitMs,
  ): Promise<MemoryLease> {
    signal.throwIfAborted();
    const { maxBytes } = this.#options;
    if (bytes > maxBytes) {
      throw new PassthroughError(
        'IMAGE_TOO_LARGE',
        `Cannot hold ${what} in memory: it takes ${bytes} bytes, and at most ${maxBytes} are allowed`,
        { setting: 'bufferedBytes' },
      );
    }
    const isLarge = this.#isLarge(bytes);
    const queue = isLarge ? this.#large : this.#small;
    if (queue.size === 0 && this.#fits(bytes)) this.#take(bytes, isLarge);
    else await this.#wait(queue, { bytes, what, maxWaitMs }, signal);
    return this.#lease(bytes, isLarge);
  }

  #lease(reserved: number, isLarge: boolean): MemoryLease {
    let left = reserved;
    const shrink = (bytes: number) => {
      const freed = left - Math.max(0, bytes);
      if (freed <= 0) return;
      left -= freed;
      this.#take(-freed, isLarge);
      this.#admit();
    };
    return {
      get bytes() {
        return left;
      },
      shrink,
      release: () => shrink(0),
    };
  }

  async #wait(
    queue: Set<Waiter>,
    { bytes, what, maxWaitMs }: { readonly bytes: number; readonly what: string; readonly maxWaitMs: number },
    signal: AbortSignal,
  ): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter: Waiter = { bytes, admit: resolve };
    const giveUp = (reason: unknown) => {
      // Removed here, before the rejection is handled: memory that comes free in between would be lost.
      if (!queue.delete(waiter)) return;
      reject(reason);
      // The waiters behind a large one may fit.
      this.#admit();
    };
    const isLimited = maxWaitMs !== Number.POSITIVE_INFINITY;
    const timer = isLimited ? setTimeout(() => giveUp(busy(what, maxWaitMs)), maxWaitMs) : undefined;
    const abort = () => giveUp(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    queue.add(waiter);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
    }
  }

  /** Gives free memory to waiters. */
  #admit(): void {
    for (const queue of [this.#small, this.#large]) {
      for (const waiter of queue) {
        if (!this.#fits(waiter.bytes)) break;
        queue.delete(waiter);
        this.#take(waiter.bytes, queue === this.#large);
        waiter.admit();
      }
    }
  }

  #isLarge(bytes: number): boolean {
    return bytes > this.#options.maxBytes * LARGE_PART;
  }

  #fits(bytes: number): boolean {
    const { maxBytes } = this.#options;
    if (this.#used + bytes > maxBytes) return false;
    // A single large reservation may exceed the share: nothing else would ever admit it.
    return (
      !this.#isLarge(bytes) || this.#usedByLarge === 0 || this.#usedByLarge + bytes <= maxBytes * LARGE_SHARE
    );
  }

  /** @param bytes negative to give them back */
  #take(bytes: number, isLarge: boolean): void {
    this.#used += bytes;
    if (isLarge) this.#usedByLarge += bytes;
  }
}

function busy(what: string, waitedMs: number): PassthroughError {
  return new PassthroughError(
    'BUSY',
    `Cannot hold ${what} in memory now: no memory came free within ${waitedMs / 1000} s`,
    { retryAfterSeconds: RETRY_AFTER_S },
  );
}
