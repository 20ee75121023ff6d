import { LAYOUTS, type LayoutName } from '../../archive/archive.ts';
import { PassthroughError } from '../../errors.ts';
import { decodeSegment, refuseCredentials, splitTarget } from './path.ts';
import { chooseCompression, chooseLayout, choosePlatform, isLayout, oneOf, single } from './query.ts';
import type { ArchiveRoute, BundleRoute, ManifestRoute, PreparationRoute, Route } from './route.ts';

/**
 * Longest path that is looked at, in characters. The longest that means something has a repository of 255 and a tag of
 * 128 characters, each percent-encoded, behind a host of 253.
 */
const MAX_PATH_LENGTH = 2048;

const SIMPLE: Readonly<Record<string, Route>> = {
  '/': { kind: 'usage', template: '/' },
  '/health': { kind: 'health', template: '/health' },
  '/ready': { kind: 'ready', template: '/ready' },
};

/** First segments that are no repository: routes, and what browsers and crawlers ask every server for. */
const RESERVED = new Set([
  'health',
  'ready',
  'manifest',
  'tags',
  'prepare',
  'preparations',
  'favicon.ico',
  'robots.txt',
  '.well-known',
]);

const REGISTRY_ROOTS = ['registry', 'registry-auth'];

/**
 * Reads a request target.
 *
 *     target    ::= image | "/prepare" image | "/preparations/" id | inspection | "/" | "/health" | "/ready"
 *     image     ::= [ platform ] ( archive | bundle | reference )
 *     platform  ::= "/platform/" ( os "/" arch [ "/" variant ] | device | "all" )
 *     archive   ::= [ ( "/registry/" | "/registry-auth/" ) scheme "/" host ] "/" layout "/" filename
 *     bundle    ::= "/bundle" ending
 *     reference ::= "/" [ host "/" ] path [ ":" tag ] [ "@" digest ]
 *     inspection::= "/manifest" reference | "/tags" "/" [ host "/" ] path
 *     query     ::= "platform=" | "arch=" | "layout=" | "format=" | "name=" | "image=" | "type="
 *
 * Each segment is decoded on its own, so that an encoded slash separates nothing. Paths are not normalised: `..` names no
 * image, and a client that means another path must send that.
 *
 * @param target as it stands in the request line, in origin form or absolute form
 * @throws PassthroughError `NOT_FOUND`; `INVALID_PLATFORM`, `INVALID_REGISTRY`, `INVALID_FILENAME` or `INVALID_REFERENCE`,
 *   by the part that cannot be read
 */
export function parseRoute(target: string): Route {
  const { path, query } = splitTarget(target);
  if (path.length > MAX_PATH_LENGTH) {
    throw new PassthroughError(
      'INVALID_REFERENCE',
      `Cannot parse path: it is longer than ${MAX_PATH_LENGTH} characters`,
    );
  }
  const simple = SIMPLE[path];
  if (simple !== undefined) return simple;
  const [, first, ...rest] = path.split('/');
  if (first === 'preparations' && rest.length === 1) return preparationRoute(rest[0] ?? '');
  if (first !== 'prepare') return routeOf(path, query);
  const archive = rest.length === 0 ? undefined : routeOf(`/${rest.join('/')}`, query);
  if (archive?.kind !== 'archive' && archive?.kind !== 'reference' && archive?.kind !== 'bundle') {
    throw new PassthroughError(
      'NOT_FOUND',
      'No route has this path: expected /prepare and the path of an archive',
    );
  }
  return { kind: 'prepare', template: `/prepare${archive.template}`, archive };
}

/** All routes but those that are told by their first segment alone. */
function routeOf(path: string, query: URLSearchParams): Route {
  const { prefix, platform: pathPlatform, rest } = takePlatform(path.split('/').slice(1));
  const [root = '', ...parts] = rest;
  const platform = choosePlatform(pathPlatform, query);
  if (isLayout(root)) return archiveRoute(prefix, platform, root, parts);
  if (REGISTRY_ROOTS.includes(root)) return namedRegistryRoute(prefix, platform, root, parts);
  if (root.startsWith('bundle.') && parts.length === 0) return bundleRoute(prefix, platform, root, query);
  if (prefix === '' && root === 'manifest') return manifestRoute(platform, parts, query);
  if (prefix === '' && root === 'tags') {
    return { kind: 'tags', template: '/tags/{repository}', repository: decodeReference(parts) };
  }
  if (RESERVED.has(root)) {
    throw new PassthroughError('NOT_FOUND', 'No route has this path: GET / tells which there are');
  }
  return {
    kind: 'reference',
    template: `${prefix}/{reference}`,
    platform,
    layout: chooseLayout(query),
    reference: decodeReference(rest),
    name: single(query, 'name'),
    compression: chooseCompression(query),
  };
}

function preparationRoute(id: string): PreparationRoute {
  return { kind: 'preparation', template: '/preparations/{id}', id: decodeSegment(id, 'NOT_FOUND', 'id') };
}

function archiveRoute(
  prefix: string,
  platform: string | undefined,
  layout: LayoutName,
  parts: readonly string[],
): ArchiveRoute {
  if (parts.length > 1) {
    const filename = parts.join('/');
    refuseCredentials(filename, 'INVALID_FILENAME', 'filename');
    throw new PassthroughError(
      'INVALID_FILENAME',
      `Cannot parse filename ${JSON.stringify(filename)}: it holds a slash, which is written "__" in a file name`,
    );
  }
  return {
    kind: 'archive',
    template: `${prefix}/${layout}/{filename}`,
    layout,
    registry: undefined,
    requiresCredentials: false,
    platform,
    filename: decodeSegment(parts[0] ?? '', 'INVALID_FILENAME', 'filename'),
  };
}

function namedRegistryRoute(
  prefix: string,
  platform: string | undefined,
  root: string,
  parts: readonly string[],
): ArchiveRoute {
  const form = `/${root}/{scheme}/{host}/docker/{filename}`;
  if (parts.length < 4) throw new PassthroughError('NOT_FOUND', `No route has this path: expected ${form}`);
  if (parts.length > 4) {
    throw new PassthroughError(
      'INVALID_REGISTRY',
      `Cannot parse registry: the host holds a slash, expected ${form}`,
    );
  }
  const [scheme = '', host = '', layout = '', filename = ''] = parts;
  const registry = {
    scheme: decodeSegment(scheme, 'INVALID_REGISTRY', 'registry scheme'),
    host: decodeSegment(host, 'INVALID_REGISTRY', 'registry host'),
  };
  if (!isLayout(layout)) {
    refuseCredentials(layout, 'NOT_FOUND', 'layout');
    throw new PassthroughError(
      'NOT_FOUND',
      `No route has the layout ${JSON.stringify(layout)}: expected ${form}, or one of ${LAYOUTS.join(', ')} for docker`,
    );
  }
  return {
    kind: 'archive',
    template: `${prefix}/${root}/{scheme}/{host}/${layout}/{filename}`,
    layout,
    registry,
    requiresCredentials: root === 'registry-auth',
    platform,
    filename: decodeSegment(filename, 'INVALID_FILENAME', 'filename'),
  };
}

function bundleRoute(
  prefix: string,
  platform: string | undefined,
  filename: string,
  query: URLSearchParams,
): BundleRoute {
  const references = query.getAll('image');
  for (const reference of references) refuseCredentials(reference, 'INVALID_REFERENCE', 'image');
  return {
    kind: 'bundle',
    template: `${prefix}/bundle.{ending}`,
    platform,
    layout: chooseLayout(query),
    references,
    filename: decodeSegment(filename, 'INVALID_FILENAME', 'filename'),
  };
}

function manifestRoute(
  platform: string | undefined,
  parts: readonly string[],
  query: URLSearchParams,
): ManifestRoute {
  return {
    kind: 'manifest',
    template: '/manifest/{reference}',
    platform,
    reference: decodeReference(parts),
    type: oneOf(query, 'type', ['index', 'image'] as const),
  };
}

/** Takes `platform/…` off the front: all up to the next segment that can begin a route behind it. */
function takePlatform(segments: readonly string[]) {
  if (segments[0] !== 'platform') return { prefix: '', platform: undefined, rest: segments };
  const isRoot = (segment = '') =>
    isLayout(segment) || REGISTRY_ROOTS.includes(segment) || segment.startsWith('bundle.');
  const length = [1, 2, 3].find((count) => isRoot(segments[count + 1]));
  const parts = segments
    .slice(1, 1 + (length ?? 2))
    .map((part) => decodeSegment(part, 'INVALID_PLATFORM', 'platform'));
  if (length === undefined) {
    throw new PassthroughError(
      'INVALID_PLATFORM',
      `Cannot parse platform ${JSON.stringify(parts.join('/'))}: expected /platform/{os}/{arch}/ before docker, registry or registry-auth`,
    );
  }
  const names = ['{device}', '{os}/{arch}', '{os}/{arch}/{variant}'];
  return {
    prefix: `/platform/${names[length - 1]}`,
    platform: parts.join('/'),
    rest: segments.slice(1 + length),
  };
}

/** What is left of the path, as one reference. */
function decodeReference(segments: readonly string[]): string {
  if (segments.length === 0) return decodeSegment('', 'INVALID_REFERENCE', 'reference');
  return segments.map((segment) => decodeSegment(segment, 'INVALID_REFERENCE', 'reference')).join('/');
}
