import { PassthroughError } from '../errors.ts';
import type { Digest } from '../image/digest.ts';
import { type ImageManifest, type Index, type IndexEntry, parseManifest } from '../image/manifest.ts';
import { formatPlatform, type Platform, platformDistance } from '../image/platform.ts';
import type { FetchedManifest, Registry } from '../registry/registry.ts';

/** The manifest of one image, and the digest that names it. */
export interface ResolvedManifest {
  readonly manifest: ImageManifest;
  readonly digest: Digest;
  /** Whether an index named its platform, so that it was chosen by that. */
  readonly isPlatformChosen: boolean;
}

/** How many indexes may stand behind each other: the specification allows nesting, images use one level. */
const MAX_INDEX_DEPTH = 3;

/**
 * Resolves a tag or digest to the manifest of one image: through an index to the entry for the platform.
 *
 * @param reference tag or digest
 * @throws PassthroughError `PLATFORM_NOT_FOUND` listing what the index offers, `UNSUPPORTED_IMAGE`, and what the registry's
 *   `getManifest` throws
 */
export async function resolveManifest(
  registry: Registry,
  reference: string,
  platform: Platform,
  signal: AbortSignal,
): Promise<ResolvedManifest> {
  let fetched: FetchedManifest = await registry.getManifest(reference, signal);
  let isPlatformChosen = false;
  for (let depth = 0; depth <= MAX_INDEX_DEPTH; depth += 1) {
    const manifest = parseManifest(fetched.bytes, fetched.contentType);
    if (manifest.kind === 'image') return { manifest, digest: fetched.digest, isPlatformChosen };
    const entry = chooseEntry(manifest, platform);
    isPlatformChosen ||= entry.platform !== undefined;
    fetched = await registry.getManifest(entry, signal);
  }
  throw new PassthroughError(
    'UNSUPPORTED_IMAGE',
    `Cannot use manifest: more than ${MAX_INDEX_DEPTH} indexes lie in each other`,
  );
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
