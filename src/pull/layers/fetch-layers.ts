import type { LayerForm } from '../../archive/layouts.ts';
import type { Digest } from '../../image/digest.ts';
import type { Descriptor } from '../../image/manifest.ts';
import { declaresGzip } from '../../image/media-type.ts';
import type { Draft, Store, Stored } from '../../storage/store.ts';
import type { StoreKey } from '../../storage/store-key.ts';
import { withSpan } from '../../telemetry/span.ts';
import { mapConcurrently } from '../../util/map-concurrently.ts';
import type { MemoryBudget } from '../../util/memory-budget.ts';
import { type ImageLimits, SizeBudget } from '../limits.ts';
import type { LayerReport, ProgressCounter } from '../progress.ts';
import { diffIdsDisagree, verifyDiffId } from './fetch-layer.ts';
import { GzipLayers } from './gzip-layers.ts';
import { KnownBlobs } from './known-blobs.ts';
import { factsIn, type KnownLayer, KnownLayers } from './layer-facts.ts';
import { type LayerFile, type LayerFileCall, LayerFiles, type LayerSource } from './layer-files.ts';
import { blobKey, deflatedKey, inflatedKey, inOrder, layerAttributes } from './layer-key.ts';
import { Spent } from './spent.ts';

/** A layer whose verified bytes are in a file. Layers of equal content share one file. */
export interface FetchedLayer {
  /** The blob, as the manifest describes it. */
  readonly descriptor: Descriptor;
  /** Of the uncompressed bytes, verified if the layer was unpacked; `undefined` for a layer of an artifact. */
  readonly diffId: Digest | undefined;
  /** Bytes of the uncompressed layer, if it was unpacked. */
  readonly uncompressedBytes?: number | undefined;
  /** Whether the file was compressed here, because the blob is no gzip of the kind that the form asks for. */
  readonly isDeflated?: boolean;
  /** Bytes of its entry in an archive: those of the file, or in form `gzip` of the uncompressed layer. */
  readonly entryBytes: number;
  /** Held until the owner releases it. */
  readonly file: Stored;
}

/** How far a layer must be on its way into the store: `complete`, so that nothing waits for it, or at least `coming`. */
export type Presence = 'complete' | 'coming';

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
  /** Receives each layer as soon as it is verified, and owns the file from then on, also if another layer fails. */
  readonly onLayer?: ((layer: FetchedLayer) => void) | undefined;
  /** Digests of blobs in the order in which they are wanted; default: that of the layers. */
  readonly order?: readonly Digest[];
  /** Whether the first layer is fetched before the others. */
  readonly isFirstAlone?: boolean;
  /** Whether blobs are kept that are fetched to be unpacked; default: yes. */
  readonly keepsBlobs?: boolean | undefined;
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
  readonly #known: KnownLayers;
  readonly #gzip: GzipLayers;
  readonly #files: LayerFiles;

  constructor({ store, concurrentDownloads, limits, memory }: LayerFetcherOptions) {
    this.#known = new KnownLayers(store);
    this.#gzip = new GzipLayers(store, memory, this.#known);
    this.#files = new LayerFiles({ store, memory, gzip: this.#gzip, concurrentDownloads });
    this.#store = store;
    this.#limits = limits;
  }

  /** Whether a layer is in the store, see {@link Presence}. */
  has(
    layer: Descriptor,
    form: LayerForm,
    source: Omit<LayerSource, 'repository'>,
    presence: Presence,
  ): boolean {
    const { location, account } = source;
    const isThere = (key: StoreKey) => this.#store.has(key, account, presence === 'complete');
    if (form === 'uncompressed') return isThere(inflatedKey(layer, location));
    if (!isThere(blobKey(layer, location))) return false;
    if (form === 'loadable') return declaresGzip(layer) || isThere(deflatedKey(layer, location));
    if (form !== 'gzip' || this.isKnown(layer, source)) return true;
    return presence === 'coming' && this.#gzip.isUnpacking(layer, location, account);
  }

  /** Whether anything is known of a layer without its bytes. */
  isKnown(layer: Descriptor, { location }: Pick<LayerSource, 'location'>): boolean {
    return this.#known.get(layer, location) !== undefined;
  }

  /**
   * What is known of a layer without its bytes, if the client may pull the blob.
   *
   * @param isOfUse whether it is worth the question whether the client may
   * @throws PassthroughError what the repository throws for a blob that it does not have
   */
  async knownOf(
    layer: Descriptor,
    { location, repository }: LayerSource,
    signal: AbortSignal,
    isOfUse: (known: KnownLayer) => boolean,
  ): Promise<KnownLayer | undefined> {
    const known = this.#known.get(layer, location);
    if (known === undefined || !isOfUse(known)) return undefined;
    await this.#checkAccess(layer, known.repository, { location, repository }, signal);
    return known;
  }

  /**
   * Fetches the layers of an image, several at once, and a layer that occurs twice only once. When one fails, the others stop,
   * and all files are released.
   *
   * @param layers base first, as in the manifest
   * @returns the layers in that order; the caller owns the files that are not in `known`, unless `onLayer` does
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
        // A layer below an index has no diff ID: its config is not read.
        const { diffId = diffIds?.[index] } = fetched ?? {};
        if (fetched === undefined || (diffIds !== undefined && diffId !== diffIds[index])) {
          throw diffIdsDisagree(layer, { expected: diffIds?.[index], actual: fetched?.diffId });
        }
        if (unique.get(layer.digest)?.index !== index) budget.spend(fetched.uncompressedBytes ?? 0);
        return fetched;
      });
    } catch (error) {
      if (call.onLayer === undefined) for (const { file } of held) file.release();
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
      await this.#files.download(layer, 'compressed', source, { draft, signal, report });
      progress?.finishLayer(layer);
    });
  }

  /** @param index of the layer among those that are fetched, counted from 0 */
  #fetch(layer: Descriptor, index: number, call: FetchLayersCall): Promise<FetchedLayer> {
    const place = call.indexes?.[index] ?? index;
    const attributes = layerAttributes(layer, place);
    const { source, diffIds, signal } = call;
    const { location } = source;
    return withSpan(`download_layer_${place + 1}`, { attributes }, async (span) => {
      using held = new DisposableStack();
      const spent = new Spent(layer, call);
      const work = { signal: spent.signalWith(signal), account: source.account, report: spent.watch };
      const wanted = { ...work, source, keepsBlob: call.keepsBlobs };
      const { file, from } = await this.#obtain(layer, call.form, wanted, spent);
      held.defer(() => file.release());
      span.setAttribute('passthrough.layer.source', from);
      // Access comes first: a client without it must not learn from the next check what the stored layer is.
      const fetchedFrom = String(file.description['repository']);
      await this.#checkAccess(layer, fetchedFrom, source, signal);
      const blob = this.#files.blobOf(layer, source, file);
      const form = call.form === 'loadable' ? await this.#gzip.loadableForm(blob, signal) : call.form;
      const facts = form === 'gzip' ? await this.#gzip.factsOf(blob, work) : factsIn(file.description);
      if (facts !== undefined) this.#known.add(layer, location, facts, fetchedFrom);
      const isUnpacked = form !== 'compressed';
      const uncompressed = () => (form === 'gzip' ? this.#gzip.unpacked(blob, facts, signal) : file.read());
      const diffId = await verifyDiffId(layer, index, isUnpacked ? facts?.diffId : undefined, {
        ...{ diffIds, uncompressed, signal },
      });
      const uncompressedBytes = isUnpacked ? facts?.uncompressedBytes : undefined;
      if (uncompressedBytes !== undefined) {
        spent.settle(uncompressedBytes);
        span.setAttribute('oci.layer.decompressed_size', uncompressedBytes);
      }
      const isDeflated = form === 'gzip' && facts?.isPlainGzip === false;
      const own = isDeflated ? await this.#gzip.deflated(blob, facts, work) : file;
      if (!isDeflated) held.move();
      spent.finish();
      const entryBytes = call.form === 'gzip' ? (uncompressedBytes ?? own.size) : own.size;
      return { descriptor: layer, diffId, file: own, uncompressedBytes, entryBytes, isDeflated };
    });
  }

  #obtain(layer: Descriptor, form: LayerForm, call: LayerFileCall, spent: Spent): Promise<LayerFile> {
    if (form === 'uncompressed') return this.#files.inflated(layer, call);
    // Another caller may unpack the blob; those bytes are none of this archive.
    const report = form === 'gzip' ? call.report : spent.watchBlob;
    return this.#files.blob(layer, form === 'gzip' ? 'gzip' : 'compressed', { ...call, report });
  }

  /**
   * Makes sure that the repository has a layer that was not just fetched from it.
   *
   * @param from the repository that its bytes came from
   */
  async #checkAccess(
    layer: Descriptor,
    from: string,
    { location, repository }: Pick<LayerSource, 'location' | 'repository'>,
    signal: AbortSignal,
  ): Promise<void> {
    if (from !== location.name && !this.#knownBlobs.has(location, layer.digest))
      await repository.checkLayer(layer, signal);
    this.#knownBlobs.add(location, layer.digest);
  }
}
