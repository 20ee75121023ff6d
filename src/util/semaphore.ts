import { PassthroughError } from '../errors.ts';

/** Settings of {@link Semaphore}. */
export interface SemaphoreOptions {
  /** Most holders at once. */
  readonly permits: number;
  /** Most waiters. The next caller gets `BUSY`. Unlimited unless given. */
  readonly maxWaiters?: number;
  /** Longest wait, in milliseconds. Unlimited unless given. */
  readonly maxWaitMs?: number;
}

/** `Retry-After` of a refused caller, in seconds: a usual preparation takes tens of seconds. */
const RETRY_AFTER_S = 15;

/** Limits concurrent work. Waiters are served first come, first served. */
export class Semaphore {
  readonly #options: SemaphoreOptions;
  /** Each waiter, by the function that gives it its permit. An ended wait is removed at once. */
  readonly #waiters = new Set<() => void>();
  #holders = 0;

  constructor(options: SemaphoreOptions) {
    this.#options = options;
  }

  /** Whether there is no holder, and so no waiter. */
  get isIdle(): boolean {
    return this.#holders === 0;
  }

  /**
   * Waits for a permit.
   *
   * @param signal ends the wait
   * @returns gives the permit back; further calls do nothing
   * @throws PassthroughError `BUSY` when the queue is full or the wait took too long; the signal's reason
   */
  async acquire(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#holders < this.#options.permits) this.#holders += 1;
    else await this.#wait(signal);
    let isReleased = false;
    return () => {
      if (isReleased) return;
      isReleased = true;
      this.#release();
    };
  }

  async #wait(signal: AbortSignal): Promise<void> {
    const { maxWaiters = Number.POSITIVE_INFINITY, maxWaitMs } = this.#options;
    if (this.#waiters.size >= maxWaiters) throw busy('all places are taken and the queue is full');
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const giveUp = (reason: unknown) => {
      // Removed here, before the rejection is handled: a permit that comes free in between would be lost.
      this.#waiters.delete(resolve);
      reject(reason);
    };
    const expire = (ms: number) => giveUp(busy(`no place came free within ${ms / 1000} s`));
    const timer = maxWaitMs === undefined ? undefined : setTimeout(expire, maxWaitMs, maxWaitMs);
    const abort = () => giveUp(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    this.#waiters.add(resolve);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
    }
  }

  /** Passes the permit on to the first waiter, or frees it. */
  #release(): void {
    const [first] = this.#waiters;
    if (first === undefined) {
      this.#holders -= 1;
      return;
    }
    this.#waiters.delete(first);
    first();
  }
}

/** A semaphore for each key, such as each registry: a key that is busy does not delay the others. */
export class KeyedSemaphore {
  readonly #permits: number;
  readonly #semaphores = new Map<string, Semaphore>();

  /** @param permits most concurrent work for one key */
  constructor(permits: number) {
    this.#permits = permits;
  }

  /**
   * Runs work with a permit of its key.
   *
   * @param signal ends the wait for the permit
   * @returns what the work returns
   * @throws what the work throws; the signal's reason
   */
  async run<T>(key: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    let semaphore = this.#semaphores.get(key);
    if (semaphore === undefined) {
      semaphore = new Semaphore({ permits: this.#permits });
      this.#semaphores.set(key, semaphore);
    }
    const release = await semaphore.acquire(signal);
    try {
      return await work();
    } finally {
      release();
      if (semaphore.isIdle) this.#semaphores.delete(key);
    }
  }
}

function busy(why: string): PassthroughError {
  return new PassthroughError('BUSY', `Cannot prepare the image now: ${why}`, {
    retryAfterSeconds: RETRY_AFTER_S,
  });
}
