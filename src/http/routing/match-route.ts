import type { SizingTexts } from '../../archive/iox/settings.ts';
import { PassthroughError } from '../../errors.ts';
import { imageFault } from './no-image.ts';
import { refuseUnknownParameters } from './parameters.ts';
import { splitTarget } from './path.ts';
import { hasRoot, type Prefix, type PrefixedPattern, rootOf, takePrefixes } from './prefixes.ts';
import type { PullRoute, Route } from './route.ts';

/** A path that fits the pattern of a row. */
export interface RoutePath {
  /** Prefixes and pattern, with placeholders. */
  readonly template: string;
  /** The platform that a prefix names. */
  readonly platform: string | undefined;
  /** The base of an update that a prefix names. */
  readonly since: string | undefined;
  /** `early` if a prefix says so. */
  readonly early: string | undefined;
  /** The size of the application that a prefix names. */
  readonly sizing?: SizingTexts;
  /** Segments behind the prefixes, still encoded; without the first one if the pattern begins with a literal. */
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

type Pattern = PrefixedPattern;

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
 *     target ::= prefixes path [ "?" query ]           ; prefixes: see takePrefixes
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
  const { template: prefix, values, rest } = takePrefixes(segments, rows);
  const [root = '', ...tail] = rest;
  const named = Object.keys(values);
  const isAllowed = (row: Pattern) => named.every((name) => row.prefixes.some((known) => known === name));
  const catchAll = () =>
    named.length > 0 || isReserved(rows, root) ? undefined : rows.find(({ pattern }) => isCatchAll(pattern));
  const row =
    rows.find((one) => isAllowed(one) && hasRoot(one, root) && hasLength(one, rest.length)) ?? catchAll();
  if (row === undefined && values.profile !== undefined)
    throw notFound('expected iox behind /profile/…; with a reference, the profile is a parameter: ?profile=');
  if (row === undefined) throw notFound('GET / tells which there are');
  const fault = isCatchAll(row.pattern) ? imageFault(rest) : undefined;
  if (fault !== undefined) throw fault;
  const isLiteral = !rootOf(row.pattern).includes('{');
  const path = {
    template: `${prefix}${row.pattern}`,
    platform: values.platform,
    since: values.since,
    early: values.early,
    ...(values.profile !== undefined && { sizing: sizingOf(values.profile) }),
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

/** The size of the application that a prefix names. */
function sizingOf(value: string): SizingTexts {
  const [profile = '', cpu, memory, disk] = value.split('/');
  return profile.toLowerCase() === 'custom' ? { profile, cpu, memory, disk } : { profile };
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

function isPull(route: Route): route is PullRoute {
  return route.kind === 'archive' || route.kind === 'reference' || route.kind === 'bundle';
}

function notFound(why: string): PassthroughError {
  return new PassthroughError('NOT_FOUND', `No route has this path: ${why}`);
}
