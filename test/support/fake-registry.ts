/** A registry in this process (OCI distribution, pull side). Switches make it misbehave. */

import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Answer, bytesBody, HeldAnswers, type Refusal, sendAnswer } from './answer.ts';
import {
  DefectPicker,
  type Defects,
  type ForBlob,
  type ForManifest,
  type ForRequest,
  type RedirectTo,
} from './defects.ts';
import { answerBlob, answerManifest } from './fake-content.ts';
import { answerReferrers } from './fake-referrers.ts';
import { answerTags } from './fake-tags.ts';
import { type AuthSettings, answerToken, authorize, authSettings, TokenStore } from './fake-token.ts';
import type { BuiltManifest, Pushable } from './image.ts';
import type { TlsSettings } from './listening.ts';
import { cutConnection } from './raw-server.ts';
import { failure, refusalAnswer } from './refusal.ts';
import {
  matches,
  type RecordedRequest,
  type ScriptedServer,
  startScriptedServer,
} from './scripted-server.ts';
import { SIGNED_QUERY, signedDigest } from './signed-blobs.ts';

/** How to start a registry. */
export interface FakeRegistryOptions {
  readonly tls?: TlsSettings | undefined;
  readonly auth?: Partial<AuthSettings>;
  readonly defects?: Defects;
  /** Tokens of another registry that are valid here, too. */
  readonly tokens?: TokenStore;
  /** Whether it has a referrers API; it has none unless given. */
  readonly referrers?: boolean;
}

/** A running registry. Its `requests` include those to the token endpoint. */
export interface FakeRegistry extends ScriptedServer {
  /** The switches. Tests set and unset its fields. */
  readonly defects: Defects;
  /** Access to repositories, and the token endpoint. Tests change its fields. */
  readonly auth: AuthSettings;
  /** The valid tokens. */
  readonly tokens: TokenStore;
  /** The requests to `/token`. */
  readonly tokenRequests: readonly RecordedRequest[];
  /** Every blob that was pushed, by digest. */
  readonly blobs: ReadonlyMap<string, Buffer>;
  /**
   * Adds an image and everything that it references.
   *
   * @param repository such as `team/app`
   * @param reference a tag, or the digest of the manifest
   * @returns the digest of its manifest
   */
  push(repository: string, reference: string, image: Pushable): string;
  /** Releases the answers that are stalled now. The switch stays on for later ones. */
  releaseStalled(pattern?: RegExp): void;
  /** Resolves when `count` answers are stalled at the same time; 1 unless given. */
  waitForStalled(count?: number): Promise<void>;
}

interface RepositoryLocation {
  readonly manifests: Map<string, BuiltManifest>;
  readonly tags: Map<string, string>;
  readonly blobs: Map<string, Buffer>;
}

/** A request that the registry answers. */
interface RequestContext {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly recorded: RecordedRequest;
  readonly url: URL;
}

/** OCI distribution spec, "Pulling manifests": the grammar of `<name>`. */
const NAME = /^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$/;

/**
 * Starts a registry on a free port of 127.0.0.1. It uses https with `tls`, and requires credentials as `auth` says. It
 * serves the four usual manifest types only to clients whose `Accept` names them or a wildcard.
 */
export async function startFakeRegistry(options: FakeRegistryOptions = {}): Promise<FakeRegistry> {
  const registry = new RegistryState(options);
  const server = await startScriptedServer(
    (request, response, recorded) => registry.handle(request, response, recorded, server.origin),
    { tls: options.tls },
  );
  const close = async (): Promise<void> => {
    try {
      await server.close();
    } finally {
      registry.held.close(new Error(`Cannot wait for ${server.origin}: the registry is closed`));
    }
  };
  return {
    ...server,
    defects: registry.defects,
    auth: registry.auth,
    tokens: registry.tokens,
    tokenRequests: registry.tokenRequests,
    blobs: registry.blobs,
    push: (repository, reference, image) => registry.push(repository, reference, image),
    releaseStalled: (pattern) => registry.held.release(pattern),
    waitForStalled: (count = 1) => registry.held.waitFor(count),
    close,
    [Symbol.asyncDispose]: close,
  };
}

class RegistryState {
  readonly defects: Defects;
  readonly auth: AuthSettings;
  readonly tokens: TokenStore;
  readonly tokenRequests: RecordedRequest[] = [];
  readonly blobs = new Map<string, Buffer>();
  readonly held = new HeldAnswers();
  readonly #hasReferrers: boolean;
  readonly #configs = new Set<string>();
  readonly #repositories = new Map<string, RepositoryLocation>();
  readonly #picker = new DefectPicker();

  constructor({ auth, defects, tokens, referrers = false }: FakeRegistryOptions) {
    this.#hasReferrers = referrers;
    this.auth = authSettings(auth);
    this.defects = { ...defects };
    this.tokens = tokens ?? new TokenStore();
  }

  push(name: string, reference: string, { manifest, blobs, children, config }: Pushable): string {
    const repository = this.#repositories.get(name) ?? {
      manifests: new Map(),
      tags: new Map(),
      blobs: new Map(),
    };
    this.#repositories.set(name, repository);
    for (const child of children ?? []) {
      this.push(name, child.manifest.digest, child);
    }
    for (const [digest, bytes] of blobs) {
      repository.blobs.set(digest, bytes);
      this.blobs.set(digest, bytes);
    }
    if (config) {
      this.#configs.add(config.digest);
    }
    repository.manifests.set(manifest.digest, manifest);
    if (reference !== manifest.digest) {
      repository.tags.set(reference, manifest.digest);
    }
    return manifest.digest;
  }

  async handle(
    request: IncomingMessage,
    response: ServerResponse,
    recorded: RecordedRequest,
    origin: string,
  ): Promise<void> {
    const here = concerns(recorded);
    const exchange = { request, response, recorded, url: new URL(`${origin}${recorded.path}`) };
    if (exchange.url.pathname === '/token') {
      this.tokenRequests.push(recorded);
    }
    if (this.#picker.pick(this.defects.resetConnections, here)) {
      cutConnection(request.socket);
      return;
    }
    if (this.#picker.pick(this.defects.stallRequests, here)) {
      await this.held.hold(response);
    }
    const outcome = response.destroyed ? undefined : await this.#route(exchange);
    if (outcome === undefined || response.destroyed) {
      return;
    }
    const answer =
      'code' in outcome ? refusalAnswer(outcome, recorded.headers.authorization, this.defects) : outcome;
    const headers = { 'Docker-Distribution-Api-Version': 'registry/2.0', ...answer.headers };
    const chunked = this.#picker.pick(this.defects.noContentLength, here) !== undefined;
    const contentLength = chunked ? 'none' : answer.contentLength;
    await sendAnswer(request, response, { ...answer, headers, contentLength }, this.held);
  }

  async #route(exchange: RequestContext): Promise<Answer | Refusal> {
    const { request, response, recorded, url } = exchange;
    const early = this.#fail(recorded, false);
    if (early) {
      return early;
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return {
        status: 405,
        code: 'UNSUPPORTED',
        message: 'this registry can only be read',
        headers: { Allow: 'GET, HEAD' },
      };
    }
    const loop = this.#picker.pick(this.defects.redirectLoop, concerns(recorded));
    if (loop) {
      const hop = Number(url.searchParams.get('hop') ?? 0) + 1;
      return {
        status: 307,
        headers: { Location: loop.endless ? `${url.pathname}?hop=${hop}` : recorded.path },
      };
    }
    if (url.pathname === '/token') {
      return await this.#token(exchange);
    }
    const signed = signedDigest(request);
    if (signed !== undefined) {
      return this.#blob(exchange, signed, this.blobs);
    }
    const path = decodeURIComponent(url.pathname);
    const [, name, kind, reference = ''] =
      /^\/v2\/(.+)\/(manifests|blobs|referrers|tags(?=\/list$))\/([^/]+)$/.exec(path) ?? [];
    if (name === undefined && path !== '/v2/') {
      return { status: 404, code: 'UNSUPPORTED', message: `no such route ${path}` };
    }
    const refusal = authorize(
      recorded.headers.authorization,
      name,
      this.auth,
      this.tokens,
      `${url.origin}/token`,
    );
    if (refusal) {
      return refusal;
    }
    const late = this.#fail(recorded, true);
    if (late) {
      return late;
    }
    if (name === undefined) {
      return { status: 200, headers: { 'Content-Type': 'application/json' }, body: bytesBody('{}') };
    }
    if (!NAME.test(name)) {
      return {
        status: 400,
        code: 'NAME_INVALID',
        message: `invalid repository name ${JSON.stringify(name)}`,
      };
    }
    const repository = this.#repositories.get(name);
    if (!repository) {
      return { status: 404, code: 'NAME_UNKNOWN', message: 'repository name not known to registry' };
    }
    if (kind === 'tags') {
      return answerTags(name, repository.tags.keys(), url.searchParams, this.defects);
    }
    if (kind === 'referrers') {
      return this.#hasReferrers
        ? answerReferrers(reference, repository.manifests.values())
        : { status: 404, headers: { 'Content-Type': 'text/plain' }, body: bytesBody('404 page not found\n') };
    }
    if (kind === 'blobs') {
      return (
        redirect(
          this.#picker.pick(redirectOf(this.defects.redirectBlobsTo)),
          reference,
          `/signed/${reference}`,
        ) ?? this.#blob(exchange, reference, repository.blobs)
      );
    }
    const stalls = (one: ForManifest): boolean => one.reference === undefined || one.reference === reference;
    if (this.#picker.pick(this.defects.stallManifest, stalls)) {
      await this.held.hold(response);
    }
    return (
      redirect(this.#picker.pick(redirectOf(this.defects.redirectManifestsTo)), reference, url.pathname) ??
      this.#manifest(exchange, reference, repository)
    );
  }

  #manifest(
    { request }: RequestContext,
    reference: string,
    { manifests, tags }: RepositoryLocation,
  ): Answer | Refusal {
    const manifest = manifests.get(tags.get(reference) ?? reference);
    return manifest
      ? answerManifest(request, reference, manifest, this.defects, this.#picker)
      : { status: 404, code: 'MANIFEST_UNKNOWN', message: `manifest unknown to registry: ${reference}` };
  }

  #blob({ request }: RequestContext, digest: string, blobs: ReadonlyMap<string, Buffer>): Answer | Refusal {
    const bytes = blobs.get(digest);
    const here = (one: ForBlob): boolean => one.digest === undefined || one.digest === digest;
    if (bytes === undefined || this.#picker.pick(this.defects.dropBlob, here)) {
      return { status: 404, code: 'BLOB_UNKNOWN', message: `blob unknown to registry: ${digest}` };
    }
    return answerBlob(request, digest, bytes, this.#configs.has(digest), this.defects, this.#picker);
  }

  async #token({ request, response, url }: RequestContext): Promise<Answer | Refusal> {
    const { auth } = this;
    if (auth.tokenDelayUntilReleased) {
      await this.held.hold(response);
    }
    if (auth.tokenRedirectTo !== undefined) {
      return { status: 307, headers: { Location: auth.tokenRedirectTo } };
    }
    const status = auth.tokenStatus ?? 200;
    if (auth.tokenBody !== undefined) {
      const headers = { 'Content-Type': 'application/json', ...auth.tokenHeaders };
      return { status, headers, body: bytesBody(auth.tokenBody) };
    }
    if (auth.tokenStatus !== undefined) {
      return failure(status, auth.tokenHeaders);
    }
    return answerToken(request.headers, url.searchParams, auth, this.tokens);
  }

  #fail(recorded: RecordedRequest, afterAuthorization: boolean): Answer | Refusal | undefined {
    const here = concerns(recorded);
    const fail = this.#picker.pick(
      this.defects.failWith,
      (one) => (one.afterAuthorization ?? false) === afterAuthorization && here(one),
    );
    if (fail?.body !== undefined) {
      return { status: fail.status, headers: fail.headers ?? {}, body: bytesBody(fail.body) };
    }
    return fail && failure(fail.status, fail.headers ?? {});
  }
}

function concerns(recorded: RecordedRequest): (one: ForRequest) => boolean {
  return ({ pattern, authorization }) =>
    (pattern === undefined || matches(pattern, recorded)) &&
    (authorization === undefined || recorded.headers.authorization === authorization);
}

function redirectOf(to: string | RedirectTo | undefined): RedirectTo | undefined {
  return typeof to === 'string' ? { to } : to;
}

function redirect(redirectTo: RedirectTo | undefined, name: string, path: string): Answer | undefined {
  if (redirectTo === undefined) {
    return undefined;
  }
  const { to, status = 307 } = redirectTo;
  return {
    status,
    headers: { Location: typeof to === 'string' ? `${to}${path}?${SIGNED_QUERY}` : to(name) },
  };
}
