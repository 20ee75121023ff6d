import type { LayerForm } from '../../archive/layouts.ts';
import { PassthroughError } from '../../errors.ts';
import type { Digest } from '../../image/digest.ts';
import type { Descriptor } from '../../image/manifest.ts';
import { declaresGzip } from '../../image/media-type.ts';
import type { Stored } from '../../storage/store.ts';
import { unlessAborted } from '../../util/map-concurrently.ts';
import { diffIdsDisagree } from '../layers/fetch-layer.ts';
import type { FetchedLayer, FetchLayersCall, LayerFetcher } from '../layers/fetch-layers.ts';
import type { KnownLayer } from '../layers/layer-facts.ts';
import type { LayerSource } from '../layers/layer-files.ts';

/** A layer that is still to be fetched. */
export interface PlannedLayer {
  readonly descriptor: Descriptor;
  /** Of the first place of the layer in its image, counted from 0. */
  readonly index: number;
  /** `undefined` for a layer of an artifact. */
  readonly diffId: Digest | undefined;
  readonly source: LayerSource;
  /** Whether its bytes in the archive are compressed anew, as far as media type and earlier pulls tell. */
  readonly isDeflated: boolean;
  /** What earlier pulls have shown. */
  readonly known: KnownLayer | undefined;
}

/** Stands for the `LayerFetcher` while an archive is planned: it waits for the configs, and fetches no layer. */
export class PlannedLayers {
  /** Each layer once, by digest of its blob. */
  readonly layers = new Map<Digest, PlannedLayer>();
  readonly #form: LayerForm;
  readonly #knownOf: LayerFetcher['knownOf'] | undefined;

  /** @param knownOf looks up what earlier pulls have shown; nothing unless given */
  constructor(form: LayerForm, knownOf?: LayerFetcher['knownOf']) {
    this.#form = form;
    this.#knownOf = knownOf;
  }

  /** No layer is in the store. */
  has(): boolean {
    return false;
  }

  /**
   * Plans the layers of an image.
   *
   * @returns layers without bytes
   * @throws PassthroughError `VERIFICATION_FAILED` when one blob has two diff IDs; what `diffIds` rejects with; what `knownOf` throws
   */
  async fetchAll(
    layers: readonly Descriptor[],
    { source, diffIds, indexes, signal }: FetchLayersCall,
  ): Promise<readonly FetchedLayer[]> {
    const expected = await unlessAborted(diffIds, signal);
    const fetched: FetchedLayer[] = [];
    for (const [index, descriptor] of layers.entries()) {
      const diffId = expected?.[index];
      const place = { descriptor, index: indexes?.[index] ?? index, diffId, source };
      const planned = this.layers.get(descriptor.digest) ?? (await this.#plan(place, signal));
      // A layer below an index has no diff ID: its config is not read.
      if (expected !== undefined && (planned.diffId ?? diffId) !== diffId) {
        throw diffIdsDisagree(descriptor, { expected: planned.diffId, actual: diffId });
      }
      this.layers.set(descriptor.digest, planned);
      const { size: entryBytes } = descriptor;
      const { isDeflated } = planned;
      fetched.push({ descriptor, diffId, isDeflated, entryBytes, file: withoutBytes(entryBytes) });
    }
    return fetched;
  }

  async #plan(layer: Omit<PlannedLayer, 'isDeflated' | 'known'>, signal: AbortSignal): Promise<PlannedLayer> {
    const { descriptor, diffId, source } = layer;
    const isGzip = declaresGzip(descriptor);
    // Where the media type tells all, the registry need not be asked whether the client may pull the blob.
    const isOfUse = (one: KnownLayer) =>
      this.#form !== 'compressed' && (this.#form !== 'loadable' || !isGzip || !one.isGzip);
    const found = await this.#knownOf?.(descriptor, source, signal, isOfUse);
    // Another diff ID than the config's is an error, which the pull reports.
    const known = found?.diffId === diffId ? found : undefined;
    const isDeflated =
      this.#form === 'loadable'
        ? !(known?.isGzip ?? isGzip)
        : this.#form === 'gzip' && !(known?.isPlainGzip ?? isGzip);
    return { ...layer, known, isDeflated };
  }
}

function withoutBytes(size: number): Stored {
  const read = () => {
    throw new PassthroughError('INTERNAL', 'Cannot read a layer that is only planned');
  };
  return { size, description: {}, source: 'made', read, release: () => undefined };
}
