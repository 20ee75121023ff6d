import { createHash } from 'node:crypto';
import { type ErrorCode, PassthroughError } from '../errors.ts';
import { type Digest, digestAlgorithm, isDigest } from '../image/digest.ts';
import type { Descriptor } from '../image/manifest.ts';
import { ACCEPTED_MANIFESTS } from '../image/media-type.ts';
import { blobEndpoint, type Endpoint, foreignEndpoint, manifestEndpoint, tagsEndpoint } from './endpoint.ts';
import { firstToOpen, foreignUrl, MAX_FOREIGN_URLS } from './foreign-layer.ts';
import type { HostPattern } from './host-pattern.ts';
import { readBounded, readStart } from './read-bounded.ts';
import type { RegistryHost } from './registry-host.ts';
import type { FetchedManifest, ManifestHead, Repository } from './repository.ts';
import { errorFromResponse } from './response-error.ts';
import { readResuming } from './resume.ts';
import { collectTags } from './tag-list.ts';
import { isPassing } from './transport/connection-error.ts';
import { signatureOf } from './transport/redirect.ts';
import { backoffMs, pause, type RetryPolicy } from './transport/retry.ts';
import type { Transport, TransportRequest, TransportResponse } from './transport/transport.ts';

/** Most bytes that are read of each kind of small body. */
export interface BodyLimits {
  readonly manifestBytes: number;
  readonly configBytes: number;
  readonly tokenBytes: number;
  readonly errorBytes: number;
}

/** Settings of {@link RepositoryClient}. */
export interface RegistryClientOptions {
  readonly target: RegistryHost;
  readonly repository: string;
  readonly limits: BodyLimits;
  /** How long to wait before a body that broke off is asked for again. */
  readonly retry: RetryPolicy;
  /** How foreign layers are fetched: by what adds no credentials, and from where. */
  readonly foreign: {
    readonly transport: Transport;
    readonly allowedHosts: readonly HostPattern[] | undefined;
  };
}

/** A small body that is wanted whole. */
interface WholeBody {
  readonly endpoint: Endpoint;
  readonly headers: TransportRequest['headers'];
  readonly maxBytes: number;
  /** Code of the error beyond `maxBytes`. */
  readonly tooLarge: ErrorCode;
  /** What it is, for messages. */
  readonly what: string;
}

/** How often a small body that breaks off is asked for in all. */
const WHOLE_BODY_ATTEMPTS = 3;

/** Compressed transfer would change the bytes that are verified and the offsets that a range counts. */
const IDENTITY = { 'accept-encoding': 'identity' };

const ACCEPT_MANIFESTS = { accept: ACCEPTED_MANIFESTS.join(', ') };

/**
 * The pull side of the distribution protocol over a {@link Transport} that follows redirects, tries again and authorizes.
 *
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pull
 */
export class RepositoryClient implements Repository {
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
      {
        endpoint: manifestEndpoint(target.origin, repository, name),
        headers: ACCEPT_MANIFESTS,
        maxBytes: limits.manifestBytes,
        tooLarge: 'IMAGE_TOO_LARGE',
        what,
      },
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

  async headManifest(reference: string, signal: AbortSignal): Promise<ManifestHead | undefined> {
    const { target, repository } = this.#options;
    const endpoint = manifestEndpoint(target.origin, repository, reference);
    const response = await this.#send(endpoint, ACCEPT_MANIFESTS, signal, { count: 0 }, 'HEAD');
    const { status, headers } = response;
    if (status !== 200 && !saysNothing(status)) {
      throw await this.#failure(response, `manifest ${JSON.stringify(reference)}`);
    }
    // There is no body: reading it to its end keeps the connection.
    await readStart(response, 1);
    const digest = headers['docker-content-digest'];
    if (status !== 200 || !isDigest(digest)) return undefined;
    const length = headers['content-length'];
    return {
      digest,
      contentType: headers['content-type'] ?? '',
      size: length === undefined ? undefined : Number(length),
    };
  }

  async listTags(signal: AbortSignal): Promise<readonly string[]> {
    const { target, repository, limits } = this.#options;
    const endpoint = tagsEndpoint(target.origin, repository);
    const body = {
      headers: { accept: 'application/json' },
      maxBytes: limits.manifestBytes,
      tooLarge: 'REGISTRY_FAILED',
      what: 'tag list',
    } as const;
    const getPage = async (url: URL) => {
      const page = { ...body, endpoint: { ...endpoint, url } };
      const { bytes, headers } = await this.#getWhole(page, signal);
      return { bytes, link: [headers['link'] ?? []].flat().join(', ') };
    };
    return await collectTags(endpoint.url, getPage, `${body.what} of ${target.name}/${repository}`);
  }

  async getConfig(descriptor: Descriptor, signal: AbortSignal): Promise<Uint8Array> {
    const { target, repository, limits } = this.#options;
    const endpoint = blobEndpoint(target.origin, repository, descriptor.digest, 'config');
    const what = `config ${JSON.stringify(descriptor.digest)}`;
    const { bytes } = await this.#getWhole(
      { endpoint, headers: {}, maxBytes: limits.configBytes, tooLarge: 'IMAGE_TOO_LARGE', what },
      signal,
    );
    verifySize(bytes, descriptor, what);
    verifyDigest(bytes, descriptor.digest, what);
    return bytes;
  }

  async openLayer(
    descriptor: Descriptor,
    signal: AbortSignal,
  ): Promise<AsyncGenerator<Uint8Array, void, undefined>> {
    const { target, repository } = this.#options;
    const endpoint = blobEndpoint(target.origin, repository, descriptor.digest, 'layer');
    const failure = (response: TransportResponse) =>
      this.#failure(response, `layer ${JSON.stringify(descriptor.digest)}`);
    return await this.#openBlob(this.#transport, endpoint, descriptor, failure, signal);
  }

  async checkLayer(descriptor: Descriptor, signal: AbortSignal): Promise<void> {
    const { target, repository } = this.#options;
    const endpoint = blobEndpoint(target.origin, repository, descriptor.digest, 'layer');
    const response = await this.#send(endpoint, {}, signal, { count: 0 }, 'HEAD');
    await readStart(response, 1);
    if (response.status === 200) return;
    // Only the answer to a GET tells why, and some storage knows no HEAD.
    const blob = await this.openLayer(descriptor, signal);
    await blob.return();
  }

  async openForeignLayer(
    descriptor: Descriptor,
    signal: AbortSignal,
  ): Promise<AsyncGenerator<Uint8Array, void, undefined>> {
    const urls = (descriptor.urls ?? []).slice(0, MAX_FOREIGN_URLS);
    return await firstToOpen(
      [
        () => this.openLayer(descriptor, signal),
        ...urls.map((url) => () => this.#openForeign(url, descriptor, signal)),
      ],
      signal,
    );
  }

  async #openForeign(
    text: string,
    descriptor: Descriptor,
    signal: AbortSignal,
  ): Promise<AsyncGenerator<Uint8Array, void, undefined>> {
    const { target, limits, foreign } = this.#options;
    const url = foreignUrl(text, { target, allowedHosts: foreign.allowedHosts });
    const [layer, origin] = [descriptor.digest, url.origin].map((text) => JSON.stringify(text));
    const action = `Cannot get foreign layer ${layer} from ${origin}`;
    const failure = (response: TransportResponse) => {
      const secrets = [...response.secrets, ...signatureOf(url)];
      return errorFromResponse({ ...response, secrets }, action, limits.errorBytes);
    };
    return await this.#openBlob(foreign.transport, foreignEndpoint(url), descriptor, failure, signal);
  }

  /** Opens a blob at one address, which is where it goes on from if it breaks off. */
  async #openBlob(
    transport: Transport,
    endpoint: Endpoint,
    { size }: Descriptor,
    failure: (response: TransportResponse) => Promise<PassthroughError>,
    signal: AbortSignal,
  ): Promise<AsyncGenerator<Uint8Array, void, undefined>> {
    const attempts = { count: 0 };
    const open = (offset: number) => {
      const range = offset === 0 ? {} : { range: `bytes=${offset}-` };
      return transport.send({
        method: 'GET',
        ...endpoint,
        headers: { ...IDENTITY, ...range },
        signal,
        attempts,
      });
    };
    const first = await open(0);
    if (first.status !== 200) throw await failure(first);
    return readResuming({ first, open, size, retry: this.#options.retry, signal, failure });
  }

  /** Fetches a small body, from the start again where it breaks off. */
  async #getWhole(
    { endpoint, headers, maxBytes, tooLarge, what }: WholeBody,
    signal: AbortSignal,
  ): Promise<{ bytes: Uint8Array; headers: TransportResponse['headers'] }> {
    const attempts = { count: 0 };
    for (let attempt = 1; ; attempt += 1) {
      const response = await this.#send(endpoint, headers, signal, attempts);
      if (response.status !== 200) throw await this.#failure(response, what);
      try {
        return { bytes: await readBounded(response, maxBytes, what, tooLarge), headers: response.headers };
      } catch (error) {
        if (attempt === WHOLE_BODY_ATTEMPTS || !isPassing(error)) throw error;
        await pause(backoffMs(attempt, this.#options.retry), signal);
      }
    }
  }

  #send(
    endpoint: Endpoint,
    headers: TransportRequest['headers'],
    signal: AbortSignal,
    attempts: TransportRequest['attempts'],
    method: TransportRequest['method'] = 'GET',
  ): Promise<TransportResponse> {
    const request = { method, ...endpoint, headers: { ...IDENTITY, ...headers }, signal, attempts };
    return this.#transport.send(request);
  }

  #failure(response: TransportResponse, what: string): Promise<PassthroughError> {
    const { repository, target, limits } = this.#options;
    return errorFromResponse(
      response,
      `Cannot get ${what} of ${target.name}/${repository}`,
      limits.errorBytes,
    );
  }
}

/**
 * Whether an answer to HEAD leaves open what GET would be answered: no HEAD here (405, 501, from storage that
 * signs for GET alone 403), or no manifest. Without a body it cannot say which, or why.
 */
function saysNothing(status: number): boolean {
  return status === 501 || (status >= 400 && status < 500 && status !== 401 && status !== 429);
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
