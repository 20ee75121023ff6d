import { tmpdir, totalmem } from 'node:os';
import type { IoxSettings } from '../archive/iox/settings.ts';
import { PassthroughError } from '../errors.ts';
import type { StaticCredentials } from '../registry/auth/credentials.ts';
import type { RegistryAccessOptions } from '../registry/open-repository.ts';
import { quoted } from '../util/printable.ts';
import type { SemaphoreOptions } from '../util/semaphore.ts';
import type { ImageLimits } from './limits.ts';
import { parseRepositoryPattern } from './signatures/repositories.ts';
import type { SignatureOptions, SignatureReport } from './signatures/verifier.ts';

/** Registries, and the way to them. */
export interface RegistryOptions extends Omit<RegistryAccessOptions, 'userAgent' | 'documents' | 'onSource'> {
  /** The operator's credentials. */
  readonly credentials: StaticCredentials;
  /** Whether layers outside of registries are fetched, from their own addresses and without credentials. Default: `refuse`. */
  readonly foreignLayers: 'refuse' | 'fetch';
  /** Most layers that are fetched from one registry at once. Default: 8. */
  readonly concurrentDownloads: number;
}

/** Where stored files lie, and how long. */
export interface CacheOptions {
  /** Folder that outlives the process; `undefined`, the default, for a temporary one. */
  readonly directory: string | undefined;
  /** Most bytes of stored files that are not in use; `undefined` for a default that fits the disk, 0 to keep none. */
  readonly maxBytes: number | undefined;
  /** Milliseconds for which references may be served without their registry; 0, the default, for never. */
  readonly staleMs: number;
}

/** How gzipped archives are made. */
export const GZIP_WAYS = ['spliced', 'whole'] as const;

/**
 * `spliced`: put together from layers that are gzip already, which costs no compression. `whole`: compressed as one gzip member, for
 * readers that stop after the first one.
 */
export type GzipWay = (typeof GZIP_WAYS)[number];

/** All settings of an `ImageService`. */
export interface ResolvedOptions {
  readonly registry: RegistryOptions;
  /** Parent of the temporary folder. Default: the system's. */
  readonly workspaceDirectory: string;
  readonly cache: CacheOptions;
  /** Default: 16 GiB compressed, 32 GiB uncompressed, 4 layers of an image at once. */
  readonly limits: ImageLimits;
  /** How gzipped archives are made. Default: `spliced`. */
  readonly gzip: GzipWay;
  /** How packages for Cisco IOx are made. Default: profile `c1.small`, schema 2.10, SHA-256, no privileges. */
  readonly iox: IoxSettings;
  /** Which images must be signed, and with which keys. Default: none. */
  readonly signatures: SignatureOptions;
  /** Limits concurrent preparations. Default: 4, and 16 that wait for 30 s at most. */
  readonly admission: Required<SemaphoreOptions>;
  /**
   * Most bytes of memory that documents and decoders of all requests take together. Default: 192 MiB, or a quarter of the memory limit
   * if that is less.
   */
  readonly bufferedBytes: number;
  /** Longest time for resolving and pulling an archive, in milliseconds. Default: an hour. */
  readonly prepareTimeoutMs: number;
  /** Receives the name of each stored file that turns out to be damaged. */
  readonly onDamage: (name: string) => void;
  /** Receives how each signature was judged, but for those that are remembered. */
  readonly onSignature: (report: SignatureReport) => void;
  /** Receives why a changed file of a signature key cannot be used; its keys of before still count. */
  readonly onKeyFault: (message: string) => void;
}

/** Settings of an `ImageService`. What is left out has the default that {@link ResolvedOptions} tells. */
export type ImageServiceOptions = {
  readonly [Key in keyof ResolvedOptions]?: ResolvedOptions[Key] extends (...args: never[]) => void
    ? ResolvedOptions[Key] | undefined
    : ResolvedOptions[Key] extends object
      ? Partial<ResolvedOptions[Key]>
      : ResolvedOptions[Key];
};

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

/** Most bytes of the default for `bufferedBytes`: three quarters are one zstd window of 128 MiB and some documents. */
const USUAL_BUFFERED_BYTES = 192 * MIB;

/** Part of the memory of the process that is the default for `bufferedBytes`: as much again is garbage between collections. */
const BUFFERED_PART = 1 / 4;

/** The settings that hold unless others are given. */
export const DEFAULT_OPTIONS: ResolvedOptions = Object.freeze<ResolvedOptions>({
  registry: {
    credentials: { bearerToken: undefined, basic: undefined, boundTo: undefined, hosts: [] },
    trustedRealms: [],
    allowedHosts: undefined,
    foreignLayers: 'refuse',
    concurrentDownloads: 8,
    timeouts: { connectMs: 10_000, responseMs: 30_000, stallMs: 30_000 },
    bodyLimits: {
      // The distribution specification has registries accept, and clients expect, manifests of 4 MiB.
      manifestBytes: 4 * MIB,
      configBytes: 8 * MIB,
      tokenBytes: 256 * KIB,
      errorBytes: 64 * KIB,
    },
    proxyEnv: undefined,
    propagation: [],
    mirrors: [],
    mirrorAccounts: 'layers',
  },
  // A folder of a fixed name could be made there by another user first. The store makes one with a random name.
  workspaceDirectory: tmpdir(),
  cache: { directory: undefined, maxBytes: undefined, staleMs: 0 },
  limits: { compressedBytes: 16 * GIB, uncompressedBytes: 32 * GIB, concurrentLayers: 4 },
  gzip: 'spliced',
  iox: { profile: 'c1.small', schemaVersion: '2.10', allowsPrivileged: false, digest: 'sha256' },
  signatures: { keys: [], requiredFor: ['*'], policy: 'enforce', matchRepository: false },
  admission: { permits: 4, maxWaiters: 16, maxWaitMs: 30_000 },
  bufferedBytes: Math.min(USUAL_BUFFERED_BYTES, Math.floor(memoryLimit() * BUFFERED_PART)),
  prepareTimeoutMs: 3_600_000,
  onDamage: () => undefined,
  onSignature: () => undefined,
  onKeyFault: () => undefined,
});

/** Bytes of the store unless a bound is given: tens of images, and never more than half of the file system. */
const USUAL_STORE_BYTES = 10 * GIB;

/**
 * Fills in the defaults.
 *
 * @throws PassthroughError `INVALID_CONFIGURATION` for a pattern that no repository could fit
 */
export function resolveOptions(options: ImageServiceOptions): ResolvedOptions {
  const {
    onDamage = DEFAULT_OPTIONS.onDamage,
    onSignature = DEFAULT_OPTIONS.onSignature,
    onKeyFault = DEFAULT_OPTIONS.onKeyFault,
    ...given
  } = options;
  const { requiredFor: patterns = DEFAULT_OPTIONS.signatures.requiredFor } = given.signatures ?? {};
  const requiredFor = patterns.map(patternOf);
  return Object.freeze({
    registry: { ...DEFAULT_OPTIONS.registry, ...given.registry },
    workspaceDirectory: given.workspaceDirectory ?? DEFAULT_OPTIONS.workspaceDirectory,
    cache: { ...DEFAULT_OPTIONS.cache, ...given.cache },
    limits: { ...DEFAULT_OPTIONS.limits, ...given.limits },
    gzip: given.gzip ?? DEFAULT_OPTIONS.gzip,
    iox: { ...DEFAULT_OPTIONS.iox, ...given.iox },
    signatures: { ...DEFAULT_OPTIONS.signatures, ...given.signatures, requiredFor },
    admission: { ...DEFAULT_OPTIONS.admission, ...given.admission },
    bufferedBytes: given.bufferedBytes ?? DEFAULT_OPTIONS.bufferedBytes,
    prepareTimeoutMs: given.prepareTimeoutMs ?? DEFAULT_OPTIONS.prepareTimeoutMs,
    onDamage,
    onSignature,
    onKeyFault,
  });
}

/** Reads a pattern of `signatures.requiredFor`. */
function patternOf(text: string): string {
  try {
    return parseRepositoryPattern(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const message = `Cannot use pattern ${quoted(text)} for images that must be signed: ${why}`;
    throw new PassthroughError('INVALID_CONFIGURATION', message, { cause });
  }
}

/** The bound of the store on a file system of so many bytes. */
export function storeBytes({ maxBytes }: CacheOptions, capacity: number): number {
  return maxBytes ?? Math.min(USUAL_STORE_BYTES, capacity / 2);
}

/** The memory that this process may use, in bytes: that of the machine, or of its container if that is less. */
function memoryLimit(): number {
  // Without a limit, the system reports 0 or a number beyond any memory.
  const constrained = process.constrainedMemory();
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
}
