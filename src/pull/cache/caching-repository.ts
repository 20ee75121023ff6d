import { isPassthroughError } from '../../errors.ts';
import { type Digest, isDigest } from '../../image/digest.ts';
import type { Descriptor } from '../../image/manifest.ts';
import type { CredentialOwner } from '../../registry/auth/credentials.ts';
import { isRegistryDown } from '../../registry/mirrors/outcome.ts';
import type { IsWanted } from '../../registry/referrers.ts';
import type { FetchedManifest, Repository, RepositoryLocation } from '../../registry/repository.ts';
import type { Content } from '../../util/content.ts';
import { KeyedSemaphore } from '../../util/semaphore.ts';
import { SingleFlight } from '../../util/single-flight.ts';
import type { CachedDocument } from './manifest-cache.ts';
import type { ReferenceCache } from './reference-cache.ts';

/** Most concurrent manifest requests to one registry: many clients with credentials must not overload it. */
const MAX_MANIFEST_REQUESTS = 64;

/** The single flight of {@link SharedManifests.inFlight}. */
export function sharedManifestRequests(): SingleFlight<string, FetchedManifest> {
  return new SingleFlight(({ content }) => content.release());
}

/** What all caching repositories of a service share. */
export class SharedManifests {
  readonly references: ReferenceCache;
  /** Manifest requests under way, by repository, reference and owner of the credentials. */
  readonly inFlight: SingleFlight<string, FetchedManifest>;
  /** Limits the manifest requests to each registry. */
  readonly permits = new KeyedSemaphore(MAX_MANIFEST_REQUESTS);

  constructor(references: ReferenceCache, inFlight = sharedManifestRequests()) {
    this.references = references;
    this.inFlight = inFlight;
  }
}

/** What belongs to one repository that is opened for one pull. */
export interface CachingRepositoryOptions {
  readonly location: RepositoryLocation;
  /** Owner of the credentials that the registry is asked with. A client's own are for that client's request alone. */
  readonly owner: CredentialOwner;
}

/**
 * A repository with a cache for manifests and configs. A tag is looked up each time, with the credentials of the pull: by HEAD
 * where its last digest is cached, since registries do not count a HEAD as a pull. Documents below a manifest that the registry
 * has just served are named by digest, so the cached ones are current.
 *
 * Concurrent requests for one manifest share an answer, unless they use a client's own credentials.
 */
export class CachingRepository implements Repository {
  readonly #inner: Repository;
  readonly #options: CachingRepositoryOptions;
  readonly #shared: SharedManifests;
  /** What this pull resolves. */
  readonly #names = new Set<string>();
  /** Whether the registry could not be asked what this pull is for. */
  #isStale = false;

  constructor(inner: Repository, options: CachingRepositoryOptions, shared: SharedManifests) {
    this.#inner = inner;
    this.#options = options;
    this.#shared = shared;
  }

  async getManifest(reference: string | Descriptor, signal: AbortSignal): Promise<FetchedManifest> {
    const { location, owner } = this.#options;
    const { inFlight, permits } = this.#shared;
    const name = typeof reference === 'string' ? reference : reference.digest;
    const request = (working: AbortSignal) =>
      permits.run(
        location.origin,
        working,
        () =>
          typeof reference === 'string'
            ? this.#resolve(reference, working)
            : this.#getChild(reference, working),
        location.name,
      );
    if (owner === 'client') return await request(signal);
    const kind = typeof reference === 'string' ? 'root' : 'child';
    const { value: found, release } = await inFlight.join(
      `${owner} ${kind} ${location.origin} ${location.name} ${name}`,
      { signal, produce: request },
    );
    const content = found.content.retain();
    release();
    this.#isStale ||= found.staleMs !== undefined;
    return { ...found, content };
  }

  async getConfig(descriptor: Descriptor, signal: AbortSignal): Promise<Content> {
    const cached = await this.#cached(descriptor);
    if (cached !== undefined) return cached.content;
    const content = await this.#ask(() => this.#inner.getConfig(descriptor, signal));
    return (await this.#keep({ digest: descriptor.digest, content, contentType: '' })).content;
  }

  headManifest(reference: string, signal: AbortSignal): ReturnType<Repository['headManifest']> {
    return this.#inner.headManifest(reference, signal);
  }

  listTags(signal: AbortSignal): ReturnType<Repository['listTags']> {
    return this.#inner.listTags(signal);
  }

  getReferrers(
    digest: Digest,
    isWanted: IsWanted,
    signal: AbortSignal,
  ): ReturnType<Repository['getReferrers']> {
    return this.#inner.getReferrers(digest, isWanted, signal);
  }

  openLayer(
    descriptor: Descriptor,
    signal: AbortSignal,
    offset?: number,
  ): ReturnType<Repository['openLayer']> {
    return this.#ask(() => this.#inner.openLayer(descriptor, signal, offset));
  }

  checkLayer(descriptor: Descriptor, signal: AbortSignal): Promise<void> {
    return this.#ask(() => this.#inner.checkLayer(descriptor, signal));
  }

  openForeignLayer(descriptor: Descriptor, signal: AbortSignal): ReturnType<Repository['openLayer']> {
    return this.#inner.openForeignLayer(descriptor, signal);
  }

  /** Resolves a tag or digest at the registry; if the registry is down, from the cache where that is allowed. */
  async #resolve(name: string, signal: AbortSignal): Promise<FetchedManifest> {
    const { location, owner } = this.#options;
    const { references } = this.#shared;
    this.#names.add(name);
    try {
      const found = await this.#ask(
        async () =>
          (await this.#unchanged(name, signal)) ??
          (await this.#keep(await this.#inner.getManifest(name, signal))),
      );
      references.confirm(location, name, found.digest, owner === 'none');
      return found;
    } catch (error) {
      const stale = isRegistryDown(error) ? await references.stale(location, name) : undefined;
      if (stale === undefined) throw error;
      this.#isStale = true;
      return { ...stale.document, staleMs: stale.staleMs };
    }
  }

  /** The cached manifest of a reference, if the registry confirms by HEAD that the reference has not changed. */
  async #unchanged(name: string, signal: AbortSignal): Promise<FetchedManifest | undefined> {
    const { location } = this.#options;
    const { references } = this.#shared;
    const digest = isDigest(name) ? name : references.digestOf(location, name);
    const document = digest && (await references.document(location, digest));
    if (document === undefined) return undefined;
    let isSame = false;
    try {
      const head = await this.#inner.headManifest(name, signal);
      isSame = head?.digest === document.digest && head.contentType === document.contentType;
      return isSame ? document : undefined;
    } finally {
      if (!isSame) document.content.release();
    }
  }

  /** A manifest that an index names. */
  async #getChild(descriptor: Descriptor, signal: AbortSignal): Promise<FetchedManifest> {
    const cached = await this.#cached(descriptor);
    if (cached !== undefined) return cached;
    return await this.#keep(await this.#ask(() => this.#inner.getManifest(descriptor, signal)));
  }

  /**
   * Asks the registry. What it refuses must not be served when it is down later: that forgets what this pull resolved, or all of
   * the repository if a right was refused.
   */
  async #ask<T>(ask: () => Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      const { location, owner } = this.#options;
      const { references } = this.#shared;
      const refused = refusedBy(error);
      // That a client's account is refused says nothing about anonymous access, for which references are remembered. Otherwise any
      // client could make the service forget by wrong credentials.
      if (refused === 'repository' && owner !== 'client') references.forget(location, undefined);
      if (refused === 'reference') for (const name of this.#names) references.forget(location, name);
      throw error;
    }
  }

  /** A cached document. One whose size differs from the descriptor's goes to the repository client, which refuses it. */
  async #cached({ digest, size }: Descriptor): Promise<CachedDocument | undefined> {
    const { location } = this.#options;
    const { references } = this.#shared;
    const cached = this.#isStale
      ? await references.staleDocument(location, digest)
      : await references.document(location, digest);
    if (cached === undefined || cached.content.size === size) return cached;
    cached.content.release();
    return undefined;
  }

  #keep(document: CachedDocument): Promise<CachedDocument> {
    return this.#shared.references.keepDocument(this.#options.location, document);
  }
}

/** What a registry refuses by a failure: a right, which concerns the whole repository, or this reference. */
function refusedBy(error: unknown): 'repository' | 'reference' | undefined {
  if (!isPassthroughError(error)) return undefined;
  const { registryStatus = 0 } = error.details;
  if (error.code === 'REGISTRY_DENIED') return 'repository';
  const isRefused = registryStatus >= 400 && registryStatus < 500 && registryStatus !== 429;
  return isRefused ? 'reference' : undefined;
}
