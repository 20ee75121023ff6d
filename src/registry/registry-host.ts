import { isIPv4, isIPv6 } from 'node:net';
import { PassthroughError } from '../errors.ts';
import { DOCKER_HUB_NAME } from '../image/reference.ts';
import { quoted } from '../util/printable.ts';

/** A registry, and its settings for the first request. */
export interface RegistryHost {
  /** Name in tags, logs and telemetry. */
  readonly name: string;
  /** Origin of the V2 API: scheme, host and port, no path. */
  readonly origin: string;
  /**
   * Token endpoint: a URL if it is configured or known; `discover` if the registry's challenge names it; `none` if the
   * registry takes Basic credentials directly.
   */
  readonly tokenEndpoint: URL | 'discover' | 'none';
  /** Service of token requests, unless a challenge names one. */
  readonly service: string;
  /** Prefix of image names that have one component; empty for none. */
  readonly defaultNamespace: string;
}

const DOCKER_HUB_API = 'https://registry-1.docker.io';
const DOCKER_HUB_ALIASES = new Set(['docker.io', 'index.docker.io', 'registry-1.docker.io']);

/** Longest host name in DNS: https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4 */
const MAX_HOSTNAME_LENGTH = 253;

/** A DNS label. Container networks also use underscores. */
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/i;

/**
 * The registry at `{scheme}://{host}`. Docker Hub's three names mean its API over https, with either scheme.
 *
 * @param scheme `http` or `https`
 * @param host DNS name, IPv4 address or bracketed IPv6 address, with an optional port
 * @throws PassthroughError `INVALID_REGISTRY` naming the part that is wrong
 */
export function registryHost(scheme: string, host: string): RegistryHost {
  const { hostname, port } = parseHost(host);
  if (scheme !== 'http' && scheme !== 'https') {
    throw invalidRegistry(`scheme ${quoted(scheme)}`, 'expected http or https');
  }
  if (isDockerHub(hostname, port, scheme)) return DOCKER_HUB;
  const url = new URL(`${scheme}://${hostname}${port === undefined ? '' : `:${port}`}`);
  return Object.freeze({
    name: url.host,
    origin: url.origin,
    tokenEndpoint: 'discover',
    service: url.host,
    defaultNamespace: '',
  });
}

/** Docker Hub. Its token endpoint is known without a challenge. */
export const DOCKER_HUB: RegistryHost = Object.freeze({
  name: DOCKER_HUB_NAME,
  origin: DOCKER_HUB_API,
  tokenEndpoint: new URL('https://auth.docker.io/token'),
  service: 'registry.docker.io',
  defaultNamespace: 'library',
});

function isDockerHub(hostname: string, port: number | undefined, scheme: string): boolean {
  const isDefaultPort = port === undefined || port === (scheme === 'https' ? 443 : 80);
  return isDefaultPort && DOCKER_HUB_ALIASES.has(hostname);
}

/**
 * Parses `host[:port]` of a request.
 *
 *     host ::= name | IPv4 | "[" IPv6 "]"
 *
 * @returns the host in lower case, as in `URL.hostname`, and the port if one is given
 * @throws PassthroughError `INVALID_REGISTRY` for userinfo, path, empty parts, control characters, a port out of range
 */
export function parseHost(host: string): { readonly hostname: string; readonly port: number | undefined } {
  const fail = (why: string) => invalidRegistry(`host ${quoted(host)}`, why);
  if (host === '') throw fail('it is empty');
  // Not quoted: the text before the @ may be a password, and errors are logged.
  if (host.includes('@')) throw invalidRegistry('host', 'credentials do not belong in the address');
  if (isIPv6(host)) throw fail('an IPv6 address must stand in brackets');

  const { name = '', port: portText } =
    /^(?<name>\[[^\]]*\]|[^:]*)(?::(?<port>.*))?$/s.exec(host)?.groups ?? {};
  if (!isHostname(name)) throw fail('expected a DNS name or an IP address, with an optional port');
  let port: number | undefined;
  if (portText !== undefined) {
    port = /^\d{1,5}$/.test(portText) ? Number(portText) : 0;
    if (port < 1 || port > 65_535) throw fail('the port must be a number from 1 to 65535');
  }
  return { hostname: new URL(`http://${name}`).hostname.replace(/\.$/, ''), port };
}

function isHostname(name: string): boolean {
  if (name.startsWith('[')) return URL.canParse(`http://${name}`);
  if (name.length > MAX_HOSTNAME_LENGTH) return false;
  const labels = name.replace(/\.$/, '').split('.');
  if (!labels.every((label) => LABEL.test(label))) return false;
  // A name whose last label is a number is an IPv4 address to a URL parser, in octal and hexadecimal too. Only the
  // plain dotted form is accepted. https://url.spec.whatwg.org/#ends-in-a-number-checker
  return /^(?:\d+|0x[0-9a-f]*)$/i.test(labels.at(-1) ?? '') ? isIPv4(name) : true;
}

function invalidRegistry(part: string, why: string): PassthroughError {
  return new PassthroughError('INVALID_REGISTRY', `Cannot parse registry ${part}: ${why}`);
}
