import { LAYOUTS, type LayoutName } from '../../archive/archive.ts';
import { PassthroughError } from '../../errors.ts';
import type { Compression } from '../../image/filename.ts';
import { refuseCredentials } from './path.ts';

/** The platform of path and query together: they may both name one if it is the same. */
export function choosePlatform(fromPath: string | undefined, query: URLSearchParams): string | undefined {
  const asked = [...query.getAll('platform'), ...query.getAll('arch')];
  for (const text of asked) refuseCredentials(text, 'INVALID_PLATFORM', 'platform');
  const named = [...new Set(fromPath === undefined ? asked : [fromPath, ...asked])];
  if (named.length <= 1) return named[0];
  throw new PassthroughError(
    'INVALID_PLATFORM',
    `Cannot choose a platform: the request names ${named.map((text) => JSON.stringify(text)).join(' and ')}`,
  );
}

/** The layout that the query names, else that of `docker save`. */
export function chooseLayout(query: URLSearchParams): LayoutName {
  return oneOf(query, 'layout', LAYOUTS) ?? 'docker';
}

/** A reference is answered compressed unless the request says otherwise. */
export function chooseCompression(query: URLSearchParams): Compression {
  return oneOf(query, 'format', ['tgz', 'tar.gz', 'tar'] as const) === 'tar' ? 'none' : 'gzip';
}

/** A parameter that takes one of a few words. */
export function oneOf<T extends string>(
  query: URLSearchParams,
  name: string,
  words: readonly T[],
): T | undefined {
  const text = single(query, name);
  if (text === undefined) return undefined;
  const found = words.find((word) => word === text.toLowerCase());
  if (found !== undefined) return found;
  throw new PassthroughError(
    'INVALID_REFERENCE',
    `Cannot use ${name}=${JSON.stringify(text)}: expected one of ${words.join(', ')}`,
  );
}

/** A parameter that may be there once, and not empty. */
export function single(query: URLSearchParams, name: string): string | undefined {
  const [text, ...more] = query.getAll(name);
  if (text === undefined) return undefined;
  refuseCredentials(text, 'INVALID_REFERENCE', name);
  if (text === '' || more.length > 0) {
    throw new PassthroughError('INVALID_REFERENCE', `Cannot use ${name}: expected it once, and not empty`);
  }
  return text;
}

/** Whether a word is the name of a layout. */
export function isLayout(text: string): text is LayoutName {
  return (LAYOUTS as readonly string[]).includes(text);
}
