import { isIP, isIPv6 } from 'node:net';
import { PACKAGE_DIGESTS, parseProfile, SCHEMA_VERSIONS } from '../archive/iox/settings.ts';
import { type Platform, parsePlatform } from '../image/platform.ts';
import { DEFAULT_OPTIONS, GZIP_WAYS, type ResolvedOptions } from '../pull/options.ts';
import { LOG_LEVELS, type LogLevel } from '../telemetry/log.ts';
import { type AccessConfig, readAccess } from './access.ts';
import { type Environment, EnvironmentReader } from './environment.ts';
import { type ListenerSettings, listenerWarnings, readListenerSettings } from './listener.ts';
import { type RegistryConfig, readRegistryConfig } from './registry.ts';
import { riskWarnings } from './risks.ts';
import { readSignatures } from './signatures.ts';
import { type Exporters, readExporters } from './telemetry.ts';
import { unknownVariables, uselessVariables } from './variables.ts';

/** Where the HTTP server listens, and its limits. None of them limits the time of an answer. */
export interface HttpSettings {
  /** Address to listen on: a host name or an IP address. */
  readonly host: string;
  /** 0 for any free port. */
  readonly port: number;
  /** Longest wait for a complete request header, in milliseconds. */
  readonly headerTimeoutMs: number;
  /** How long a connection is kept for its next request, in milliseconds. */
  readonly idleTimeoutMs: number;
  /** Most concurrent connections. */
  readonly maxConnections: number;
}

/** The configuration, read once and frozen: the settings of the `ImageService`, and those of its faces. */
export interface Config
  extends Pick<
    ResolvedOptions,
    | 'workspaceDirectory'
    | 'cache'
    | 'limits'
    | 'gzip'
    | 'iox'
    | 'signatures'
    | 'admission'
    | 'bufferedBytes'
    | 'prepareTimeoutMs'
  > {
  readonly http: HttpSettings;
  readonly access: AccessConfig;
  readonly listener: ListenerSettings;
  /** Most concurrent work of one client, such as preparations and look-ups; 0 for no limit. */
  readonly requestsPerClient: number;
  readonly logLevel: LogLevel;
  readonly exporters: Exporters;
  readonly registry: RegistryConfig;
  readonly defaultPlatform: Platform;
  /** When answers with archives begin, unless the request says so. */
  readonly start: 'prepared' | 'early';
  /** Longest time in which the client takes no byte, in milliseconds. */
  readonly sendStallMs: number;
  /** Longest wait for running downloads when the service stops, in milliseconds. */
  readonly shutdownMs: number;
}

/** The default of `MAX_CONNECTIONS`. */
export const DEFAULT_MAX_CONNECTIONS = 10_000;

const { limits, admission, ...DEFAULTS } = DEFAULT_OPTIONS;

/**
 * Reads the configuration.
 *
 * @param environment `process.env`, including the variables of `.env`
 * @returns every setting, with defaults
 * @throws PassthroughError `INVALID_CONFIGURATION` naming variable, value and what is allowed
 */
export function loadConfig(environment: Environment): Config {
  return readConfig(new EnvironmentReader(environment));
}

function readConfig(read: EnvironmentReader): Config {
  return Object.freeze({
    http: {
      host: read.parsed('HTTP_HOST', '0.0.0.0', parseListenHost),
      port: read.integer('HTTP_PORT', 8080, 0, 65_535),
      headerTimeoutMs: read.milliseconds('HTTP_HEADER_TIMEOUT', 15),
      idleTimeoutMs: read.milliseconds('HTTP_IDLE_TIMEOUT', 60),
      maxConnections: read.integer('MAX_CONNECTIONS', DEFAULT_MAX_CONNECTIONS, 1, 1_000_000),
    },
    access: readAccess(read),
    listener: readListenerSettings(read),
    requestsPerClient: read.integer('MAX_REQUESTS_PER_CLIENT', 16, 0, 10_000),
    logLevel: readLogLevel(read),
    exporters: readExporters(read),
    registry: readRegistryConfig(read),
    defaultPlatform: read.parsed('DEFAULT_PLATFORM', 'linux/amd64', parsePlatform),
    start: read.choice('ARCHIVE_START', ['prepared', 'early'], 'prepared'),
    workspaceDirectory: read.text('WORKSPACE_DIR') ?? DEFAULTS.workspaceDirectory,
    cache: {
      directory: read.text('CACHE_DIR'),
      maxBytes: read.text('CACHE_MAX_BYTES') === undefined ? undefined : read.bytes('CACHE_MAX_BYTES', 0, 0),
      staleMs: read.milliseconds('CACHE_SERVE_STALE', 0, 0),
    },
    limits: {
      compressedBytes: read.bytes('MAX_COMPRESSED_BYTES', limits.compressedBytes),
      uncompressedBytes: read.bytes('MAX_IMAGE_BYTES', limits.uncompressedBytes),
      concurrentLayers: read.integer('MAX_CONCURRENT_LAYERS', limits.concurrentLayers, 1, 64),
    },
    gzip: read.choice('ARCHIVE_GZIP', GZIP_WAYS, DEFAULTS.gzip),
    iox: {
      profile: read.parsed('IOX_PROFILE', DEFAULTS.iox.profile, parseProfile),
      schemaVersion: read.choice('IOX_SCHEMA_VERSION', SCHEMA_VERSIONS, DEFAULTS.iox.schemaVersion),
      allowsPrivileged: read.choice('IOX_ALLOW_PRIVILEGED', ['yes', 'no'] as const, 'no') === 'yes',
      digest: read.choice('IOX_DIGEST', PACKAGE_DIGESTS, DEFAULTS.iox.digest),
    },
    signatures: readSignatures(read),
    admission: {
      permits: read.integer('MAX_CONCURRENT_PREPARATIONS', admission.permits, 1, 1000),
      maxWaiters: read.integer('MAX_QUEUED_PREPARATIONS', admission.maxWaiters, 0, 10_000),
      maxWaitMs: read.milliseconds('QUEUE_TIMEOUT', admission.maxWaitMs / 1000),
    },
    bufferedBytes: read.bytes('MAX_BUFFERED_BYTES', DEFAULTS.bufferedBytes),
    prepareTimeoutMs: read.milliseconds('PREPARE_TIMEOUT', DEFAULTS.prepareTimeoutMs / 1000),
    sendStallMs: read.milliseconds('SEND_STALL_TIMEOUT', 300),
    shutdownMs: read.milliseconds('SHUTDOWN_TIMEOUT', 25),
  });
}

/**
 * Reads the address to listen on.
 *
 * @returns a host name or an IP address, the latter without the brackets that IPv6 has in URLs
 */
function parseListenHost(text: string): string {
  const inBrackets = /^\[(.*)\]$/.exec(text)?.[1];
  if (inBrackets !== undefined && isIPv6(inBrackets)) return inBrackets;
  if (isIP(text) !== 0 || /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?$/i.test(text)) return text;
  throw new Error('expected a host name or an IP address, without scheme and port');
}

/**
 * Checks for settings that are allowed but risky or useless.
 *
 * @returns one line for the log for each
 */
export function configWarnings(config: Config): readonly string[] {
  const { cache, listener, registry, signatures } = config;
  const warnings: readonly (readonly [isGiven: boolean, message: string])[] = [
    [
      cache.staleMs > 0 && cache.maxBytes === 0,
      'CACHE_SERVE_STALE has no effect: CACHE_MAX_BYTES is 0, so nothing is kept that could be served',
    ],
    ...listenerWarnings(listener),
    [
      signatures.keys.length > 0 && signatures.policy === 'warn',
      'SIGNATURE_POLICY is warn, so images without a valid signature are served; enforce refuses them',
    ],
    [
      !signatures.requiredFor.includes('*') && registry.allowedHosts === undefined,
      'SIGNATURE_REQUIRED_FOR names some repositories, and REGISTRY_ALLOWED_HOSTS is not set: by another name or address of ' +
        'the same registry, an image needs no signature; list the registries that may be asked',
    ],
    ...signatures.requiredFor.map((pattern): readonly [boolean, string] => {
      const [host = '', ...repository] = pattern.split('/');
      const isHost = /[.:*]/.test(host) || host === 'localhost' || host === registry.defaultHost.name;
      return [
        repository.length > 0 && !isHost,
        `SIGNATURE_REQUIRED_FOR has ${pattern}, which is for a registry whose host is ${host}; a pattern for Docker Hub begins ` +
          'with docker.io/',
      ];
    }),
  ];
  return [...riskWarnings(config), ...warnings.filter(([isGiven]) => isGiven).map(([, message]) => message)];
}

/**
 * Checks for variables that have no effect: those that another one overrules, and those that resemble a variable of the service.
 *
 * @param environment `process.env`
 * @returns one line for the log for each
 */
export function variableWarnings(environment: Environment): readonly string[] {
  const read = new EnvironmentReader({});
  readConfig(read);
  return [...uselessVariables(environment), ...unknownVariables(environment, read.names)];
}

/**
 * `LOG_LEVEL`, else `RUST_LOG`. `RUST_LOG` may be set for other programs and may hold directives for modules. So only a bare
 * level in it counts, and it is never refused.
 */
function readLogLevel(read: EnvironmentReader): LogLevel {
  const isLevel = (word: string): word is LogLevel => (LOG_LEVELS as readonly string[]).includes(word);
  const legacy = (read.text('RUST_LOG') ?? '')
    .toLowerCase()
    .split(',')
    .map((word) => word.trim());
  return read.choice('LOG_LEVEL', LOG_LEVELS, legacy.find(isLevel) ?? 'info');
}
