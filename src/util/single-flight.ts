/** Work that runs once for all concurrent callers with the same key, and results that stay as long as a caller holds them. */

/** A caller's hold on a shared result. */
export interface Lease<Value> {
  readonly value: Value;
  /** `produced` by this caller's own work, `joined` while the work of another caller ran, or `held` by another caller already. */
  readonly origin: 'produced' | 'joined' | 'held';
  /** Gives the result up. It is closed with the last lease. Further calls do nothing. */
  release(): void;
}

/** What one call passes to {@link SingleFlight.join}. */
export interface JoinOptions<Value, Report> {
  /** Ends this caller's wait. The work goes on for the other callers. */
  readonly signal: AbortSignal;
  /**
   * Produces the result, unless another caller does or did.
   *
   * @param signal aborts when the last caller has left
   * @param report passes progress to all callers
   */
  readonly produce: (signal: AbortSignal, report: (report: Report) => void) => Promise<Value>;
  /** Receives progress, also that of another caller's work; the latest report at once. Must not throw. */
  readonly onReport?: ((report: Report) => void) | undefined;
  /**
   * The account whose rights `produce` uses; `undefined` for rights that all callers have. The work uses the account only while one
   * of its callers is here. When the last of them leaves, the work is aborted, and another caller starts it with its own.
   */
  readonly account?: string | undefined;
  /**
   * Whether a failure of another caller's work says nothing about this caller, for example because the registry refused that
   * caller's credentials. This caller then starts the work again.
   *
   * @param isSameAccount whether the work used the rights of this caller's account
   */
  readonly isPersonal?: ((error: unknown, isSameAccount: boolean) => boolean) | undefined;
}

/** One run of the work, and its result. */
interface Run<Value, Report> {
  readonly promise: Promise<Value>;
  readonly abort: AbortController;
  readonly listeners: Set<(report: Report) => void>;
  /** The account whose rights the work uses; see {@link JoinOptions.account}. */
  readonly account: string | undefined;
  /** Callers that wait for the result or hold it. */
  callers: number;
  /** Those of them that have the run's account. */
  owners: number;
  /** Whether the work was aborted because no caller with its account is left. */
  isAbandoned: boolean;
  report?: Report;
  result?: { readonly value: Value };
}

/**
 * Results by key. Each is produced once for all concurrent callers and then shared until the last caller releases it:
 *
 *     absent ──join──► producing ──► held ──last release──► closed
 *                        └─ the last caller leaves, or the last one with the account
 *                           of the work: aborted; the next caller starts again
 *
 * The work goes on while one caller still waits whose account it uses. Nothing is kept after the last release, and no failure is kept at all.
 */
export class SingleFlight<Key, Value, Report = never> {
  readonly #close: (value: Value) => void;
  readonly #runs = new Map<Key, Run<Value, Report>>();
  /** All work that has not ended, also of runs that were forgotten. */
  readonly #working = new Set<Promise<unknown>>();

  /** @param close receives each result that no caller holds any more */
  constructor(close: (value: Value) => void = () => undefined) {
    this.#close = close;
  }

  /**
   * Joins the run of a key, or starts one.
   *
   * @returns a lease that the caller must release
   * @throws what the work throws, or the signal's reason: at once while other callers wait; for the last caller after the
   *   aborted work has ended, so that no work outlives its callers
   */
  async join(key: Key, options: JoinOptions<Value, Report>): Promise<Lease<Value>> {
    for (;;) {
      const joined = this.#runs.get(key);
      try {
        return await this.#join(key, options);
      } catch (error) {
        if (joined === undefined || options.signal.aborted) throw error;
        const isSameAccount = joined.account === options.account;
        if (!joined.isAbandoned && options.isPersonal?.(error, isSameAccount) !== true) throw error;
      }
    }
  }

  async #join(key: Key, options: JoinOptions<Value, Report>): Promise<Lease<Value>> {
    const { signal, account, onReport } = options;
    signal.throwIfAborted();
    const known = this.#runs.get(key);
    const origin = known === undefined ? 'produced' : known.result === undefined ? 'joined' : 'held';
    const run = known ?? this.#start(key, options);
    run.callers += 1;
    if (account === run.account) run.owners += 1;
    const aborted = Promise.withResolvers<never>();
    let isCounted = true;
    const release = (reason?: unknown) => {
      if (!isCounted) return;
      isCounted = false;
      this.#leave(key, run, account, reason);
    };
    const abort = () => {
      // Released here, before the rejection is handled: work that exceeds a limit must stop before its next step.
      release(signal.reason);
      aborted.reject(signal.reason);
    };
    signal.addEventListener('abort', abort, { once: true });
    // The work has started by now, and may have aborted the signal itself.
    if (signal.aborted) abort();
    if (onReport !== undefined) {
      run.listeners.add(onReport);
      if (run.report !== undefined) onReport(run.report);
    }
    try {
      const value = await Promise.race([run.promise, aborted.promise]);
      // The signal may abort between the result and this line.
      if (!isCounted) throw signal.reason;
      return { value, origin, release: () => release() };
    } catch (error) {
      release(error);
      if (run.callers === 0) await run.promise.catch(() => undefined);
      throw error;
    } finally {
      signal.removeEventListener('abort', abort);
      if (onReport !== undefined) run.listeners.delete(onReport);
    }
  }

  /**
   * Joins for a result that needs no closing.
   *
   * @throws as {@link join}
   */
  async run(key: Key, signal: AbortSignal, produce: JoinOptions<Value, Report>['produce']): Promise<Value> {
    const { value, release } = await this.join(key, { signal, produce });
    release();
    return value;
  }

  /** Whether a caller waits for the result of a key, or holds it. */
  has(key: Key): boolean {
    return this.#runs.has(key);
  }

  /** Whether the result of a key is there, so that a caller need not wait for it. */
  holds(key: Key): boolean {
    return this.#runs.get(key)?.result !== undefined;
  }

  /** Whether the result of a key is held, or will come without an account but this one, so that a caller need not produce it. */
  comes(key: Key, account: string | undefined): boolean {
    const run = this.#runs.get(key);
    if (run === undefined || run.result !== undefined) return run !== undefined;
    return !run.isAbandoned && (run.account === undefined || run.account === account);
  }

  /** Makes later callers start again. Current leases stay valid. */
  forget(key: Key): void {
    this.#runs.delete(key);
  }

  /** Aborts all work and waits for its end. Results that are held stay. */
  async stop(reason: unknown): Promise<void> {
    for (const [key, run] of this.#runs) {
      if (run.result !== undefined) continue;
      this.#runs.delete(key);
      run.abort.abort(reason);
    }
    await Promise.allSettled(this.#working);
  }

  #start(key: Key, { produce, account }: JoinOptions<Value, Report>): Run<Value, Report> {
    const abort = new AbortController();
    const listeners: Run<Value, Report>['listeners'] = new Set();
    const { promise, resolve } = Promise.withResolvers<Value>();
    const run: Run<Value, Report> = {
      promise,
      abort,
      listeners,
      account,
      callers: 0,
      owners: 0,
      isAbandoned: false,
    };
    const report = (latest: Report) => {
      run.report = latest;
      for (const listener of listeners) listener(latest);
    };
    this.#runs.set(key, run);
    resolve(Promise.try(produce, abort.signal, report));
    const ended = promise
      .then(
        (value) => {
          run.result = { value };
          if (run.callers === 0) this.#close(value);
        },
        () => this.#forgetRun(key, run),
      )
      .finally(() => this.#working.delete(ended));
    this.#working.add(ended);
    return run;
  }

  #leave(key: Key, run: Run<Value, Report>, account: string | undefined, reason: unknown): void {
    run.callers -= 1;
    if (account === run.account) run.owners -= 1;
    if (run.callers === 0) {
      this.#forgetRun(key, run);
      if (run.result !== undefined) this.#close(run.result.value);
      else run.abort.abort(reason);
      return;
    }
    if (run.result !== undefined || run.account === undefined || run.owners > 0 || run.isAbandoned) return;
    // The run stays known until the work has ended, so that its places are free and its files gone when another caller starts again.
    run.isAbandoned = true;
    run.abort.abort(reason);
  }

  /** Removes a run, unless a newer one has its key. */
  #forgetRun(key: Key, run: Run<Value, Report>): void {
    if (this.#runs.get(key) === run) this.#runs.delete(key);
  }
}
