import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { HttpServerSettings } from '../http/server.ts';
import { type Platform, parsePlatform } from '../image/platform.ts';
import type { ImageLimits } from '../pull/image-limits.ts';
import { LOG_LEVELS, type LogLevel } from '../telemetry/log.ts';
import type { SemaphoreOptions } from '../util/semaphore.ts';
import { type Environment, EnvironmentReader } from './environment.ts';
import { type RegistryConfig, readRegistryConfig } from './registry.ts';
import { type Exporters, readExporters } from './telemetry.ts';

/** The configuration, resolved once and frozen. */
export interface Config {
  readonly http: HttpServerSettings;
  /** Most archive requests of one client at once; 0 for any number. */
  readonly requestsPerClient: number;
  readonly logLevel: LogLevel;
  readonly exporters: Exporters;
  readonly registry: RegistryConfig;
  readonly defaultPlatform: Platform;
  /** Where prepared files lie as long as the process, unless they have a folder of their own. */
  readonly workspaceDirectory: string;
  readonly cache: {
    /** Folder that outlives the process; `undefined` for none. */
    readonly directory: string | undefined;
    /** Most bytes of prepared files that nobody uses; `undefined` for what is sane on the disk, 0 for none. */
    readonly maxBytes: number | undefined;
    /** Milliseconds for which references are good without their registry; 0 for none. */
    readonly staleMs: number;
  };
  readonly imageLimits: ImageLimits;
  readonly admission: SemaphoreOptions;
  /** Longest preparation, in milliseconds. */
  readonly prepareTimeoutMs: number;
  /** Longest time without a byte taken by the client, in milliseconds. */
  readonly sendStallMs: number;
  /** Longest wait for running downloads when the service stops, in milliseconds. */
  readonly shutdownMs: number;
}

const GIB = 1024 ** 3;

/**
 * Reads the configuration.
 *
 * @param environment `process.env`, with what `.env` adds
 * @returns every setting, defaults filled in
 * @throws PassthroughError `INVALID_CONFIGURATION` naming variable, value and what is allowed
 */
export function loadConfig(environment: Environment): Config {
  const read = new EnvironmentReader(environment);
  return Object.freeze({
    http: {
      host: read.text('HTTP_HOST') ?? '0.0.0.0',
      port: read.integer('HTTP_PORT', 8080, 0, 65_535),
      headerTimeoutMs: read.milliseconds('HTTP_HEADER_TIMEOUT', 15),
      idleTimeoutMs: read.milliseconds('HTTP_IDLE_TIMEOUT', 60),
      maxConnections: read.integer('MAX_CONNECTIONS', 10_000, 1, 1_000_000),
    },
    requestsPerClient: read.integer('MAX_REQUESTS_PER_CLIENT', 0, 0, 10_000),
    logLevel: readLogLevel(read),
    exporters: readExporters(read),
    registry: readRegistryConfig(read),
    defaultPlatform: read.parsed('DEFAULT_PLATFORM', 'linux/amd64', parsePlatform),
    workspaceDirectory: read.text('WORKSPACE_DIR') ?? join(tmpdir(), 'docker-http-passthrough'),
    cache: {
      directory: read.text('CACHE_DIR'),
      maxBytes: read.text('CACHE_MAX_BYTES') === undefined ? undefined : read.bytes('CACHE_MAX_BYTES', 0, 0),
      staleMs: read.milliseconds('CACHE_SERVE_STALE', 0, 0),
    },
    imageLimits: {
      compressedBytes: read.bytes('MAX_COMPRESSED_BYTES', 16 * GIB),
      uncompressedBytes: read.bytes('MAX_IMAGE_BYTES', 32 * GIB),
      concurrentLayers: read.integer('MAX_CONCURRENT_LAYERS', 4, 1, 64),
    },
    admission: {
      permits: read.integer('MAX_CONCURRENT_PREPARATIONS', 4, 1, 1000),
      maxWaiters: read.integer('MAX_QUEUED_PREPARATIONS', 16, 0, 10_000),
      maxWaitMs: read.milliseconds('QUEUE_TIMEOUT', 30),
    },
    prepareTimeoutMs: read.milliseconds('PREPARE_TIMEOUT', 3600),
    sendStallMs: read.milliseconds('SEND_STALL_TIMEOUT', 300),
    shutdownMs: read.milliseconds('SHUTDOWN_TIMEOUT', 25),
  });
}

/**
 * Things that are allowed and that an operator should know of.
 *
 * @returns a line each, for the log
 */
export function configWarnings({ registry, cache }: Config): readonly string[] {
  const { bearerToken, basic, boundTo } = registry.credentials;
  const hasStatic = bearerToken !== undefined || basic !== undefined;
  const warnings: readonly [isGiven: boolean, message: string][] = [
    [
      hasStatic && boundTo === undefined,
      'REGISTRY_URL is not set, so the configured credentials are sent to whichever registry a request names; ' +
        'set REGISTRY_URL, and REGISTRY_CREDENTIALS_HOSTS for further hosts, to bind them',
    ],
    [
      cache.staleMs > 0 && cache.maxBytes === 0,
      'CACHE_SERVE_STALE has no effect: CACHE_MAX_BYTES is 0, so nothing is kept that could be served',
    ],
  ];
  return warnings.filter(([isGiven]) => isGiven).map(([, message]) => message);
}

/**
 * `LOG_LEVEL`, else `RUST_LOG`. The latter may be set for other programs' sake and hold directives for modules, so that
 * only a bare level in it counts and nothing in it is refused.
 */
function readLogLevel(read: EnvironmentReader): LogLevel {
  const isLevel = (word: string): word is LogLevel => (LOG_LEVELS as readonly string[]).includes(word);
  const legacy = (read.text('RUST_LOG') ?? '')
    .toLowerCase()
    .split(',')
    .map((word) => word.trim());
  return read.choice('LOG_LEVEL', LOG_LEVELS, legacy.find(isLevel) ?? 'info');
}
