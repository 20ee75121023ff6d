/** Milliseconds over which the rate is taken: short enough to follow a change, long enough to be read. */
const WINDOW_MS = 5_000;

/** Measures how fast a count grows. */
export class Rate {
  #samples: (readonly [ms: number, done: number])[] = [];

  /** @param ms the time, in milliseconds */
  add(ms: number, done: number): void {
    this.#samples = [...this.#samples.filter(([then]) => then > ms - WINDOW_MS), [ms, done]];
  }

  /** Units a second over the last seconds; `undefined` until two times are known. */
  get perSecond(): number | undefined {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    if (first === undefined || last === undefined || last[0] <= first[0]) return undefined;
    return ((last[1] - first[1]) * 1000) / (last[0] - first[0]);
  }
}
