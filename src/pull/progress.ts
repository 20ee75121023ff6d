/** How far a preparation is. */
export interface Progress {
  readonly step: 'waiting' | 'fetching' | 'compressing';
  readonly layers: Count;
  /** Compressed bytes of the layers. Layers that are stored already count as done. */
  readonly bytes: Count;
}

/** A part of a total. */
export interface Count {
  readonly done: number;
  readonly total: number;
}

/** How far a layer is, in bytes that were received and in bytes that they decompressed to. */
export interface LayerReport {
  readonly compressed: number;
  readonly uncompressed: number;
}

/** Adds up what the parts of a preparation report. */
export class ProgressCounter {
  readonly #onProgress: (progress: Progress) => void;
  #layers: Count = { done: 0, total: 0 };
  #bytes: Count = { done: 0, total: 0 };
  #step: Progress['step'] = 'waiting';

  /** @param onProgress receives the sums after each change */
  constructor(onProgress: (progress: Progress) => void) {
    this.#onProgress = onProgress;
  }

  /** Starts a step. */
  enter(step: Progress['step']): void {
    this.#step = step;
    this.#report();
  }

  /** Adds layers that will be fetched, and their compressed bytes. */
  expect(layers: number, bytes: number): void {
    this.#layers = { ...this.#layers, total: this.#layers.total + layers };
    this.#bytes = { ...this.#bytes, total: this.#bytes.total + bytes };
    this.#report();
  }

  /** Adds compressed bytes that were received. */
  advance(bytes: number): void {
    this.#bytes = { ...this.#bytes, done: this.#bytes.done + bytes };
    this.#report();
  }

  /** Adds a layer that is ready. */
  finishLayer(): void {
    this.#layers = { ...this.#layers, done: this.#layers.done + 1 };
    this.#report();
  }

  #report(): void {
    this.#onProgress({ step: this.#step, layers: this.#layers, bytes: this.#bytes });
  }
}
