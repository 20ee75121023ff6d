import { PassthroughError } from '../errors.ts';
import type { Digest } from '../image/digest.ts';
import { type ImageConfig, parseImageConfig } from '../image/image-config.ts';
import {
  type ArtifactManifest,
  type ImageManifest,
  type Index,
  type IndexEntry,
  parseManifest,
} from '../image/manifest.ts';
import { formatPlatform, type Platform, platformDistance } from '../image/platform.ts';
import { formatReference, type Reference } from '../image/reference.ts';
import type { FetchedManifest, Repository } from '../registry/repository.ts';
import { withSpan } from '../telemetry/span.ts';
import { quoted } from '../util/printable.ts';
import { digestAttributes, referenceAttributes } from './image-attributes.ts';

/** A manifest whose digest is verified. */
export interface VerifiedManifest {
  readonly digest: Digest;
  readonly bytes: Uint8Array;
  readonly manifest: Index | ImageManifest | ArtifactManifest;
}

/** A verified config of an image or an artifact. */
export interface VerifiedConfig {
  readonly digest: Digest;
  readonly bytes: Uint8Array;
  /** What the bytes say; absent for an artifact. */
  readonly image?: ImageConfig;
}

/** What a reference resolved to: the manifest of one image, or an index with all its platforms. */
export interface ResolvedManifest extends VerifiedManifest {
  /** The config, if the platform had to be read from it. */
  readonly config?: VerifiedConfig;
  /** All manifests below an index that is resolved with all its platforms; none otherwise. */
  readonly children: readonly VerifiedManifest[];
  /** Milliseconds since the registry last resolved the reference, if it cannot be asked now. */
  readonly staleMs?: number;
}

/** An image that is to be resolved, in the repository that holds it. */
export interface OpenedImage {
  readonly reference: Reference;
  readonly repository: Repository;
}

/** The platform of an image. */
export interface PlatformChoice {
  readonly platform: Platform | 'all';
  /** Whether the request names the platform. The default platform also accepts a single image for another one. */
  readonly isPlatformAsked: boolean;
}

/** Which manifest {@link fetchManifest} returns. */
export interface ManifestChoice {
  /** `index` must be one; `image` is that of one platform. Unless given, what the registry has under the reference. */
  readonly type: 'index' | 'image' | undefined;
  /** Used for `image`, and if it is given without a type. */
  readonly platform: PlatformChoice | undefined;
}

/** A manifest as the registry has it, byte for byte. */
export interface ServedManifest {
  readonly digest: Digest;
  readonly bytes: Uint8Array;
  readonly mediaType: string;
}

/** What {@link resolveManifest} accepts besides images. */
export interface ResolveOptions {
  /** Whether artifacts are accepted, such as charts and signatures. */
  readonly artifacts: boolean;
}

/** Most indexes on the way to an image. The specification allows nesting; images use one level. */
const MAX_INDEX_DEPTH = 3;

/** Most manifests below an index with all its platforms. Tens are usual; attestations double them. */
const MAX_CHILDREN = 200;

/**
 * Resolves a tag or digest to a manifest and checks its platform. Every request passes here, whether or not anything below the
 * manifest is cached, so a wrong platform cannot be served from a cache.
 *
 * @throws PassthroughError `PLATFORM_NOT_FOUND` with what the image offers, `UNSUPPORTED_IMAGE`, and what the repository throws
 */
export async function resolveManifest(
  image: OpenedImage,
  choice: PlatformChoice,
  signal: AbortSignal,
  options: ResolveOptions,
): Promise<ResolvedManifest> {
  const { reference } = image;
  const attributes = referenceAttributes(reference);
  const { isChosenByIndex, ...found } = await withSpan('resolve_manifest', { attributes }, async (span) => {
    const resolved =
      choice.platform === 'all'
        ? { ...(await resolveAllPlatforms(image, signal, options)), isChosenByIndex: true }
        : await resolvePlatform(image, choice.platform, signal, options);
    span.setAttributes(digestAttributes(reference, digestsOf(resolved)));
    const { staleMs } = resolved;
    if (staleMs !== undefined) span.setAttribute('passthrough.manifest.stale_ms', staleMs);
    return resolved;
  });
  const { manifest, digest } = found;
  if (isChosenByIndex || !choice.isPlatformAsked || manifest.kind !== 'image') return found;
  // Without an index entry the platform is known only from the config. A private image is often built for one platform and has
  // no index, so the default platform takes what there is.
  const config = await fetchConfig(image, manifest, digest, signal);
  checkPlatform(choice.platform, config.image?.platform);
  return { ...found, config };
}

/**
 * Fetches a manifest, byte for byte as the registry has it.
 *
 * @throws PassthroughError `PLATFORM_NOT_FOUND`, `UNSUPPORTED_IMAGE`, and what the repository throws
 */
export async function fetchManifest(
  image: OpenedImage,
  { type, platform }: ManifestChoice,
  signal: AbortSignal,
): Promise<ServedManifest> {
  if (type !== 'index' && platform !== undefined) {
    const { digest, bytes, manifest } = await resolveManifest(image, platform, signal, { artifacts: true });
    return { digest, bytes, mediaType: manifest.mediaType };
  }
  const { reference, repository } = image;
  return await withSpan('resolve_manifest', { attributes: referenceAttributes(reference) }, async () => {
    const fetched = await repository.getManifest(nameOf(reference), signal);
    const { kind, mediaType } = parse(fetched, { artifacts: true });
    if (type === 'index' && kind !== 'index') {
      throw new PassthroughError(
        'PLATFORM_NOT_FOUND',
        `Cannot show the index of ${quoted(formatReference(reference))}: it is for a single platform and has none`,
      );
    }
    return { digest: fetched.digest, bytes: fetched.bytes, mediaType };
  });
}

/** The digests of a resolved manifest. */
export function digestsOf({ digest, manifest }: VerifiedManifest) {
  return { manifest: digest, config: manifest.kind === 'index' ? undefined : manifest.config.digest };
}

/**
 * Fetches the config of a manifest and verifies it.
 *
 * @param manifestDigest of the manifest, for the trace
 * @throws PassthroughError `UNSUPPORTED_IMAGE`, and what the repository throws
 */
export function fetchConfig(
  { reference, repository }: OpenedImage,
  manifest: ImageManifest | ArtifactManifest,
  manifestDigest: Digest,
  signal: AbortSignal,
): Promise<VerifiedConfig> {
  const { digest } = manifest.config;
  const attributes = {
    ...referenceAttributes(reference),
    ...digestAttributes(reference, { manifest: manifestDigest, config: digest }),
  };
  return withSpan('fetch_config_blob', { attributes }, async () => {
    const bytes = await repository.getConfig(manifest.config, signal);
    if (manifest.kind === 'artifact') return { digest, bytes };
    return { digest, bytes, image: parseImageConfig(bytes, manifest.layers.length) };
  });
}

function checkPlatform(wanted: Platform | 'all', offered: Platform | undefined): void {
  if (wanted === 'all' || offered === undefined) return;
  if (platformDistance(offered, wanted) === undefined) throw platformNotFound(wanted, [offered]);
}

/** Resolves to the manifest of one image: through an index to the entry for the platform. */
async function resolvePlatform(
  { reference, repository }: OpenedImage,
  platform: Platform,
  signal: AbortSignal,
  options: ResolveOptions,
): Promise<ResolvedManifest & { readonly isChosenByIndex: boolean }> {
  let fetched: FetchedManifest = await repository.getManifest(nameOf(reference), signal);
  let isChosenByIndex = false;
  const { staleMs } = fetched;
  for (let depth = 0; depth <= MAX_INDEX_DEPTH; depth += 1) {
    const { bytes, digest } = fetched;
    const manifest = parse(fetched, options);
    if (manifest.kind !== 'index') {
      return {
        digest,
        bytes,
        manifest,
        isChosenByIndex,
        children: [],
        ...(staleMs !== undefined && { staleMs }),
      };
    }
    const entry = chooseEntry(manifest, platform);
    isChosenByIndex ||= entry.platform !== undefined;
    fetched = await repository.getManifest(entry, signal);
  }
  throw tooDeep();
}

/** Resolves to what the registry has under the reference, and an index to all manifests below it. */
async function resolveAllPlatforms(
  { reference, repository }: OpenedImage,
  signal: AbortSignal,
  options: ResolveOptions,
): Promise<ResolvedManifest> {
  const fetched = await repository.getManifest(nameOf(reference), signal);
  const manifest = parse(fetched, options);
  const children = new Map<Digest, VerifiedManifest>();
  const visit = async (index: Index, depth: number): Promise<void> => {
    if (depth > MAX_INDEX_DEPTH) throw tooDeep();
    for (const entry of index.all) {
      if (children.has(entry.digest)) continue;
      if (children.size === MAX_CHILDREN)
        throw unsupported(`more than ${MAX_CHILDREN} manifests lie below it`);
      const child = await repository.getManifest(entry, signal);
      const below = parse(child, { artifacts: true });
      children.set(entry.digest, { digest: child.digest, bytes: child.bytes, manifest: below });
      if (below.kind === 'index') await visit(below, depth + 1);
    }
  };
  if (manifest.kind === 'index') await visit(manifest, 1);
  const { digest, bytes, staleMs } = fetched;
  return {
    digest,
    bytes,
    manifest,
    children: [...children.values()],
    ...(staleMs !== undefined && { staleMs }),
  };
}

/** What the registry is asked for. */
function nameOf({ digest, tag }: Reference): string {
  return digest ?? tag ?? 'latest';
}

function parse({ bytes, contentType }: FetchedManifest, { artifacts }: ResolveOptions) {
  return artifacts ? parseManifest(bytes, contentType, { artifacts }) : parseManifest(bytes, contentType);
}

function tooDeep(): PassthroughError {
  return unsupported(`more than ${MAX_INDEX_DEPTH} indexes lie in each other`);
}

function unsupported(why: string): PassthroughError {
  return new PassthroughError('UNSUPPORTED_IMAGE', `Cannot use manifest: ${why}`);
}

/**
 * Chooses the entry of an index that runs best on a platform: the nearest variant, and the first of several equal ones. A single
 * entry without a platform is chosen, too; its platform is then read from the config.
 *
 * @throws PassthroughError `PLATFORM_NOT_FOUND` listing what the index offers
 */
function chooseEntry(index: Index, platform: Platform): IndexEntry {
  const fitting = index.entries
    .map((entry) => ({ entry, distance: entry.platform && platformDistance(entry.platform, platform) }))
    .filter((candidate) => candidate.distance !== undefined)
    .toSorted((a, b) => (a.distance ?? 0) - (b.distance ?? 0));
  const unnamed = index.entries.filter((entry) => entry.platform === undefined);
  const chosen = fitting[0]?.entry ?? (unnamed.length === 1 ? unnamed[0] : undefined);
  if (chosen !== undefined) return chosen;
  throw platformNotFound(
    platform,
    index.entries.flatMap((entry) => (entry.platform === undefined ? [] : [entry.platform])),
  );
}

/** The error for an image that does not exist for a platform. */
function platformNotFound(wanted: Platform, offered: readonly Platform[]): PassthroughError {
  const list = [...new Set(offered.map(formatPlatform))].join(', ');
  return new PassthroughError(
    'PLATFORM_NOT_FOUND',
    `Cannot find platform ${quoted(formatPlatform(wanted))}: the image offers ${list === '' ? 'none' : list}`,
  );
}
