import { type Archive, archiveIdentity, type LayoutName } from '../archive/archive.ts';
import { PassthroughError } from '../errors.ts';
import type { Platform } from '../image/platform.ts';
import { formatReference, type Reference } from '../image/reference.ts';
import type { Repository } from '../registry/repository.ts';
import { type ByteRange, encodeTar } from '../tar/encoder.ts';
import { withSpan } from '../telemetry/span.ts';
import { Budget } from './budget.ts';
import type { RepositoryLocation } from './cache/known-blobs.ts';
import { layerSource, layersOf, type PreparedImage, prepareImage } from './fetch-image.ts';
import type { LayerForm } from './fetch-layer.ts';
import { type LayerTools, layerKey, prepareLayer } from './fetch-layers.ts';
import { type ResolvedImage, referenceAttributes, resolvedAttributes } from './image-attributes.ts';
import type { ImageLimits } from './image-limits.ts';
import { layOut } from './layout.ts';
import { PreparedBlobs } from './prepared-blobs.ts';
import { archiveSource, type RenewLayer } from './repairing-reader.ts';
import { type ResolvedManifest, resolveManifest, resolveRoot } from './resolve-manifest.ts';

/** One image of an archive. */
export interface ImageRequest {
  /** What to ask its registry for. */
  readonly reference: Reference;
  /** What the archive calls it. */
  readonly name: Reference;
  readonly platform: Platform | 'all';
  /** Whether somebody asked for this platform, rather than it being the default. */
  readonly isPlatformAsked: boolean;
  /** The repository of the reference, and the way to it. */
  readonly repository: RepositoryLocation;
  readonly registry: Repository;
}

/** What to pull, and how to lay it out. */
export interface ArchiveRequest {
  /** In the order of the archive, one at the least. */
  readonly images: readonly ImageRequest[];
  readonly layout: LayoutName;
  /** Whether layers that lie outside of registries are fetched from there. */
  readonly fetchesForeignLayers: boolean;
}

/** What a pull works with. */
export interface PullTools extends LayerTools {
  readonly limits: ImageLimits;
  /** Stops the pull, its upstream traffic included. */
  readonly signal: AbortSignal;
  /** Is told what each reference means, as soon as that is known. */
  readonly resolved?: (image: ResolvedImage) => void;
}

/** An archive whose manifests are here, and nothing else of it. */
export interface ResolvedArchive {
  readonly request: ArchiveRequest;
  /** In the order of the request. */
  readonly manifests: readonly ResolvedManifest[];
  /** Strong entity tag: who has an archive of this tag has the bytes that are to be prepared. */
  readonly etag: string;
  /**
   * What the archive is made of and where from: equal keys mean equal bytes that come from the same repositories, so that who
   * may have one may have the other.
   */
  readonly key: string;
  /** Milliseconds since a registry has told what its reference means, where it cannot be asked now; the longest of them. */
  readonly staleMs?: number;
}

/** An archive that is ready to be sent. Holds files until it is released. */
export interface PulledArchive extends Archive {
  /**
   * The archive's bytes, or a part of them; may be read several times.
   *
   * @param renew gets a layer anew for whoever reads, see {@link renewLayers}
   */
  bytes(range?: ByteRange, renew?: RenewLayer): AsyncGenerator<Uint8Array, void, undefined>;
  /** Gives the files up. */
  release(): void;
}

/**
 * Resolves the images of an archive to their manifests, one after the other.
 *
 * @throws PassthroughError of what the registries answer (see `Repository`), `PLATFORM_NOT_FOUND`, `UNSUPPORTED_IMAGE`,
 *   `VERIFICATION_FAILED`, `ABORTED`
 */
export async function resolveArchive(request: ArchiveRequest, tools: PullTools): Promise<ResolvedArchive> {
  const manifests: ResolvedManifest[] = [];
  for (const image of request.images) {
    manifests.push(await resolve(image, request.layout, tools));
  }
  const images = request.images.map(({ name }, at) => {
    const { digest, manifest } = manifests[at] as ResolvedManifest;
    return { reference: name, manifest: { digest, mediaType: manifest.mediaType } };
  });
  const isLeftOut = request.layout === 'docker-gzip' && !request.fetchesForeignLayers;
  const foreignLayers = isLeftOut ? 'left out' : 'fetched';
  const etag = archiveIdentity({ layout: request.layout, foreignLayers, images });
  const places = request.images.map(({ repository: { origin, name } }) => `${origin}/${name}`);
  const ages = manifests.flatMap(({ staleMs }) => staleMs ?? []);
  return {
    request,
    manifests,
    etag,
    key: [etag, ...places].join(' '),
    ...(ages.length > 0 && { staleMs: Math.max(...ages) }),
  };
}

/** Whether all layers of an archive are in the store already, so that it can be prepared with little work. */
export function isPrepared({ request, manifests }: ResolvedArchive, { store }: PullTools): boolean {
  const form = formOf(request);
  return request.images.every(({ repository }, at) =>
    layersOf(manifests[at] as ResolvedManifest, request).every((layer) =>
      store.has(layerKey(repository, form, layer)),
    ),
  );
}

/**
 * Prepares what was resolved: gets configs and layers, and lays out the archive. When this resolves, all bytes are here
 * and verified; when it rejects, nothing is held.
 *
 * @throws PassthroughError as {@link resolveArchive}, `IMAGE_TOO_LARGE`, `NO_SPACE`
 */
export async function prepareArchive(
  { request, manifests }: ResolvedArchive,
  tools: PullTools,
): Promise<PulledArchive> {
  const blobs = new PreparedBlobs(formOf(request));
  const budget = new Budget(tools.limits);
  try {
    const prepared: PreparedImage[] = [];
    for (const [at, image] of request.images.entries()) {
      const resolved = manifests[at] as ResolvedManifest;
      prepared.push(await prepareImage({ image, resolved, request, tools, blobs, budget }));
    }
    const archive = layOut(request, prepared);
    const sources = (renew?: RenewLayer) =>
      archive.entries.map((entry) => archiveSource(entry, blobs, renew));
    return {
      ...archive,
      bytes: (range, renew) => encodeTar(sources(renew), range),
      release: () => blobs.release(),
    };
  } catch (error) {
    blobs.release();
    throw error;
  }
}

/**
 * How layers of an archive are got anew whose files turn out to be damaged: by whoever reads, with its own credentials.
 *
 * @param tools of the reader; the signal stops it
 */
export function renewLayers({ request }: ResolvedArchive, tools: PullTools): RenewLayer {
  return async ({ descriptor, diffId }, at) => {
    const image = request.images[at] as ImageRequest;
    const { file } = await prepareLayer(descriptor, 0, {
      layers: [descriptor],
      diffIds: Promise.resolve(diffId && [diffId]),
      form: formOf(request),
      source: layerSource(image),
      tools,
      concurrency: 1,
      budget: new Budget(tools.limits),
      known: new Map(),
      signal: tools.signal,
    });
    return file;
  };
}

function formOf({ layout }: ArchiveRequest): LayerForm {
  return layout === 'docker' ? 'unpacked' : 'packed';
}

function resolve(
  { reference, platform, registry }: ImageRequest,
  layout: LayoutName,
  { signal, resolved }: PullTools,
): Promise<ResolvedManifest> {
  const name = reference.digest ?? reference.tag ?? 'latest';
  return withSpan('resolve_manifest', { attributes: referenceAttributes(reference) }, async (span) => {
    const options = { artifacts: layout === 'oci' };
    const found =
      platform === 'all'
        ? await resolveRoot(registry, name, signal, options)
        : await resolveManifest(registry, name, platform, signal, options);
    if (layout !== 'oci' && found.manifest.kind !== 'image') {
      throw new PassthroughError(
        'UNSUPPORTED_IMAGE',
        `Cannot lay out ${JSON.stringify(formatReference(reference))} as ${layout}: only layout oci holds what is no image for one platform`,
      );
    }
    const image = resolvedImage(reference, found);
    span.setAttributes(resolvedAttributes(image));
    if (found.staleMs !== undefined) span.setAttribute('passthrough.manifest.stale_ms', found.staleMs);
    resolved?.(image);
    return found;
  });
}

function resolvedImage(reference: Reference, { digest, manifest }: ResolvedManifest): ResolvedImage {
  return {
    reference,
    manifestDigest: digest,
    configDigest: manifest.kind === 'index' ? undefined : manifest.config.digest,
  };
}
