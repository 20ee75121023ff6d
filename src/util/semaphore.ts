import { PassthroughError } from '../errors.ts';

/** Settings of `Semaphore`. */
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

/** A group that a caller belongs to, and the most permits that its members hold together. */
export interface Share {
  readonly key: string;
  readonly permits: number;
}

/** A caller that waits. */
interface Waiter {
  readonly sequence: number;
  readonly admit: () => void;
  readonly refuse: (reason: unknown) => void;
}

/** The waiters of the same groups, first come first. */
interface Queue {
  readonly shares: readonly Share[];
  readonly waiters: Set<Waiter>;
}

/**
 * Limits concurrent work. Callers may belong to groups with limits of their own, such as a client and a registry, so that none
 * takes all permits. The caller's first group decides about its turn: the group with the fewest permits is served first, and
 * among equal ones that which was served longest ago. Within a group it is first come, first served. When the queue is full, the group with the most waiters makes room for another.
 */
export class Semaphore {
  readonly #options: SemaphoreOptions;
  /** By the keys of their groups. An ended wait is removed at once. */
  readonly #queues = new Map<string, Queue>();
  /** Permits that each group holds. */
  readonly #held = new Map<string, number>();
  /** When each first group was last served, while it has permits or waiters. */
  readonly #served = new Map<string, number>();
  #holders = 0;
  #waiting = 0;
  #sequence = 0;

  constructor(options: SemaphoreOptions) {
    this.#options = options;
  }

  /** Whether there is no holder, and so no waiter. */
  get isIdle(): boolean {
    return this.#holders === 0;
  }

  /** Number of permits that are held, and of callers that wait. */
  get counts(): { readonly held: number; readonly waiting: number } {
    return { held: this.#holders, waiting: this.#waiting };
  }

  /**
   * Waits for a permit.
   *
   * @param signal ends the wait
   * @param shares the caller's groups. The permits of each are at least 1
   * @returns gives the permit back; further calls do nothing
   * @throws PassthroughError `BUSY` when the queue is full or the wait took too long; the signal's reason
   */
  async acquire(signal: AbortSignal, shares: readonly Share[] = []): Promise<() => void> {
    signal.throwIfAborted();
    // Waiters need not be asked first: none of them may have a permit now, or it would have one.
    if (this.#mayHave(shares)) this.#take(shares, 1);
    else await this.#wait(signal, shares);
    let isReleased = false;
    return () => {
      if (isReleased) return;
      isReleased = true;
      this.#take(shares, -1);
      this.#admit();
    };
  }

  async #wait(signal: AbortSignal, shares: readonly Share[]): Promise<void> {
    const { maxWaiters = Number.POSITIVE_INFINITY, maxWaitMs } = this.#options;
    if (this.#waiting >= maxWaiters && !this.#makeRoom(firstKey(shares)))
      throw busy('all places are taken and the queue is full');
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#sequence += 1;
    const waiter: Waiter = { sequence: this.#sequence, admit: resolve, refuse: reject };
    const queueKey = shares.map(({ key }) => key).join('\n');
    const queue = this.#queues.get(queueKey) ?? { shares, waiters: new Set() };
    this.#queues.set(queueKey, queue);
    // Removed here, before the rejection is handled: a permit that comes free in between would be lost.
    const giveUp = (reason: unknown) => this.#remove(queue, waiter) && reject(reason);
    const expire = (ms: number) => giveUp(busy(`no place came free within ${ms / 1000} s`));
    const timer = maxWaitMs === undefined ? undefined : setTimeout(expire, maxWaitMs, maxWaitMs);
    const abort = () => giveUp(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    queue.waiters.add(waiter);
    this.#waiting += 1;
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
    }
  }

  /** Refuses the last waiter of the group with the most, if that leaves it no fewer than the group that needs the room. */
  #makeRoom(forKey: string): boolean {
    const counts = new Map<string, number>();
    for (const { shares, waiters } of this.#queues.values())
      counts.set(firstKey(shares), (counts.get(firstKey(shares)) ?? 0) + waiters.size);
    const [largest, most] = [...counts].reduce((one, other) => (other[1] > one[1] ? other : one), ['', 0]);
    if (most - 1 < (counts.get(forKey) ?? 0) + 1) return false;
    const last = [...this.#queues.values()]
      .filter(({ shares }) => firstKey(shares) === largest)
      .flatMap((queue) => Array.from(queue.waiters, (waiter) => ({ queue, waiter })))
      .reduce((one, other) => (other.waiter.sequence > one.waiter.sequence ? other : one));
    this.#remove(last.queue, last.waiter);
    last.waiter.refuse(busy('all places are taken, and the queue makes room for others'));
    return true;
  }

  /** Gives free permits to waiters. */
  #admit(): void {
    for (;;) {
      const next = this.#next();
      if (next === undefined) return;
      this.#remove(next.queue, next.waiter);
      this.#take(next.queue.shares, 1);
      next.waiter.admit();
    }
  }

  #next(): { readonly queue: Queue; readonly waiter: Waiter } | undefined {
    const first = [...this.#queues.values()].flatMap((queue) => {
      const [waiter] = queue.waiters;
      if (waiter === undefined || !this.#mayHave(queue.shares)) return [];
      const key = firstKey(queue.shares);
      return [{ queue, waiter, held: this.#held.get(key) ?? 0, served: this.#served.get(key) ?? 0 }];
    });
    first.sort(
      (one, other) =>
        one.held - other.held || one.served - other.served || one.waiter.sequence - other.waiter.sequence,
    );
    return first[0];
  }

  /** @returns whether the waiter was waiting */
  #remove(queue: Queue, waiter: Waiter): boolean {
    if (!queue.waiters.delete(waiter)) return false;
    this.#waiting -= 1;
    if (queue.waiters.size === 0) this.#queues.delete(queue.shares.map(({ key }) => key).join('\n'));
    return true;
  }

  #mayHave(shares: readonly Share[]): boolean {
    return (
      this.#holders < this.#options.permits &&
      shares.every(({ key, permits }) => (this.#held.get(key) ?? 0) < permits)
    );
  }

  /** @param permits negative to give them back */
  #take(shares: readonly Share[], permits: 1 | -1): void {
    this.#holders += permits;
    for (const { key } of shares) {
      const held = (this.#held.get(key) ?? 0) + permits;
      if (held > 0) this.#held.set(key, held);
      else this.#held.delete(key);
    }
    const group = firstKey(shares);
    this.#sequence += 1;
    if (permits === 1) this.#served.set(group, this.#sequence);
    const isKnown =
      this.#held.has(group) || this.#queues.values().some((queue) => firstKey(queue.shares) === group);
    if (!isKnown) this.#served.delete(group);
  }
}

function firstKey([first]: readonly Share[]): string {
  return first?.key ?? '';
}

/**
 * Part of the permits of a key that one of its parts cannot have. With fewer than four permits there is no such rest: it would be
 * a third of them or more.
 */
const KEPT_PART = 1 / 4;

/**
 * A semaphore for each key, such as each registry: a key that is busy does not delay the others. The callers of a key may belong
 * to parts of it, such as repositories. One part cannot take all permits, so a repository that hangs does not stop its registry.
 */
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
   * @param part of the key
   * @returns what the work returns
   * @throws what the work throws; the signal's reason
   */
  async run<T>(key: string, signal: AbortSignal, work: () => Promise<T>, part = ''): Promise<T> {
    let semaphore = this.#semaphores.get(key);
    if (semaphore === undefined) {
      semaphore = new Semaphore({ permits: this.#permits });
      this.#semaphores.set(key, semaphore);
    }
    const permits = this.#permits - (part === '' ? 0 : Math.floor(this.#permits * KEPT_PART));
    const release = await semaphore.acquire(signal, [{ key: part, permits }]);
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
