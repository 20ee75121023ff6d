import { PassthroughError } from '../errors.ts';
import type { Digest } from '../image/digest.ts';
import {
  type ArtifactManifest,
  type EntrySink,
  type ImageManifest,
  type Index,
  type IndexEntry,
  parseManifest,
} from '../image/manifest.ts';
import type { Platform } from '../image/platform.ts';
import { formatReference, type Reference } from '../image/reference.ts';
import type { FetchedManifest } from '../registry/repository.ts';
import { withSpan } from '../telemetry/span.ts';
import type { Content } from '../util/content.ts';
import type { Documents } from '../util/documents.ts';
import type { MemoryBudget } from '../util/memory-budget.ts';
import { quoted } from '../util/printable.ts';
import { ChildrenBudget } from './documents/children-budget.ts';
import { checkPlatform, EntryChoice } from './documents/choose-entry.ts';
import { fetchConfig, type OpenedImage, type VerifiedConfig } from './documents/fetch-config.ts';
import { digestAttributes, referenceAttributes } from './image-attributes.ts';

/** A manifest whose digest is verified. */
export interface VerifiedManifest {
  readonly digest: Digest;
  /** The holder must release it. */
  readonly content: Content;
  readonly manifest: Index | ImageManifest | ArtifactManifest;
}

/** What a reference resolved to: the manifest of one image, or an index with all its platforms. */
export interface ResolvedManifest extends VerifiedManifest {
  /** Digest of the index that the reference names, if an image was chosen from it. */
  readonly indexDigest?: Digest;
  /** The config, if the platform had to be read from it. */
  readonly config?: VerifiedConfig;
  /** All manifests below an index that is resolved with all its platforms; none otherwise. */
  readonly children: readonly VerifiedManifest[];
  /** Milliseconds since the registry last resolved the reference, if it cannot be asked now. */
  readonly staleMs?: number;
  /** Bytes of memory that are reserved for it. */
  readonly reservedBytes: number;
  /** Releases all documents and the memory. Further calls do nothing. */
  release(): void;
}

/** The platform of an image. */
export interface PlatformChoice {
  readonly platform: Platform | 'all';
  /** Whether the request names the platform. The default platform also accepts a single image for another one. */
  readonly isPlatformAsked: boolean;
}

/** Which manifest is asked for. */
export interface ManifestChoice {
  /**
   * `index` must be one; `image` is that of one platform, and `config` the config that it names. Unless given, what the registry has
   * under the reference.
   */
  readonly type: 'index' | 'image' | 'config' | undefined;
  /** Used for `image` and `config`, and if it is given without a type. */
  readonly platform: PlatformChoice | undefined;
}

/** A manifest or a config as the registry has it, byte for byte. */
export interface ServedManifest {
  readonly digest: Digest;
  /** The caller must release it. */
  readonly content: Content;
  readonly mediaType: string;
  readonly isIndex: boolean;
  /** Digest of the index that the reference names, if an image was chosen from it. */
  readonly indexDigest?: Digest;
}

/** What {@link resolveManifest} needs besides the image. */
export interface ResolveOptions {
  /** Reads the documents. */
  readonly documents: Documents;
  /** Counts what is held for long. */
  readonly heldMemory: MemoryBudget;
  /** Whether artifacts are accepted, such as charts and signatures. */
  readonly artifacts: boolean;
  /** Most bytes of all manifests below an index, as it declares them; see {@link childrenBytes}. */
  readonly childrenBytes: number;
}

/** Most indexes on the way to an image. The specification allows nesting; images use one level. */
const MAX_INDEX_DEPTH = 3;

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
  using held = new DisposableStack();
  held.defer(() => found.release());
  const config = await fetchConfig(image, manifest, digest, signal, options.documents);
  held.defer(() => config.content.release());
  checkPlatform(choice.platform, config.image?.platform);
  return { ...found, config, release: releaseOf(held) };
}

/** Takes over what is held, and returns the function that releases it. */
function releaseOf(held: DisposableStack): () => void {
  const all = held.move();
  return () => all.dispose();
}

/**
 * Fetches a manifest, or the config that it names, byte for byte as the registry has it.
 *
 * @param check throws if what has one of these digests may not be served
 * @throws PassthroughError `PLATFORM_NOT_FOUND`, `UNSUPPORTED_IMAGE`, and what the repository and `check` throw
 */
export async function fetchManifest(
  image: OpenedImage,
  { type, platform }: ManifestChoice,
  signal: AbortSignal,
  check: (digests: readonly Digest[]) => Promise<void>,
  options: Omit<ResolveOptions, 'artifacts'>,
): Promise<ServedManifest> {
  const withArtifacts = { ...options, artifacts: true };
  if (type !== 'index' && platform !== undefined) {
    const resolved = await resolveManifest(image, platform, signal, withArtifacts);
    using _ = { [Symbol.dispose]: () => resolved.release() };
    await check(signedDigests(resolved));
    if (type === 'config') return await serveConfig(image, resolved, signal, options.documents);
    const content = resolved.content.retain();
    const { digest, manifest, indexDigest } = resolved;
    const { mediaType, kind } = manifest;
    const chosen = indexDigest === undefined ? {} : { indexDigest };
    return { digest, content, mediaType, isIndex: kind === 'index', ...chosen };
  }
  const { reference, repository } = image;
  using held = new DisposableStack();
  const attributes = referenceAttributes(reference);
  const served = await withSpan('resolve_manifest', { attributes }, async () => {
    const fetched = await repository.getManifest(nameOf(reference), signal);
    held.defer(() => fetched.content.release());
    const { kind, mediaType } = await parse(fetched, signal, withArtifacts, NO_ENTRIES);
    if (type === 'index' && kind !== 'index') {
      throw new PassthroughError(
        'PLATFORM_NOT_FOUND',
        `Cannot show the index of ${quoted(formatReference(reference))}: it is for a single platform and has none`,
      );
    }
    const { digest, content } = fetched;
    return { digest, content, mediaType, isIndex: kind === 'index' };
  });
  await check([served.digest]);
  held.move();
  return served;
}

/** The config of a manifest. Its media type is an author's word, which may be `text/html`: a browser would run it as a page. */
async function serveConfig(
  image: OpenedImage,
  { manifest, digest, config: known }: ResolvedManifest,
  signal: AbortSignal,
  documents: Documents,
): Promise<ServedManifest> {
  if (manifest.kind === 'index') throw new PassthroughError('INTERNAL', 'Cannot show the config of an index');
  const config = known ?? (await fetchConfig(image, manifest, digest, signal, documents));
  const content = known === undefined ? config.content : config.content.retain();
  const mediaType = manifest.kind === 'image' ? 'application/json' : 'application/octet-stream';
  return { digest: config.digest, content, mediaType, isIndex: false };
}

/** The digests of a resolved manifest. */
export function digestsOf({ digest, manifest }: VerifiedManifest) {
  return { manifest: digest, config: manifest.kind === 'index' ? undefined : manifest.config.digest };
}

/** The digests any of which may be signed: of the index that an image was chosen from, and its own. */
export function signedDigests({ digest, indexDigest }: Pick<ResolvedManifest, 'digest' | 'indexDigest'>) {
  return indexDigest === undefined ? [digest] : [indexDigest, digest];
}

/** Resolves to the manifest of one image: through an index to the entry for the platform. */
async function resolvePlatform(
  { reference, repository }: OpenedImage,
  platform: Platform,
  signal: AbortSignal,
  options: ResolveOptions,
): Promise<ResolvedManifest & { readonly isChosenByIndex: boolean }> {
  let wanted: string | IndexEntry = nameOf(reference);
  let isChosenByIndex = false;
  let staleMs: number | undefined;
  let indexDigest: Digest | undefined;
  for (let depth = 0; depth <= MAX_INDEX_DEPTH; depth += 1) {
    using held = new DisposableStack();
    const fetched = await repository.getManifest(wanted, signal);
    held.defer(() => fetched.content.release());
    if (depth === 0) staleMs = fetched.staleMs;
    // An index may have thousands of entries. Only the chosen one is kept.
    const choice = new EntryChoice(platform);
    const manifest = await parse(fetched, signal, options, choice);
    if (manifest.kind !== 'index') {
      const { digest, content } = fetched;
      const optional = {
        ...(staleMs !== undefined && { staleMs }),
        ...(indexDigest !== undefined && { indexDigest }),
      };
      const image = { digest, content, manifest, isChosenByIndex, children: [], ...optional };
      return { ...image, reservedBytes: 0, release: releaseOf(held) };
    }
    indexDigest ??= fetched.digest;
    wanted = choice.entry;
    isChosenByIndex ||= wanted.platform !== undefined;
  }
  throw tooDeep();
}

/** Resolves to what the registry has under the reference, and an index to all manifests below it. */
async function resolveAllPlatforms(
  { reference, repository }: OpenedImage,
  signal: AbortSignal,
  options: ResolveOptions,
): Promise<ResolvedManifest> {
  using held = new DisposableStack();
  const get = async (wanted: string | IndexEntry, artifacts: boolean) => {
    const fetched = await repository.getManifest(wanted, signal);
    held.defer(() => fetched.content.release());
    const manifest = await parse(fetched, signal, { ...options, artifacts });
    return { ...fetched, manifest };
  };
  const budget = held.use(new ChildrenBudget(formatReference(reference), options, signal));
  const children = new Map<Digest, VerifiedManifest>();
  const visit = async (index: Index, depth: number): Promise<void> => {
    if (depth > MAX_INDEX_DEPTH) throw tooDeep();
    await budget.admit(index);
    for (const entry of index.all) {
      if (children.has(entry.digest)) continue;
      const { digest, content, manifest } = await get(entry, true);
      children.set(entry.digest, { digest, content, manifest });
      if (manifest.kind === 'index') await visit(manifest, depth + 1);
    }
  };
  const { digest, content, manifest, staleMs } = await get(nameOf(reference), options.artifacts);
  if (manifest.kind === 'index') await visit(manifest, 1);
  const stale = staleMs === undefined ? {} : { staleMs };
  const below = [...children.values()];
  const { reservedBytes } = budget;
  return { digest, content, manifest, children: below, ...stale, reservedBytes, release: releaseOf(held) };
}

/** What the registry is asked for. */
export function nameOf({ digest, tag }: Reference): string {
  return digest ?? tag ?? 'latest';
}

/** @param entries receives the entries of an index; without it, they are collected */
function parse(
  { digest, content, contentType }: FetchedManifest,
  signal: AbortSignal,
  { artifacts, documents }: ResolveOptions,
  entries?: EntrySink,
): Promise<Index | ImageManifest | ArtifactManifest> {
  const options = { artifacts, ...(entries !== undefined && { entries }) };
  return documents.use(content, `manifest ${quoted(digest)}`, signal, (bytes) =>
    parseManifest(bytes, contentType, options),
  );
}

/** For a manifest of which only the kind is needed. */
const NO_ENTRIES: EntrySink = { add: () => undefined };

function tooDeep(): PassthroughError {
  return unsupported(`more than ${MAX_INDEX_DEPTH} indexes lie in each other`);
}

function unsupported(why: string): PassthroughError {
  return new PassthroughError('UNSUPPORTED_IMAGE', `Cannot use manifest: ${why}`);
}
