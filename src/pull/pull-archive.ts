import { type Archive, archiveIdentity, type LayoutName } from '../archive/archive.ts';
import { PassthroughError } from '../errors.ts';
import type { Platform } from '../image/platform.ts';
import { formatReference, type Reference } from '../image/reference.ts';
import type { Registry } from '../registry/registry.ts';
import type { Workspace } from '../storage/workspace.ts';
import { type ByteRange, encodeTar } from '../tar/encoder.ts';
import { withSpan } from '../telemetry/span.ts';
import { archiveSource } from './archive-source.ts';
import { Budget } from './budget.ts';
import { type ResolvedImage, referenceAttributes, resolvedAttributes } from './image-attributes.ts';
import type { ImageLimits } from './image-limits.ts';
import { layOut } from './lay-out.ts';
import { type PreparedImage, prepareImage } from './prepare-image.ts';
import { PreparedBlobs } from './prepared-blobs.ts';
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
  /** The repository of the reference. */
  readonly registry: Registry;
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
export interface PullTools {
  readonly workspace: Pick<Workspace, 'createFile'>;
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
}

/** An archive that is ready to be sent. Holds files until it is closed. */
export interface PulledArchive extends Archive {
  /** The archive's bytes, or a part of them; may be read several times. */
  bytes(range?: ByteRange): AsyncGenerator<Uint8Array, void, undefined>;
  /** Frees the disk space. */
  close(): Promise<void>;
}

/**
 * Resolves the images of an archive to their manifests, one after the other.
 *
 * @throws PassthroughError of what the registries answer (see `Registry`), `PLATFORM_NOT_FOUND`, `UNSUPPORTED_IMAGE`,
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
  return {
    request,
    manifests,
    etag: archiveIdentity({ layout: request.layout, foreignLayers, images }),
  };
}

/**
 * Prepares what was resolved: fetches configs and layers, and lays out the archive. When this resolves, all bytes are here
 * and verified; when it rejects, nothing is left behind.
 *
 * @throws PassthroughError as {@link resolveArchive}, `IMAGE_TOO_LARGE`, `NO_SPACE`
 */
export async function prepareArchive(
  { request, manifests }: ResolvedArchive,
  tools: PullTools,
): Promise<PulledArchive> {
  const blobs = new PreparedBlobs(request.layout === 'docker' ? 'unpacked' : 'packed');
  const budget = new Budget(tools.limits);
  try {
    const prepared: PreparedImage[] = [];
    for (const [at, image] of request.images.entries()) {
      const resolved = manifests[at] as ResolvedManifest;
      prepared.push(await prepareImage({ image, resolved, request, tools, blobs, budget }));
    }
    const archive = layOut(request, prepared);
    const sources = archive.entries.map((entry) => archiveSource(entry, blobs));
    return { ...archive, bytes: (range) => encodeTar(sources, range), close: () => blobs.close() };
  } catch (error) {
    await blobs.close();
    throw error;
  }
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
