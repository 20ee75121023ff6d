import type { LayerForm } from '../archive/layouts.ts';
import type { Digest } from '../image/digest.ts';
import type { Descriptor } from '../image/manifest.ts';
import { isForeignLayer } from '../image/media-type.ts';
import type { Repository, RepositoryLocation } from '../registry/repository.ts';
import type { Draft, Store, Stored } from '../storage/store.ts';
import { withSpan } from '../telemetry/span.ts';
import { mapConcurrently } from '../util/map-concurrently.ts';
import type { MemoryBudget } from '../util/memory-budget.ts';
import { KeyedSemaphore } from '../util/semaphore.ts';
import { KnownBlobs } from './cache/known-blobs.ts';
import { diffIdsDisagree, type FetchLayerOptions, fetchLayer, verifyDiffId } from './fetch-layer.ts';
import { type ImageLimits, SizeBudget } from './limits.ts';
import type { LayerReport, ProgressCounter } from './progress.ts';

/** A layer whose verified bytes are in a file. Layers of equal content share one file. */
export interface FetchedLayer {
  /** The blob, as the manifest describes it. */
  readonly descriptor: Descriptor;
  /** Of the uncompressed bytes, verified if the file holds these; `undefined` for a layer of an artifact. */
  readonly diffId: Digest | undefined;
  /** Held until the owner releases it. */
  readonly file: Stored;
}

/** Where layers come from: a repository, opened with the caller's credentials. */
export interface LayerSource {
  readonly location: RepositoryLocation;
  readonly repository: Repository;
  /** The client's account whose rights the repository is opened with; see `accountOf`. */
  readonly account?: string | undefined;
}

/** What belongs to one call of {@link LayerFetcher.fetchAll}. */
export interface FetchLayersCall {
  readonly source: LayerSource;
  readonly form: LayerForm;
  /** The diff IDs of the layers, from the config that is fetched meanwhile; none for an artifact. */
  readonly diffIds: Promise<readonly Digest[] | undefined>;
  /** Counts the uncompressed bytes of the whole archive. */
  readonly budget: SizeBudget;
  /** Layers that other images of the same archive have brought, by digest of the blob. */
  readonly known: ReadonlyMap<Digest, FetchedLayer>;
  readonly progress?: ProgressCounter | undefined;
  /** Receives each layer as soon as it is verified. The file stays with {@link LayerFetcher.fetchAll} until that resolves. */
  readonly onLayer?: ((layer: FetchedLayer) => void) | undefined;
  readonly signal: AbortSignal;
}

/** Settings of {@link LayerFetcher}. */
export interface LayerFetcherOptions {
  readonly store: Store<LayerReport>;
  /** Most layers that are fetched from one registry at once. */
  readonly concurrentDownloads: number;
  readonly limits: ImageLimits;
  /** Counts what decoders of layers take. */
  readonly memory: MemoryBudget;
}

/** Brings layers into the store: from the store itself, from a download under way, or from the registry. */
export class LayerFetcher {
  readonly #store: Store<LayerReport>;
  readonly #limits: ImageLimits;
  readonly #knownBlobs = new KnownBlobs();
  readonly #downloads: KeyedSemaphore;
  readonly #memory: MemoryBudget;

  constructor({ store, concurrentDownloads, limits, memory }: LayerFetcherOptions) {
    this.#memory = memory;
    this.#store = store;
    this.#limits = limits;
    this.#downloads = new KeyedSemaphore(concurrentDownloads);
  }

  /** Whether a layer is in the store, or under way to it. */
  has(layer: Descriptor, form: LayerForm, { location, account }: Omit<LayerSource, 'repository'>): boolean {
    return this.#store.has(layerKey(layer, form, location), account);
  }

  /**
   * Fetches the layers of an image, several at once, and a layer that occurs twice only once. When one fails, the others stop,
   * and all files are released.
   *
   * @param layers base first, as in the manifest
   * @returns the layers in that order; the caller owns the files that are not in `known`
   * @throws PassthroughError `VERIFICATION_FAILED`, `UNSUPPORTED_IMAGE`, `IMAGE_TOO_LARGE`, `NO_SPACE`, what the repository
   *   throws, and what `diffIds` rejects with
   */
  async fetchAll(layers: readonly Descriptor[], call: FetchLayersCall): Promise<readonly FetchedLayer[]> {
    const { known, budget, form, signal, progress } = call;
    const unique = new Map<Digest, { readonly layer: Descriptor; readonly index: number }>();
    for (const [index, layer] of layers.entries()) {
      if (!unique.has(layer.digest) && !known.has(layer.digest)) unique.set(layer.digest, { layer, index });
    }
    const items = [...unique.values()];
    progress?.expect(
      items.length,
      items.reduce((sum, { layer }) => sum + layer.size, 0),
    );

    const held: FetchedLayer[] = [];
    try {
      await mapConcurrently(
        items,
        this.#limits.concurrentLayers,
        signal,
        async ({ layer, index }, either) => {
          const fetched = await this.#fetch(layer, index, { ...call, signal: either });
          held.push(fetched);
          call.onLayer?.(fetched);
        },
      );
      const byDigest = new Map([...known, ...held.map((layer) => [layer.descriptor.digest, layer] as const)]);
      const diffIds = await call.diffIds;
      return layers.map((layer, index) => {
        const fetched = byDigest.get(layer.digest);
        if (fetched === undefined || (diffIds !== undefined && fetched.diffId !== diffIds[index])) {
          throw diffIdsDisagree(layer, { expected: diffIds?.[index], actual: fetched?.diffId });
        }
        if (form === 'uncompressed' && unique.get(layer.digest)?.index !== index)
          budget.spend(fetched.file.size);
        return fetched;
      });
    } catch (error) {
      for (const { file } of held) file.release();
      throw error;
    }
  }

  /**
   * Fetches a layer again whose stored file is damaged, with the reader's own source.
   *
   * @returns the new file, which the caller owns
   * @throws PassthroughError as {@link fetchAll}
   */
  async refetch(
    { descriptor, diffId }: FetchedLayer,
    source: LayerSource,
    form: LayerForm,
    signal: AbortSignal,
  ): Promise<Stored> {
    const { file } = await this.#fetch(descriptor, 0, {
      source,
      form,
      diffIds: Promise.resolve(diffId && [diffId]),
      budget: new SizeBudget(this.#limits),
      known: new Map(),
      signal,
    });
    return file;
  }

  /**
   * Fetches a layer in the form of the registry to a place of the caller's. It is verified when the promise resolves.
   *
   * @param index of the layer in its image, counted from 0
   * @throws PassthroughError as {@link fetchAll}; what `draft` throws
   */
  fetchInto(
    draft: Draft,
    layer: Descriptor,
    index: number,
    { source, progress, signal }: Pick<FetchLayersCall, 'source' | 'progress' | 'signal'>,
  ): Promise<void> {
    let seen = 0;
    const report = ({ compressed }: LayerReport) => {
      progress?.advance(layer, compressed - seen);
      seen = compressed;
    };
    const attributes = layerAttributes(layer, index);
    return withSpan(`download_layer_${index + 1}`, { attributes }, async () => {
      await this.#download(layer, 'compressed', source, { draft, signal, report });
      progress?.finishLayer(layer);
    });
  }

  #download(
    layer: Descriptor,
    form: LayerForm,
    { location, repository }: LayerSource,
    target: Pick<FetchLayerOptions, 'draft' | 'signal' | 'report'>,
  ): Promise<Digest | undefined> {
    const open = (one: Descriptor, working: AbortSignal) =>
      liesOutside(one) ? repository.openForeignLayer(one, working) : repository.openLayer(one, working);
    const memory = this.#memory;
    return this.#downloads.run(
      location.origin,
      target.signal,
      () => fetchLayer({ layer, form, open, memory, ...target }),
      location.name,
    );
  }

  /** @param index of the layer in its image, counted from 0 */
  #fetch(layer: Descriptor, index: number, call: FetchLayersCall): Promise<FetchedLayer> {
    const attributes = layerAttributes(layer, index);
    return withSpan(`download_layer_${index + 1}`, { attributes }, async (span) => {
      const file = await this.#obtain(layer, call);
      span.setAttribute('passthrough.layer.source', file.source === 'made' ? 'registry' : file.source);
      try {
        // Access comes first: a client without it must not learn from the next check what the stored layer is.
        await this.#checkAccess(layer, file, call);
        const diffId = await verifyDiffId(layer, index, file, call);
        if (call.form === 'uncompressed') span.setAttribute('oci.layer.decompressed_size', file.size);
        return { descriptor: layer, diffId, file };
      } catch (error) {
        file.release();
        throw error;
      }
    });
  }

  async #obtain(
    layer: Descriptor,
    { source, form, budget, progress, signal }: FetchLayersCall,
  ): Promise<Stored> {
    const { location, account } = source;
    const seen = { compressed: 0, uncompressed: 0 };
    const tooLarge = new AbortController();
    const watch = ({ compressed, uncompressed }: LayerReport) => {
      progress?.advance(layer, compressed - seen.compressed);
      const more = uncompressed - seen.uncompressed;
      Object.assign(seen, { compressed, uncompressed });
      try {
        if (form === 'uncompressed') budget.spend(more);
      } catch (error) {
        tooLarge.abort(error);
      }
    };
    const file = await this.#store.obtain(layerKey(layer, form, location), {
      signal: AbortSignal.any([signal, tooLarge.signal]),
      onReport: watch,
      account,
      produce: async (draft, working, report) => {
        const diffId = await this.#download(layer, form, source, { draft, signal: working, report });
        return { repository: location.name, ...(diffId !== undefined && { diffId }) };
      },
    });
    try {
      tooLarge.signal.throwIfAborted();
      if (form === 'uncompressed') budget.spend(file.size - seen.uncompressed);
    } catch (error) {
      file.release();
      throw error;
    }
    progress?.advance(layer, layer.size - seen.compressed);
    progress?.finishLayer(layer);
    return file;
  }

  /** Makes sure that the repository has a layer that was not just fetched from it. */
  async #checkAccess(layer: Descriptor, file: Stored, { source, signal }: FetchLayersCall): Promise<void> {
    const { location, repository } = source;
    const isFromHere = file.source === 'made' || file.description['repository'] === location.name;
    if (!isFromHere && !this.#knownBlobs.has(location, layer.digest))
      await repository.checkLayer(layer, signal);
    this.#knownBlobs.add(location, layer.digest);
  }
}

/**
 * The key of a layer in the store. It contains the registry, since a blob from one registry must not be served for another; for a
 * foreign layer also the repository, since its registry need not have the blob. It contains the size, since a manifest with a
 * wrong size must neither get the layer nor spoil it for others.
 */
function layerKey(layer: Descriptor, form: LayerForm, { origin, name }: RepositoryLocation): string {
  const { digest, size } = layer;
  return `${form} ${digest} ${size} ${liesOutside(layer) ? `${origin}/${name}` : origin}`;
}

function layerAttributes({ digest, size }: Descriptor, index: number) {
  return {
    'oci.layer.index': index + 1,
    'oci.layer.digest': digest,
    'oci.layer.compressed_size': size,
  };
}

/** Whether the descriptor names a place outside of the registry. */
function liesOutside(layer: Descriptor): boolean {
  return isForeignLayer(layer) && layer.urls !== undefined;
}
