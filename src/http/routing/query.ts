import { LAYOUTS, type LayoutName } from '../../archive/archive.ts';
import type { SizingTexts } from '../../archive/iox/settings.ts';
import { type ErrorCode, PassthroughError } from '../../errors.ts';
import type { Compression } from '../../image/filename.ts';
import { quoted } from '../../util/printable.ts';
import { refuseCredentials } from './path.ts';
import { type ManifestRoute, STARTS, type Start, type WrittenImage } from './route.ts';

/**
 * The platform that path and query name. Both may name it if they agree.
 *
 * @throws PassthroughError `INVALID_PLATFORM`
 */
export function choosePlatform(fromPath: string | undefined, query: URLSearchParams): string | undefined {
  const asked = [...query.getAll('platform'), ...query.getAll('arch')];
  for (const text of asked) refuseCredentials(text, 'INVALID_PLATFORM', 'platform');
  const named = [...new Set(fromPath === undefined ? asked : [fromPath, ...asked])];
  if (named.length <= 1) return named[0];
  throw new PassthroughError(
    'INVALID_PLATFORM',
    `Cannot choose a platform: the request names ${named.map((text) => quoted(text)).join(' and ')}`,
  );
}

/**
 * The base of an update that path and query name. Both may name it if they agree.
 *
 * @throws PassthroughError `INVALID_REFERENCE`
 */
export function chooseSince(fromPath: string | undefined, query: URLSearchParams): string | undefined {
  const asked = single(query, 'since');
  if (fromPath === undefined || asked === undefined || fromPath === asked) return fromPath ?? asked;
  throw new PassthroughError(
    'INVALID_REFERENCE',
    `Cannot choose a base: the request names ${quoted(fromPath)} and ${quoted(asked)}`,
  );
}

/**
 * When the answer is to begin, as path and query say. Both may say it if they agree.
 *
 * @throws PassthroughError `INVALID_REFERENCE`
 */
export function chooseStart(fromPath: string | undefined, query: URLSearchParams): Start | undefined {
  const asked = oneOf(query, 'start', STARTS);
  if (fromPath === undefined) return asked;
  if (asked === undefined || asked === 'early') return 'early';
  throw new PassthroughError(
    'INVALID_REFERENCE',
    `Cannot choose a start: the request says early and ${quoted(asked)}`,
  );
}

/**
 * The images of a bundle. `since` is the base of the image before it.
 *
 * @throws PassthroughError `INVALID_REFERENCE`
 */
export function bundledImages(query: URLSearchParams): readonly WrittenImage[] {
  const images: WrittenImage[] = [];
  for (const [name, text] of query) {
    if (name !== 'image' && name !== 'since') continue;
    refuseCredentials(text, 'INVALID_REFERENCE', name);
    if (name === 'image') images.push({ reference: text, since: undefined });
    else images.push({ ...withoutBase(images.pop(), text), since: text });
  }
  return images;
}

function withoutBase(image: WrittenImage | undefined, since: string): WrittenImage {
  if (image !== undefined && image.since === undefined && since !== '') return image;
  throw new PassthroughError(
    'INVALID_REFERENCE',
    `Cannot use since=${quoted(since)}: expected one base behind an image, as image=app:2&since=1`,
  );
}

/**
 * What is asked about a manifest.
 *
 * @throws PassthroughError `INVALID_REFERENCE`
 */
export function chooseComparison(
  query: URLSearchParams,
): Pick<ManifestRoute, 'type' | 'comparison' | 'layout'> {
  const type = oneOf(query, 'type', ['index', 'image', 'config'] as const);
  const since = single(query, 'since');
  const layout = oneOf(query, 'layout', LAYOUTS);
  if (since === undefined && layout === undefined) return { type, comparison: undefined };
  if (since === undefined && layout === 'iox') return { type, comparison: undefined, layout };
  if (since === undefined || type !== undefined) {
    const why =
      since === undefined ? 'layout is for the comparison with since=' : 'type and since exclude each other';
    throw new PassthroughError('INVALID_REFERENCE', `Cannot show the manifest: ${why}`);
  }
  return { type, comparison: { since, layout: layout ?? 'docker' } };
}

/**
 * The size of the application that path or query name.
 *
 * @returns a field of a route; none if the request names no size
 * @throws PassthroughError `INVALID_REFERENCE` if both name one
 */
export function chooseSizing(
  fromPath: SizingTexts | undefined,
  query: URLSearchParams,
): { readonly sizing?: SizingTexts } {
  const [profile, cpu, memory, disk] = ['profile', 'cpu', 'memory', 'disk'].map((name) =>
    single(query, name),
  );
  const asked = { profile, cpu, memory, disk };
  const isAsked = Object.values(asked).some((text) => text !== undefined);
  if (!isAsked) return fromPath === undefined ? {} : { sizing: fromPath };
  if (fromPath === undefined) return { sizing: asked };
  throw new PassthroughError(
    'INVALID_REFERENCE',
    'Cannot choose a profile: it stands in the path and in the query',
  );
}

/** The layout in the query, or `docker`. */
export function chooseLayout(query: URLSearchParams): LayoutName {
  return oneOf(query, 'layout', LAYOUTS) ?? 'docker';
}

/** The compression of an archive by reference: gzip, unless the query asks for a plain tar. */
export function chooseCompression(query: URLSearchParams): Compression {
  return oneOf(query, 'format', ['tgz', 'tar.gz', 'tar'] as const) === 'tar' ? 'none' : 'gzip';
}

/**
 * A parameter that takes one of a few words, in any case.
 *
 * @throws PassthroughError with `code`; `INVALID_REFERENCE` unless given
 */
export function oneOf<T extends string>(
  query: URLSearchParams,
  name: string,
  words: readonly T[],
  code: ErrorCode = 'INVALID_REFERENCE',
): T | undefined {
  const text = single(query, name, code);
  if (text === undefined) return undefined;
  const found = words.find((word) => word === text.toLowerCase());
  if (found !== undefined) return found;
  throw new PassthroughError(code, `Cannot use ${name}=${quoted(text)}: expected one of ${words.join(', ')}`);
}

/**
 * A parameter that may occur once, and not empty.
 *
 * @throws PassthroughError with `code`; `INVALID_REFERENCE` unless given
 */
export function single(
  query: URLSearchParams,
  name: string,
  code: ErrorCode = 'INVALID_REFERENCE',
): string | undefined {
  const [text, ...more] = query.getAll(name);
  if (text === undefined) return undefined;
  refuseCredentials(text, code, name);
  if (text === '' || more.length > 0) {
    throw new PassthroughError(code, `Cannot use ${name}: expected it once, and not empty`);
  }
  return text;
}
