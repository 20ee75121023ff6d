import type { Document, LayoutImage } from '../archive/layouts.ts';
import { isPassthroughError } from '../errors.ts';
import type { Digest } from '../image/digest.ts';
import type { ArtifactManifest, Descriptor, ImageManifest } from '../image/manifest.ts';
import { abortedBy } from '../util/map-concurrently.ts';
import type { FetchedLayer, FetchLayersCall, LayerFetcher } from './fetch-layers.ts';
import type { ArchiveRequest } from './request.ts';
import { layerFormOf, layersToFetch, type ResolvedImage, type ResolvePolicy } from './resolve-archive.ts';
import { fetchConfig, type VerifiedConfig } from './resolve-manifest.ts';

/** An image whose bytes are all here, as a layout takes it, with the files of its layers. */
export type FetchedImage = Omit<LayoutImage, 'layers'> & { readonly layers: readonly FetchedLayer[] };

/** What belongs to one call of {@link ImageFetcher.fetch}. */
export type FetchImageCall = Pick<FetchLayersCall, 'budget' | 'progress' | 'signal'> & {
  /** The layers of the archive so far, by digest of the blob. Takes ownership of the layers that are fetched. */
  readonly layers: Map<Digest, FetchedLayer>;
};

/** Fetches config and layers of images. */
export class ImageFetcher {
  readonly #layers: LayerFetcher;
  readonly #policy: ResolvePolicy;

  constructor(layers: LayerFetcher, policy: ResolvePolicy) {
    this.#layers = layers;
    this.#policy = policy;
  }

  /** Whether all layers of an image are in the store, so that fetching it is little work. */
  has(layers: readonly Descriptor[], image: ResolvedImage, request: ArchiveRequest): boolean {
    return layers.every((layer) => this.#layers.has(layer, layerFormOf(request), image));
  }

  /**
   * Fetches config and layers of an image; for an index, those of every image in it.
   *
   * @throws PassthroughError `UNSUPPORTED_IMAGE`, `VERIFICATION_FAILED`, `IMAGE_TOO_LARGE`, `NO_SPACE`, `ABORTED`, and what the
   *   repository throws
   */
  async fetch(image: ResolvedImage, request: ArchiveRequest, call: FetchImageCall): Promise<FetchedImage> {
    const { name } = image.request;
    const { digest, bytes, manifest } = image.manifest;
    const root = { digest, bytes, mediaType: manifest.mediaType };
    if (manifest.kind === 'index') return { name, root, ...(await this.#fetchIndex(image, request, call)) };
    const known = image.manifest.config;
    const { config, layers } = await this.#fetchManifest(manifest, digest, image, request, call, known);
    return { name, root, config, descriptors: manifest.layers, layers, documents: [config] };
  }

  /** Fetches everything that an index names, attestations included, so that the index stays as it is. */
  async #fetchIndex(image: ResolvedImage, request: ArchiveRequest, call: FetchImageCall) {
    const documents = new Map<Digest, Document>();
    const layers = new Map<Digest, FetchedLayer>();
    for (const { digest, bytes, manifest } of image.manifest.children) {
      documents.set(digest, { digest, bytes });
      if (manifest.kind === 'index') continue;
      // Configs below an index are not read: that of an attestation names no diff IDs. Blobs are verified by their digests.
      const unread = { ...manifest, kind: 'artifact' } as const;
      const fetched = await this.#fetchManifest(unread, digest, image, request, call);
      documents.set(fetched.config.digest, fetched.config);
      for (const layer of fetched.layers) layers.set(layer.descriptor.digest, layer);
    }
    return { descriptors: [], layers: [...layers.values()], documents: [...documents.values()] };
  }

  /**
   * Fetches config and layers side by side. The layers are verified against the config, so the first failure of either stops
   * both, and both have ended when the promise settles.
   *
   * @param known the config, if resolving has fetched it
   */
  async #fetchManifest(
    manifest: ImageManifest | ArtifactManifest,
    digest: Digest,
    image: ResolvedImage,
    request: ArchiveRequest,
    { layers, budget, progress, ...call }: FetchImageCall,
    known?: VerifiedConfig,
  ): Promise<{ readonly config: VerifiedConfig; readonly layers: readonly FetchedLayer[] }> {
    const wanted = layersToFetch(manifest, request, this.#policy);
    const stop = new AbortController();
    const signal = AbortSignal.any([call.signal, stop.signal]);
    const opened = { reference: image.request.reference, repository: image.repository };
    const fetching =
      known === undefined ? fetchConfig(opened, manifest, digest, signal) : Promise.resolve(known);
    const isWanted = (layer: Descriptor | undefined) => layer !== undefined && wanted.includes(layer);
    const diffIds = fetching.then(({ image: config }) =>
      config?.diffIds.filter((_, index) => isWanted(manifest.layers[index])),
    );
    // Handled here, since a layer may wait for its registry before it awaits the diff IDs.
    diffIds.catch((error: unknown) => stop.abort(abortedBy(error)));
    try {
      const fetched = await this.#layers.fetchAll(wanted, {
        source: image,
        form: layerFormOf(request),
        diffIds,
        budget,
        known: layers,
        progress,
        signal,
      });
      for (const layer of fetched) layers.set(layer.descriptor.digest, layer);
      return { config: await fetching, layers: fetched };
    } catch (error) {
      stop.abort(abortedBy(error));
      const [config] = await Promise.allSettled([fetching, diffIds]);
      // If the config failed, the layers only report that they were stopped.
      throw config.status === 'rejected' && isPassthroughError(error, 'ABORTED') ? config.reason : error;
    }
  }
}
