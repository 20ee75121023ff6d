import type { Digest } from '../../image/digest.ts';
import type { RepositoryLocation } from '../../registry/repository.ts';
import { BoundedMap } from '../../util/bounded-map.ts';
import { type CachedDocument, ManifestCache } from './manifest-cache.ts';
import type { CachedReference, ManifestStore } from './manifest-store.ts';

/** Settings of {@link ReferenceCache}. */
export interface ReferenceCacheOptions {
  /** Whether anything is kept. */
  readonly isOn: boolean;
  /** Milliseconds for which a reference that was resolved anonymously may be served without the registry; 0 for never. */
  readonly staleMs: number;
  /** Keeps on disk what may be served without the registry. */
  readonly store?: ManifestStore | undefined;
  /** What the store has kept from an earlier process. */
  readonly stored?: Iterable<readonly [string, CachedReference]> | undefined;
}

/** A document that is served without the registry. */
export interface StaleDocument {
  readonly document: CachedDocument;
  /** Milliseconds since the registry last resolved the reference. */
  readonly staleMs: number;
}

/** Most references that are kept: each entry takes some 300 bytes. */
const MAX_REFERENCES = 20_000;

/**
 * The digests that references resolved to, and the manifests and configs behind them. The registry is still asked whether a
 * reference has changed; only when it is down, and `staleMs` allows it, the last known digest is served.
 */
export class ReferenceCache {
  readonly #isOn: boolean;
  readonly #staleMs: number;
  readonly #documents: ManifestCache;
  readonly #references: BoundedMap<string, CachedReference>;
  readonly #store: ManifestStore | undefined;

  constructor({ isOn, staleMs, store, stored = [] }: ReferenceCacheOptions) {
    this.#isOn = isOn;
    this.#staleMs = staleMs;
    this.#documents = isOn ? new ManifestCache() : new ManifestCache(0);
    this.#references = new BoundedMap({ maxCost: isOn ? MAX_REFERENCES : 0 }, stored);
    this.#store = isOn && staleMs > 0 ? store : undefined;
  }

  /** The digest that a reference last resolved to. */
  digestOf(repository: RepositoryLocation, name: string): Digest | undefined {
    return this.#references.get(keyOf(repository, name))?.digest;
  }

  /** A manifest or config that this repository has served. */
  document(repository: RepositoryLocation, digest: Digest): CachedDocument | undefined {
    return this.#documents.get(repository, digest);
  }

  /** Keeps a manifest or config that this repository has served. */
  keepDocument(repository: RepositoryLocation, document: CachedDocument): void {
    this.#documents.set(repository, document);
    this.#store?.keepDocument(repository, document);
  }

  /**
   * Records what the registry has just resolved a reference to.
   *
   * @param isAnonymous whether the registry answered without credentials, so that any client may get the answer
   */
  confirm(repository: RepositoryLocation, name: string, digest: Digest, isAnonymous: boolean): void {
    if (!this.#isOn) return;
    const key = keyOf(repository, name);
    const before = this.#references.get(key);
    // A public reference does not become private because a client with credentials resolves it, too.
    const earlier = before?.digest === digest ? before.resolvedAt : undefined;
    const resolvedAt = isAnonymous ? Date.now() : earlier;
    this.#references.set(key, { digest, ...(resolvedAt !== undefined && { resolvedAt }) });
    if (isAnonymous) this.#store?.keepReferences(this.#references);
  }

  /**
   * Resolves a reference without the registry.
   *
   * @returns `undefined` unless the reference was resolved anonymously within `staleMs`
   */
  async stale(repository: RepositoryLocation, name: string): Promise<StaleDocument | undefined> {
    const { digest, resolvedAt } = this.#references.get(keyOf(repository, name)) ?? {};
    if (this.#staleMs === 0 || digest === undefined || resolvedAt === undefined) return undefined;
    const staleMs = Math.max(0, Date.now() - resolvedAt);
    if (staleMs > this.#staleMs) return undefined;
    const document = await this.staleDocument(repository, digest);
    return document && { document, staleMs };
  }

  /** A document for a caller that cannot ask the registry: also one that an earlier process has kept. */
  async staleDocument(repository: RepositoryLocation, digest: Digest): Promise<CachedDocument | undefined> {
    return this.document(repository, digest) ?? (await this.#store?.findDocument(repository, digest));
  }
}

function keyOf({ origin, name: repository }: RepositoryLocation, name: string): string {
  return `${origin} ${repository} ${name}`;
}
