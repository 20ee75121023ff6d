/**
 * Waiting for something to become true, woken by events alone.
 */

interface Waiter {
  /** Settles the promise and gives true once the condition holds. */
  check(): boolean;
  reject(reason: Error): void;
}

/** A set of promises, each of which resolves when its probe finds something. */
export class Conditions {
  readonly #waiters = new Set<Waiter>();
  #closed: Error | undefined;

  /**
   * @param probe looks at the present state, and gives `undefined` as long as it is not the awaited one
   * @returns what the probe gave: at once, or after some later {@link changed}
   * @throws the reason of {@link close} when it comes first
   */
  when<T>(probe: () => T | undefined): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    // Whoever awaits the promise still sees the rejection; one that lost a race must not end the process.
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

  /** Say that the state has changed: every probe looks again. */
  changed(): void {
    for (const waiter of [...this.#waiters]) {
      if (waiter.check()) {
        this.#waiters.delete(waiter);
      }
    }
  }

  /** Say that nothing will change any more: whoever still waits is told so. */
  close(reason: Error): void {
    this.#closed = reason;
    for (const waiter of this.#waiters) {
      waiter.reject(reason);
    }
    this.#waiters.clear();
  }
}
