import type { PassthroughError } from '../errors.ts';
import { type Digest, isDigest } from '../image/digest.ts';
import type { Descriptor } from '../image/manifest.ts';
import { ACCEPTED_MANIFESTS } from '../image/media-type.ts';
import type { Content } from '../util/content.ts';
import type { Documents } from '../util/documents.ts';
import { quoted } from '../util/printable.ts';
import {
  blobEndpoint,
  type Endpoint,
  foreignEndpoint,
  manifestEndpoint,
  type RepositoryPlace,
  tagsEndpoint,
} from './endpoint.ts';
import { firstToOpen, foreignUrl, MAX_FOREIGN_URLS } from './foreign-layer.ts';
import type { HostPattern } from './host-pattern.ts';
import { type FetchedBody, readContent, readStart, type WholeBody } from './read-bounded.ts';
import { collectReferrers, type IsWanted, referrersBody } from './referrers.ts';
import type { RegistryHost } from './registry-host.ts';
import type { FetchedManifest, ManifestHead, Repository } from './repository.ts';
import { errorFromResponse, isInconclusive, refusingHtml } from './response-error.ts';
import { readResuming } from './resume.ts';
import { collectTags, type GetTagPage } from './tag-list.ts';
import { isTransient } from './transport/connection-error.ts';
import { signatureOf } from './transport/redirect.ts';
import { backoffMs, pause, type RetryPolicy } from './transport/retry.ts';
import type { Transport, TransportRequest, TransportResponse } from './transport/transport.ts';

/** Largest small bodies by kind, in bytes. */
export interface BodyLimits {
  readonly manifestBytes: number;
  readonly configBytes: number;
  readonly tokenBytes: number;
  /** An error body is read up to this limit. */
  readonly errorBytes: number;
}

/** Settings of {@link RepositoryClient}. */
export interface RepositoryClientOptions {
  readonly host: RegistryHost;
  /** Name of the repository, such as `library/nginx`. */
  readonly repository: string;
  /** See `RepositoryPlace`. */
  readonly namespace?: string | undefined;
  readonly limits: BodyLimits;
  /** Holds manifests, configs and tag lists. */
  readonly documents: Documents;
  /** Wait before a body that broke off is requested again. */
  readonly retry: RetryPolicy;
  readonly foreign: {
    /** Carries requests for foreign layers; must not add credentials. */
    readonly transport: Transport;
    /** Hosts that URLs of foreign layers may name; `undefined` allows all. */
    readonly allowedHosts: readonly HostPattern[] | undefined;
  };
}

/** Most requests for a small body that breaks off. */
const WHOLE_BODY_ATTEMPTS = 3;

/** Content coding would change the bytes that a digest covers, and the offsets of a range. */
const IDENTITY = { 'accept-encoding': 'identity' };

const ACCEPT_MANIFESTS = { accept: ACCEPTED_MANIFESTS.join(', ') };

/**
 * Pulls by the distribution protocol over a {@link Transport} that authorizes, retries and follows redirects.
 *
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pull
 */
export class RepositoryClient implements Repository {
  readonly #transport: Transport;
  readonly #options: RepositoryClientOptions;
  readonly #place: RepositoryPlace;

  constructor(transport: Transport, options: RepositoryClientOptions) {
    this.#transport = transport;
    this.#options = options;
    this.#place = { ...options, origin: options.host.origin };
  }

  async getManifest(reference: string | Descriptor, signal: AbortSignal): Promise<FetchedManifest> {
    const { limits } = this.#options;
    const descriptor = typeof reference === 'string' ? undefined : reference;
    const name = typeof reference === 'string' ? reference : reference.digest;
    const digest = isDigest(name) ? name : undefined;
    const body = await this.#getWhole(
      {
        endpoint: manifestEndpoint(this.#place, name),
        headers: ACCEPT_MANIFESTS,
        maxBytes: limits.manifestBytes,
        tooLarge: 'IMAGE_TOO_LARGE',
        what: `manifest ${quoted(name)}`,
        expected: { size: descriptor?.size, digest },
      },
      signal,
    );
    return {
      content: body.content,
      digest: digest ?? body.sha256,
      contentType: body.headers['content-type'] ?? '',
    };
  }

  async headManifest(reference: string, signal: AbortSignal): Promise<ManifestHead | undefined> {
    const endpoint = manifestEndpoint(this.#place, reference);
    const response = await this.#send(endpoint, ACCEPT_MANIFESTS, signal, { count: 0 }, 'HEAD');
    const { status, headers } = response;
    if (status !== 200 && !isInconclusive(status)) {
      throw await this.#failure(response, `manifest ${quoted(reference)}`);
    }
    // Reading the empty body to its end keeps the connection for the next request.
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

  listTags(signal: AbortSignal): AsyncGenerator<readonly string[], void, undefined> {
    const { host, repository, limits } = this.#options;
    const endpoint = tagsEndpoint(this.#place);
    const body = {
      headers: { accept: 'application/json' },
      maxBytes: limits.manifestBytes,
      tooLarge: 'REGISTRY_FAILED',
      what: 'tag list',
    } as const;
    const getPage: GetTagPage = async (url, parse) => {
      const { value: tags, ...page } = await this.#getPage(
        { ...body, endpoint: { ...endpoint, url } },
        parse,
        signal,
      );
      return { ...page, tags };
    };
    return collectTags(endpoint.url, getPage, `${body.what} of ${host.name}/${repository}`);
  }

  getReferrers(
    digest: Digest,
    isWanted: IsWanted,
    signal: AbortSignal,
  ): ReturnType<Repository['getReferrers']> {
    return collectReferrers(referrersBody(this.#place, digest), isWanted, (page, parse) =>
      this.#getPage(page, parse, signal),
    );
  }

  async getConfig({ digest, size }: Descriptor, signal: AbortSignal): Promise<Content> {
    const { limits } = this.#options;
    const body = await this.#getWhole(
      {
        endpoint: blobEndpoint(this.#place, digest, 'config'),
        headers: {},
        maxBytes: limits.configBytes,
        tooLarge: 'IMAGE_TOO_LARGE',
        what: `config ${quoted(digest)}`,
        expected: { size, digest },
      },
      signal,
    );
    return body.content;
  }

  async openLayer(
    descriptor: Descriptor,
    signal: AbortSignal,
    offset = 0,
  ): Promise<AsyncGenerator<Uint8Array, void, undefined>> {
    const { digest } = descriptor;
    const endpoint = blobEndpoint(this.#place, digest, 'layer');
    const failure = (response: TransportResponse) => this.#failure(response, `layer ${quoted(digest)}`);
    return await this.#openBlob(this.#transport, endpoint, descriptor, failure, signal, offset);
  }

  async checkLayer(descriptor: Descriptor, signal: AbortSignal): Promise<void> {
    const endpoint = blobEndpoint(this.#place, descriptor.digest, 'layer');
    const response = await this.#send(endpoint, {}, signal, { count: 0 }, 'HEAD');
    await readStart(response, 1);
    if (response.status === 200) return;
    // Only the response to a GET has a reason, and some storage does not support HEAD.
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
    const { host, limits, foreign } = this.#options;
    const url = foreignUrl(text, { host, allowedHosts: foreign.allowedHosts });
    const [layer, origin] = [descriptor.digest, url.origin].map((text) => quoted(text));
    const action = `Cannot get foreign layer ${layer} from ${origin}`;
    const failure = (response: TransportResponse) => {
      const secrets = [...response.secrets, ...signatureOf(url)];
      return errorFromResponse({ ...response, secrets }, action, limits.errorBytes);
    };
    return await this.#openBlob(foreign.transport, foreignEndpoint(url), descriptor, failure, signal);
  }

  /** Opens a blob at one URL. A blob that breaks off is resumed at the same URL. */
  async #openBlob(
    transport: Transport,
    endpoint: Endpoint,
    { size }: Descriptor,
    failure: (response: TransportResponse) => Promise<PassthroughError>,
    signal: AbortSignal,
    offset = 0,
  ): Promise<AsyncGenerator<Uint8Array, void, undefined>> {
    const attempts = { count: 0 };
    const open = (from: number) => {
      const range = from === 0 ? {} : { range: `bytes=${from}-` };
      const headers = { ...IDENTITY, ...range };
      return transport.send({ method: 'GET', ...endpoint, headers, signal, attempts });
    };
    const first = await open(offset);
    if (first.status !== 200 && (first.status !== 206 || offset === 0)) throw await failure(first);
    return readResuming({ first, offset, open, size, retry: this.#options.retry, signal, failure });
  }

  /** Fetches one page of a list, and reads it with `parse`. */
  async #getPage<T>(body: WholeBody, parse: (bytes: Uint8Array) => T, signal: AbortSignal) {
    const { content, headers } = await this.#getWhole(body, signal);
    try {
      const value = await this.#options.documents.use(content, body.what, signal, parse);
      return { size: content.size, value, link: [headers['link'] ?? []].flat().join(', ') };
    } finally {
      content.release();
    }
  }

  /** Fetches a small body and verifies it; starts again if it breaks off. */
  async #getWhole(
    { endpoint, headers, expected, ...whole }: WholeBody,
    signal: AbortSignal,
  ): Promise<FetchedBody> {
    const { documents, retry } = this.#options;
    const attempts = { count: 0 };
    for (let attempt = 1; ; attempt += 1) {
      const response = await this.#send(endpoint, headers, signal, attempts);
      if (response.status !== 200) throw await this.#failure(response, whole.what);
      // What a registry claims for a manifest must be right, too.
      const claimed =
        endpoint.operation === 'manifest' ? response.headers['docker-content-digest'] : undefined;
      const digests = [expected?.digest, claimed].filter(isDigest);
      try {
        const options = { ...whole, documents, size: expected?.size, digests };
        const reading = readContent(response, options);
        // A config is what its digest says.
        const isAnything = endpoint.operation === 'config';
        const body = isAnything ? reading : refusingHtml(response, this.#action(whole.what), reading);
        return { ...(await body), headers: response.headers };
      } catch (error) {
        if (attempt === WHOLE_BODY_ATTEMPTS || !isTransient(error)) throw error;
        await pause(backoffMs(attempt, retry), signal);
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
    return errorFromResponse(response, this.#action(what), this.#options.limits.errorBytes);
  }

  #action(what: string): string {
    const { repository, host } = this.#options;
    return `Cannot get ${what} of ${host.name}/${repository}`;
  }
}
