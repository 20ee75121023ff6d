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
   * Whether a failure of another caller's work says nothing about this caller, for example because the registry refused that
   * caller's credentials. This caller then starts the work again.
   */
  readonly isPersonal?: ((error: unknown) => boolean) | undefined;
}

/** One run of the work, and its result. */
interface Run<Value, Report> {
  readonly promise: Promise<Value>;
  readonly abort: AbortController;
  readonly listeners: Set<(report: Report) => void>;
  /** Callers that wait for the result or hold it. */
  callers: number;
  report?: Report;
  result?: { readonly value: Value };
}

/**
 * Results by key. Each is produced once for all concurrent callers and then shared until the last caller releases it:
 *
 *     absent ──join──► producing ──► held ──last release──► closed
 *                        └─ the last caller leaves: aborted; the next caller starts again
 *
 * The work goes on while one caller still waits. Nothing is kept after the last release, and no failure is kept at all.
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
      const isJoined = this.#runs.has(key);
      try {
        return await this.#join(key, options);
      } catch (error) {
        if (!isJoined || options.signal.aborted || options.isPersonal?.(error) !== true) throw error;
      }
    }
  }

  async #join(key: Key, { signal, produce, onReport }: JoinOptions<Value, Report>): Promise<Lease<Value>> {
    signal.throwIfAborted();
    const known = this.#runs.get(key);
    const origin = known === undefined ? 'produced' : known.result === undefined ? 'joined' : 'held';
    const run = known ?? this.#start(key, produce);
    run.callers += 1;
    const aborted = Promise.withResolvers<never>();
    let isCounted = true;
    const release = (reason?: unknown) => {
      if (!isCounted) return;
      isCounted = false;
      this.#leave(key, run, reason);
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

  #start(key: Key, produce: JoinOptions<Value, Report>['produce']): Run<Value, Report> {
    const abort = new AbortController();
    const listeners: Run<Value, Report>['listeners'] = new Set();
    const { promise, resolve } = Promise.withResolvers<Value>();
    const run: Run<Value, Report> = { promise, abort, listeners, callers: 0 };
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

  #leave(key: Key, run: Run<Value, Report>, reason: unknown): void {
    run.callers -= 1;
    if (run.callers > 0) return;
    this.#forgetRun(key, run);
    if (run.result !== undefined) this.#close(run.result.value);
    else run.abort.abort(reason);
  }

  /** Removes a run, unless a newer one has its key. */
  #forgetRun(key: Key, run: Run<Value, Report>): void {
    if (this.#runs.get(key) === run) this.#runs.delete(key);
  }
}
