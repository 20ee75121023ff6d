import { isIP } from 'node:net';

/** What one proxy says of the connection to it. */
export interface Hop {
  /**
   * The client of the proxy: an IP address; a name that the proxy has made up, such as `_a1`; {@link UNKNOWN} if it does not say, or
   * says something else.
   */
  readonly client: string;
  /** The scheme that the client has used. */
  readonly scheme: 'http' | 'https' | undefined;
  /** The host that the client has asked for. */
  readonly host: string | undefined;
}

/** The client of a proxy that names none: https://www.rfc-editor.org/rfc/rfc7239#section-6.2 */
const UNKNOWN = 'unknown';

/** Longest made-up name, in characters: it is a key of limits, and stands in the log. */
const MAX_NAME_LENGTH = 64;

/** A name that a proxy has made up: https://www.rfc-editor.org/rfc/rfc7239#section-6.3 */
const OBFUSCATED = /^_[\w.-]+$/;

/** One parameter, up to its name and `=`. */
const NAME = /[ \t]*([!#$%&'*+.^_`|~\dA-Za-z-]+)=/y;

/** The value of a parameter. Colons and brackets without quotes are against the grammar, and some proxies send them. */
const VALUE = /"((?:[^"\\]|\\.)*)"|([^\s",;=]+)/y;

/** What separates parameters and elements. */
const SEPARATOR = /[ \t]*([,;]|$)/y;

/**
 * Parses `Forwarded`.
 *
 *     Forwarded        = [ element ] *( OWS "," OWS [ element ] )
 *     element          = [ pair ] *( ";" [ pair ] )
 *     pair             = token "=" ( token / quoted-string )
 *
 * @param text all lines of the field, joined by commas
 * @returns one hop for each element, the nearest proxy last; `undefined` for a text against the grammar. No part of such a text
 *   counts: a client may send an open quotation mark, and then what the proxy has appended is text in quotes
 * @see https://www.rfc-editor.org/rfc/rfc7239#section-4
 */
export function parseForwarded(text: string): readonly Hop[] | undefined {
  const hops: Hop[] = [];
  let pairs = new Map<string, string>();
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match !== null) at = pattern.lastIndex;
    return match;
  };
  for (;;) {
    const name = take(NAME)?.[1]?.toLowerCase();
    if (name !== undefined) {
      const value = take(VALUE);
      if (value === null || pairs.has(name)) return undefined;
      pairs.set(name, value[1]?.replaceAll(/\\(.)/g, '$1') ?? value[2] ?? '');
    }
    const separator = take(SEPARATOR)?.[1];
    if (separator === undefined) return undefined;
    if (separator === ';') continue;
    if (pairs.size > 0) hops.push(hopOf(pairs.get('for'), pairs.get('proto'), pairs.get('host')));
    if (separator === '') return hops;
    pairs = new Map();
  }
}

/** The fields that proxies had before `Forwarded`. Each has all its lines, joined by commas. */
export interface LegacyFields {
  readonly addresses: string;
  readonly schemes: string | undefined;
  readonly hosts: string | undefined;
}

/**
 * Parses `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`. The last two belong to the addresses from the right; a
 * list that is shorter than that of the addresses says the same of all that are left.
 *
 * @returns one hop for each address, the nearest proxy last
 * @see https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/X-Forwarded-For
 */
export function parseForwardedFor({ addresses, schemes, hosts }: LegacyFields): readonly Hop[] {
  const clients = listOf(addresses);
  const [schemeAt, hostAt] = [fromTheRight(listOf(schemes)), fromTheRight(listOf(hosts))];
  return clients.map((client, at) => {
    const place = clients.length - at;
    return hopOf(client, schemeAt(place), hostAt(place));
  });
}

function hopOf(node: string | undefined, scheme: string | undefined, host: string | undefined): Hop {
  const lower = scheme?.toLowerCase();
  return {
    client: clientOfNode(node ?? ''),
    scheme: lower === 'https' || lower === 'http' ? lower : undefined,
    host,
  };
}

/** The address of a node without its port. https://www.rfc-editor.org/rfc/rfc7239#section-6 */
function clientOfNode(node: string): string {
  const bare = node.replace(/:(?:\d{1,5}|_[\w.-]+)$/, '');
  if (node.length <= MAX_NAME_LENGTH && OBFUSCATED.test(bare)) return bare;
  // Without brackets, the last group of an IPv6 address looks like a port.
  const candidates = [node, bare, bare.replace(/^\[(.*)\]$/, '$1')];
  // A zone is one of the proxy's machine.
  const address = candidates.find((one) => isIP(one) !== 0 && !one.includes('%'));
  return address?.toLowerCase() ?? UNKNOWN;
}

/** The elements of a list without the empty ones: https://www.rfc-editor.org/rfc/rfc9110#section-5.6.1.2 */
function listOf(text = ''): readonly string[] {
  return text
    .split(',')
    .map((element) => element.trim())
    .filter((element) => element !== '');
}

function fromTheRight(list: readonly string[]): (place: number) => string | undefined {
  return (place) => list[Math.max(0, list.length - place)];
}
