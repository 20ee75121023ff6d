import type { Digest } from '../../image/digest.ts';
import type { RepositoryLocation } from './known-blobs.ts';
import { type KnownDocument, ManifestCache } from './manifest-cache.ts';

/** What a tag or digest stood for when the registry was last asked. */
export interface KnownReference {
  readonly digest: Digest;
  /** When the registry has last told it to somebody without credentials, in milliseconds since 1970; never where it is absent. */
  readonly toldAt?: number;
}

/** Where what is to outlive the process is kept. */
export interface Archives {
  keepDocument(repository: RepositoryLocation, document: KnownDocument): void;
  findDocument(repository: RepositoryLocation, digest: Digest): Promise<KnownDocument | undefined>;
  /** All references that anybody was told, by key. */
  keepReferences(references: ReadonlyMap<string, KnownReference>): void;
}

/** Settings of {@link ReferenceCache}. */
export interface ReferenceCacheOptions {
  /** Whether anything is kept. */
  readonly isOn: boolean;
  /** Milliseconds for which references that were resolved anonymously are good without the registry; 0 for none. */
  readonly staleMs: number;
}

/** Most references that are remembered: some 300 bytes each. */
const MAX_REFERENCES = 20_000;

/**
 * What references stood for, and the manifests and configs behind them. Saves asking for what is known, never asking whether it
 * still holds: but for a registry that is down, where that is configured.
 */
export class ReferenceCache {
  readonly #options: ReferenceCacheOptions;
  readonly #documents: ManifestCache;
  readonly #references: Map<string, KnownReference>;
  readonly #archives: Archives | undefined;

  /**
   * @param archives used where anything may be served without the registry
   * @param references what an earlier process has kept
   */
  constructor(
    options: ReferenceCacheOptions,
    archives?: Archives,
    references: Iterable<readonly [string, KnownReference]> = [],
  ) {
    this.#options = options;
    this.#documents = options.isOn ? new ManifestCache() : new ManifestCache(0);
    this.#references = new Map(references);
    this.#archives = options.isOn && options.staleMs > 0 ? archives : undefined;
  }

  /** What a reference stood for, as far as is known. */
  reference(repository: RepositoryLocation, name: string): KnownReference | undefined {
    return this.#references.get(keyOf(repository, name));
  }

  /** A document that the repository has given out. */
  document(repository: RepositoryLocation, digest: Digest): KnownDocument | undefined {
    return this.#documents.get(repository, digest);
  }

  /** Keeps a document that the repository has given out. */
  keepDocument(repository: RepositoryLocation, document: KnownDocument): void {
    this.#documents.keep(repository, document);
    this.#archives?.keepDocument(repository, document);
  }

  /**
   * Notes what the registry has just said of a reference.
   *
   * @param isAnonymous whether it has told so to somebody without credentials, so that anybody may be told
   */
  confirm(repository: RepositoryLocation, name: string, digest: Digest, isAnonymous: boolean): void {
    if (!this.#options.isOn) return;
    const key = keyOf(repository, name);
    const before = this.#references.get(key);
    // What everybody was told does not become a secret because somebody with credentials is told the same.
    const told = before?.digest === digest ? before.toldAt : undefined;
    const toldAt = isAnonymous ? Date.now() : told;
    this.#references.delete(key);
    this.#references.set(key, { digest, ...(toldAt !== undefined && { toldAt }) });
    const [oldest] = this.#references.keys();
    if (this.#references.size > MAX_REFERENCES && oldest !== undefined) this.#references.delete(oldest);
    if (isAnonymous) this.#archives?.keepReferences(this.#references);
  }

  /**
   * What a reference stood for when somebody without credentials was last told, and how many milliseconds ago that was, where
   * that may still be told without the registry.
   */
  async stale(
    repository: RepositoryLocation,
    name: string,
  ): Promise<{ readonly document: KnownDocument; readonly staleMs: number } | undefined> {
    const { digest, toldAt } = this.reference(repository, name) ?? {};
    const limit = this.#options.staleMs;
    if (limit === 0 || digest === undefined || toldAt === undefined) return undefined;
    const staleMs = Math.max(0, Date.now() - toldAt);
    if (staleMs > limit) return undefined;
    const document = await this.staleDocument(repository, digest);
    return document && { document, staleMs };
  }

  /** A document for whoever cannot ask the registry: also one that an earlier process has kept. */
  async staleDocument(repository: RepositoryLocation, digest: Digest): Promise<KnownDocument | undefined> {
    return this.document(repository, digest) ?? (await this.#archives?.findDocument(repository, digest));
  }
}

function keyOf({ origin, name: repository }: RepositoryLocation, name: string): string {
  return `${origin} ${repository} ${name}`;
}
