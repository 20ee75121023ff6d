/** Paths that fit the route of a reference and name no image: those of probes and browsers, and mistyped paths of other routes. */

import { LAYOUTS } from '../../archive/archive.ts';
import { PassthroughError } from '../../errors.ts';
import { printable } from '../../util/printable.ts';
import { editDistance, nearest } from '../../util/text/nearest.ts';
import { mayHoldCredentials } from './path.ts';

/** Paths that monitors, browsers and scanners request from every server, and routes of other kinds of servers. */
const PROBES = new Set([
  ...[
    'metrics',
    'healthz',
    'readyz',
    'livez',
    'health-check',
    'healthcheck',
    'liveness',
    'readiness',
    '_ping',
  ],
  ...['favicon.ico', 'robots.txt', 'server-status', 'server-info', 'nginx_status', 'wp-admin', 'wp-login'],
  ...['actuator', 'status'],
]);

/** First segments that stand for all paths below them. `v2` is that of registries, for which no client should take this service. */
const PROBED_FOLDERS = new Set([
  'actuator',
  'cgi-bin',
  'v1',
  'v2',
  'wp-admin',
  'wp-content',
  'wp-includes',
  'wp-json',
]);

/** Endings of files that browsers and scanners request. No ending that images have, such as `.sh` of `acme.sh`. */
const FILE =
  /\.(?:php\d?|phtml|s?html?|xhtml|m?js|css|map|txt|xml|json|ya?ml|ini|conf|cfg|env|ico|png|jpe?g|gif|svg|webp|woff2?|ttf|eot|aspx?|ashx|jspx?|cgi|bak|old|orig|swp|sql|sqlite|log|csv|pdf|webmanifest|zip|rar|7z)$/;

/** Endings of archives and of their checksums. */
const ARCHIVE = /\.(?:tar|tar\.gz|tgz)(?:\.(?:sha256|sha512|md5))?$/;

/** Shortest name for which two edits are a near miss, in characters; one edit is for the others. */
const LONG_NAME = 8;

/** Routes of one segment. */
const WORDS = ['health', 'ready'];

/** First segments of routes that look an image up, or tell about it, and of those about a preparation. */
const LOOKUPS = ['manifest', 'tags', 'policy', 'preparations'];

/** First segments of routes with an archive at their end. */
const ARCHIVE_ROOTS = [
  ...LAYOUTS,
  'registry',
  'registry-auth',
  'platform',
  'since',
  'early',
  'profile',
  'prepare',
];

/**
 * Tells why a path that fits no other route names no image, if it does not. Only references without tag, digest and host are judged:
 * with one of them, an image is meant.
 *
 * @param encoded segments of the path
 * @returns the error `NOT_FOUND`, with a hint; `undefined` if the path may name an image
 */
export function imageFault(encoded: readonly string[]): PassthroughError | undefined {
  const segments = encoded.map(decoded);
  // Browsers and scanners add a slash.
  if (segments.length > 1 && segments.at(-1) === '') segments.pop();
  const [first = '', ...rest] = segments;
  const last = segments.at(-1) ?? '';
  if (/[:@]/.test(last) || segments.includes('')) return undefined;
  if (segments.some((segment) => /^\.[^.]/.test(segment))) return notFound();
  const isHost = rest.length > 0 && (first === 'localhost' || /[.:A-Z]/.test(first));
  // `index.php/x` is a path of such a file, and no host is called so.
  if (isHost) return FILE.test(first.toLowerCase()) && first.split('.').length === 2 ? notFound() : undefined;

  const meant = meantBy(segments);
  if (meant !== undefined) return notFound(meant);
  const path = segments.join('/').toLowerCase();
  const isProbe = PROBES.has(path) || (encoded.length > 1 && PROBED_FOLDERS.has(first));
  if (isProbe) return notFound(undefined, `/${path}:latest`);
  return FILE.test(last.toLowerCase()) ? notFound() : undefined;
}

/** The path of a route that a mistyped path means; `undefined` if it is no near miss. */
function meantBy(segments: readonly string[]): string | undefined {
  const [first = '', ...rest] = segments;
  const last = segments.at(-1) ?? '';
  const behind = (root: string) => `/${[root, ...rest].join('/')}`;
  if (ARCHIVE.test(last)) {
    if (rest.length === 0)
      return isNear(stemOf(last), 'bundle') ? `/bundle${last.slice(stemOf(last).length)}` : `/docker/${last}`;
    return behind(nearest(first, ARCHIVE_ROOTS, editsOf) ?? 'docker');
  }
  if (rest.length === 0) {
    // An added letter makes another word, such as `healthy`.
    const word = WORDS.find((route) => isNear(first, route) && !first.startsWith(route));
    return word === undefined ? undefined : `/${word}`;
  }
  const isRegistry = rest[0] === 'http' || rest[0] === 'https';
  const root = nearest(first, isRegistry ? ['registry', 'registry-auth'] : LOOKUPS, editsOf);
  return root === undefined ? undefined : behind(root);
}

function editsOf({ length }: { readonly length: number }): number {
  return length < LONG_NAME ? 1 : 2;
}

function isNear(word: string, route: string): boolean {
  return editDistance(word, route) <= editsOf(route);
}

function stemOf(filename: string): string {
  return filename.replace(ARCHIVE, '');
}

/** @param tagged path under which an image of this name can be had */
function notFound(meant?: string, tagged?: string): PassthroughError {
  const isShown = meant !== undefined && !mayHoldCredentials(meant);
  const why = isShown ? `did you mean ${printable(meant)}?` : 'GET / tells which there are';
  const hints =
    tagged === undefined ? [] : [`If an image has this name, ask for it with its tag: ${printable(tagged)}`];
  return new PassthroughError('NOT_FOUND', `No route has this path: ${why}`, { hints });
}

/** A segment as text; unchanged if it is malformed, which its parser refuses. */
function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
