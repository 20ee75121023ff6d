import { isLayout } from '../../archive/archive.ts';
import type { SizingTexts } from '../../archive/iox/settings.ts';
import { PassthroughError } from '../../errors.ts';
import { devicePlatform } from '../../image/device.ts';
import { printable, quoted } from '../../util/printable.ts';
import { imageFault } from './no-image.ts';
import { refuseUnknownParameters } from './parameters.ts';
import { decodeSegment, mayHoldCredentials, splitTarget } from './path.ts';
import type { PullRoute, Route } from './route.ts';

const PREFIXES = ['platform', 'profile'] as const;

/** What may stand before the path of a route. */
export type Prefix = (typeof PREFIXES)[number];

/** A path that fits the pattern of a row. */
export interface RoutePath {
  /** Prefix and pattern, with placeholders. */
  readonly template: string;
  /** The platform that the prefix names. */
  readonly platform: string | undefined;
  /** The size of the application that the prefix names. */
  readonly sizing?: SizingTexts;
  /** Segments behind the prefix, still encoded; without the first one if the pattern begins with a literal. */
  readonly segments: readonly string[];
  readonly query: URLSearchParams;
  /** The route that `{archive}` stands for, in a pattern that has this placeholder. */
  readonly archive?: PullRoute;
}

/** How a row of the table of routes is matched. `Parsed` is what its parser makes of a path: the route, and more. */
export interface RoutePattern<Parsed extends { readonly route: Route }> {
  /**
   * Path with placeholders. `{layout}` stands for the name of a layout, and `{archive}` for the path of a route that answers with
   * an archive. A pattern that begins with any other placeholder takes the paths that fit no other row.
   */
  readonly pattern: string;
  readonly prefixes: readonly Prefix[];
  /** Query parameters that mean something here. */
  readonly parameters: readonly string[];
  /** Whether a monitor asks every few seconds. Some add a parameter to pass by caches, so any is ignored. */
  readonly isProbe: boolean;
  /** @throws PassthroughError naming the part of path or query that is wrong */
  readonly parse: (path: RoutePath) => Parsed;
}

/** The part of a row that says which paths it takes. */
type Pattern = Pick<RoutePattern<never>, 'pattern' | 'prefixes'>;

/** A row, and what its parser made of a request target. */
interface Match<Row, Parsed> {
  readonly row: Row;
  readonly parsed: Parsed;
}

/**
 * Longest path in characters. The longest meaningful one has a host of 253, a repository of 255 and a tag of 128 characters, all
 * percent-encoded.
 */
const MAX_PATH_LENGTH = 2048;

/** Placeholders whose parser checks the number of segments itself, to say what is wrong with it. */
const FREE_LENGTH = /\{(?:layout|filename|reference|repository|archive)\}/;

/**
 * Finds the row of a request target, and parses the target with it.
 *
 *     target   ::= { prefix } path [ "?" query ]
 *     prefix   ::= platform | profile
 *     platform ::= "/platform/" ( os "/" arch [ "/" variant ] | device | "all" )
 *     profile  ::= "/profile/" ( name | "custom/" cpu "/" memory "/" disk )
 *
 * Prefixes stand in any order, each once.
 *
 * Each segment is decoded on its own, so an encoded slash separates nothing. Paths are not normalised: `..` names no image.
 *
 * @param target as in the request line, in origin form or absolute form
 * @throws PassthroughError `NOT_FOUND`; `UNKNOWN_PARAMETER`; `INVALID_PLATFORM`, `INVALID_REGISTRY`, `INVALID_FILENAME` or `INVALID_REFERENCE` by the
 *   part that is wrong
 */
export function matchRoute<Row, Parsed extends { readonly route: Route }>(
  rows: readonly (Row & RoutePattern<Parsed>)[],
  target: string,
): Match<Row, Parsed> {
  const { path, query } = splitTarget(target);
  if (path.length > MAX_PATH_LENGTH) {
    throw new PassthroughError(
      'INVALID_REFERENCE',
      `Cannot parse path: it is longer than ${MAX_PATH_LENGTH} characters`,
    );
  }
  return matchSegments(rows, path.split('/').slice(1), query);
}

function matchSegments<Row, Parsed extends { readonly route: Route }>(
  rows: readonly (Row & RoutePattern<Parsed>)[],
  segments: readonly string[],
  query: URLSearchParams,
): Match<Row, Parsed> {
  const { prefix, platform, sizing, rest } = takePrefixes(segments, rows);
  const [root = '', ...tail] = rest;
  const isAllowed = (row: Pattern) =>
    (platform === undefined || row.prefixes.includes('platform')) &&
    (sizing === undefined || row.prefixes.includes('profile'));
  const row =
    rows.find((one) => isAllowed(one) && hasRoot(one, root) && hasLength(one, rest.length)) ??
    (isReserved(rows, root) || prefix !== '' ? undefined : rows.find(({ pattern }) => isCatchAll(pattern)));
  if (row === undefined && sizing !== undefined)
    throw notFound('expected iox behind /profile/…; with a reference, the profile is a parameter: ?profile=');
  if (row === undefined) throw notFound('GET / tells which there are');
  const fault = isCatchAll(row.pattern) ? imageFault(rest) : undefined;
  if (fault !== undefined) throw fault;
  const isLiteral = !rootOf(row.pattern).includes('{');
  const path = {
    template: `${prefix}${row.pattern}`,
    platform,
    ...(sizing !== undefined && { sizing }),
    segments: isLiteral ? tail : rest,
    query,
  };
  if (!row.pattern.endsWith('/{archive}')) {
    if (!row.isProbe) refuseUnknownParameters(query, row.parameters);
    return { row, parsed: row.parse(path) };
  }
  const archive = tail.length === 0 ? undefined : matchSegments(rows, tail, query).parsed.route;
  if (archive === undefined || !isPull(archive))
    throw notFound(`expected /${root} and the path of an archive`);
  const template = `/${root}${archive.template}`;
  return { row, parsed: row.parse({ ...path, template, archive }) };
}

/** What stands before the path of a route. */
interface Prefixes {
  readonly prefix: string;
  readonly platform?: string | undefined;
  readonly sizing?: SizingTexts;
  readonly rest: readonly string[];
}

/** Takes all prefixes off the front. */
function takePrefixes(segments: readonly string[], rows: readonly Pattern[]): Prefixes {
  let taken: Prefixes = { prefix: '', rest: segments };
  for (;;) {
    const name = PREFIXES.find((one) => one === taken.rest[0]);
    if (name === undefined) return taken;
    const isRepeated = (name === 'platform' ? taken.platform : taken.sizing) !== undefined;
    if (isRepeated) throw notFound(`/${name}/ stands before a route once`);
    const next = name === 'platform' ? takePlatform(taken.rest, rows) : takeProfile(taken.rest);
    taken = { ...taken, ...next, prefix: `${taken.prefix}${next.prefix}` };
  }
}

/** Takes `profile/{name}` or `profile/custom/{cpu}/{memory}/{disk}` off the front. */
function takeProfile([, ...parts]: readonly string[]): Prefixes {
  const [profile = '', cpu, memory, disk] = parts
    .slice(0, 4)
    .map((part) => decodeSegment(part, 'INVALID_REFERENCE', 'profile'));
  if (profile.toLowerCase() !== 'custom')
    return { prefix: '/profile/{profile}', sizing: { profile }, rest: parts.slice(1) };
  return {
    prefix: '/profile/custom/{cpu}/{memory}/{disk}',
    sizing: { profile, cpu, memory, disk },
    rest: parts.slice(4),
  };
}

/** Takes `platform/…` off the front: all up to the next prefix, or segment that begins a route which takes this one. */
function takePlatform(segments: readonly string[], rows: readonly Pattern[]): Prefixes {
  const below = rows.filter(({ prefixes }) => prefixes.includes('platform'));
  const isEnd = (segment: string) =>
    PREFIXES.some((name) => name === segment) || below.some((row) => hasRoot(row, segment));
  const length = [1, 2, 3].find((count) => isEnd(segments[count + 1] ?? ''));
  const parts = segments
    .slice(1, 1 + (length ?? 2))
    .map((part) => decodeSegment(part, 'INVALID_PLATFORM', 'platform'));
  if (length === undefined) {
    throw new PassthroughError(
      'INVALID_PLATFORM',
      `Cannot parse platform ${quoted(parts.join('/'))}: expected /platform/{os}/{arch}/ before docker, registry or registry-auth`,
      { hints: hintFor(segments) },
    );
  }
  const names = ['{device}', '{os}/{arch}', '{os}/{arch}/{variant}'];
  return {
    prefix: `/platform/${names[length - 1]}`,
    platform: parts.join('/'),
    rest: segments.slice(1 + length),
  };
}

/** A reference takes its platform as a parameter. */
function hintFor([, ...parts]: readonly string[]): readonly string[] {
  const length = devicePlatform(parts[0] ?? '') === undefined ? 2 : 1;
  const [platform = '', reference = ''] = [parts.slice(0, length), parts.slice(length)].map((some) =>
    printable(some.join('/')),
  );
  if (reference === '' || mayHoldCredentials(reference)) return [];
  return [`With a reference, the platform is a parameter: /${reference}?platform=${platform}`];
}

/** Whether a segment fits the first segment of a pattern. */
function hasRoot({ pattern }: Pattern, segment: string): boolean {
  const root = rootOf(pattern);
  if (root === '{layout}') return isLayout(segment);
  const placeholder = root.indexOf('{');
  if (placeholder === -1) return segment === root;
  return placeholder > 0 && segment.startsWith(root.slice(0, placeholder));
}

function hasLength({ pattern }: Pattern, length: number): boolean {
  return FREE_LENGTH.test(pattern) || pattern.split('/').length - 1 === length;
}

/** Whether a first segment belongs to another route. */
function isReserved(rows: readonly Pattern[], root: string): boolean {
  return root !== '' && rows.some(({ pattern }) => rootOf(pattern) === root);
}

function isCatchAll(pattern: string): boolean {
  return pattern.startsWith('/{') && rootOf(pattern) !== '{layout}';
}

function rootOf(pattern: string): string {
  return pattern.split('/')[1] ?? '';
}

function isPull(route: Route): route is PullRoute {
  return route.kind === 'archive' || route.kind === 'reference' || route.kind === 'bundle';
}

function notFound(why: string): PassthroughError {
  return new PassthroughError('NOT_FOUND', `No route has this path: ${why}`);
}
