import { BlockList, isIPv4, isIPv6 } from 'node:net';
import { PassthroughError } from '../errors.ts';
import { quoted } from '../util/printable.ts';
import { type HostPattern, matchesHost } from './host-pattern.ts';
import { DOCKER_HUB, parseHost, type RegistryHost, registryHost } from './registry-host.ts';

/** Which registries a request may use. */
export interface HostPolicy {
  /** The configured registry: for requests that name none. */
  readonly defaultHost: RegistryHost;
  /** Default namespace of the registries that a request names; none if `undefined`. Docker Hub keeps its own. */
  readonly defaultNamespace: string | undefined;
  /** Registries that a request may name; `undefined` allows all. A request that names none needs no entry. */
  readonly allowedHosts: readonly HostPattern[] | undefined;
  /** Registries that speak http, for references, which have no scheme. */
  readonly plainHttpHosts: readonly HostPattern[];
}

/**
 * Loopback addresses: https://www.rfc-editor.org/rfc/rfc6890#section-2.2.2 and
 * https://www.rfc-editor.org/rfc/rfc4291#section-2.5.3
 */
const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/**
 * Selects the registry of a request that names it by scheme and host. The address of the default registry selects the
 * default registry with its configured name, token endpoint and namespace.
 *
 * @param named `undefined` selects the default registry
 * @throws PassthroughError `INVALID_REGISTRY`; `REGISTRY_NOT_ALLOWED` if the list of allowed registries has no such entry
 */
export function selectHost(
  named: { readonly scheme: string; readonly host: string } | undefined,
  policy: HostPolicy,
): RegistryHost {
  return named === undefined
    ? policy.defaultHost
    : checkAllowed(registryHost(named.scheme, named.host), policy);
}

/**
 * Selects the registry of an image reference. A reference has no scheme: the default registry keeps its configured
 * scheme, and {@link registryHostOfName} chooses the scheme of any other.
 *
 * @param host the host part of the reference; `undefined` selects the default registry
 * @throws PassthroughError as {@link selectHost}
 */
export function selectHostOfReference(host: string | undefined, policy: HostPolicy): RegistryHost {
  const { defaultHost } = policy;
  if (host === undefined) return defaultHost;
  const named = registryHostOfName(host, policy.plainHttpHosts);
  const isDefault = new URL(named.origin).host === new URL(defaultHost.origin).host;
  return checkAllowed(isDefault ? defaultHost : named, policy);
}

/**
 * The registry at a host without a scheme, as in `ghcr.io/org/app:1`: https, but http on loopback and for the listed
 * hosts. Docker Hub's names mean Docker Hub even if they are listed.
 *
 * @param host DNS name, IPv4 address or bracketed IPv6 address, with an optional port
 * @param plainHttpHosts hosts that speak http
 * @throws PassthroughError `INVALID_REGISTRY` naming the part that is wrong
 */
export function registryHostOfName(host: string, plainHttpHosts: readonly HostPattern[]): RegistryHost {
  const { hostname, port } = parseHost(host);
  const plain = new URL(`http://${hostname}${port === undefined ? '' : `:${port}`}`);
  const isPlain = isLoopback(hostname) || plainHttpHosts.some((pattern) => matchesHost(pattern, plain));
  return registryHost(isPlain ? 'http' : 'https', host);
}

/** Checks a host that a request names, and adds what is configured for it. */
function checkAllowed(host: RegistryHost, policy: HostPolicy): RegistryHost {
  const { defaultHost, defaultNamespace = '', allowedHosts } = policy;
  const url = new URL(host.origin);
  if (allowedHosts !== undefined && !allowedHosts.some((pattern) => matchesHost(pattern, url))) {
    throw new PassthroughError(
      'REGISTRY_NOT_ALLOWED',
      `Cannot use registry ${quoted(host.name)}: it is not in the list of allowed registries`,
      { setting: 'allowedHosts' },
    );
  }
  if (host.origin === defaultHost.origin) return defaultHost;
  return host.origin === DOCKER_HUB.origin ? host : { ...host, defaultNamespace };
}

/** Whether a host is loopback by name or address: https://www.rfc-editor.org/rfc/rfc6761#section-6.3 */
export function isLoopback(hostname: string): boolean {
  if (hostname === 'localhost' || hostname.endsWith('.localhost')) return true;
  const address = hostname.replace(/^\[|\]$/g, '');
  if (isIPv4(address)) return LOOPBACK.check(address, 'ipv4');
  return isIPv6(address) && LOOPBACK.check(address, 'ipv6');
}
