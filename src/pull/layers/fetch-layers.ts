import type { LayerForm } from '../../archive/layouts.ts';
import type { Digest } from '../../image/digest.ts';
import type { Descriptor } from '../../image/manifest.ts';
import type { Repository, RepositoryLocation } from '../../registry/repository.ts';
import type { Draft, Store, Stored } from '../../storage/store.ts';
import { withSpan } from '../../telemetry/span.ts';
import { mapConcurrently } from '../../util/map-concurrently.ts';
import type { MemoryBudget } from '../../util/memory-budget.ts';
import { KeyedSemaphore } from '../../util/semaphore.ts';
import { type ImageLimits, SizeBudget } from '../limits.ts';
import type { LayerReport, ProgressCounter } from '../progress.ts';
import {
  diffIdsDisagree,
  type FetchLayerOptions,
  fetchLayer,
  type LayerFacts,
  verifyDiffId,
} from './fetch-layer.ts';
import { type BlobOfLayer, describeFacts, GzipLayers } from './gzip-layers.ts';
import { KnownBlobs } from './known-blobs.ts';
import { inOrder, layerAttributes, layerKey, liesOutside, storedForm } from './layer-key.ts';
import { Spent } from './spent.ts';

/** A layer whose verified bytes are in a file. Layers of equal content share one file. */
export interface FetchedLayer {
  /** The blob, as the manifest describes it. */
  readonly descriptor: Descriptor;
  /** Of the uncompressed bytes, verified if the layer was unpacked; `undefined` for a layer of an artifact. */
  readonly diffId: Digest | undefined;
  /** Bytes of the uncompressed layer, if it was unpacked. */
  readonly uncompressedBytes?: number | undefined;
  /** Whether the file was compressed here, because the blob is no plain gzip. */
  readonly isDeflated?: boolean;
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
  /** The index of each layer in its image, counted from 0, for the trace: some layers may be left out. */
  readonly indexes?: readonly number[] | undefined;
  /** Counts the uncompressed bytes of the whole archive. */
  readonly budget: SizeBudget;
  /** Layers that other images of the same archive have brought, by digest of the blob. */
  readonly known: ReadonlyMap<Digest, FetchedLayer>;
  readonly progress?: ProgressCounter | undefined;
  /** Receives each layer as soon as it is verified. The file stays with {@link LayerFetcher.fetchAll} until that resolves. */
  readonly onLayer?: ((layer: FetchedLayer) => void) | undefined;
  /** Digests of blobs in the order in which they are wanted; default: that of the layers. */
  readonly order?: readonly Digest[];
  /** Whether the first layer is fetched before the others. */
  readonly isFirstAlone?: boolean;
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
  readonly #gzip: GzipLayers;

  constructor({ store, concurrentDownloads, limits, memory }: LayerFetcherOptions) {
    this.#memory = memory;
    this.#gzip = new GzipLayers(store, memory);
    this.#store = store;
    this.#limits = limits;
    this.#downloads = new KeyedSemaphore(concurrentDownloads);
  }

  /** Whether a layer is in the store, or under way to it. */
  has(layer: Descriptor, form: LayerForm, { location, account }: Omit<LayerSource, 'repository'>): boolean {
    const isStored = this.#store.has(layerKey(layer, storedForm(form), location), account);
    return isStored && (form !== 'gzip' || this.#gzip.has(layer, location, account));
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
    const { known, budget, signal, progress } = call;
    const unique = new Map<Digest, { readonly layer: Descriptor; readonly index: number }>();
    for (const [index, layer] of layers.entries()) {
      if (!unique.has(layer.digest) && !known.has(layer.digest)) unique.set(layer.digest, { layer, index });
    }
    const items = inOrder([...unique.values()], call.order);
    progress?.expect(items.map(({ layer }) => layer));

    const held: FetchedLayer[] = [];
    try {
      const fetchOne = async ({ layer, index }: (typeof items)[number], either: AbortSignal) => {
        const fetched = await this.#fetch(layer, index, { ...call, signal: either });
        held.push(fetched);
        call.onLayer?.(fetched);
      };
      const { concurrentLayers } = this.#limits;
      const alone = call.isFirstAlone === true ? 1 : 0;
      await mapConcurrently(items.slice(0, alone), concurrentLayers, signal, fetchOne);
      await mapConcurrently(items.slice(alone), concurrentLayers, signal, fetchOne);
      const byDigest = new Map([...known, ...held.map((layer) => [layer.descriptor.digest, layer] as const)]);
      const diffIds = await call.diffIds;
      return layers.map((layer, index) => {
        const fetched = byDigest.get(layer.digest);
        if (fetched === undefined || (diffIds !== undefined && fetched.diffId !== diffIds[index])) {
          throw diffIdsDisagree(layer, { expected: diffIds?.[index], actual: fetched?.diffId });
        }
        if (unique.get(layer.digest)?.index !== index) budget.spend(fetched.uncompressedBytes ?? 0);
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
      // A layer that begins again counts once.
      progress?.advance(layer, Math.max(0, compressed - seen));
      seen = Math.max(seen, compressed);
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
  ): Promise<LayerFacts | undefined> {
    const open = (one: Descriptor, working: AbortSignal) =>
      liesOutside(one) ? repository.openForeignLayer(one, working) : repository.openLayer(one, working);
    const reject = (one: Descriptor) => repository.rejectLayer?.(one);
    const options = { layer, form, open, reject, memory: this.#memory, ...target };
    const { origin, name } = location;
    return this.#downloads.run(origin, target.signal, () => fetchLayer(options), name);
  }

  /** @param index of the layer among those that are fetched, counted from 0 */
  #fetch(layer: Descriptor, index: number, call: FetchLayersCall): Promise<FetchedLayer> {
    const place = call.indexes?.[index] ?? index;
    const attributes = layerAttributes(layer, place);
    const { form, source, diffIds, signal } = call;
    return withSpan(`download_layer_${place + 1}`, { attributes }, async (span) => {
      using held = new DisposableStack();
      const spent = new Spent(layer, call);
      const { file, from } = await this.#obtain(layer, spent, call);
      held.defer(() => file.release());
      span.setAttribute('passthrough.layer.source', from);
      // Access comes first: a client without it must not learn from the next check what the stored layer is.
      await this.#checkAccess(layer, file, call);
      const blob = this.#blobOf(layer, source, file);
      const work = { signal: spent.signalWith(signal), account: source.account, report: spent.watch };
      const facts = form === 'gzip' ? await this.#gzip.factsOf(blob, work) : undefined;
      const known =
        facts?.diffId ?? (form === 'uncompressed' ? String(file.description['diffId']) : undefined);
      const uncompressed = () => (form === 'gzip' ? this.#gzip.unpacked(blob, signal) : file.read());
      const diffId = await verifyDiffId(layer, index, known as Digest | undefined, {
        ...{ diffIds, uncompressed, signal },
      });
      const uncompressedBytes = facts?.uncompressedBytes ?? (form === 'uncompressed' ? file.size : undefined);
      if (uncompressedBytes !== undefined) {
        spent.settle(uncompressedBytes);
        span.setAttribute('oci.layer.decompressed_size', uncompressedBytes);
      }
      const isDeflated = facts?.isPlainGzip === false;
      const own = isDeflated ? await this.#gzip.deflated(blob, work) : file;
      if (!isDeflated) held.move();
      spent.finish();
      return { descriptor: layer, diffId, file: own, uncompressedBytes, isDeflated };
    });
  }

  async #obtain(layer: Descriptor, spent: Spent, { source, form, signal }: FetchLayersCall) {
    const { location, account } = source;
    let isBlobStored = false;
    const file = await this.#store.obtain(layerKey(layer, storedForm(form), location), {
      signal: spent.signalWith(signal),
      onReport: spent.watch,
      account,
      produce: async (draft, working, report) => {
        const target = { draft, signal: working, report };
        const isUnpacked = form === 'uncompressed';
        const blobKey = layerKey(layer, 'compressed', location);
        const blob = isUnpacked ? await this.#store.find(blobKey, working) : undefined;
        isBlobStored = blob !== undefined;
        try {
          const facts = await (blob === undefined
            ? this.#download(layer, form, source, target)
            : this.#gzip.unpackInto(this.#blobOf(layer, source, blob), target));
          // The repository that the bytes come from: see `#checkAccess`.
          const repository = blob?.description['repository'] ?? location.name;
          return { repository, ...(facts !== undefined && describeFacts(facts)) };
        } finally {
          blob?.release();
        }
      },
    });
    const made = isBlobStored ? 'cache' : 'registry';
    return { file, from: file.source === 'made' ? made : file.source };
  }

  #blobOf(layer: Descriptor, source: LayerSource, file: Stored): BlobOfLayer {
    const { location, account } = source;
    const refetch = (signal: AbortSignal) =>
      this.#store.obtain(layerKey(layer, 'compressed', location), {
        signal,
        account,
        produce: async (draft, working, report) => {
          await this.#download(layer, 'compressed', source, { draft, signal: working, report });
          return { repository: location.name };
        },
      });
    return { layer, location, file, refetch };
  }

  /** Makes sure that the repository has a layer that was not just fetched from it. */
  async #checkAccess(layer: Descriptor, file: Stored, { source, signal }: FetchLayersCall): Promise<void> {
    const { location, repository } = source;
    const isFromHere = file.description['repository'] === location.name;
    if (!isFromHere && !this.#knownBlobs.has(location, layer.digest))
      await repository.checkLayer(layer, signal);
    this.#knownBlobs.add(location, layer.digest);
  }
}
