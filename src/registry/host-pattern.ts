import { PassthroughError } from '../errors.ts';
import { quoted } from '../util/printable.ts';
import { parseHost, registryHost } from './registry-host.ts';

/** An entry of a list of hosts: `ghcr.io`, `*.example.com`, `10.0.0.5:5000`, `http://lab.example.com`. */
export interface HostPattern {
  /** Scheme that the entry is limited to, in the form of `URL.protocol`; `undefined` matches both. */
  readonly scheme: 'http:' | 'https:' | undefined;
  /** Host name or address in lower case; for a wildcard, the part after `*.`. */
  readonly hostname: string;
  readonly isWildcard: boolean;
  /** Port that the entry is limited to; `undefined` matches all. */
  readonly port: number | undefined;
}

/**
 * Parses one entry.
 *
 *     entry ::= [ ("http" | "https") "://" ] [ "*." ] host [ ":" port ]
 *
 * Each of Docker Hub's three names matches the host of its API.
 *
 * @throws PassthroughError `INVALID_REGISTRY` naming the part that is wrong
 */
export function parseHostPattern(text: string): HostPattern {
  const { scheme, rest = '' } = /^(?:(?<scheme>[a-z]+):\/\/)?(?<rest>.*)$/is.exec(text)?.groups ?? {};
  const protocol = scheme?.toLowerCase();
  if (protocol !== undefined && protocol !== 'http' && protocol !== 'https') {
    throw new PassthroughError(
      'INVALID_REGISTRY',
      `Cannot parse host ${quoted(text)}: expected http or https`,
    );
  }
  const isWildcard = rest.startsWith('*.');
  const { hostname, port } = parseHost(isWildcard ? rest.slice(2) : rest);
  const canonical =
    isWildcard || port !== undefined ? hostname : new URL(registryHost('https', hostname).origin).hostname;
  return { scheme: protocol && `${protocol}:`, hostname: canonical, isWildcard, port };
}

/**
 * Whether an entry matches the scheme, host and port of a URL. `*.example.com` matches all names below `example.com`,
 * but not `example.com`.
 */
export function matchesHost(pattern: HostPattern, url: URL): boolean {
  const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);
  return (
    (pattern.scheme === undefined || pattern.scheme === url.protocol) &&
    (pattern.port === undefined || pattern.port === port) &&
    (pattern.isWildcard ? url.hostname.endsWith(`.${pattern.hostname}`) : url.hostname === pattern.hostname)
  );
}
