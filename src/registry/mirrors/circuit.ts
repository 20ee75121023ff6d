/** First time for which a server is left alone, in milliseconds. A service that restarts is back within it. */
export const FIRST_PAUSE_MS = 30_000;

/** Longest time for which a server is left alone, in milliseconds: one request in five minutes may wait for a time-out. */
export const MAX_PAUSE_MS = 300_000;

/** `closed`: requests pass. `open`: none passes. `probing`: one has passed, and decides for the others. */
export type CircuitState = 'closed' | 'open' | 'probing';

/** A request that may pass. One of its methods must be called, once; later calls do nothing. */
export interface Pass {
  /** The server has answered. @returns whether it was left alone before */
  succeed(): boolean;
  /**
   * The server has failed.
   *
   * @param atLeastMs time for which the server asks to be left alone
   * @returns milliseconds for which it is left alone from now on; `undefined` if an earlier failure has said so already
   */
  fail(atLeastMs?: number): number | undefined;
  /** The request ended without a word about the server. */
  cancel(): void;
}

/**
 * A circuit breaker: a server that failed is left alone for a while, so that it does not cost each request a time-out.
 *
 *     closed ──failure──► open ──time──► probing ──answer──► closed
 *                          ▲                │
 *                          └────failure─────┘  twice as long as before
 *
 * Requests that began before the failure do not count when they end after it.
 *
 * @see https://martinfowler.com/bliki/CircuitBreaker.html
 */
export class Circuit {
  readonly #now: () => number;
  /** Consecutive failures, each after a time of rest. */
  #failures = 0;
  /** When the next request may pass, while the circuit is open. */
  #retryAt: number | undefined;
  /** When the first of the consecutive failures was. */
  #failedAt: number | undefined;
  #isProbing = false;
  /** Counts the changes of state: a pass of an earlier one is void. */
  #generation = 0;

  /** @param now milliseconds of a clock that never goes back */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** The state, without a change. An open circuit whose time is over counts as `probing`. */
  get state(): CircuitState {
    if (this.#retryAt === undefined) return 'closed';
    return this.#isProbing || this.#now() >= this.#retryAt ? 'probing' : 'open';
  }

  /** Consecutive failures; 0 while the server answers. */
  get failures(): number {
    return this.#failures;
  }

  /** Milliseconds until the next request may pass; 0 if one may pass now. */
  get waitMs(): number {
    return this.#retryAt === undefined ? 0 : Math.max(0, this.#retryAt - this.#now());
  }

  /** Milliseconds since the first of the consecutive failures; 0 while the server answers. */
  get downMs(): number {
    return this.#failedAt === undefined ? 0 : this.#now() - this.#failedAt;
  }

  /** Whether a request would pass now. */
  get isPassable(): boolean {
    return this.#retryAt === undefined || (!this.#isProbing && this.#now() >= this.#retryAt);
  }

  /** Lets a request pass; `undefined` if the server is left alone. */
  enter(): Pass | undefined {
    if (!this.isPassable) return undefined;
    if (this.#retryAt !== undefined) this.#isProbing = true;
    const generation = this.#generation;
    let isSettled = false;
    const settle = <T>(change: () => T): T | undefined => {
      if (isSettled || generation !== this.#generation) return undefined;
      isSettled = true;
      return change();
    };
    return {
      succeed: () => settle(() => this.#close()) ?? false,
      fail: (atLeastMs = 0) => settle(() => this.#open(atLeastMs)),
      cancel: () => settle(() => this.#release()),
    };
  }

  #close(): boolean {
    if (this.#retryAt === undefined) return false;
    this.#retryAt = undefined;
    this.#failedAt = undefined;
    this.#failures = 0;
    this.#isProbing = false;
    this.#generation += 1;
    return true;
  }

  #open(atLeastMs: number): number {
    const pauseMs = Math.min(MAX_PAUSE_MS, Math.max(FIRST_PAUSE_MS * 2 ** this.#failures, atLeastMs));
    this.#failures += 1;
    this.#failedAt ??= this.#now();
    this.#retryAt = this.#now() + pauseMs;
    this.#isProbing = false;
    this.#generation += 1;
    return pauseMs;
  }

  #release(): undefined {
    this.#isProbing = false;
  }
}
