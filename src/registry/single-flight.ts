/**
 * Runs work once for all who ask for it at the same time. The work goes on while one of them still waits, and is aborted
 * when the last has left: one asker's leaving must not fail the others, nor may work go on for nobody.
 */
export class SingleFlight<Key, Value> {
  readonly #flights = new Map<Key, { promise: Promise<Value>; waiting: number; abort: AbortController }>();

  /**
   * @param key askers with the same key share one run
   * @param signal of this asker alone
   * @param work is given a signal that aborts once nobody waits
   * @returns what the work returns; rejects as it rejects, or with the signal's reason as soon as this asker leaves
   */
  async run(key: Key, signal: AbortSignal, work: (signal: AbortSignal) => Promise<Value>): Promise<Value> {
    signal.throwIfAborted();
    let flight = this.#flights.get(key);
    if (flight === undefined) {
      const abort = new AbortController();
      flight = { promise: work(abort.signal), waiting: 0, abort };
      this.#flights.set(key, flight);
      const land = () => this.#forget(key, abort);
      flight.promise.then(land, land);
    }
    const { promise, abort } = flight;
    const left = Promise.withResolvers<never>();
    const leave = () => left.reject(signal.reason);
    signal.addEventListener('abort', leave, { once: true });
    flight.waiting += 1;
    try {
      return await Promise.race([promise, left.promise]);
    } finally {
      signal.removeEventListener('abort', leave);
      flight.waiting -= 1;
      if (flight.waiting === 0) {
        this.#forget(key, abort);
        abort.abort();
      }
    }
  }

  /** A flight that nobody waits for, or that has landed, takes no one aboard; the next asker starts another. */
  #forget(key: Key, abort: AbortController): void {
    if (this.#flights.get(key)?.abort === abort) this.#flights.delete(key);
  }
}
