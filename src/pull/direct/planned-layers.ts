import { PassthroughError } from '../../errors.ts';
import type { Digest } from '../../image/digest.ts';
import type { Descriptor } from '../../image/manifest.ts';
import type { Stored } from '../../storage/store.ts';
import { unlessAborted } from '../../util/map-concurrently.ts';
import { diffIdsDisagree } from '../layers/fetch-layer.ts';
import type { FetchedLayer, FetchLayersCall } from '../layers/fetch-layers.ts';
import type { LayerSource } from '../layers/layer-files.ts';

/** A layer that is still to be fetched. */
export interface PlannedLayer {
  readonly descriptor: Descriptor;
  /** Of the first place of the layer in its image, counted from 0. */
  readonly index: number;
  /** `undefined` for a layer of an artifact. */
  readonly diffId: Digest | undefined;
  readonly source: LayerSource;
}

/** Stands for the `LayerFetcher` while an archive is planned: it waits for the configs, and fetches no layer. */
export class PlannedLayers {
  /** Each layer once, by digest of its blob. */
  readonly layers = new Map<Digest, PlannedLayer>();

  /** No layer is in the store. */
  has(): boolean {
    return false;
  }

  /**
   * Plans the layers of an image.
   *
   * @returns layers without bytes
   * @throws PassthroughError `VERIFICATION_FAILED` when one blob has two diff IDs; what `diffIds` rejects with
   */
  async fetchAll(
    layers: readonly Descriptor[],
    { source, diffIds, indexes, signal }: FetchLayersCall,
  ): Promise<readonly FetchedLayer[]> {
    const expected = await unlessAborted(diffIds, signal);
    return layers.map((descriptor, index) => {
      const diffId = expected?.[index];
      const place = indexes?.[index] ?? index;
      const planned = this.layers.get(descriptor.digest) ?? { descriptor, index: place, diffId, source };
      if (expected !== undefined && planned.diffId !== diffId) {
        throw diffIdsDisagree(descriptor, { expected: planned.diffId, actual: diffId });
      }
      this.layers.set(descriptor.digest, planned);
      return { descriptor, diffId, file: withoutBytes(descriptor.size) };
    });
  }
}

function withoutBytes(size: number): Stored {
  const read = () => {
    throw new PassthroughError('INTERNAL', 'Cannot read a layer that is only planned');
  };
  return { size, description: {}, source: 'made', read, release: () => undefined };
}
