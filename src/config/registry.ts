import type { AgentOptions } from 'node:http';
import { PassthroughError } from '../errors.ts';
import { repositoryFault } from '../image/reference.ts';
import type { StaticCredentials } from '../registry/auth/credentials.ts';
import type { HostPattern } from '../registry/host-pattern.ts';
import { DOCKER_HUB, parseHost, type RegistryHost, registryHost } from '../registry/registry-host.ts';
import type { BodyLimits } from '../registry/repository-client.ts';
import type { PropagationPolicy } from '../registry/transport/traced.ts';
import type { Timeouts } from '../registry/transport/transport.ts';
import { type EnvironmentReader, invalidVariable } from './environment.ts';
import { readPropagation } from './telemetry.ts';

/** How client credentials are treated. */
export const CLIENT_AUTH_MODES = ['optional', 'required', 'off'] as const;
export type ClientAuthMode = (typeof CLIENT_AUTH_MODES)[number];

/** What is done about layers that an image keeps outside of its registry. */
export const FOREIGN_LAYER_MODES = ['refuse', 'fetch'] as const;
export type ForeignLayerMode = (typeof FOREIGN_LAYER_MODES)[number];

/** What is configured of registries and of the way to them. */
export interface RegistryConfig {
  /** Registry of `/docker/…`. */
  readonly target: RegistryHost;
  /** `REGISTRY_DEFAULT_NAMESPACE` where it is set: it also holds for registries that a request names. */
  readonly defaultNamespace: string | undefined;
  readonly credentials: StaticCredentials;
  readonly clientAuth: ClientAuthMode;
  /** Registries that a request may name; `undefined` for any. */
  readonly allowedHosts: readonly HostPattern[] | undefined;
  readonly trustedRealms: readonly HostPattern[];
  /** Registries that speak http where a reference names them without a scheme. */
  readonly plainHttpHosts: readonly HostPattern[];
  readonly foreignLayers: ForeignLayerMode;
  /** Most layers that are fetched from one registry at once. */
  readonly concurrentDownloads: number;
  readonly timeouts: Timeouts;
  readonly bodyLimits: BodyLimits;
  readonly proxyEnv: AgentOptions['proxyEnv'];
  readonly propagation: PropagationPolicy;
}

const KIB = 1024;
const MIB = 1024 * KIB;

/**
 * Reads what is configured of registries.
 *
 * @throws PassthroughError `INVALID_CONFIGURATION` naming variable, value and what is allowed
 */
export function readRegistryConfig(read: EnvironmentReader): RegistryConfig {
  const target = readTarget(read);
  return {
    target,
    defaultNamespace: readNamespace(read),
    credentials: readCredentials(read, target),
    clientAuth: read.choice('REGISTRY_CLIENT_AUTH', CLIENT_AUTH_MODES, 'optional'),
    allowedHosts:
      read.text('REGISTRY_ALLOWED_HOSTS') === undefined ? undefined : read.hosts('REGISTRY_ALLOWED_HOSTS'),
    trustedRealms: read.hosts('REGISTRY_TRUSTED_REALMS'),
    plainHttpHosts: readPlainHttpHosts(read),
    foreignLayers: read.choice('REGISTRY_FOREIGN_LAYERS', FOREIGN_LAYER_MODES, 'refuse'),
    concurrentDownloads: read.integer('MAX_CONCURRENT_DOWNLOADS', 8, 1, 1000),
    timeouts: {
      connectMs: read.milliseconds('REGISTRY_CONNECT_TIMEOUT', 10),
      responseMs: read.milliseconds('REGISTRY_RESPONSE_TIMEOUT', 30),
      stallMs: read.milliseconds('REGISTRY_STALL_TIMEOUT', 30),
    },
    bodyLimits: {
      // 4 MiB is what the distribution specification has registries take and clients expect.
      manifestBytes: read.bytes('MAX_MANIFEST_BYTES', 4 * MIB),
      configBytes: read.bytes('MAX_CONFIG_BYTES', 8 * MIB),
      tokenBytes: read.bytes('MAX_TOKEN_BYTES', 256 * KIB),
      errorBytes: read.bytes('MAX_ERROR_BYTES', 64 * KIB),
    },
    proxyEnv: readProxies(read),
    propagation: readPropagation(read),
  };
}

/** The default registry: what `REGISTRY_URL` names, with what the other variables say of it. */
function readTarget(read: EnvironmentReader): RegistryHost {
  const known = read.parsed('REGISTRY_URL', DOCKER_HUB.origin, parseRegistryUrl);
  return Object.freeze({
    ...known,
    name: read.parsed('REGISTRY_NAME', known.name, parseRegistryName),
    service: read.text('REGISTRY_SERVICE') ?? known.service,
    tokenEndpoint: readTokenEndpoint(read, known),
    defaultNamespace: readNamespace(read) ?? known.defaultNamespace,
  });
}

function parseRegistryUrl(text: string): RegistryHost {
  const { scheme, host = '' } =
    /^(?<scheme>[a-z]+):\/\/(?<host>[^/]*)\/?(?:v2\/?)?$/i.exec(text)?.groups ?? {};
  if (scheme === undefined) throw new Error('expected http://host[:port] or https://host[:port]');
  return registryHost(scheme.toLowerCase(), host);
}

/** The name stands in front of a tag as a host would; tags with any other are refused by whoever loads them. */
function parseRegistryName(text: string): string {
  parseHost(text);
  return text;
}

/** Set but empty is an answer of its own: no namespace. */
function readNamespace(read: EnvironmentReader): string | undefined {
  const text = read.raw('REGISTRY_DEFAULT_NAMESPACE');
  const fault = text === undefined || text === '' ? undefined : repositoryFault(text);
  if (fault !== undefined) throw invalidVariable('REGISTRY_DEFAULT_NAMESPACE', text ?? '', fault);
  return text;
}

/** Set but empty is an answer of its own: the registry takes Basic credentials directly. */
function readTokenEndpoint(read: EnvironmentReader, known: RegistryHost): RegistryHost['tokenEndpoint'] {
  const text = read.raw('REGISTRY_AUTH_URL');
  if (text === undefined) return known.tokenEndpoint;
  if (text === '') return 'none';
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') {
    throw invalidVariable(
      'REGISTRY_AUTH_URL',
      text,
      'expected an http or https URL without credentials, or nothing',
    );
  }
  return url;
}

/** An entry for https would never count. */
function readPlainHttpHosts(read: EnvironmentReader): readonly HostPattern[] {
  const name = 'REGISTRY_PLAIN_HTTP_HOSTS';
  const hosts = read.hosts(name);
  if (hosts.some(({ scheme }) => scheme === 'https:')) {
    throw invalidVariable(
      name,
      read.text(name) ?? '',
      'expected hosts that speak http, and one is for https',
    );
  }
  return hosts;
}

function readCredentials(read: EnvironmentReader, target: RegistryHost): StaticCredentials {
  const username = read.secret('REGISTRY_USERNAME');
  const password = read.secret('REGISTRY_PASSWORD');
  const tokenName =
    read.secret('REGISTRY_BEARER_TOKEN') === undefined ? 'REGISTRY_TOKEN' : 'REGISTRY_BEARER_TOKEN';
  const bearerToken = read.secret(tokenName);
  if (bearerToken !== undefined && !/^[\x21-\x7e]+$/.test(bearerToken)) {
    throw new PassthroughError(
      'INVALID_CONFIGURATION',
      `Cannot use ${tokenName} (its value is not shown): expected printable ASCII without spaces`,
    );
  }
  if (username?.includes(':')) {
    throw new PassthroughError(
      'INVALID_CONFIGURATION',
      'Cannot use REGISTRY_USERNAME (its value is not shown): expected no colon, at which Basic ends a user name',
    );
  }
  if (username === undefined && password !== undefined) {
    throw invalidVariable('REGISTRY_USERNAME', '', 'REGISTRY_PASSWORD is set, so a user name must be too');
  }
  return {
    bearerToken,
    basic: username === undefined ? undefined : { username, password: password ?? '' },
    boundTo: read.text('REGISTRY_URL') === undefined ? undefined : target.origin,
    hosts: read.hosts('REGISTRY_CREDENTIALS_HOSTS'),
  };
}

/**
 * The proxy variables, as Node's agents take them: in lower case too, which comes first there. An address without a scheme
 * is http, as it is to curl; Node would pass over it.
 */
function readProxies(read: EnvironmentReader): AgentOptions['proxyEnv'] {
  const cases = (name: string) => [name, name.toLowerCase()];
  const proxies = ['HTTP_PROXY', 'HTTPS_PROXY'].flatMap(cases).flatMap((name) => {
    const text = read.text(name);
    return text === undefined ? [] : [[name, parseProxy(name, text)]];
  });
  const exceptions = cases('NO_PROXY').flatMap((name) => {
    const text = read.text(name);
    return text === undefined ? [] : [[name, text]];
  });
  return proxies.length === 0 ? undefined : Object.fromEntries([...proxies, ...exceptions]);
}

function parseProxy(name: string, text: string): string {
  const address = text.includes('://') ? text : `http://${text}`;
  const url = URL.parse(address);
  if (url === null || !/^https?:$/.test(url.protocol) || url.hostname === '') {
    throw invalidVariable(name, text, 'expected the http or https address of a proxy');
  }
  return address;
}
