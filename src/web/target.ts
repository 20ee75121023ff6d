/** Turns a choice into the path under which the service has the archive, or says which field is wrong. */

import { isPassthroughError } from '../errors.ts';
import { parseNamedPlatform } from '../image/device.ts';
import { isDigest } from '../image/digest.ts';
import { formatFilename } from '../image/filename.ts';
import { formatReference, type NamedReference, parseReference, tagFault } from '../image/reference.ts';
import { type Choice, LAYOUT_CHOICES, MAX_SIZES, mayHoldCredentials } from './choice.ts';
import { readImageLine } from './image-line.ts';
import { TEXTS } from './texts.ts';

/** An archive that the service can be asked for. */
export interface Target {
  /** The image in full, without a default registry. */
  readonly reference: NamedReference;
  /** As routes for look-ups take it: `ghcr.io/org/app:1.2`. */
  readonly lookUp: string;
  /** As `/tags/` takes it. */
  readonly repository: string;
  /** Platform or device, from the field or from the pasted line; empty for the service's default. */
  readonly platform: string;
  /** Path of the archive. */
  readonly path: string;
  /** Query of the archive, with its `?`; empty if the path says all, as consoles that cannot type `?` need it. */
  readonly query: string;
  /** Name under which the archive is saved. */
  readonly filename: string;
  /** Whether a checksum of the archive can be asked for, by its ending behind the path. */
  readonly hasChecksums: boolean;
}

/** What is wrong with a field. */
export interface Fault {
  readonly field: keyof Choice;
  readonly message: string;
}

/** A target, or what is in its way; nothing of both while no image is typed. */
export interface TargetResult {
  readonly target?: Target;
  readonly faults: readonly Fault[];
}

/** Finds the archive that a choice means. */
export function targetOf(choice: Choice): TargetResult {
  const { image: text, platform: named } = readImageLine(choice.image);
  if (text === '') return { faults: [] };
  const faults: Fault[] = [];
  const platform = choice.platform === '' ? (named ?? '') : choice.platform;
  const reference = tryField('image', faults, () => readReference(text));
  if (platform !== '') tryField('platform', faults, () => readPlatform(platform));
  // A package is always whole, and its form shows no base.
  const since = tryField('since', faults, () => readBase(choice.layout === 'iox' ? '' : choice.since));
  faults.push(...sizeFaults(choice));
  if (platform.toLowerCase() === 'all' && choice.layout !== 'oci')
    faults.push({ field: 'platform', message: TEXTS.faults.allPlatforms });
  if (reference === undefined || since === undefined || faults.length > 0) return { faults };
  const written = targetFor(choice, reference, platform, since);
  return 'target' in written ? { ...written, faults } : { faults: [written] };
}

/** The reference of a text, with the rule that it breaks in words for its field. */
function readReference(text: string): NamedReference {
  if (mayHoldCredentials(text)) throw new Error(TEXTS.faults.credentials);
  if (/\s/.test(text)) throw new Error(TEXTS.faults.space);
  if (/^https?:\/\//i.test(text)) throw new Error(TEXTS.faults.address);
  return parseReference(text);
}

function readPlatform(text: string) {
  if (mayHoldCredentials(text)) throw new Error(TEXTS.faults.credentials);
  return parseNamedPlatform(text);
}

/** A base of an update: a part of a path, or a reference for the query. */
type Base = { readonly path: string } | { readonly named: NamedReference } | 'none';

function readBase(text: string): Base {
  const since = text.trim();
  if (since === '') return 'none';
  if (mayHoldCredentials(since)) throw new Error(TEXTS.faults.credentials);
  const digest = since.replace(/^@/, '').replace('=', ':');
  if (isDigest(digest)) return { path: digest.replace(':', '=') };
  if (/[/:@]/.test(since)) return { named: parseReference(since) };
  const fault = tagFault(since);
  if (fault !== undefined) throw new Error(fault);
  return { path: since };
}

const SIZES = ['cpu', 'memory', 'space'] as const;

function isCustom({ layout, profile }: Choice): boolean {
  return layout === 'iox' && profile === 'custom';
}

function sizeFaults(choice: Choice): readonly Fault[] {
  const wrong = isCustom(choice) ? SIZES.filter((name) => !isSize(choice[name], MAX_SIZES[name])) : [];
  return wrong.map((field) => ({ field, message: TEXTS.faults.size(MAX_SIZES[field]) }));
}

function isSize(text: string, max: number): boolean {
  return /^\d{1,9}$/.test(text) && Number(text) >= 1 && Number(text) <= max;
}

/** First segments of paths that are those of the service's other routes, besides the names of layouts. */
const ROUTE_WORDS: ReadonlySet<string> = new Set([
  ...LAYOUT_CHOICES,
  ...'registry registry-auth manifest tags prepare preparations status policy health ready'.split(' '),
  ...'platform since early profile'.split(' '),
]);

/** Whether the path of a reference without a host is taken for that of another route. */
function isOtherRoute(reference: string): boolean {
  const [first = '', ...rest] = reference.split('/');
  return rest.length === 0 ? first.startsWith('bundle.') : ROUTE_WORDS.has(first);
}

function targetFor(
  choice: Choice,
  reference: NamedReference,
  platform: string,
  base: Base,
): { readonly target: Target } | Fault {
  const isGzip = isGzipped(choice);
  const stem = formatFilename(chosenVersion(reference))?.replace(/\.tar$/, '');
  const ending = isGzip ? '.tgz' : '.tar';
  const query = new URLSearchParams();
  let segments: readonly string[];
  if (stem !== undefined) {
    segments = [
      ...(platform === '' ? [] : ['platform', ...platform.split('/')]),
      ...(base !== 'none' && 'path' in base ? ['since', base.path] : []),
      ...(isEarly(choice) ? ['early'] : []),
      ...profileSegments(choice),
      ...registrySegments(choice, reference),
      ...[choice.layout, `${stem}${ending}`],
    ];
  } else if (reference.host !== undefined && choice.scheme === 'http') {
    return { field: 'scheme', message: TEXTS.faults.httpByReference };
  } else {
    const name = formatted(reference);
    if (isOtherRoute(name)) return { field: 'image', message: TEXTS.faults.route };
    segments = name.split('/');
    if (platform !== '') query.set('platform', platform);
    if (choice.layout !== 'docker') query.set('layout', choice.layout);
    if (!isGzip) query.set('format', 'tar');
    if (base !== 'none' && 'path' in base) query.set('since', base.path.replace('=', ':'));
    if (isEarly(choice)) query.set('start', 'early');
    const [, profile, cpu, memory, disk] = profileSegments(choice);
    for (const [name, value] of Object.entries({ profile, cpu, memory, disk }))
      if (value !== undefined) query.set(name, value);
  }
  if (base !== 'none' && 'named' in base) query.set('since', formatted(base.named));
  return {
    target: {
      ...{ reference, platform, lookUp: formatted(reference), hasChecksums: stem !== undefined },
      repository:
        reference.host === undefined ? reference.repository : `${reference.host}/${reference.repository}`,
      path: `/${(stem === undefined ? segments.map(encodeReference) : segments.map(encodeSegment)).join('/')}`,
      query: query.size === 0 ? '' : `?${query}`,
      filename: savedName(reference, stem, base) + ending,
    },
  };
}

/** Packages and gzip are asked for together only where that saves something: a package is gzipped inside. */
function isGzipped({ layout, format }: Choice): boolean {
  return format === 'tgz' && layout !== 'iox';
}

/** The prefix for the size of an application. */
function profileSegments(choice: Choice): readonly string[] {
  const { layout, profile, cpu, memory, space } = choice;
  if (layout !== 'iox' || profile === '') return [];
  return ['profile', profile, ...(isCustom(choice) ? [cpu, memory, space] : [])];
}

function isEarly({ layout, start }: Choice): boolean {
  return start === 'early' && layout !== 'iox';
}

/** The tag or the digest. A filename holds one of them, and only a digest pins the image. */
function chosenVersion({ repository, tag, digest }: NamedReference) {
  if (digest === undefined) return { repository, ...(tag !== undefined && { tag }) };
  return { repository, digest, ...(tag !== undefined && { tag }) };
}

function registrySegments({ credentials, scheme }: Choice, { host }: NamedReference): readonly string[] {
  if (host === undefined) return [];
  return [credentials === 'client' ? 'registry-auth' : 'registry', scheme, host];
}

/** A reference as it is typed. */
function formatted({ host, repository, tag, digest }: NamedReference): string {
  const version = { ...(tag !== undefined && { tag }), ...(digest !== undefined && { digest }) };
  const full = formatReference({ registryName: host ?? '', repository, ...version });
  return host === undefined ? full.slice(1) : full;
}

/** The name that the service gives the file, without its ending, so that its checksum line names the file, too. */
function savedName(reference: NamedReference, stem: string | undefined, base: Base): string {
  const update = base === 'none' ? '' : `_since_${baseVersion(base, reference)}`;
  return `${stem ?? readableStem(reference)}${update}`;
}

/** A name in the spelling of filenames, also where their grammar cannot express it. */
function readableStem({ repository, tag, digest }: NamedReference): string {
  const short = repository.replace(/^library\//, '');
  const version = tag ?? digest?.replace(':', '=') ?? 'latest';
  const written = formatFilename({ repository: short, tag: version })?.replace(/\.tar$/, '');
  return written ?? `${short.replaceAll('/', '__')}_${version}`;
}

function baseVersion(base: Exclude<Base, 'none'>, { repository }: NamedReference): string {
  if ('path' in base) return base.path;
  const { named } = base;
  return named.repository === repository
    ? (named.tag ?? named.digest?.replace(':', '=') ?? 'latest')
    : readableStem(named);
}

/** References are for clients that type `?`, too: they keep their colon. */
function encodeReference(segment: string): string {
  return encodeSegment(segment).replaceAll('%3A', ':');
}

/** Path segments keep what consoles can type; `:` is written as `%3A`, which every client takes. */
function encodeSegment(segment: string): string {
  return encodeURIComponent(segment).replaceAll('%3D', '=').replaceAll('%40', '@');
}

/** Runs a parser. Its error becomes the fault of a field, without the part that repeats what was typed. */
function tryField<T>(field: keyof Choice, faults: Fault[], read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const hints = isPassthroughError(error) ? (error.details.hints ?? []) : [];
    faults.push({ field, message: sentence([shortened(error.message), ...hints].join('. ')) });
    return undefined;
  }
}

/** `Cannot parse reference "x:": tag is empty` → `tag is empty`. */
function shortened(message: string): string {
  return message.replace(/^Cannot parse (?:reference|platform)(?: "(?:[^"\\]|\\.)*")?: /, '');
}

function sentence(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;
}
