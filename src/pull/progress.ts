/** How far a preparation is. */
export interface Progress {
  readonly step: 'waiting' | 'fetching' | 'compressing';
  readonly layers: Count;
  /** Compressed bytes of the layers. Layers that are stored already count as done. */
  readonly bytes: Count;
  /** The layers that are fetched now, in the order in which their first bytes came. */
  readonly inFlight: readonly LayerProgress[];
  /**
   * Lists the layers as they are at the time of the call, in the order in which they were requested: the first 128
   * of them. Nothing lists them for an archive that was stored already.
   */
  readonly listLayers?: (() => readonly LayerStatus[]) | undefined;
}

/**
 * Most layers that are listed. Docker and containerd cannot run an image with more, because overlayfs cannot; a manifest may name
 * 30,000.
 */
export const MAX_LISTED_LAYERS = 128;

/** How far a layer is, in compressed bytes. */
export interface LayerProgress extends Count {
  readonly digest: string;
}

/** A layer of a list: how far it is, in compressed bytes. A layer that is `fetching` may have all bytes, and is verified then. */
export interface LayerStatus extends LayerProgress {
  readonly state: 'waiting' | 'fetching' | 'ready';
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

/** The progress of a preparation that has all its layers; one that finds its file there has reported nothing. */
export function finished({ count, bytes }: { readonly count: number; readonly bytes: number }): Progress {
  return {
    step: 'fetching',
    layers: { done: count, total: count },
    bytes: { done: bytes, total: bytes },
    inFlight: [],
  };
}

/** A layer, as its descriptor names it. */
type LayerSize = { readonly digest: string; readonly size: number };

/** Adds up what the parts of a preparation report. */
export class ProgressCounter {
  readonly #onProgress: (progress: Progress) => void;
  #layers: Count = { done: 0, total: 0 };
  #bytes: Count = { done: 0, total: 0 };
  #step: Progress['step'] = 'waiting';
  readonly #inFlight = new Map<string, LayerProgress>();
  readonly #listed = new Map<string, LayerStatus>();
  readonly #listLayers = () => [...this.#listed.values()];

  /** @param onProgress receives the sums after each change */
  constructor(onProgress: (progress: Progress) => void) {
    this.#onProgress = onProgress;
  }

  /** Starts a step. */
  enter(step: Progress['step']): void {
    this.#step = step;
    this.#report();
  }

  /** Adds layers that will be fetched, each of them once. */
  expect(layers: readonly LayerSize[]): void {
    const bytes = layers.reduce((sum, { size }) => sum + size, 0);
    this.#layers = { ...this.#layers, total: this.#layers.total + layers.length };
    this.#bytes = { ...this.#bytes, total: this.#bytes.total + bytes };
    for (const { digest, size } of layers.slice(0, MAX_LISTED_LAYERS - this.#listed.size))
      this.#listed.set(digest, { digest, done: 0, total: size, state: 'waiting' });
    this.#report();
  }

  /** Adds compressed bytes of a layer that were received. */
  advance({ digest, size: total }: LayerSize, bytes: number): void {
    this.#bytes = { ...this.#bytes, done: this.#bytes.done + bytes };
    const done = (this.#inFlight.get(digest)?.done ?? 0) + bytes;
    this.#inFlight.set(digest, { digest, done, total });
    this.#list({ digest, done, total, state: 'fetching' });
    this.#report();
  }

  /** Adds a layer that is ready. */
  finishLayer({ digest, size }: LayerSize): void {
    this.#layers = { ...this.#layers, done: this.#layers.done + 1 };
    this.#inFlight.delete(digest);
    this.#list({ digest, done: size, total: size, state: 'ready' });
    this.#report();
  }

  #list(status: LayerStatus): void {
    if (this.#listed.has(status.digest)) this.#listed.set(status.digest, status);
  }

  #report(): void {
    const inFlight = [...this.#inFlight.values()];
    this.#onProgress({
      step: this.#step,
      layers: this.#layers,
      bytes: this.#bytes,
      inFlight,
      listLayers: this.#listLayers,
    });
  }
}
