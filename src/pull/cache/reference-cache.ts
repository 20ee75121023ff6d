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
  /** Keeps on disk what may be served without the registry, and large documents while they are used. */
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

/** Most bytes of memory for references, and for the names of their repositories: some 20,000 references. */
const MAX_BYTES = 8 * 1024 * 1024;

/** Memory that a reference takes besides its key. */
const OVERHEAD_BYTES = 250;

/**
 * The digests that references resolved to, and the manifests and configs behind them. The registry is still asked whether a
 * reference has changed; only when it is down, and `staleMs` allows it, the last known digest is served.
 */
export class ReferenceCache {
  readonly #isOn: boolean;
  readonly #staleMs: number;
  readonly #servesStale: boolean;
  readonly #documents: ManifestCache;
  readonly #references: BoundedMap<string, CachedReference>;
  readonly #store: ManifestStore | undefined;
  /** Repositories of which a reference may be remembered as resolved anonymously, so that most refusals need no search. */
  readonly #anonymous = new Set<string>();

  constructor({ isOn, staleMs, store, stored = [] }: ReferenceCacheOptions) {
    this.#isOn = isOn;
    this.#staleMs = staleMs;
    this.#documents = isOn ? new ManifestCache() : new ManifestCache(0);
    const costOf = (_: CachedReference, key: string) => key.length + OVERHEAD_BYTES;
    this.#references = new BoundedMap({ maxCost: isOn ? MAX_BYTES : 0, costOf }, stored);
    this.#store = store;
    this.#servesStale = isOn && staleMs > 0;
    for (const [key] of this.#references.entries()) this.#anonymous.add(repositoryOf(key));
  }

  /** The digest that a reference last resolved to. */
  digestOf(repository: RepositoryLocation, name: string): Digest | undefined {
    return this.#references.get(keyOf(repository, name))?.digest;
  }

  /**
   * A manifest or config that this repository has served.
   *
   * @returns the document, whose content the caller must release
   */
  async document(repository: RepositoryLocation, digest: Digest): Promise<CachedDocument | undefined> {
    const entry = this.#documents.get(repository, digest);
    if (entry === undefined) return undefined;
    const { content, contentType } = entry;
    if (content !== undefined) return { digest, content, contentType };
    const stored = await this.#store?.findDocument(repository, digest);
    if (stored === undefined) this.#documents.delete(repository, digest);
    return stored;
  }

  /**
   * Keeps a manifest or config that this repository has served. All holders of a large one share its file.
   *
   * @param document its content is taken over
   * @returns the document, whose content the caller must release
   */
  async keepDocument(repository: RepositoryLocation, document: CachedDocument): Promise<CachedDocument> {
    this.#documents.set(repository, document);
    if (document.content.bytes === undefined)
      return (await this.#store?.keepDocument(repository, document)) ?? document;
    if (this.#servesStale)
      void this.#store?.keepDocument(repository, document).then(({ content }) => content.release());
    return document;
  }

  /** Keeps a document in memory; resolves when it is on disk, too, if it may be served without the registry. */
  async persistDocument(repository: RepositoryLocation, document: CachedDocument): Promise<void> {
    this.#documents.set(repository, document);
    if (!this.#servesStale) return;
    const kept = await this.#store?.keepDocument(repository, document);
    kept?.content.release();
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
    if (!isAnonymous) return;
    this.#noteAnonymous(repositoryOf(key));
    if (this.#servesStale) this.#store?.keepReferences(this.#references);
  }

  /**
   * Forgets what references resolved to, on the disk too, because the registry has refused them: they must not be served when it
   * is down.
   *
   * @param name of the reference; `undefined` for all of the repository
   */
  forget(repository: RepositoryLocation, name: string | undefined): void {
    const isKnown = this.#anonymous.has(keyOf(repository, ''));
    const keys = name === undefined ? (isKnown ? this.#keysOf(repository) : []) : [keyOf(repository, name)];
    const wasServed = keys.some((key) => this.#references.get(key)?.resolvedAt !== undefined);
    for (const key of keys) this.#references.delete(key);
    if (name === undefined) this.#anonymous.delete(keyOf(repository, ''));
    if (wasServed && this.#servesStale) this.#store?.keepReferences(this.#references, 'now');
  }

  #keysOf(repository: RepositoryLocation): readonly string[] {
    const prefix = keyOf(repository, '');
    return Array.from(this.#references.entries(), ([key]) => key).filter((key) => key.startsWith(prefix));
  }

  /** Eviction leaves repositories without references; they go when there are many more of them than references. */
  #noteAnonymous(repository: string): void {
    this.#anonymous.add(repository);
    if (this.#anonymous.size <= 2 * this.#references.size) return;
    this.#anonymous.clear();
    for (const [key] of this.#references.entries()) this.#anonymous.add(repositoryOf(key));
  }

  /**
   * Resolves a reference without the registry.
   *
   * @returns `undefined` unless the reference was resolved anonymously within `staleMs`. A time in the future is not: the clock was
   *   set back, or the note is damaged, and it would be fresh for ever
   */
  async stale(repository: RepositoryLocation, name: string): Promise<StaleDocument | undefined> {
    const { digest, resolvedAt } = this.#references.get(keyOf(repository, name)) ?? {};
    if (this.#staleMs === 0 || digest === undefined || resolvedAt === undefined) return undefined;
    const staleMs = Date.now() - resolvedAt;
    if (!(staleMs >= 0 && staleMs <= this.#staleMs)) return undefined;
    const document = await this.staleDocument(repository, digest);
    return document && { document, staleMs };
  }

  /** A document for a caller that cannot ask the registry: also one that an earlier process has kept. */
  async staleDocument(repository: RepositoryLocation, digest: Digest): Promise<CachedDocument | undefined> {
    const document = await this.document(repository, digest);
    return document ?? (this.#servesStale ? await this.#store?.findDocument(repository, digest) : undefined);
  }
}

/** The part of a key that names the repository, with the space behind it. */
function repositoryOf(key: string): string {
  return key.slice(0, key.lastIndexOf(' ') + 1);
}

function keyOf({ origin, name: repository }: RepositoryLocation, name: string): string {
  return `${origin} ${repository} ${name}`;
}
