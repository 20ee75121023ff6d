import { type ErrorCode, PassthroughError } from '../errors.ts';

/** A request for an archive, its parts decoded and not yet judged. */
export interface ArchiveRoute {
  readonly kind: 'archive';
  /** Path with placeholders, as telemetry names the route. */
  readonly template: string;
  /** Registry that the path names; `undefined` for the configured one. */
  readonly registry: { readonly scheme: string; readonly host: string } | undefined;
  /** Whether the route itself requires Basic credentials. */
  readonly requiresCredentials: boolean;
  /** `os/arch[/variant]`, where the request asks for one. */
  readonly platform: string | undefined;
  readonly filename: string;
}

/** What a request asks for. */
export type Route = ArchiveRoute | { readonly kind: 'usage' | 'health' | 'ready'; readonly template: string };

/**
 * Longest path that is looked at, in characters. The longest that means something has a repository of 255 and a tag of
 * 128 characters, each percent-encoded, behind a host of 253.
 */
const MAX_PATH_LENGTH = 2048;

/** Layouts that a path can name before the file name. */
const LAYOUTS = ['docker'];

const SIMPLE: Readonly<Record<string, Route>> = {
  '/': { kind: 'usage', template: '/' },
  '/health': { kind: 'health', template: '/health' },
  '/ready': { kind: 'ready', template: '/ready' },
};

/**
 * Reads a request target.
 *
 *     target  ::= [ platform ] archive [ "?platform=" | "?arch=" os "/" arch ] | "/" | "/health" | "/ready"
 *     platform::= "/platform/" os "/" arch [ "/" variant ]
 *     archive ::= "/docker/" filename | ( "/registry/" | "/registry-auth/" ) scheme "/" host "/docker/" filename
 *
 * Each segment is decoded on its own, so that an encoded slash separates nothing. Paths are not normalised: `..` names no
 * image, and a client that means another path must send that.
 *
 * @param target as it stands in the request line, in origin form or absolute form
 * @throws PassthroughError `NOT_FOUND`; `INVALID_PLATFORM`, `INVALID_REGISTRY`, `INVALID_FILENAME` or `INVALID_REFERENCE`,
 *   by the part that cannot be read
 * @see https://www.rfc-editor.org/rfc/rfc9112#name-request-target
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

  const { prefix, platform: pathPlatform, rest } = takePlatform(path.split('/').slice(1));
  const [root, ...parts] = rest;
  const platform = choosePlatform(pathPlatform, new URLSearchParams(query));
  if (root === 'docker') {
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
      template: `${prefix}/docker/{filename}`,
      registry: undefined,
      requiresCredentials: false,
      platform,
      filename: decodeFilename(parts[0] ?? ''),
    };
  }
  if (root === 'registry' || root === 'registry-auth') {
    return {
      kind: 'archive',
      template: `${prefix}/${root}/{scheme}/{host}/docker/{filename}`,
      requiresCredentials: root === 'registry-auth',
      platform,
      ...namedRegistry(root, parts),
    };
  }
  // Decoded for its faults: what cannot be read at all is the client's mistake, not a missing route.
  decode(root ?? '', 'INVALID_REFERENCE', 'path');
  throw new PassthroughError('NOT_FOUND', 'No route has this path: GET / tells which there are');
}

function splitTarget(target: string): { path: string; query: string } {
  const origin = /^https?:\/\/[^/?]*/i.exec(target)?.[0] ?? '';
  const [path = '', ...query] = target.slice(origin.length).split('?');
  return { path: path === '' ? '/' : path, query: query.join('?') };
}

/** Takes `platform/os/arch[/variant]` off the front; the variant is there when the next segment is no root yet. */
function takePlatform(segments: readonly string[]) {
  if (segments[0] !== 'platform') return { prefix: '', platform: undefined, rest: segments };
  const isRoot = (segment: string | undefined) => /^(?:docker|registry|registry-auth)$/.test(segment ?? '');
  const length = [2, 3].find((count) => isRoot(segments[count + 1]));
  const parts = segments
    .slice(1, 1 + (length ?? 2))
    .map((part) => decode(part, 'INVALID_PLATFORM', 'platform'));
  if (length === undefined) {
    throw new PassthroughError(
      'INVALID_PLATFORM',
      `Cannot parse platform ${JSON.stringify(parts.join('/'))}: expected /platform/{os}/{arch}/ before docker, registry or registry-auth`,
    );
  }
  const prefix = `/platform/{os}/{arch}${length === 3 ? '/{variant}' : ''}`;
  return { prefix, platform: parts.join('/'), rest: segments.slice(1 + length) };
}

/** The platform of path and query together: they may both name one if it is the same. */
function choosePlatform(fromPath: string | undefined, query: URLSearchParams): string | undefined {
  const asked = [...query.getAll('platform'), ...query.getAll('arch')];
  for (const text of asked) refuseCredentials(text, 'INVALID_PLATFORM', 'platform');
  const named = [...new Set(fromPath === undefined ? asked : [fromPath, ...asked])];
  if (named.length <= 1) return named[0];
  throw new PassthroughError(
    'INVALID_PLATFORM',
    `Cannot choose a platform: the request names ${named.map((text) => JSON.stringify(text)).join(' and ')}`,
  );
}

function namedRegistry(root: string, parts: readonly string[]) {
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
    scheme: decode(scheme, 'INVALID_REGISTRY', 'registry scheme'),
    host: decode(host, 'INVALID_REGISTRY', 'registry host'),
  };
  if (!LAYOUTS.includes(layout)) {
    refuseCredentials(layout, 'NOT_FOUND', 'layout');
    throw new PassthroughError(
      'NOT_FOUND',
      `No route has the layout ${JSON.stringify(layout)}: expected ${form}`,
    );
  }
  return { registry, filename: decodeFilename(filename) };
}

function decodeFilename(segment: string): string {
  return decode(segment, 'INVALID_FILENAME', 'filename');
}

/**
 * Decodes one segment.
 *
 * @param code of the error, by the part that the segment is
 * @param part its name, for the message
 */
function decode(segment: string, code: ErrorCode, part: string): string {
  const fail = (why: string) =>
    new PassthroughError(code, `Cannot parse ${part} ${JSON.stringify(segment)}: ${why}`);
  refuseCredentials(segment, code, part);
  let text: string;
  try {
    text = decodeURIComponent(segment);
  } catch {
    throw fail('malformed percent-encoding');
  }
  if (text === '') throw fail('it is empty');
  if (/\p{Cc}/u.test(text)) throw fail('it holds a control character');
  if (/[/\\]/.test(text)) throw fail('it holds a slash');
  if (text === '.' || text === '..') throw fail('dot segments name nothing here');
  return text;
}

/**
 * Refuses a part that holds an `@`, encoded or not, without quoting it: no part of a route has one, so what stands before it
 * may be a password, and errors are logged.
 */
function refuseCredentials(text: string, code: ErrorCode, part: string): void {
  if (/@|%(?:25)*40/i.test(text)) {
    throw new PassthroughError(
      code,
      `Cannot parse ${part}: it holds an @, and credentials do not belong in an address`,
    );
  }
}
