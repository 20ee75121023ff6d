/**
 * Work that is done once for all who ask for the same thing, and results that are held as long as anybody uses them.
 */

/** One asker's part in a shared result. */
export interface Lease<Value> {
  readonly value: Value;
  /** Whether this asker's own work made it, it came while the work went on, or the result was there already. */
  readonly origin: 'made' | 'joined' | 'held';
  /** Gives the part up; the result is closed with the last one. Calling it twice does nothing. */
  release(): void;
}

/** What an asker brings along. */
export interface JoinOptions<Value, Report> {
  /** Of this asker alone: leaves. */
  readonly signal: AbortSignal;
  /**
   * Makes the result, where nobody else does or has.
   *
   * @param signal aborts once nobody waits any more
   * @param report tells all who wait how far the work is
   */
  readonly make: (signal: AbortSignal, report: (report: Report) => void) => Promise<Value>;
  /** Is told how far the work is, whoever does it; at once where it has told before. Must not throw. */
  readonly onReport?: ((report: Report) => void) | undefined;
  /** Tells failures of another asker's work that say nothing of this one's, which then is begun. */
  readonly isPersonal?: ((error: unknown) => boolean) | undefined;
}

/** One piece of work and its result, from the first asker to the last. */
interface Run<Value, Report> {
  readonly promise: Promise<Value>;
  readonly abort: AbortController;
  readonly listeners: Set<(report: Report) => void>;
  /** How many wait for the result or hold it. */
  askers: number;
  report?: Report;
  landed?: { readonly value: Value };
}

/**
 * Results by key, each made once for all who ask for it at the same time, and shared from then on until the last of them has
 * given it up:
 *
 *     nobody ──join──► making ──► held ──last release──► closed
 *                        └─ the last asker leaves: aborted; the next one begins anew
 *
 * The work goes on while one asker still waits: one's leaving must not fail the others, nor may work go on for nobody.
 * Nothing is remembered once nobody holds it, failures least of all.
 */
export class SingleFlight<Key, Value, Report = never> {
  readonly #close: (value: Value) => void;
  readonly #runs = new Map<Key, Run<Value, Report>>();
  /** All work that has not ended, that of runs which are forgotten included. */
  readonly #working = new Set<Promise<unknown>>();

  /** @param close is called with a result that nobody holds any more */
  constructor(close: (value: Value) => void = () => undefined) {
    this.#close = close;
  }

  /**
   * Joins in.
   *
   * @param key askers with the same key share one run
   * @returns this asker's part; to be released
   * @throws what the work throws, or the signal's reason when this asker leaves: at once while others wait, and for the last
   *   one when the work that it stops has ended, so that nothing is still at work for an asker that is gone
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

  async #join(key: Key, { signal, make, onReport }: JoinOptions<Value, Report>): Promise<Lease<Value>> {
    signal.throwIfAborted();
    const known = this.#runs.get(key);
    const origin = known === undefined ? 'made' : known.landed === undefined ? 'joined' : 'held';
    const run = known ?? this.#begin(key, make);
    run.askers += 1;
    const left = Promise.withResolvers<never>();
    let isAboard = true;
    const release = (reason?: unknown) => {
      if (!isAboard) return;
      isAboard = false;
      this.#leave(key, run, reason);
    };
    const leave = () => {
      // Not when the rejection is heard of: work that has just told of too much stops before it goes on.
      release(signal.reason);
      left.reject(signal.reason);
    };
    signal.addEventListener('abort', leave, { once: true });
    // The work has begun by now, and may itself have led to it.
    if (signal.aborted) leave();
    if (onReport !== undefined) {
      run.listeners.add(onReport);
      if (run.report !== undefined) onReport(run.report);
    }
    try {
      const value = await Promise.race([run.promise, left.promise]);
      // It has left after the result was there, and before this was heard of.
      if (!isAboard) throw signal.reason;
      return { value, origin, release: () => release() };
    } catch (error) {
      release(error);
      if (run.askers === 0) await run.promise.catch(() => undefined);
      throw error;
    } finally {
      signal.removeEventListener('abort', leave);
      if (onReport !== undefined) run.listeners.delete(onReport);
    }
  }

  /**
   * Joins in for a result that needs no closing, and so nobody to hold it.
   *
   * @throws as {@link join}
   */
  async run(key: Key, signal: AbortSignal, make: JoinOptions<Value, Report>['make']): Promise<Value> {
    const { value, release } = await this.join(key, { signal, make });
    release();
    return value;
  }

  /** Whether somebody waits for a result, or holds it. */
  has(key: Key): boolean {
    return this.#runs.has(key);
  }

  /** Lets nobody join a result any more; those who have it keep it until they release it. */
  forget(key: Key): void {
    this.#runs.delete(key);
  }

  /** Aborts all work and waits for its end. Results that are held stay. */
  async stop(reason: unknown): Promise<void> {
    for (const [key, run] of this.#runs) {
      if (run.landed !== undefined) continue;
      this.#runs.delete(key);
      run.abort.abort(reason);
    }
    await Promise.allSettled(this.#working);
  }

  #begin(key: Key, make: JoinOptions<Value, Report>['make']): Run<Value, Report> {
    const abort = new AbortController();
    const listeners: Run<Value, Report>['listeners'] = new Set();
    const tell = (report: Report) => {
      run.report = report;
      for (const listener of listeners) listener(report);
    };
    const { promise, resolve } = Promise.withResolvers<Value>();
    const run: Run<Value, Report> = { promise, abort, listeners, askers: 0 };
    this.#runs.set(key, run);
    resolve(Promise.try(make, abort.signal, tell));
    const landed = promise
      .then(
        (value) => {
          run.landed = { value };
          if (run.askers === 0) this.#close(value);
        },
        () => this.#forgetRun(key, run),
      )
      .finally(() => this.#working.delete(landed));
    this.#working.add(landed);
    return run;
  }

  #leave(key: Key, run: Run<Value, Report>, reason: unknown): void {
    run.askers -= 1;
    if (run.askers > 0) return;
    this.#forgetRun(key, run);
    if (run.landed !== undefined) this.#close(run.landed.value);
    else run.abort.abort(reason);
  }

  /** A run that nobody is aboard of, or that has failed, takes no one aboard; the next asker starts another. */
  #forgetRun(key: Key, run: Run<Value, Report>): void {
    if (this.#runs.get(key) === run) this.#runs.delete(key);
  }
}
