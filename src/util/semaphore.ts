import { PassthroughError } from '../errors.ts';

/** How many may come in. */
export interface SemaphoreOptions {
  /** Most at work at once. */
  readonly places: number;
  /** Most that wait for a place; who comes then is turned away. Any number where it is left out. */
  readonly queue?: number;
  /** Longest wait, in milliseconds; for ever where it is left out. */
  readonly waitMs?: number;
}

/** Seconds after which somebody who was turned away is told to come back: a preparation takes some tens of them. */
const RETRY_AFTER_S = 15;

/** Bounds the work that goes on at once: a number of places and, before them, a short queue in order of arrival. */
export class Semaphore {
  readonly #options: SemaphoreOptions;
  /** Whoever waits for a place, each by what lets it in. Nobody stands here any more once its wait is over. */
  readonly #queue = new Set<() => void>();
  #taken = 0;

  constructor(options: SemaphoreOptions) {
    this.#options = options;
  }

  /**
   * Waits for a place.
   *
   * @param signal leaves the queue
   * @returns gives the place up again; calling it twice does nothing
   * @throws PassthroughError `BUSY` when the queue is full or the wait too long; rejects with the signal's reason
   */
  async enter(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    const { places, queue = Number.POSITIVE_INFINITY, waitMs } = this.#options;
    if (this.#taken < places) {
      this.#taken += 1;
    } else {
      if (this.#queue.size >= queue) throw busy('all places are taken and the queue is full');
      const { promise, resolve: comeIn, reject } = Promise.withResolvers<void>();
      const giveUp = (reason: unknown) => {
        // At once, not when the promise is heard of: a place that comes free in between would go to nobody.
        this.#queue.delete(comeIn);
        reject(reason);
      };
      const expire = (ms: number) => giveUp(busy(`no place came free within ${ms / 1000} s`));
      const timer = waitMs === undefined ? undefined : setTimeout(expire, waitMs, waitMs);
      const leave = () => giveUp(signal.reason);
      signal.addEventListener('abort', leave, { once: true });
      this.#queue.add(comeIn);
      try {
        await promise;
      } finally {
        clearTimeout(timer);
        signal.removeEventListener('abort', leave);
      }
    }
    let isLeft = false;
    return () => {
      if (isLeft) return;
      isLeft = true;
      this.#passOn();
    };
  }

  /** Whether nobody is in or waits. */
  get isIdle(): boolean {
    return this.#taken === 0;
  }

  /** Gives a place to the first in the queue, or frees it. */
  #passOn(): void {
    const [first] = this.#queue;
    if (first === undefined) {
      this.#taken -= 1;
      return;
    }
    this.#queue.delete(first);
    first();
  }
}

function busy(why: string): PassthroughError {
  return new PassthroughError('BUSY', `Cannot prepare the image now: ${why}`, {
    retryAfterSeconds: RETRY_AFTER_S,
  });
}
