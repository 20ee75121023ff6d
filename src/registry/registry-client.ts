import { createHash } from 'node:crypto';
import { PassthroughError } from '../errors.ts';
import { type Digest, digestAlgorithm, isDigest } from '../image/digest.ts';
import type { Descriptor } from '../image/manifest.ts';
import { ACCEPTED_MANIFESTS } from '../image/media-type.ts';
import { isPassing } from './connection-error.ts';
import { blobEndpoint, type Endpoint, manifestEndpoint } from './endpoint.ts';
import { readBounded } from './read-bounded.ts';
import type { FetchedManifest, Registry } from './registry.ts';
import { errorFromResponse } from './response-error.ts';
import { readResuming } from './resume.ts';
import { backoffMs, pause, type RetryPolicy } from './retry.ts';
import type { RegistryTarget } from './target.ts';
import type { ExchangeResponse, Transport } from './transport.ts';

/** Most bytes that are read of each kind of small body. */
export interface BodyLimits {
  readonly manifestBytes: number;
  readonly configBytes: number;
  readonly tokenBytes: number;
  readonly errorBytes: number;
}

/** Settings of {@link RegistryClient}. */
export interface RegistryClientOptions {
  readonly target: RegistryTarget;
  readonly repository: string;
  readonly limits: BodyLimits;
  /** How long to wait before a body that broke off is asked for again. */
  readonly retry: RetryPolicy;
}

/** How often a small body that breaks off is asked for in all. */
const WHOLE_BODY_ATTEMPTS = 3;

/**
 * The pull side of the distribution protocol over a {@link Transport} that follows redirects, tries again and authorizes.
 *
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pull
 */
export class RegistryClient implements Registry {
  readonly #transport: Transport;
  readonly #options: RegistryClientOptions;

  constructor(transport: Transport, options: RegistryClientOptions) {
    this.#transport = transport;
    this.#options = options;
  }

  async getManifest(reference: string | Descriptor, signal: AbortSignal): Promise<FetchedManifest> {
    const { target, repository, limits } = this.#options;
    const name = typeof reference === 'string' ? reference : reference.digest;
    const what = `manifest ${JSON.stringify(name)}`;
    const { bytes, headers } = await this.#getWhole(
      manifestEndpoint(target.origin, repository, name),
      { accept: ACCEPTED_MANIFESTS.join(', ') },
      limits.manifestBytes,
      what,
      signal,
    );
    if (typeof reference !== 'string') verifySize(bytes, reference, what);
    if (isDigest(name)) verifyDigest(bytes, name, what);
    const claimed = headers['docker-content-digest'];
    if (isDigest(claimed)) verifyDigest(bytes, claimed, what);
    return {
      bytes,
      digest: isDigest(name) ? name : digestOf(bytes, 'sha256'),
      contentType: headers['content-type'] ?? '',
    };
  }

  async getConfig(descriptor: Descriptor, signal: AbortSignal): Promise<Uint8Array> {
    const { target, repository, limits } = this.#options;
    const endpoint = blobEndpoint(target.origin, repository, descriptor.digest, 'config');
    const what = `config ${JSON.stringify(descriptor.digest)}`;
    const { bytes } = await this.#getWhole(endpoint, {}, limits.configBytes, what, signal);
    verifySize(bytes, descriptor, what);
    verifyDigest(bytes, descriptor.digest, what);
    return bytes;
  }

  async openLayer(
    descriptor: Descriptor,
    signal: AbortSignal,
  ): Promise<AsyncGenerator<Uint8Array, void, undefined>> {
    const { target, repository, retry } = this.#options;
    const endpoint = blobEndpoint(target.origin, repository, descriptor.digest, 'layer');
    const what = `layer ${JSON.stringify(descriptor.digest)}`;
    const attempts = { count: 0 };
    const open = (offset: number) =>
      this.#send(endpoint, offset === 0 ? {} : { range: `bytes=${offset}-` }, signal, attempts);
    const first = await open(0);
    if (first.status !== 200) throw await this.#failure(first, what);
    return readResuming({
      first,
      open,
      size: descriptor.size,
      retry,
      signal,
      failure: (response) => this.#failure(response, what),
    });
  }

  /** Fetches a small body, from the start again where it breaks off. */
  async #getWhole(
    endpoint: Endpoint,
    headers: Readonly<Record<string, string>>,
    maxBytes: number,
    what: string,
    signal: AbortSignal,
  ): Promise<{ bytes: Uint8Array; headers: ExchangeResponse['headers'] }> {
    const attempts = { count: 0 };
    for (let attempt = 1; ; attempt += 1) {
      const response = await this.#send(endpoint, headers, signal, attempts);
      if (response.status !== 200) throw await this.#failure(response, what);
      try {
        return {
          bytes: await readBounded(response, maxBytes, what, 'IMAGE_TOO_LARGE'),
          headers: response.headers,
        };
      } catch (error) {
        if (attempt === WHOLE_BODY_ATTEMPTS || !isPassing(error)) throw error;
        await pause(backoffMs(attempt, this.#options.retry), signal);
      }
    }
  }

  #send(
    endpoint: Endpoint,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
    attempts: { count: number },
  ): Promise<ExchangeResponse> {
    // Compressed transfer would change the bytes that are verified and the offsets that a range counts.
    const identity = { 'accept-encoding': 'identity', ...headers };
    return this.#transport.send({ method: 'GET', ...endpoint, headers: identity, signal, attempts });
  }

  #failure(response: ExchangeResponse, what: string): Promise<PassthroughError> {
    const { repository, target, limits } = this.#options;
    return errorFromResponse(
      response,
      `Cannot get ${what} of ${target.name}/${repository}`,
      limits.errorBytes,
    );
  }
}

function verifySize(bytes: Uint8Array, { size, digest }: Descriptor, what: string): void {
  if (bytes.byteLength === size) return;
  throw new PassthroughError(
    'VERIFICATION_FAILED',
    `Cannot verify ${what}: it has ${bytes.byteLength} bytes, its descriptor says ${size}`,
    { expected: digest, actual: digestOf(bytes, digestAlgorithm(digest)) },
  );
}

function verifyDigest(bytes: Uint8Array, expected: Digest, what: string): void {
  const actual = digestOf(bytes, digestAlgorithm(expected));
  if (actual === expected) return;
  throw new PassthroughError('VERIFICATION_FAILED', `Cannot verify ${what}: its bytes are ${actual}`, {
    expected,
    actual,
  });
}

function digestOf(bytes: Uint8Array, algorithm: 'sha256' | 'sha512'): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}
