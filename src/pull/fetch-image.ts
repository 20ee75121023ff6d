import { isPassthroughError, PassthroughError } from '../errors.ts';
import type { Digest } from '../image/digest.ts';
import { type ImageConfig, parseImageConfig } from '../image/image-config.ts';
import type { ArtifactManifest, Descriptor, ImageManifest } from '../image/manifest.ts';
import { isForeignLayer } from '../image/media-type.ts';
import { platformDistance } from '../image/platform.ts';
import type { Reference } from '../image/reference.ts';
import { withSpan } from '../telemetry/span.ts';
import { abortedBy } from '../util/map-concurrently.ts';
import type { Budget } from './budget.ts';
import { type LayerSource, liesOutside, type PreparedLayer, prepareLayers } from './fetch-layers.ts';
import { referenceAttributes, resolvedAttributes } from './image-attributes.ts';
import type { PreparedBlobs } from './prepared-blobs.ts';
import type { ArchiveRequest, ImageRequest, PullTools } from './pull-archive.ts';
import { platformNotFound, type ResolvedManifest } from './resolve-manifest.ts';

/** A document that is held in memory: a manifest or a config. */
export interface PreparedDocument {
  readonly digest: Digest;
  readonly bytes: Uint8Array;
}

/** An image whose bytes are all here. */
export interface PreparedImage {
  /** What the archive calls it. */
  readonly name: Reference;
  /** Its manifest, or the index where every platform is wanted. */
  readonly root: PreparedDocument & { readonly mediaType: string };
  /** Absent for an index; its `image` is absent for an artifact. */
  readonly config?: PreparedDocument & { readonly image?: ImageConfig };
  /** The layers as the manifest has them, base first, also those that are left out; none for an index. */
  readonly descriptors: readonly Descriptor[];
  /** The layers that are here. */
  readonly layers: readonly PreparedLayer[];
  /** Configs and manifests below the root. */
  readonly documents: readonly PreparedDocument[];
}

/** What {@link prepareImage} works with. */
export interface PrepareImageOptions {
  readonly image: ImageRequest;
  readonly resolved: ResolvedManifest;
  readonly request: ArchiveRequest;
  readonly tools: PullTools;
  /** Takes over the layers' files. */
  readonly blobs: PreparedBlobs;
  readonly budget: Budget;
}

/**
 * Prepares one image of an archive: its config and layers, or for an index those of every image in it.
 *
 * @throws PassthroughError `PLATFORM_NOT_FOUND`, `UNSUPPORTED_IMAGE`, `VERIFICATION_FAILED`, `IMAGE_TOO_LARGE`, `NO_SPACE`,
 *   `ABORTED`, and what the registry's methods throw
 */
export async function prepareImage(options: PrepareImageOptions): Promise<PreparedImage> {
  const { image, resolved } = options;
  const { digest, bytes, manifest } = resolved;
  const root = { digest, bytes, mediaType: manifest.mediaType };
  if (manifest.kind === 'index') return { name: image.name, root, ...(await prepareIndex(options)) };
  const { config, layers } = await prepareManifest(manifest, options);
  return { name: image.name, root, config, descriptors: manifest.layers, layers, documents: [config] };
}

/** Everything that an index names, down to the last attestation, so that it can stay as it is. */
async function prepareIndex(options: PrepareImageOptions) {
  const documents = new Map<Digest, PreparedDocument>();
  const layers = new Map<Digest, PreparedLayer>();
  for (const child of options.resolved.children) {
    documents.set(child.digest, child);
    if (child.manifest.kind === 'index') continue;
    const prepared = await prepareManifest(child.manifest, options, child);
    documents.set(prepared.config.digest, prepared.config);
    for (const layer of prepared.layers) layers.set(layer.descriptor.digest, layer);
  }
  return { descriptors: [], layers: [...layers.values()], documents: [...documents.values()] };
}

/**
 * Fetches config and layers side by side. The layers need the config to be verified, so the first failure of either stops
 * both, and both have ended when this does.
 *
 * @param child the manifest's own digest where it is one of an index
 */
async function prepareManifest(
  manifest: ImageManifest | ArtifactManifest,
  options: PrepareImageOptions,
  child?: { readonly digest: Digest },
): Promise<{
  config: PreparedDocument & { readonly image?: ImageConfig };
  layers: readonly PreparedLayer[];
}> {
  const { image, request, tools, blobs, budget } = options;
  const wanted = layersToFetch(manifest, request);
  const stop = new AbortController();
  const signal = AbortSignal.any([tools.signal, stop.signal]);
  // What an index holds beside images has no config that says anything of its layers.
  const isImage = manifest.kind === 'image' && child === undefined;
  const fetching = fetchConfig(manifest, isImage, options, child?.digest ?? options.resolved.digest, signal);
  const diffIds = fetching.then(({ image: config }) =>
    config?.diffIds.filter((_, index) => wanted.includes(manifest.layers[index] as Descriptor)),
  );
  // At once, not when a layer comes to need it: until then a layer may wait for its registry, and nobody for this promise.
  diffIds.catch((error: unknown) => stop.abort(abortedBy(error)));
  try {
    const layers = await prepareLayers({
      layers: wanted,
      diffIds,
      form: blobs.form,
      source: layerSource(image),
      tools,
      concurrency: tools.limits.concurrentLayers,
      budget,
      known: blobs.known,
      signal,
    });
    blobs.add(layers);
    return { config: await fetching, layers };
  } catch (error) {
    stop.abort(abortedBy(error));
    const [config] = await Promise.allSettled([fetching, diffIds]);
    // Layers that stopped because the config failed are not to blame.
    throw config.status === 'rejected' && isPassthroughError(error, 'ABORTED') ? config.reason : error;
  }
}

/** The layers of a manifest whose bytes belong into the archive. */
function layersToFetch(
  { layers }: ImageManifest | ArtifactManifest,
  { layout, fetchesForeignLayers }: ArchiveRequest,
): readonly Descriptor[] {
  const foreign = fetchesForeignLayers ? undefined : layers.find(isForeignLayer);
  if (foreign === undefined) return layers;
  if (layout === 'docker-gzip') return layers.filter((layer) => !isForeignLayer(layer));
  throw new PassthroughError(
    'UNSUPPORTED_IMAGE',
    `Cannot fetch layer ${JSON.stringify(foreign.digest)}: it lies outside of the registry; set REGISTRY_FOREIGN_LAYERS=fetch, or take layout docker-gzip, which only names it`,
  );
}

/** All layers that an archive of a resolved manifest holds, once or several times each. */
export function layersOf(
  { manifest, children }: ResolvedManifest,
  request: ArchiveRequest,
): readonly Descriptor[] {
  const manifests = [manifest, ...children.map((child) => child.manifest)];
  return manifests.flatMap((one) => (one.kind === 'index' ? [] : layersToFetch(one, request)));
}

/** How the layers of an image are to be had: those that lie outside of registries from where their descriptors say. */
export function layerSource({ repository, registry }: ImageRequest): LayerSource {
  return {
    repository,
    open: (layer, signal) =>
      liesOutside(layer) ? registry.openForeignLayer(layer, signal) : registry.openLayer(layer, signal),
    check: (layer, signal) => registry.checkLayer(layer, signal),
  };
}

function fetchConfig(
  manifest: ImageManifest | ArtifactManifest,
  isImage: boolean,
  { image, resolved }: PrepareImageOptions,
  manifestDigest: Digest,
  signal: AbortSignal,
): Promise<PreparedDocument & { readonly image?: ImageConfig }> {
  const { digest } = manifest.config;
  const { reference, registry, platform, isPlatformAsked } = image;
  const attributes = {
    ...referenceAttributes(reference),
    ...resolvedAttributes({ reference, manifestDigest, configDigest: digest }),
  };
  return withSpan('fetch_config_blob', { attributes }, async () => {
    const bytes = await registry.getConfig(manifest.config, signal);
    if (!isImage) return { digest, bytes };
    const config = parseImageConfig(bytes, manifest.layers.length);
    // A manifest whose platform no index names says nothing of it; its config does. Who asked for another one is told so,
    // who asked for none gets what there is: a private image is often built for one platform only.
    if (
      !resolved.isPlatformChosen &&
      isPlatformAsked &&
      platform !== 'all' &&
      config.platform !== undefined
    ) {
      if (platformDistance(config.platform, platform) === undefined) {
        throw platformNotFound(platform, [config.platform]);
      }
    }
    return { digest, bytes, image: config };
  });
}
