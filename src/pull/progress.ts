/** How far a preparation is. */
export interface Progress {
  readonly step: 'waiting' | 'fetching' | 'compressing';
  readonly layers: Count;
  /** Bytes of layers as the registry has them; those of layers that were here already count as done. */
  readonly bytes: Count;
}

/** So many of so many. */
export interface Count {
  readonly done: number;
  readonly total: number;
}

/** How far a layer is: bytes of the blob that came, and bytes that they unpacked to. */
export interface LayerReport {
  readonly packed: number;
  readonly unpacked: number;
}

/** Adds up what the parts of a preparation report. */
export class ProgressCounter {
  readonly #tell: (progress: Progress) => void;
  #layers: Count = { done: 0, total: 0 };
  #bytes: Count = { done: 0, total: 0 };
  #step: Progress['step'] = 'waiting';

  /** @param tell is called with each change */
  constructor(tell: (progress: Progress) => void) {
    this.#tell = tell;
  }

  /** Begins a step. */
  enter(step: Progress['step']): void {
    this.#step = step;
    this.#changed();
  }

  /** Adds what is going to be fetched. */
  expect(layers: number, bytes: number): void {
    this.#layers = { ...this.#layers, total: this.#layers.total + layers };
    this.#bytes = { ...this.#bytes, total: this.#bytes.total + bytes };
    this.#changed();
  }

  /** Adds bytes of a layer that came. */
  advance(bytes: number): void {
    this.#bytes = { ...this.#bytes, done: this.#bytes.done + bytes };
    this.#changed();
  }

  /** Adds a layer that is ready. */
  finishLayer(): void {
    this.#layers = { ...this.#layers, done: this.#layers.done + 1 };
    this.#changed();
  }

  #changed(): void {
    this.#tell({ step: this.#step, layers: this.#layers, bytes: this.#bytes });
  }
}
