import { Semaphore } from './semaphore.ts';

/** Places at each registry: who wants more than there are waits, in order of arrival, and nobody for another registry. */
export class KeyedSemaphore {
  readonly #places: number;
  readonly #registries = new Map<string, Semaphore>();

  /** @param places most at work at once at one registry */
  constructor(places: number) {
    this.#places = places;
  }

  /**
   * Does work in a place of its own.
   *
   * @param origin of the registry
   * @param signal leaves the queue
   * @returns what the work returns; rejects as it rejects, or with the signal's reason
   */
  async run<T>(origin: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    let admission = this.#registries.get(origin);
    if (admission === undefined) {
      admission = new Semaphore({ places: this.#places });
      this.#registries.set(origin, admission);
    }
    const leave = await admission.enter(signal);
    try {
      return await work();
    } finally {
      leave();
      if (admission.isIdle) this.#registries.delete(origin);
    }
  }
}
