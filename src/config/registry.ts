import type { AgentOptions } from 'node:http';
import { repositoryFault } from '../image/reference.ts';
import { DEFAULT_OPTIONS, type RegistryOptions } from '../pull/options.ts';
import type { CredentialNames } from '../pull/policy/credentials.ts';
import type { HostPattern } from '../registry/host-pattern.ts';
import { DOCKER_HUB, parseHost, type RegistryHost, registryHost } from '../registry/registry-host.ts';
import type { HostPolicy } from '../registry/select-host.ts';
import { type ConfigFiles, readCredentials } from './credentials.ts';
import { type EnvironmentReader, invalidVariable } from './environment.ts';
import { readMirrors } from './mirrors.ts';
import { readPropagation } from './telemetry.ts';
import { readTls, type TlsConfig } from './tls.ts';

/** How client credentials are treated. */
export const CLIENT_AUTH_MODES = ['optional', 'required', 'off'] as const;
export type ClientAuthMode = (typeof CLIENT_AUTH_MODES)[number];

/** What happens with foreign layers: layers that lie outside of the registry. */
const FOREIGN_LAYER_MODES = ['refuse', 'fetch'] as const;

/** Settings for registries and for the connections to them. */
export interface RegistryConfig extends RegistryOptions, HostPolicy {
  readonly clientAuth: ClientAuthMode;
  /** The variables that the credentials come from. */
  readonly credentialNames: CredentialNames;
  /** Files with credentials that are read again when they change; `undefined` if there are none. */
  readonly files: ConfigFiles | undefined;
  readonly tls: TlsConfig | undefined;
}

const { registry: DEFAULTS } = DEFAULT_OPTIONS;

/**
 * Reads the settings for registries.
 *
 * @throws PassthroughError `INVALID_CONFIGURATION` naming variable, value and what is allowed
 */
export function readRegistryConfig(read: EnvironmentReader): RegistryConfig {
  const defaultHost = readDefaultHost(read);
  const clientAuth = read.choice('REGISTRY_CLIENT_AUTH', CLIENT_AUTH_MODES, 'optional');
  return {
    defaultHost,
    defaultNamespace: readNamespace(read),
    ...readCredentials(read, defaultHost),
    clientAuth,
    mirrors: readMirrors(read),
    // Clients that cannot bring credentials have no rights of their own that a mirror's account could exceed.
    mirrorAccounts: clientAuth === 'off' ? 'all' : 'layers',
    allowedHosts:
      read.text('REGISTRY_ALLOWED_HOSTS') === undefined ? undefined : read.hosts('REGISTRY_ALLOWED_HOSTS'),
    trustedRealms: read.hosts('REGISTRY_TRUSTED_REALMS'),
    plainHttpHosts: readPlainHttpHosts(read),
    foreignLayers: read.choice('REGISTRY_FOREIGN_LAYERS', FOREIGN_LAYER_MODES, 'refuse'),
    concurrentDownloads: read.integer('MAX_CONCURRENT_DOWNLOADS', DEFAULTS.concurrentDownloads, 1, 1000),
    timeouts: {
      connectMs: read.milliseconds('REGISTRY_CONNECT_TIMEOUT', DEFAULTS.timeouts.connectMs / 1000),
      responseMs: read.milliseconds('REGISTRY_RESPONSE_TIMEOUT', DEFAULTS.timeouts.responseMs / 1000),
      stallMs: read.milliseconds('REGISTRY_STALL_TIMEOUT', DEFAULTS.timeouts.stallMs / 1000),
    },
    bodyLimits: {
      manifestBytes: read.bytes('MAX_MANIFEST_BYTES', DEFAULTS.bodyLimits.manifestBytes),
      configBytes: read.bytes('MAX_CONFIG_BYTES', DEFAULTS.bodyLimits.configBytes),
      tokenBytes: read.bytes('MAX_TOKEN_BYTES', DEFAULTS.bodyLimits.tokenBytes),
      errorBytes: read.bytes('MAX_ERROR_BYTES', DEFAULTS.bodyLimits.errorBytes),
    },
    proxyEnv: readProxies(read),
    propagation: readPropagation(read),
    tls: readTls(read),
  };
}

/** The default registry: `REGISTRY_URL` with the variables that override its parts. */
function readDefaultHost(read: EnvironmentReader): RegistryHost {
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

/** The name takes the place of the host in tags. Loaders refuse tags without a valid host there. */
function parseRegistryName(text: string): string {
  parseHost(text);
  return text;
}

/** A variable that is set but empty means: no namespace. */
function readNamespace(read: EnvironmentReader): string | undefined {
  const text = read.raw('REGISTRY_DEFAULT_NAMESPACE');
  const fault = text === undefined || text === '' ? undefined : repositoryFault(text);
  if (fault !== undefined) throw invalidVariable('REGISTRY_DEFAULT_NAMESPACE', text ?? '', fault);
  return text;
}

/** A variable that is set but empty means: the registry takes Basic credentials directly. */
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

/** An entry with https would have no effect, so it is refused. */
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

/**
 * The proxy variables in the form of Node's agents, which prefer the names in lower case. An address without a scheme means
 * http, as with curl; Node ignores such an address.
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
