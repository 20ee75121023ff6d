import { PassthroughError } from '../errors.ts';
import { parseHost, registryHost } from './registry-host.ts';

/** One entry of a list of hosts: `ghcr.io`, `*.example.com`, `10.0.0.5:5000`, `http://lab.example.com`. */
export interface HostPattern {
  /** Scheme that the entry is limited to, with its colon, as in `URL.protocol`. */
  readonly scheme: 'http:' | 'https:' | undefined;
  /** Host name or address in lower case; of a wildcard, the part behind `*.`. */
  readonly hostname: string;
  readonly isWildcard: boolean;
  /** Port that the entry is limited to. */
  readonly port: number | undefined;
}

/**
 * Reads one entry.
 *
 *     entry ::= [ ("http" | "https") "://" ] [ "*." ] host [ ":" port ]
 *
 * Docker Hub's three names are one: each means the host of its API.
 *
 * @throws PassthroughError `INVALID_REGISTRY` naming the part that is wrong
 */
export function parseHostPattern(text: string): HostPattern {
  const { scheme, rest = '' } = /^(?:(?<scheme>[a-z]+):\/\/)?(?<rest>.*)$/is.exec(text)?.groups ?? {};
  const protocol = scheme?.toLowerCase();
  if (protocol !== undefined && protocol !== 'http' && protocol !== 'https') {
    throw new PassthroughError(
      'INVALID_REGISTRY',
      `Cannot parse host ${JSON.stringify(text)}: expected http or https`,
    );
  }
  const isWildcard = rest.startsWith('*.');
  const { hostname, port } = parseHost(isWildcard ? rest.slice(2) : rest);
  const canonical =
    isWildcard || port !== undefined ? hostname : new URL(registryHost('https', hostname).origin).hostname;
  return { scheme: protocol && `${protocol}:`, hostname: canonical, isWildcard, port };
}

/**
 * Whether an entry covers an address. Without a scheme it covers both, without a port every port; `*.example.com`
 * covers any name below `example.com`, not that name itself.
 */
export function matchesHost(pattern: HostPattern, address: URL): boolean {
  const port = address.port === '' ? (address.protocol === 'https:' ? 443 : 80) : Number(address.port);
  return (
    (pattern.scheme === undefined || pattern.scheme === address.protocol) &&
    (pattern.port === undefined || pattern.port === port) &&
    (pattern.isWildcard
      ? address.hostname.endsWith(`.${pattern.hostname}`)
      : address.hostname === pattern.hostname)
  );
}
