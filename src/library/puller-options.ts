import { readFileSync } from 'node:fs';
import { PassthroughError, type Setting } from '../errors.ts';
import { type Platform, parsePlatform } from '../image/platform.ts';
import { parseReference } from '../image/reference.ts';
import type { ImageServiceOptions, RegistryOptions } from '../pull/options.ts';
import { type ImageRequest, imageRequestAt } from '../pull/request.ts';
import { sourceOf } from '../pull/signatures/key-ring.ts';
import { parseKeys } from '../pull/signatures/keys.ts';
import { DOCKER_HUB, registryHost } from '../registry/registry-host.ts';
import { type RegistryTls, tlsAgentSettings } from '../registry/transport/tls.ts';
import { quoted } from '../util/printable.ts';
import { systemErrorCode } from '../util/system-error.ts';
import { machinePlatform } from './machine-platform.ts';

/** The image of a `Puller`, and the way to its registry. */
export interface PullerOptions {
  /** Reference of the image, as in `docker pull`: `alpine`, `ghcr.io/org/app:1.2`, `registry:5000/app@sha256:…`. */
  readonly url: string;
  /** Default: `https`. */
  readonly scheme?: 'http' | 'https' | undefined;
  /** Operating system of the image, such as `linux`. Default: that of this machine. */
  readonly os?: string | undefined;
  /** Architecture, such as `amd64` or `arm/v7`. Default: that of this machine. */
  readonly arch?: string | undefined;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** Certificate of this client for a registry that asks for one: path of a PEM file, or PEM. Needs `tlsKey`. */
  readonly tlsCert?: string | undefined;
  /** Key of `tlsCert`: path of a PEM file, or PEM. */
  readonly tlsKey?: string | undefined;
  /** Authorities that are trusted besides those of Node and of the system: path of a PEM file, or PEM. */
  readonly caCert?: string | undefined;
  /** Whether the registry's certificate is accepted unverified. */
  readonly insecure?: boolean | undefined;
  /** Registry whose image a mirror is asked for, such as `docker.io`. */
  readonly namespace?: string | undefined;
  /**
   * Public keys, one of which must have signed the image as cosign does it: each the path of a PEM file, or PEM. Otherwise the calls
   * that fetch its manifest or make an archive fail with `IMAGE_NOT_SIGNED`.
   */
  readonly verifyKeys?: readonly string[] | undefined;
  /** Variables such as `HTTPS_PROXY` and `NO_PROXY`; `process.env` uses those of the process. Default: no proxy. */
  readonly proxyEnv?: RegistryOptions['proxyEnv'];
}

/** What a `Puller` works with. */
export interface PullerSettings {
  readonly image: ImageRequest;
  readonly platform: Platform;
  /** Whether the options name the platform. */
  readonly isPlatformAsked: boolean;
  readonly service: ImageServiceOptions;
}

/**
 * Checks the options of a `Puller`. Files of certificates are read at once.
 *
 * @throws PassthroughError `INVALID_REFERENCE`, `INVALID_REGISTRY`, `INVALID_PLATFORM`, `INVALID_CONFIGURATION`
 */
export function pullerSettings(options: PullerOptions): PullerSettings {
  const { url, scheme = 'https', os, arch, username, password, namespace, proxyEnv, verifyKeys } = options;
  const machine = machinePlatform();
  const { host, ...reference } = parseReference(url.replace(/^docker:\/\//, ''));
  // The scheme is checked also for Docker Hub, which is always asked over https.
  const named = registryHost(scheme, host ?? 'docker.io');
  const registry = named.origin === DOCKER_HUB.origin ? DOCKER_HUB : named;
  const { insecure } = options;
  const tls: RegistryTls = {
    caCert: readPem(options.caCert, 'caCert'),
    clientCert: readPem(options.tlsCert, 'clientCert'),
    clientKey: readPem(options.tlsKey, 'clientKey'),
    insecure,
  };
  tlsAgentSettings(tls);
  if (verifyKeys !== undefined) checkKeys(verifyKeys);
  return {
    image: imageRequestAt(registry, reference),
    platform: parsePlatform(`${os ?? machine.os}/${arch ?? machine.architecture}`),
    isPlatformAsked: os !== undefined || arch !== undefined,
    service: {
      signatures: { keys: verifyKeys ?? [] },
      registry: {
        credentials: {
          bearerToken: undefined,
          basic: basicOf(username, password),
          boundTo: registry.origin,
          hosts: [],
        },
        tls,
        namespace,
        ...(proxyEnv !== undefined && { proxyEnv }),
      },
    },
  };
}

function basicOf(username: string | undefined, password: string | undefined) {
  if (username === undefined && password === undefined) return undefined;
  if (username === undefined || username === '') throw invalid('the password is given without a user name');
  if (username.includes(':')) throw invalid('the user name has a colon, at which Basic ends a user name');
  return { username, password: password ?? '' };
}

function invalid(why: string): PassthroughError {
  return new PassthroughError('INVALID_CONFIGURATION', `Cannot use the credentials: ${why}`);
}

/** Reads the keys once, so that a mistake is found now. The service reads them again when their files change. */
function checkKeys(keys: readonly string[]): void {
  // An empty list would verify nothing, and looks as if it did.
  if (keys.length === 0)
    throw new PassthroughError('INVALID_CONFIGURATION', 'Cannot use verifyKeys: it has no key');
  for (const { name, path, text, isPlainEd25519 } of keys.map(sourceOf))
    parseKeys(readPem(path, 'signatureKeys') ?? text, name, isPlainEd25519);
}

/** @param value PEM, or the path of a file with PEM */
function readPem(value: string | undefined, setting: Setting): string | undefined {
  if (value === undefined || value.includes('-----BEGIN ')) return value;
  try {
    return readFileSync(value, 'utf8');
  } catch (cause) {
    const reason =
      systemErrorCode(cause) === 'ENOENT'
        ? 'it does not exist'
        : `it cannot be read (${systemErrorCode(cause)})`;
    throw new PassthroughError('INVALID_CONFIGURATION', `Cannot use file ${quoted(value)}: ${reason}`, {
      setting,
      reason,
      cause,
    });
  }
}
