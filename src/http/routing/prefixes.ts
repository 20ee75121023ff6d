import { isLayout } from '../../archive/archive.ts';
import { PassthroughError } from '../../errors.ts';
import { devicePlatform } from '../../image/device.ts';
import { printable, quoted } from '../../util/printable.ts';
import { decodeSegment, mayHoldCredentials } from './path.ts';

/** What may stand before the path of a route, each once, in any order. */
export const PREFIXES = ['platform', 'since', 'early', 'profile'] as const;
export type Prefix = (typeof PREFIXES)[number];

/** The part of a row of the table of routes that says which paths it takes. */
export interface PrefixedPattern {
  readonly pattern: string;
  readonly prefixes: readonly Prefix[];
}

/** The prefixes of a path. */
export interface TakenPrefixes {
  /** All of them, with placeholders. */
  readonly template: string;
  readonly values: Readonly<Partial<Record<Prefix, string>>>;
  /** The segments behind them, still encoded. */
  readonly rest: readonly string[];
}

/** Segments behind the name of a prefix, and their placeholders. */
interface Parsed {
  readonly names: string;
  readonly value: string;
  readonly length: number;
}

/** Whether a segment begins what may follow a prefix: a route that takes it, or another prefix. */
type Begins = (segment: string | undefined) => boolean;

const PARSERS: Readonly<Record<Prefix, (segments: readonly string[], begins: Begins) => Parsed>> = {
  platform: parsePlatform,
  since: parseSince,
  early: parseEarly,
  profile: parseProfile,
};

/**
 * Takes the prefixes off the front of a path.
 *
 *     prefixes ::= { "/platform/" ( os "/" arch [ "/" variant ] | device | "all" ) | "/since/" ( tag | digest ) | "/early"
 *                  | "/profile/" ( name | "custom/" cpu "/" memory "/" disk ) }
 *
 * @param segments of the path, still encoded
 * @throws PassthroughError `INVALID_PLATFORM`, `INVALID_REFERENCE`, also for a prefix that is there twice
 */
export function takePrefixes(segments: readonly string[], rows: readonly PrefixedPattern[]): TakenPrefixes {
  const values: Partial<Record<Prefix, string>> = {};
  let template = '';
  let rest = segments;
  for (;;) {
    const prefix = PREFIXES.find((name) => name === rest[0]);
    if (prefix === undefined) return { template, values, rest };
    if (values[prefix] !== undefined)
      throw new PassthroughError('INVALID_REFERENCE', `Cannot parse path: it has /${prefix}/ twice`);
    const begins: Begins = (segment) =>
      PREFIXES.some((name) => name === segment) ||
      rows.some((row) => row.prefixes.includes(prefix) && hasRoot(row, segment ?? ''));
    const { names, value, length } = PARSERS[prefix](rest.slice(1), begins);
    template += names === '' ? `/${prefix}` : `/${prefix}/${names}`;
    values[prefix] = value;
    rest = rest.slice(1 + length);
  }
}

/** All segments up to the next one that begins what may follow. */
function parsePlatform(segments: readonly string[], begins: Begins): Parsed {
  const length = [1, 2, 3].find((count) => begins(segments[count]));
  const parts = segments
    .slice(0, length ?? 2)
    .map((part) => decodeSegment(part, 'INVALID_PLATFORM', 'platform'));
  if (length === undefined) {
    throw new PassthroughError(
      'INVALID_PLATFORM',
      `Cannot parse platform ${quoted(parts.join('/'))}: expected /platform/{os}/{arch}/ before docker, registry or registry-auth`,
      {
        hints: hintFor('platform', segments, devicePlatform(segments[0] ?? '') === undefined ? 2 : 1),
      },
    );
  }
  const names = ['{device}', '{os}/{arch}', '{os}/{arch}/{variant}'][length - 1] ?? '';
  return { names, value: parts.join('/'), length };
}

/** Always one segment: a tag may be called as a route is. */
function parseSince(segments: readonly string[], begins: Begins): Parsed {
  const value = decodeSegment(segments[0] ?? '', 'INVALID_REFERENCE', 'since');
  if (begins(segments[1])) return { names: '{tag}', value, length: 1 };
  throw new PassthroughError(
    'INVALID_REFERENCE',
    `Cannot parse since ${quoted(value)}: expected /since/{tag}/ before docker, registry or registry-auth`,
    { hints: hintFor('since', segments, 1) },
  );
}

/** Stands alone. */
function parseEarly(segments: readonly string[], begins: Begins): Parsed {
  if (begins(segments[0])) return { names: '', value: 'early', length: 0 };
  throw new PassthroughError(
    'INVALID_REFERENCE',
    'Cannot parse path: expected docker, registry or registry-auth behind /early/',
    { hints: ['With a reference, it is a parameter: /alpine:latest?start=early'] },
  );
}

/** A name, or three sizes behind `custom`. */
function parseProfile(segments: readonly string[]): Parsed {
  const isCustom = segments[0]?.toLowerCase() === 'custom';
  const length = isCustom ? 4 : 1;
  const parts = segments.slice(0, length).map((part) => decodeSegment(part, 'INVALID_REFERENCE', 'profile'));
  const names = isCustom ? 'custom/{cpu}/{memory}/{disk}' : '{profile}';
  return { names, value: parts.join('/'), length };
}

/** A reference takes as a parameter what is a prefix elsewhere. */
function hintFor(prefix: Prefix, segments: readonly string[], length: number): readonly string[] {
  const [value = '', reference = ''] = [segments.slice(0, length), segments.slice(length)].map((some) =>
    printable(some.join('/')),
  );
  if (reference === '' || mayHoldCredentials(reference)) return [];
  if (prefix === 'since' && reference.startsWith('bundle.'))
    return [`In a bundle, each image has its own: /${reference}?image=app:2&since=${value}`];
  return [`With a reference, the ${prefix} is a parameter: /${reference}?${prefix}=${value}`];
}

/** Whether a segment fits the first segment of a pattern. */
export function hasRoot({ pattern }: Pick<PrefixedPattern, 'pattern'>, segment: string): boolean {
  const root = rootOf(pattern);
  if (root === '{layout}') return isLayout(segment);
  const placeholder = root.indexOf('{');
  if (placeholder === -1) return segment === root;
  return placeholder > 0 && segment.startsWith(root.slice(0, placeholder));
}

/** The first segment of a pattern. */
export function rootOf(pattern: string): string {
  return pattern.split('/')[1] ?? '';
}
