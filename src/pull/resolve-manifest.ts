import { PassthroughError } from '../errors.ts';
import type { Digest } from '../image/digest.ts';
import {
  type ArtifactManifest,
  type ImageManifest,
  type Index,
  type IndexEntry,
  parseManifest,
} from '../image/manifest.ts';
import { formatPlatform, type Platform, platformDistance } from '../image/platform.ts';
import type { FetchedManifest, Repository } from '../registry/repository.ts';

/** A manifest whose digest is verified, with its bytes. */
export interface VerifiedManifest {
  readonly digest: Digest;
  readonly bytes: Uint8Array;
  readonly manifest: Index | ImageManifest | ArtifactManifest;
}

/** What a reference means: the manifest of one image, or an index as a whole. */
export interface ResolvedManifest extends VerifiedManifest {
  /** Whether an index named its platform, so that it was chosen by that. */
  readonly isPlatformChosen: boolean;
  /** All manifests below an index that is wanted as a whole; none otherwise. */
  readonly children: readonly VerifiedManifest[];
  /** Milliseconds since the registry has said so, where it cannot be asked now; see `FetchedManifest`. */
  readonly staleMs?: number;
}

/** What {@link resolveManifest} and {@link resolveRoot} let in. */
export interface ResolveOptions {
  /** Whether what is no image will do, such as a chart or a signature. */
  readonly artifacts: boolean;
}

/** How many indexes may stand behind each other: the specification allows nesting, images use one level. */
const MAX_INDEX_DEPTH = 3;

/** Most manifests below an index that is wanted as a whole: some tens are usual, with attestations twice as many. */
const MAX_CHILDREN = 200;

/**
 * Resolves a tag or digest to the manifest of one image: through an index to the entry for the platform.
 *
 * @param reference tag or digest
 * @throws PassthroughError `PLATFORM_NOT_FOUND` listing what the index offers, `UNSUPPORTED_IMAGE`, and what the registry's
 *   `getManifest` throws
 */
export async function resolveManifest(
  registry: Repository,
  reference: string,
  platform: Platform,
  signal: AbortSignal,
  options: ResolveOptions = { artifacts: false },
): Promise<ResolvedManifest> {
  let fetched: FetchedManifest = await registry.getManifest(reference, signal);
  let isPlatformChosen = false;
  const { staleMs } = fetched;
  for (let depth = 0; depth <= MAX_INDEX_DEPTH; depth += 1) {
    const { bytes, digest } = fetched;
    const manifest = parse(fetched, options);
    if (manifest.kind !== 'index') {
      return {
        digest,
        bytes,
        manifest,
        isPlatformChosen,
        children: [],
        ...(staleMs !== undefined && { staleMs }),
      };
    }
    const entry = chooseEntry(manifest, platform);
    isPlatformChosen ||= entry.platform !== undefined;
    fetched = await registry.getManifest(entry, signal);
  }
  throw tooDeep();
}

/**
 * Resolves a tag or digest to whatever the registry has under it, and where that is an index, to all manifests below it.
 *
 * @param reference tag or digest
 * @throws PassthroughError `UNSUPPORTED_IMAGE`, and what the registry's `getManifest` throws
 */
export async function resolveRoot(
  registry: Repository,
  reference: string,
  signal: AbortSignal,
  options: ResolveOptions = { artifacts: false },
): Promise<ResolvedManifest> {
  const fetched = await registry.getManifest(reference, signal);
  const manifest = parse(fetched, options);
  const children = new Map<Digest, VerifiedManifest>();
  const visit = async (index: Index, depth: number): Promise<void> => {
    if (depth > MAX_INDEX_DEPTH) throw tooDeep();
    for (const entry of index.all) {
      if (children.has(entry.digest)) continue;
      if (children.size === MAX_CHILDREN) {
        throw unsupported(`more than ${MAX_CHILDREN} manifests lie below it`);
      }
      const child = await registry.getManifest(entry, signal);
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
    isPlatformChosen: false,
    children: [...children.values()],
    ...(staleMs !== undefined && { staleMs }),
  };
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
 * Chooses the entry of an index that runs best on a platform: the nearest variant, and of equals the first. A single entry
 * without a platform is taken as it is; the image's config tells more then.
 *
 * @throws PassthroughError `PLATFORM_NOT_FOUND` listing what the index offers
 */
export function chooseEntry(index: Index, platform: Platform): IndexEntry {
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

/** Says that an image is not there for a platform, and for which ones it is. */
export function platformNotFound(wanted: Platform, offered: readonly Platform[]): PassthroughError {
  const list = [...new Set(offered.map(formatPlatform))].join(', ');
  return new PassthroughError(
    'PLATFORM_NOT_FOUND',
    `Cannot find platform ${JSON.stringify(formatPlatform(wanted))}: the image offers ${list === '' ? 'none' : list}`,
  );
}
