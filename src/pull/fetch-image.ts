import type { Document } from '../archive/entries.ts';
import { LAYOUT_TABLE, type LayoutImage } from '../archive/layouts.ts';
import { isPassthroughError } from '../errors.ts';
import type { Digest } from '../image/digest.ts';
import type { ArtifactManifest, Descriptor, ImageManifest } from '../image/manifest.ts';
import type { Store } from '../storage/store.ts';
import type { Content } from '../util/content.ts';
import { abortedBy } from '../util/map-concurrently.ts';
import { fetchConfig, type VerifiedConfig } from './documents/fetch-config.ts';
import { settingsOf } from './documents/legacy-settings.ts';
import { layerFormOf } from './gzip/gzip-way.ts';
import { describe } from './iox/describe.ts';
import type { FetchedLayer, FetchLayersCall, LayerFetcher, Presence } from './layers/fetch-layers.ts';
import type { LayerReport } from './progress.ts';
import { type ArchiveRequest, isPackage } from './request.ts';
import { layersToFetch, type ResolvedImage, type ResolvePolicy } from './resolve-archive.ts';
import { findSharedLayers, type SharedLayersCall } from './update/shared-layers.ts';

/** An image whose bytes are all here, as a layout takes it, with the files of its layers: those that its base does not have. */
export type FetchedImage = Omit<LayoutImage, 'layers'> & { readonly layers: readonly FetchedLayer[] };

/** Config and layers of a manifest. */
interface FetchedManifest {
  readonly config: VerifiedConfig;
  readonly layers: readonly FetchedLayer[];
  readonly shared: ReadonlySet<number>;
}

/** What belongs to one call of {@link ImageFetcher.fetch}. */
export type FetchImageCall = Pick<FetchLayersCall, 'budget' | 'progress' | 'signal'> & {
  /** The layers of the archive so far, by digest of the blob. Takes ownership of the layers that are fetched. */
  readonly layers: Map<Digest, FetchedLayer>;
  /** The documents of the archive so far, by digest. Takes ownership of those that are fetched. */
  readonly documents: Map<Digest, Content>;
};

/** Fetches config and layers of images. */
export class ImageFetcher {
  readonly #layers: Pick<LayerFetcher, 'has' | 'fetchAll'>;
  readonly #policy: ResolvePolicy;
  readonly #store: Store<LayerReport>;

  /** @param store keeps what is made of large configs */
  constructor(
    layers: Pick<LayerFetcher, 'has' | 'fetchAll'>,
    policy: ResolvePolicy,
    store: Store<LayerReport>,
  ) {
    this.#layers = layers;
    this.#policy = policy;
    this.#store = store;
  }

  /** Whether all layers of an image are in the store, so that fetching it is little work. */
  has(
    layers: readonly Descriptor[],
    image: ResolvedImage,
    request: ArchiveRequest,
    presence: Presence,
  ): boolean {
    const form = layerFormOf(request, this.#policy);
    return layers.every((layer) => this.#layers.has(layer, form, image, presence));
  }

  /**
   * Fetches config and layers of an image; for an index, those of every image in it.
   *
   * @throws PassthroughError `UNSUPPORTED_IMAGE`, `VERIFICATION_FAILED`, `IMAGE_TOO_LARGE`, `NO_SPACE`, `ABORTED`, and what the
   *   repository throws
   */
  async fetch(image: ResolvedImage, request: ArchiveRequest, call: FetchImageCall): Promise<FetchedImage> {
    const { name } = image.request;
    const { digest, content, manifest } = image.manifest;
    const root = { ...hold(call, digest, content.retain()), mediaType: manifest.mediaType };
    const base = image.base?.manifest.digest;
    if (manifest.kind === 'index') {
      const below = await this.#fetchIndex(image, request, call);
      return {
        name,
        root,
        ...(base !== undefined && { base: { digest: base, shared: new Set() } }),
        ...below,
      };
    }
    const { config, layers, shared } = await this.#fetchManifest(manifest, digest, image, request, call);
    const document = hold(call, config.digest, config.content);
    const settings = await this.#settingsOf(config, request, call);
    return {
      name,
      root,
      config: {
        ...document,
        ...(config.image !== undefined && { image: config.image }),
        ...(settings !== undefined && { settings }),
      },
      ...(base !== undefined && { base: { digest: base, shared } }),
      descriptors: manifest.layers,
      layers,
      documents: [document],
    };
  }

  /** Fetches everything that an index names, attestations included, so that the index stays as it is. */
  async #fetchIndex(image: ResolvedImage, request: ArchiveRequest, call: FetchImageCall) {
    const documents = new Map<Digest, Document>();
    const layers = new Map<Digest, FetchedLayer>();
    for (const { digest, content, manifest } of image.manifest.children) {
      documents.set(digest, hold(call, digest, content.retain()));
      if (manifest.kind === 'index') continue;
      // Configs below an index are not read: that of an attestation names no diff IDs. Blobs are verified by their digests.
      const unread = { ...manifest, kind: 'artifact' } as const;
      const fetched = await this.#fetchManifest(unread, digest, image, request, call);
      const { config } = fetched;
      documents.set(config.digest, hold(call, config.digest, config.content));
      for (const layer of fetched.layers) layers.set(layer.descriptor.digest, layer);
    }
    return { descriptors: [], layers: [...layers.values()], documents: [...documents.values()] };
  }

  /** What the layout repeats of a config. */
  async #settingsOf(
    config: VerifiedConfig,
    { layout }: ArchiveRequest,
    call: FetchImageCall,
  ): Promise<Document | undefined> {
    if (!LAYOUT_TABLE[layout].repeatsSettings) return undefined;
    const { documents } = this.#policy;
    const { digest, content } = await settingsOf(config, this.#store, documents, call.signal);
    return hold(call, digest, content);
  }

  /**
   * Fetches config and layers side by side. The layers are verified against the config, so the first failure of either stops
   * both, and both have ended when the promise settles. Of an update, the layers that the base has are not fetched.
   *
   * @returns the config, whose content the caller must release, and the indexes of the layers that the base has
   */
  async #fetchManifest(
    manifest: ImageManifest | ArtifactManifest,
    digest: Digest,
    image: ResolvedImage,
    request: ArchiveRequest,
    { layers, budget, progress, ...call }: FetchImageCall,
  ): Promise<FetchedManifest> {
    const stop = new AbortController();
    const signal = AbortSignal.any([call.signal, stop.signal]);
    const fetching = this.#checkedConfigOf(manifest, digest, image, request, signal);
    const config = () => fetching;
    // Handled here, since a layer may wait for its registry before it awaits the diff IDs.
    fetching.catch((error: unknown) => stop.abort(abortedBy(error)));
    try {
      const shared = await this.#sharedLayers(manifest, image, request, { config, signal });
      const toFetch = new Set(layersToFetch(manifest, request, this.#policy));
      const indexes = [...manifest.layers.keys()].filter((index) => {
        const layer = manifest.layers[index];
        return layer !== undefined && toFetch.has(layer) && !shared.has(index);
      });
      const wanted = indexes.flatMap((index) => manifest.layers[index] ?? []);
      const diffIds = fetching.then(({ image: parsed }) =>
        parsed === undefined ? undefined : indexes.flatMap((index) => parsed.diffIds[index] ?? []),
      );
      diffIds.catch(() => undefined);
      const fetched = await this.#layers.fetchAll(wanted, {
        source: image,
        form: layerFormOf(request, this.#policy),
        diffIds,
        indexes,
        budget,
        known: layers,
        progress,
        signal,
      });
      for (const layer of fetched) layers.set(layer.descriptor.digest, layer);
      return { config: await fetching, layers: fetched, shared };
    } catch (error) {
      stop.abort(abortedBy(error));
      const [ended] = await Promise.allSettled([fetching]);
      if (ended.status === 'fulfilled') ended.value.content.release();
      // If the config failed, the layers only report that they were stopped.
      throw ended.status === 'rejected' && isPassthroughError(error, 'ABORTED') ? ended.reason : error;
    }
  }

  /** The layers that the base of an update has, too. */
  async #sharedLayers(
    manifest: ImageManifest | ArtifactManifest,
    { base }: ResolvedImage,
    { layout }: ArchiveRequest,
    call: Pick<SharedLayersCall, 'config' | 'signal'>,
  ): Promise<ReadonlySet<number>> {
    if (base === undefined) return new Set();
    const { sharedLayers } = LAYOUT_TABLE[layout];
    const { documents } = this.#policy;
    return await findSharedLayers(manifest, { base, sharedLayers, documents, ...call });
  }

  /** The config. That of a package is checked at once: no layer is waited for that its descriptor cannot name. */
  async #checkedConfigOf(
    manifest: ImageManifest | ArtifactManifest,
    digest: Digest,
    image: ResolvedImage,
    request: ArchiveRequest,
    signal: AbortSignal,
  ): Promise<VerifiedConfig> {
    const config = await this.#configOf(manifest, digest, image, signal);
    try {
      if (isPackage(request)) {
        const described = { ...config, platform: config.image?.platform };
        await describe(request, described, this.#policy, signal);
      }
      return config;
    } catch (error) {
      config.content.release();
      throw error;
    }
  }

  /** The config, if resolving has not fetched it already. */
  async #configOf(
    manifest: ImageManifest | ArtifactManifest,
    digest: Digest,
    image: ResolvedImage,
    signal: AbortSignal,
  ): Promise<VerifiedConfig> {
    const known = image.manifest.config;
    if (known !== undefined) return { ...known, content: known.content.retain() };
    const opened = { reference: image.request.reference, repository: image.repository };
    return await fetchConfig(opened, manifest, digest, signal, this.#policy.documents);
  }
}

/** Adds a document to those of the archive. A second hold on it is released. */
function hold({ documents }: FetchImageCall, digest: Digest, content: Content): Document {
  const held = documents.get(digest);
  if (held === undefined) documents.set(digest, content);
  else content.release();
  const { size, bytes } = held ?? content;
  return { digest, size, bytes };
}
