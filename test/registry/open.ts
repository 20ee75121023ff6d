/**
 * The registry client as the service puts it together, on real sockets, with limits that suit a test.
 */

import type { Digest } from '../../src/image/digest.ts';
import { parseDigest } from '../../src/image/digest.ts';
import type { Descriptor } from '../../src/image/manifest.ts';
import type { BasicCredentials, Credential } from '../../src/registry/auth/credentials.ts';
import { TokenSource } from '../../src/registry/auth/token.ts';
import { openRepository, type RegistryAccess } from '../../src/registry/open-repository.ts';
import { type RegistryHost, registryHost } from '../../src/registry/registry-host.ts';
import type { Repository } from '../../src/registry/repository.ts';
import type { BodyLimits } from '../../src/registry/repository-client.ts';
import { HttpTransport } from '../../src/registry/transport/http-transport.ts';
import type { RetryPolicy } from '../../src/registry/transport/retry.ts';
import type { Timeouts } from '../../src/registry/transport/transport.ts';
import { readAll } from '../support/collect.ts';
import { makeImage, makeLayer } from '../support/image.ts';

/** So long that only a fault runs into one. */
export const PATIENT: Timeouts = { connectMs: 10_000, responseMs: 10_000, stallMs: 10_000 };

/** A limit that a test waits for: more than any step on loopback takes on a busy machine. */
export const SHORT_MS = 250;

/** Waits of a millisecond; a server may ask for two seconds. */
export const RETRY: RetryPolicy = { attempts: 3, baseMs: 1, maxMs: 2000 };

export const LIMITS: BodyLimits = {
  manifestBytes: 64 * 1024,
  configBytes: 64 * 1024,
  tokenBytes: 16 * 1024,
  errorBytes: 4096,
};

export const REPOSITORY = 'team/app';

/** What the fake registry takes. */
export const USER: BasicCredentials = { username: 'user', password: 'secret' };
export const BASIC = `Basic ${Buffer.from('user:secret').toString('base64')}`;

export const NO_CREDENTIAL: Credential = { type: 'none' };
export const CLIENT: Credential = { type: 'basic', basic: USER, source: 'client' };
export const OPERATOR: Credential = { type: 'basic', basic: USER, source: 'environment' };

/** An image of a small layer and one that takes several reads. */
export const IMAGE = makeImage({
  layers: [
    { tar: makeLayer({ 'etc/motd': 'hello\n' }) },
    { tar: makeLayer({ big: Buffer.alloc(300_000, 'x') }), compression: 'none' },
  ],
});

export const CONFIG: Descriptor = {
  mediaType: 'application/vnd.oci.image.config.v1+json',
  digest: parseDigest(IMAGE.config.digest),
  size: IMAGE.config.bytes.length,
};

/** The blob of the layer that takes several reads. */
export const BIG = IMAGE.layers[1]?.blob ?? Buffer.alloc(0);
export const BIG_LAYER = layerOf(1);

/** @returns the descriptor of a layer of {@link IMAGE} */
export function layerOf(index: number): Descriptor {
  const layer = IMAGE.layers[index];
  if (layer === undefined) throw new RangeError(`Cannot describe layer ${index}: there is none`);
  const { mediaType, digest, blob } = layer;
  return { mediaType, digest: digest as Digest, size: blob.length };
}

/** What all pulls of a test share; the connections end with it. */
export interface TestAccess extends RegistryAccess, Disposable {
  readonly wire: HttpTransport;
  /**
   * Opens a registry for one pull.
   *
   * @param server where it is; its scheme and host are what a request would name
   * @param target what is configured for it
   */
  open(
    server: { readonly origin: string },
    credential?: Credential,
    target?: Partial<RegistryHost>,
    repository?: string,
  ): Repository;
}

/** What a test wants other than usual. */
export interface AccessOptions extends Partial<Omit<RegistryAccess, 'wire'>> {
  readonly timeouts?: Partial<Timeouts>;
}

/** @returns what {@link openRepository} wants, with an {@link HttpTransport} of its own */
export function openAccess({ timeouts, ...options }: AccessOptions = {}): TestAccess {
  const wire = new HttpTransport({
    timeouts: { ...PATIENT, ...timeouts },
    proxyEnv: undefined,
    userAgent: 'test',
  });
  const access = {
    wire,
    tokens: new TokenSource(LIMITS),
    trustedRealms: [],
    limits: LIMITS,
    userAgent: 'test',
    propagation: [],
    retry: RETRY,
    ...options,
  };
  return {
    ...access,
    open: ({ origin }, credential = NO_CREDENTIAL, target = {}, repository = REPOSITORY) => {
      const { protocol, host } = new URL(origin);
      const known = registryHost(protocol.slice(0, -1), host);
      return openRepository(access, { target: { ...known, ...target }, repository, credential });
    },
    [Symbol.dispose]: () => wire.close(),
  };
}

/** A signal that never aborts. */
export function never(): AbortSignal {
  return new AbortController().signal;
}

/** Reads a layer to its end. */
export async function readLayer(
  registry: Repository,
  descriptor: Descriptor = BIG_LAYER,
  signal = never(),
): Promise<Buffer> {
  return await readAll(await registry.openLayer(descriptor, signal));
}
