import { archiveIdentity } from '../archive/archive.ts';
import type { IoxSettings } from '../archive/iox/settings.ts';
import { LAYOUT_TABLE, type LayerForm } from '../archive/layouts.ts';
import { isPassthroughError, PassthroughError } from '../errors.ts';
import type { Digest } from '../image/digest.ts';
import type { ArtifactManifest, Descriptor, ImageManifest } from '../image/manifest.ts';
import { isForeignLayer } from '../image/media-type.ts';
import { formatReference, type Reference } from '../image/reference.ts';
import type { Repository, RepositoryLocation } from '../registry/repository.ts';
import { MAX_SMALL_BYTES } from '../util/content.ts';
import type { Documents } from '../util/documents.ts';
import type { MemoryBudget } from '../util/memory-budget.ts';
import { quoted } from '../util/printable.ts';
import { LAYER_BYTES, reserveHeld } from './documents/held-memory.ts';
import { etagOf, layerFormOf } from './gzip/gzip-way.ts';
import { checkSizes, type LayerTotals, totalsOf } from './layers/layer-totals.ts';
import { checkCompressedSize, type ImageLimits } from './limits.ts';
import type { GzipWay } from './options.ts';
import { type ArchiveRequest, checkPackage, type ImageRequest, isPackage } from './request.ts';
import { type ResolvedManifest, resolveManifest, signedDigests } from './resolve-manifest.ts';
import type { SignatureSource } from './signatures/find-signature.ts';
import type { SignatureVerifier } from './signatures/verifier.ts';

/** An image whose manifest is verified, and the repository it came from, opened with the caller's credentials. */
export interface ResolvedImage {
  readonly request: ImageRequest;
  readonly location: RepositoryLocation;
  readonly repository: Repository;
  /** The client's account whose rights the repository is opened with; see `accountOf`. */
  readonly account?: string | undefined;
  /** Where its signatures are; needed where they are checked. */
  readonly signatures?: SignatureSource | undefined;
  readonly manifest: ResolvedManifest;
  /** The base of an update, resolved in the same way. */
  readonly base?: ResolvedBase | undefined;
}

/** The base of an update: its layers are not fetched. */
export interface ResolvedBase extends Omit<ResolvedImage, 'request' | 'base'> {
  readonly reference: Reference;
}

/** An archive whose manifests are verified. Nothing else of it has been fetched. */
export interface ResolvedArchive {
  readonly request: ArchiveRequest;
  /** In the order of the request. */
  readonly images: readonly ResolvedImage[];
  /** Strong entity tag of the file that the request asks for: equal tags mean equal bytes. */
  readonly etag: string;
  /** Its tag if a blob proves to be no plain gzip; see `etagOf`. Otherwise the same as `etag`. */
  readonly deflatedEtag: string;
  /** Entity tag of the archive before compression. */
  readonly archiveEtag: string;
  /**
   * Content and origin of the archive: equal keys mean equal bytes from the same repositories. A caller that may read one may
   * read the other.
   */
  readonly key: string;
  /** The form in which its layers are stored. */
  readonly form: LayerForm;
  /** The different layers of the images, and their compressed bytes; of an update, also those that are left out. */
  readonly layers: LayerTotals;
  /** Milliseconds that resolving took: they count against the time limit of the pull. */
  readonly resolveMs: number;
  /** Milliseconds since a registry last resolved its reference, if it cannot be asked now; the longest of all images. */
  readonly staleMs: number | undefined;
  /** Releases documents and memory. A pull of the archive must have ended, and its file must be closed. Further calls do nothing. */
  release(): void;
}

/** What all requests are resolved by. */
export interface ResolvePolicy {
  readonly limits: ImageLimits;
  /** Reads the documents. */
  readonly documents: Documents;
  /** Counts what is held for long. */
  readonly heldMemory: MemoryBudget;
  /** Most bytes of all manifests below an index. */
  readonly childrenBytes: number;
  /** Whether layers outside of registries are fetched; see `Repository.openForeignLayer`. */
  readonly fetchesForeignLayers: boolean;
  /** How gzipped archives are made; see `ResolvedOptions.gzip`. */
  readonly gzip: GzipWay;
  /** How packages for Cisco IOx are made. */
  readonly iox: IoxSettings;
  /** Checks that images are signed, if they must be. */
  readonly signatures?: SignatureVerifier | undefined;
}

/** Opens the repository of an image with the caller's credentials. */
export type OpenRepository = (
  image: ImageRequest,
) => Pick<ResolvedImage, 'location' | 'repository' | 'account' | 'signatures'>;

/**
 * Resolves the images of an archive, one after the other, and makes every check that needs manifests only. Cached archives pass
 * here, too, so a change of a limit or of a policy holds for them at once.
 *
 * @throws PassthroughError what `resolveManifest` throws, `UNSUPPORTED_IMAGE`, `IMAGE_TOO_LARGE`, `VERIFICATION_FAILED`; what `SignatureVerifier.check` throws
 */
export async function resolveArchive(
  request: ArchiveRequest,
  open: OpenRepository,
  policy: ResolvePolicy,
  signal: AbortSignal,
): Promise<ResolvedArchive> {
  checkPackage(request);
  const startedAt = performance.now();
  using held = new DisposableStack();
  const images: ResolvedImage[] = [];
  for (const image of request.images) {
    const resolved = await resolveImage(image, request, open, policy, signal);
    held.defer(() => resolved.manifest.release());
    await checkSigned(resolved, policy, signal);
    const base = await resolveBase(image, request, open, policy, signal);
    held.defer(() => base?.manifest.release());
    images.push({ ...resolved, base });
  }
  const manifests = images.flatMap(({ manifest, base }) => [manifest, ...(base ? [base.manifest] : [])]);
  const layers = images.flatMap(({ manifest }) => layersOf(manifest, request, policy));
  checkSizes(layers);
  const totals = totalsOf(layers);
  checkCompressedSize(totals.bytes, policy.limits);
  const lease = await reserveHeld(
    policy.heldMemory,
    heldBytes(manifests, layers.length * LAYER_BYTES[layerFormOf(request, policy)]),
    {
      what: `the ${layers.length} layers of the archive`,
      signal,
      reserved: manifests.reduce((sum, { reservedBytes }) => sum + reservedBytes, 0),
    },
  );
  held.defer(() => lease?.release());
  const archiveEtag = archiveIdentity({
    layout: request.layout,
    foreignLayers: foreignLayersOf(request, policy),
    images: images.map(archivedImage),
    ...(isPackage(request) && { package: [policy.iox, request.sizing ?? null] }),
  });
  const opened = images.flatMap(({ base, ...image }) => [image, ...(base ? [base] : [])]);
  const places = opened.map(({ location: { origin, name } }) => `${origin}/${name}`);
  const ages = manifests.flatMap(({ staleMs }) => staleMs ?? []);
  const all = held.move();
  return {
    request,
    images,
    etag: etagOf(archiveEtag, request, policy),
    deflatedEtag: etagOf(archiveEtag, request, policy, canBeDeflated(layerFormOf(request, policy))),
    archiveEtag,
    key: [archiveEtag, ...places].join(' '),
    form: layerFormOf(request, policy),
    layers: totals,
    resolveMs: performance.now() - startedAt,
    staleMs: ages.length === 0 ? undefined : Math.max(...ages),
    release: () => all.dispose(),
  };
}

/** Whether a layer may be compressed anew. */
function canBeDeflated(form: LayerForm): boolean {
  return form === 'gzip' || form === 'loadable';
}

/** The client's account that the images are fetched with. Only a request for a single registry has one. */
export function archiveAccount({ images }: ResolvedArchive): string | undefined {
  return images.find(({ account }) => account !== undefined)?.account;
}

/** An image as it is part of the identity of an archive. */
export function archivedImage({ request: { name }, manifest: { digest, manifest }, base }: ResolvedImage) {
  return {
    reference: name,
    manifest: { digest, mediaType: manifest.mediaType },
    base: base?.manifest.digest,
  };
}

/** Memory that an archive takes while it is prepared and sent. Configs stay in memory as they are and as settings, if small. */
function heldBytes(manifests: readonly ResolvedManifest[], layerBytes: number): number {
  const documents = manifests.flatMap(({ content, manifest, children }) => [
    content.size,
    ...children.map((child) => child.content.size),
    ...[manifest, ...children.map((child) => child.manifest)].flatMap((one) =>
      one.kind === 'index' ? [] : [one.config.size, one.config.size],
    ),
  ]);
  const inMemory = documents.filter((bytes) => bytes <= MAX_SMALL_BYTES);
  return inMemory.reduce((sum, bytes) => sum + bytes, layerBytes);
}

async function resolveImage(
  image: ImageRequest,
  request: ArchiveRequest,
  open: OpenRepository,
  policy: ResolvePolicy,
  signal: AbortSignal,
): Promise<ResolvedImage> {
  const { holdsIndexes } = LAYOUT_TABLE[request.layout];
  const opened = open(image);
  const manifest = await resolveManifest({ reference: image.reference, ...opened }, request, signal, {
    ...policy,
    artifacts: holdsIndexes,
  });
  if (!holdsIndexes && manifest.manifest.kind !== 'image') {
    manifest.release();
    throw new PassthroughError(
      'UNSUPPORTED_IMAGE',
      `Cannot lay out ${quoted(formatReference(image.reference))} as ${request.layout}: only layout oci holds what is no image for one platform`,
    );
  }
  return { request: image, ...opened, manifest };
}

/**
 * Checks that an image is signed, where it must be. The base of an update need not be: the host has it already, and none of its bytes
 * are sent.
 */
async function checkSigned(
  { request: { host, reference }, location, signatures: source, manifest }: ResolvedImage,
  { signatures }: ResolvePolicy,
  signal: AbortSignal,
): Promise<void> {
  if (signatures === undefined) return;
  if (source === undefined)
    throw new PassthroughError('INTERNAL', 'Cannot check a signature without a source');
  await signatures.check({ host, reference, location, source, digests: signedDigests(manifest) }, signal);
}

/**
 * Resolves the base of an update as the image itself: with the same credentials, for the same platform.
 *
 * @throws PassthroughError as for the image; the details name the base
 */
async function resolveBase(
  { base: reference, ...image }: ImageRequest,
  request: ArchiveRequest,
  open: OpenRepository,
  policy: ResolvePolicy,
  signal: AbortSignal,
): Promise<ResolvedBase | undefined> {
  if (reference === undefined) return undefined;
  try {
    const asImage = { ...image, reference, name: reference };
    const { request: _, ...base } = await resolveImage(asImage, request, open, policy, signal);
    return { ...base, reference };
  } catch (error) {
    if (!isPassthroughError(error)) throw error;
    const { code, message, details, cause } = error;
    throw new PassthroughError(code, message, { ...details, base: formatReference(reference), cause });
  }
}

/** Whether an archive holds the bytes of foreign layers. */
export function foreignLayersOf({ layout }: ArchiveRequest, { fetchesForeignLayers }: ResolvePolicy) {
  return LAYOUT_TABLE[layout].namesForeignLayers && !fetchesForeignLayers ? 'left out' : 'fetched';
}

/**
 * The layers of all manifests of an image whose bytes belong into the archive, as often as they occur.
 *
 * @throws PassthroughError `UNSUPPORTED_IMAGE`, see {@link layersToFetch}
 */
export function layersOf(
  { manifest, children }: ResolvedManifest,
  request: ArchiveRequest,
  policy: ResolvePolicy,
): readonly Descriptor[] {
  const manifests = [manifest, ...children.map((child) => child.manifest)];
  return manifests.flatMap((one) => (one.kind === 'index' ? [] : layersToFetch(one, request, policy)));
}

/**
 * The layers of one manifest whose bytes belong into the archive.
 *
 * @throws PassthroughError `UNSUPPORTED_IMAGE` for a foreign layer that is not fetched, where the layout needs its bytes
 */
export function layersToFetch(
  { layers }: ImageManifest | ArtifactManifest,
  request: ArchiveRequest,
  policy: ResolvePolicy,
): readonly Descriptor[] {
  const foreign = policy.fetchesForeignLayers ? undefined : layers.find(isForeignLayer);
  if (foreign === undefined) return layers;
  if (foreignLayersOf(request, policy) === 'left out')
    return layers.filter((layer) => !isForeignLayer(layer));
  throw foreignLayerRefused(foreign.digest);
}

function foreignLayerRefused(digest: Digest): PassthroughError {
  return new PassthroughError(
    'UNSUPPORTED_IMAGE',
    `Cannot fetch layer ${quoted(digest)}: it lies outside of the registry`,
    { setting: 'foreignLayers' },
  );
}
