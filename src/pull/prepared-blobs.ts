import type { Digest } from '../image/digest.ts';
import type { LayerForm } from './fetch-layer.ts';
import type { PreparedLayer } from './fetch-layers.ts';

/** The files of an archive's layers, each there once however many images have it. */
export class PreparedBlobs {
  readonly form: LayerForm;
  readonly #layers = new Map<Digest, PreparedLayer>();

  /** @param form of all layers that are here */
  constructor(form: LayerForm) {
    this.form = form;
  }

  /** What is here, by digest of the blob in the registry. */
  get known(): ReadonlyMap<Digest, PreparedLayer> {
    return this.#layers;
  }

  /** Takes layers over: their files belong here from now on. */
  add(layers: readonly PreparedLayer[]): void {
    for (const layer of layers) this.#layers.set(layer.descriptor.digest, layer);
  }

  /**
   * The layer whose file has these bytes.
   *
   * @param digest of the file: a diff ID in the unpacked form, a blob's digest in the packed one
   */
  find(digest: Digest): PreparedLayer | undefined {
    if (this.form === 'packed') return this.#layers.get(digest);
    return this.#layers.values().find(({ diffId }) => diffId === digest);
  }

  /** Gives the files up. */
  release(): void {
    for (const { file } of this.#layers.values()) file.release();
  }
}
