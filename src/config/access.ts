import { type HostPattern, parseHostPattern } from '../registry/host-pattern.ts';
import { type Networks, parseNetworks } from '../util/network/networks.ts';
import { quoted } from '../util/printable.ts';
import type { EnvironmentReader } from './environment.ts';

/** A host that the service answers for: `pull.example.com`, `pull.example.com:8080`, `*.example.com`, `10.0.0.5`. */
export type AllowedHost = Omit<HostPattern, 'scheme'>;

/** Who may ask, and from which pages. */
export interface AccessConfig {
  /** Networks of those who may see `/status` and `/policy`. */
  readonly statusNetworks: Networks;
  /** Origins of pages, other than those of the service, that may use it: `https://docs.example.com`. */
  readonly pageOrigins: readonly string[];
  /** Hosts that the service answers for; empty for all. */
  readonly hosts: readonly AllowedHost[];
}

/** Reads the variables that say who may ask. */
export function readAccess(read: EnvironmentReader): AccessConfig {
  return {
    statusNetworks: read.parsed('STATUS_ALLOWED_NETWORKS', '127.0.0.0/8,::1', parseNetworks),
    pageOrigins: read.parsed('PAGE_ORIGINS', '', (text) => entriesOf(text).map(parseOrigin)),
    hosts: read.parsed('HTTP_ALLOWED_HOSTS', '', (text) => entriesOf(text).map(parseAllowedHost)),
  };
}

function entriesOf(text: string): readonly string[] {
  // The parsers quote what they cannot parse.
  if (text.includes('@')) throw new Error('expected a list without credentials');
  const entries = text.split(',').map((entry) => entry.trim());
  return entries.filter((entry) => entry !== '');
}

/**
 * Parses an origin as a browser sends it.
 *
 * @throws Error for anything more, `null` and wildcards
 * @see https://www.rfc-editor.org/rfc/rfc6454#section-6.2
 */
function parseOrigin(text: string): string {
  const url = URL.parse(text);
  const isOrigin =
    url !== null &&
    /^https?:$/.test(url.protocol) &&
    // Only the case, a slash at the end and the scheme's own port may differ from the origin.
    [url.origin, `${url.origin}:${url.protocol === 'https:' ? 443 : 80}`].includes(
      text.toLowerCase().replace(/\/$/, ''),
    );
  if (!isOrigin || url.hostname.includes('*'))
    throw new Error(`${quoted(text)} is no origin, such as https://docs.example.com`);
  return url.origin;
}

function parseAllowedHost(text: string): AllowedHost {
  const { scheme, hostname, isWildcard, port } = parseHostPattern(text);
  // Behind a proxy that speaks https, the service does not know the scheme.
  if (scheme !== undefined) throw new Error(`${quoted(text)} has a scheme: expected a host alone`);
  return { hostname, isWildcard, port };
}
