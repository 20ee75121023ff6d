/** Waits for a condition. Events wake the wait; nothing polls. */

interface Waiter {
  /** Settles the promise and returns true if the condition holds. */
  check(): boolean;
  reject(reason: Error): void;
}

/** Promises that resolve when their probes find a value. */
export class Conditions {
  readonly #waiters = new Set<Waiter>();
  #closed: Error | undefined;

  /**
   * @param probe returns `undefined` as long as the awaited state is not reached
   * @returns the value of the probe: at once, or after a later {@link changed}
   * @throws the reason of {@link close}, if that comes first
   */
  when<T>(probe: () => T | undefined): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    // Without a handler, a rejection that lost a race would end the process. Those who await it still see it.
    promise.catch(() => {});
    const check = (): boolean => {
      const value = probe();
      if (value === undefined) {
        return false;
      }
      resolve(value);
      return true;
    };
    if (check()) {
      return promise;
    }
    if (this.#closed) {
      reject(this.#closed);
    } else {
      this.#waiters.add({ check, reject });
    }
    return promise;
  }

  /** Runs every probe again, since the state has changed. */
  changed(): void {
    for (const waiter of [...this.#waiters]) {
      if (waiter.check()) {
        this.#waiters.delete(waiter);
      }
    }
  }

  /** Rejects all waits: the state does not change any more. */
  close(reason: Error): void {
    this.#closed = reason;
    for (const waiter of this.#waiters) {
      waiter.reject(reason);
    }
    this.#waiters.clear();
  }
}
