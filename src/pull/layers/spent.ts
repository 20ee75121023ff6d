import type { LayerForm } from '../../archive/layouts.ts';
import type { Descriptor } from '../../image/manifest.ts';
import type { SizeBudget } from '../limits.ts';
import type { LayerReport, ProgressCounter } from '../progress.ts';

/** Whose bytes are counted. */
interface SpentCall {
  readonly form: LayerForm;
  /** Counts the uncompressed bytes of the whole archive. */
  readonly budget: SizeBudget;
  readonly progress?: ProgressCounter | undefined;
}

/** What one caller has of a layer: bytes that its progress shows, and uncompressed ones that its budget counts. */
export class Spent {
  readonly #layer: Descriptor;
  readonly #call: SpentCall;
  readonly #tooLarge = new AbortController();
  #compressed = 0;
  #uncompressed = 0;

  constructor(layer: Descriptor, call: SpentCall) {
    this.#layer = layer;
    this.#call = call;
  }

  /** Stops also when the archive grows too large. */
  signalWith(signal: AbortSignal): AbortSignal {
    return AbortSignal.any([signal, this.#tooLarge.signal]);
  }

  /** Receives reports, also of another caller's production. */
  readonly watch = ({ compressed, uncompressed }: LayerReport): void => {
    this.#advance(compressed);
    try {
      this.#spend(uncompressed);
    } catch (error) {
      this.#tooLarge.abort(error);
    }
  };

  /** Receives reports of which only the blob's bytes count. */
  readonly watchBlob = ({ compressed }: LayerReport): void => this.#advance(compressed);

  /** Counts the uncompressed bytes that no report has told. */
  settle(uncompressed: number): void {
    this.#tooLarge.signal.throwIfAborted();
    this.#spend(uncompressed);
  }

  /** Shows the whole layer as done. */
  finish(): void {
    this.#advance(this.#layer.size);
    this.#call.progress?.finishLayer(this.#layer);
  }

  #advance(compressed: number): void {
    // A blob that is unpacked again, from its file, counts once.
    if (compressed <= this.#compressed) return;
    this.#call.progress?.advance(this.#layer, compressed - this.#compressed);
    this.#compressed = compressed;
  }

  #spend(uncompressed: number): void {
    const { form, budget } = this.#call;
    if (form === 'compressed' || uncompressed <= this.#uncompressed) return;
    const more = uncompressed - this.#uncompressed;
    this.#uncompressed = uncompressed;
    budget.spend(more);
  }
}
