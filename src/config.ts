import type { AgentOptions } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassthroughError } from './errors.ts';
import { type Platform, parsePlatform } from './image/platform.ts';
import type { AdmissionOptions } from './pull/admission.ts';
import type { ImageLimits } from './pull/image-limits.ts';
import type { StaticCredentials } from './registry/credentials.ts';
import { type HostPattern, parseHostPattern } from './registry/host-pattern.ts';
import type { BodyLimits } from './registry/registry-client.ts';
import { DOCKER_HUB, type RegistryTarget, registryTarget } from './registry/target.ts';
import type { Timeouts } from './registry/transport.ts';
import { LOG_LEVELS, type LogLevel } from './telemetry/log.ts';

/** How client credentials are treated. */
export const CLIENT_AUTH_MODES = ['optional', 'required', 'off'] as const;
export type ClientAuthMode = (typeof CLIENT_AUTH_MODES)[number];

/** The configuration, resolved once and frozen. */
export interface Config {
  readonly http: { readonly host: string; readonly port: number };
  readonly logLevel: LogLevel;
  readonly registry: {
    /** Registry of `/docker/…`. */
    readonly target: RegistryTarget;
    /** `REGISTRY_DEFAULT_NAMESPACE` where it is set: it also holds for registries that a request names. */
    readonly defaultNamespace: string | undefined;
    readonly credentials: StaticCredentials;
    readonly clientAuth: ClientAuthMode;
    /** Registries that a request may name; `undefined` for any. */
    readonly allowedHosts: readonly HostPattern[] | undefined;
    readonly trustedRealms: readonly HostPattern[];
    readonly timeouts: Timeouts;
    readonly bodyLimits: BodyLimits;
    readonly proxyEnv: AgentOptions['proxyEnv'];
  };
  readonly defaultPlatform: Platform;
  readonly workspaceDirectory: string;
  readonly imageLimits: ImageLimits;
  readonly admission: AdmissionOptions;
  /** Longest preparation, in milliseconds. */
  readonly prepareTimeoutMs: number;
  /** Longest time without a byte taken by the client, in milliseconds. */
  readonly sendStallMs: number;
  /** Longest wait for running downloads when the service stops, in milliseconds. */
  readonly shutdownMs: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

/** Timers of Node hold 32 bits of milliseconds: about 24 days. */
const MAX_SECONDS = 2_000_000;

/**
 * Reads the configuration.
 *
 * @param environment `process.env`, with what `.env` adds
 * @returns every setting, defaults filled in
 * @throws PassthroughError `INVALID_CONFIGURATION` naming variable, value and what is allowed
 */
export function loadConfig(environment: Environment): Config {
  const read = new Reader(environment);
  const target = readTarget(read);
  return Object.freeze({
    http: { host: read.text('HTTP_HOST') ?? '0.0.0.0', port: read.integer('HTTP_PORT', 8080, 0, 65_535) },
    logLevel: readLogLevel(read),
    registry: {
      target,
      defaultNamespace: read.raw('REGISTRY_DEFAULT_NAMESPACE'),
      credentials: readCredentials(read, target),
      clientAuth: read.choice('REGISTRY_CLIENT_AUTH', CLIENT_AUTH_MODES, 'optional'),
      allowedHosts:
        read.text('REGISTRY_ALLOWED_HOSTS') === undefined ? undefined : read.hosts('REGISTRY_ALLOWED_HOSTS'),
      trustedRealms: read.hosts('REGISTRY_TRUSTED_REALMS'),
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
      proxyEnv: readProxies(environment),
    },
    defaultPlatform: read.parsed('DEFAULT_PLATFORM', 'linux/amd64', parsePlatform),
    workspaceDirectory: read.text('WORKSPACE_DIR') ?? join(tmpdir(), 'docker-http-passthrough'),
    imageLimits: {
      compressedBytes: read.bytes('MAX_COMPRESSED_BYTES', 16 * GIB),
      uncompressedBytes: read.bytes('MAX_IMAGE_BYTES', 32 * GIB),
      concurrentLayers: read.integer('MAX_CONCURRENT_LAYERS', 4, 1, 64),
    },
    admission: {
      places: read.integer('MAX_CONCURRENT_PREPARATIONS', 4, 1, 1000),
      queue: read.integer('MAX_QUEUED_PREPARATIONS', 16, 0, 10_000),
      waitMs: read.milliseconds('QUEUE_TIMEOUT', 30),
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
export function configWarnings({ registry }: Config): readonly string[] {
  const { bearerToken, basic, boundTo } = registry.credentials;
  const hasStatic = bearerToken !== undefined || basic !== undefined;
  return hasStatic && boundTo === undefined
    ? [
        'REGISTRY_URL is not set, so the configured credentials are sent to whichever registry a request names; ' +
          'set REGISTRY_URL, and REGISTRY_CREDENTIALS_HOSTS for further hosts, to bind them',
      ]
    : [];
}

/** The default registry: what `REGISTRY_URL` names, with what the other variables say of it. */
function readTarget(read: Reader): RegistryTarget {
  const known = read.parsed('REGISTRY_URL', DOCKER_HUB.origin, parseRegistryUrl);
  return Object.freeze({
    ...known,
    name: read.text('REGISTRY_NAME') ?? known.name,
    service: read.text('REGISTRY_SERVICE') ?? known.service,
    tokenEndpoint: readTokenEndpoint(read, known),
    defaultNamespace: read.raw('REGISTRY_DEFAULT_NAMESPACE') ?? known.defaultNamespace,
  });
}

function parseRegistryUrl(text: string): RegistryTarget {
  const { scheme = '', host = '' } =
    /^(?<scheme>[a-z]+):\/\/(?<host>[^/]*)\/?(?:v2\/?)?$/i.exec(text)?.groups ?? {};
  return registryTarget(scheme.toLowerCase(), host);
}

/** Set but empty is an answer of its own: the registry takes Basic credentials directly. */
function readTokenEndpoint(read: Reader, known: RegistryTarget): RegistryTarget['tokenEndpoint'] {
  const text = read.raw('REGISTRY_AUTH_URL');
  if (text === undefined) return known.tokenEndpoint;
  if (text === '') return 'none';
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') {
    throw invalid('REGISTRY_AUTH_URL', text, 'expected an http or https URL without credentials, or nothing');
  }
  return url;
}

function readCredentials(read: Reader, target: RegistryTarget): StaticCredentials {
  const username = read.secret('REGISTRY_USERNAME');
  const password = read.secret('REGISTRY_PASSWORD');
  const bearerToken = read.secret('REGISTRY_BEARER_TOKEN') ?? read.secret('REGISTRY_TOKEN');
  if (bearerToken !== undefined && !/^[\x21-\x7e]+$/.test(bearerToken)) {
    throw new PassthroughError(
      'INVALID_CONFIGURATION',
      'Cannot use REGISTRY_BEARER_TOKEN (its value is not shown): it has characters that no token has',
    );
  }
  if (username === undefined && password !== undefined) {
    throw invalid('REGISTRY_USERNAME', '', 'REGISTRY_PASSWORD is set, so a user name must be too');
  }
  return {
    bearerToken,
    basic: username === undefined ? undefined : { username, password: password ?? '' },
    boundTo: read.text('REGISTRY_URL') === undefined ? undefined : target.origin,
    hosts: read.hosts('REGISTRY_CREDENTIALS_HOSTS'),
  };
}

/**
 * `LOG_LEVEL`, else `RUST_LOG`. The latter may be set for other programs' sake and hold directives for modules, so that
 * only a bare level in it counts and nothing in it is refused.
 */
function readLogLevel(read: Reader): LogLevel {
  const isLevel = (word: string): word is LogLevel => (LOG_LEVELS as readonly string[]).includes(word);
  const legacy = (read.text('RUST_LOG') ?? '')
    .toLowerCase()
    .split(',')
    .map((word) => word.trim());
  return read.choice('LOG_LEVEL', LOG_LEVELS, legacy.find(isLevel) ?? 'info');
}

/** The proxy variables, as Node's agents take them: in lower case too, which comes first there. */
function readProxies(environment: Environment): AgentOptions['proxyEnv'] {
  const names = ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY'].flatMap((name) => [name, name.toLowerCase()]);
  const set = names.filter((name) => (environment[name] ?? '') !== '');
  return set.length === 0 ? undefined : Object.fromEntries(set.map((name) => [name, environment[name]]));
}

/** Reads single variables; an empty one counts as unset, except through `raw`. */
class Reader {
  readonly #environment: Environment;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  raw(name: string): string | undefined {
    return this.#environment[name]?.trim();
  }

  text(name: string): string | undefined {
    return this.raw(name) || undefined;
  }

  /** A value that is taken to the letter, spaces at its ends included. */
  secret(name: string): string | undefined {
    return this.#environment[name] || undefined;
  }

  choice<T extends string>(name: string, allowed: readonly T[], otherwise: T): T {
    const text = this.text(name);
    if (text === undefined) return otherwise;
    const found = allowed.find((choice) => choice === text.toLowerCase());
    if (found === undefined) throw invalid(name, text, `expected one of ${allowed.join(', ')}`);
    return found;
  }

  integer(name: string, otherwise: number, min: number, max: number): number {
    const text = this.text(name);
    if (text === undefined) return otherwise;
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max))
      throw invalid(name, text, `expected a whole number from ${min} to ${max}`);
    return value;
  }

  /** Seconds, with decimals where wanted, as milliseconds. */
  milliseconds(name: string, otherwiseSeconds: number): number {
    const text = this.text(name);
    const seconds =
      text === undefined ? otherwiseSeconds : /^\d+(?:\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
    if (!(seconds > 0 && seconds <= MAX_SECONDS)) {
      throw invalid(name, text ?? '', `expected seconds, more than 0 and at most ${MAX_SECONDS}`);
    }
    return Math.ceil(seconds * 1000);
  }

  /** A number of bytes: `1048576`, `512MiB`, `4GB`. */
  bytes(name: string, otherwise: number): number {
    const text = this.text(name);
    if (text === undefined) return otherwise;
    const {
      digits,
      unit = '',
      binary,
    } = /^(?<digits>\d+)\s*(?:(?<unit>[kmgt])(?<binary>i)?b?|b)?$/i.exec(text)?.groups ?? {};
    const base = binary === undefined ? 1000 : KIB;
    const value = Number(digits ?? Number.NaN) * base ** ' kmgt'.indexOf(unit.toLowerCase() || ' ');
    if (!(value > 0 && value <= Number.MAX_SAFE_INTEGER)) {
      throw invalid(name, text, 'expected a number of bytes, such as 1048576, 512MiB or 4GB');
    }
    return value;
  }

  hosts(name: string): readonly HostPattern[] {
    const entries = (this.text(name) ?? '').split(',').map((entry) => entry.trim());
    return entries.filter((entry) => entry !== '').map((entry) => reworded(name, entry, parseHostPattern));
  }

  parsed<T>(name: string, otherwise: string, parse: (text: string) => T): T {
    return reworded(name, this.text(name) ?? otherwise, parse);
  }
}

/** Runs a parser and turns its error into one that names the variable. */
function reworded<T>(name: string, text: string, parse: (text: string) => T): T {
  try {
    return parse(text);
  } catch (error) {
    throw invalid(name, text, error instanceof Error ? error.message : String(error));
  }
}

function invalid(name: string, value: string, why: string): PassthroughError {
  // A URL may hold a password in the place where none belongs.
  const shown = value.replace(/\/\/[^/@]*@/, '//[redacted]@');
  return new PassthroughError('INVALID_CONFIGURATION', `Cannot use ${name}=${JSON.stringify(shown)}: ${why}`);
}
