import { BlockList, isIPv4, isIPv6 } from 'node:net';
import { type HostPattern, matchesHost } from './host-pattern.ts';
import { parseHost, type RegistryHost, registryHost } from './registry-host.ts';

/**
 * https://www.rfc-editor.org/rfc/rfc6890#section-2.2.2 and
 * https://www.rfc-editor.org/rfc/rfc4291#section-2.5.3
 */
const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/**
 * The registry that a reference names by its host alone, as in `ghcr.io/org/app:1`: over https, but over http
 * on this machine and where the operator says so. Docker Hub's names mean Docker Hub, whatever a list says.
 *
 * @param host DNS name, IPv4 address or bracketed IPv6 address, with an optional port
 * @param plainHttpHosts hosts that speak http: `REGISTRY_PLAIN_HTTP_HOSTS`
 * @throws PassthroughError `INVALID_REGISTRY` naming the part that is wrong
 */
export function registryHostOfName(host: string, plainHttpHosts: readonly HostPattern[]): RegistryHost {
  const { hostname, port } = parseHost(host);
  const plain = new URL(`http://${hostname}${port === undefined ? '' : `:${port}`}`);
  const isPlain = isLoopback(hostname) || plainHttpHosts.some((pattern) => matchesHost(pattern, plain));
  return registryHost(isPlain ? 'http' : 'https', host);
}

/** Whether a host is this machine by its name or address: https://www.rfc-editor.org/rfc/rfc6761#section-6.3 */
function isLoopback(hostname: string): boolean {
  if (hostname === 'localhost' || hostname.endsWith('.localhost')) return true;
  const address = hostname.replace(/^\[|\]$/g, '');
  if (isIPv4(address)) return LOOPBACK.check(address, 'ipv4');
  return isIPv6(address) && LOOPBACK.check(address, 'ipv6');
}
