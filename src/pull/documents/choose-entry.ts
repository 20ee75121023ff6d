import { PassthroughError } from '../../errors.ts';
import type { EntrySink, IndexEntry } from '../../image/manifest.ts';
import { formatPlatform, type Platform, platformDistance, platformRanking } from '../../image/platform.ts';
import { printable, quoted } from '../../util/printable.ts';

/** Most platforms that an error lists: as many as an official image usually has. */
const MAX_LISTED_PLATFORMS = 8;

/** Longest name of a platform in an error, in characters: `windows(10.0.20348.2655)/amd64` has 30. */
const MAX_PLATFORM_LENGTH = 64;

/**
 * Chooses the entry of an index that runs best on a platform: the nearest variant, and the first of several equal ones. A single
 * entry without a platform is chosen, too; its platform is then read from the config.
 */
export class EntryChoice implements EntrySink {
  readonly #platform: Platform;
  readonly #distanceOf: (offered: Platform) => number | undefined;
  readonly #unnamed: IndexEntry[] = [];
  /** Names of the platforms that are offered, for the error. */
  readonly #names = new Set<string>();
  #best: { readonly entry: IndexEntry; readonly distance: number } | undefined;

  constructor(platform: Platform) {
    this.#platform = platform;
    this.#distanceOf = platformRanking(platform);
  }

  add(entry: IndexEntry, mayHoldImage: boolean): void {
    if (!mayHoldImage) return;
    if (entry.platform === undefined) {
      if (this.#unnamed.length < 2) this.#unnamed.push(entry);
      return;
    }
    const distance = this.#distanceOf(entry.platform);
    if (distance !== undefined && distance < (this.#best?.distance ?? Number.POSITIVE_INFINITY))
      this.#best = { entry, distance };
    if (this.#best === undefined) this.#names.add(formatPlatform(entry.platform));
  }

  /**
   * The chosen entry.
   *
   * @throws PassthroughError `PLATFORM_NOT_FOUND` listing what the index offers
   */
  get entry(): IndexEntry {
    const chosen = this.#best?.entry ?? (this.#unnamed.length === 1 ? this.#unnamed[0] : undefined);
    if (chosen === undefined) throw platformNotFound(this.#platform, [...this.#names]);
    return chosen;
  }
}

/**
 * Checks that an image for one platform runs on another.
 *
 * @param offered `undefined` if the image does not say
 * @throws PassthroughError `PLATFORM_NOT_FOUND`
 */
export function checkPlatform(wanted: Platform | 'all', offered: Platform | undefined): void {
  if (wanted === 'all' || offered === undefined) return;
  if (platformDistance(offered, wanted) === undefined)
    throw platformNotFound(wanted, [formatPlatform(offered)]);
}

/** The error for an image that does not exist for a platform. */
function platformNotFound(wanted: Platform, names: readonly string[]): PassthroughError {
  return new PassthroughError(
    'PLATFORM_NOT_FOUND',
    `Cannot find platform ${quoted(formatPlatform(wanted))}: the image offers ${listOf(names)}`,
    { offered: names.slice(0, MAX_LISTED_PLATFORMS) },
  );
}

/** The platforms of an image for an error: all if they are few. Their names come from the registry. */
function listOf(names: readonly string[]): string {
  const listed = names.slice(0, MAX_LISTED_PLATFORMS).map((name) => printable(name, MAX_PLATFORM_LENGTH));
  if (listed.length === 0) return 'none';
  if (listed.length === names.length) return listed.join(', ');
  return `${names.length} platforms: ${listed.join(', ')} and ${names.length - listed.length} more`;
}
