import type { Digest } from '../../image/digest.ts';
import type { RepositoryLocation } from '../../registry/repository.ts';
import { BoundedMap } from '../../util/bounded-map.ts';
import type { Content } from '../../util/content.ts';

/** A manifest or a config whose bytes were verified. */
export interface CachedDocument {
  readonly digest: Digest;
  /** The holder must release it. */
  readonly content: Content;
  /** `Content-Type` that the registry gave for a manifest; empty for a config. */
  readonly contentType: string;
}

/** A document in the cache. */
export interface CacheEntry {
  readonly contentType: string;
  /** In memory; `undefined` for a large document, which is stored in a file. */
  readonly content: Content | undefined;
}

/** Most bytes that are kept: a manifest and its config have some 10 KB, so this holds a thousand images. */
const MAX_BYTES = 16 * 1024 * 1024;

/** Memory that a document takes besides its bytes and its key. */
const OVERHEAD_BYTES = 500;

/**
 * Manifests and configs in memory, by repository and digest, and which large ones are in files. They are kept for each
 * repository, because a client that may read one repository may not read another: every document here came from that very
 * repository.
 */
export class ManifestCache {
  readonly #documents: BoundedMap<string, CacheEntry>;

  /** @param maxBytes 0 keeps nothing */
  constructor(maxBytes = MAX_BYTES) {
    const costOf = ({ content, contentType }: CacheEntry, key: string) =>
      (content?.size ?? 0) + contentType.length + key.length + OVERHEAD_BYTES;
    this.#documents = new BoundedMap({ maxCost: maxBytes, costOf });
  }

  /** Returns a document if it is cached. */
  get(repository: RepositoryLocation, digest: Digest): CacheEntry | undefined {
    return this.#documents.get(keyOf(repository, digest));
  }

  /** Caches a document. Content in memory is shared, and needs no release. */
  set(repository: RepositoryLocation, { digest, content, contentType }: CachedDocument): void {
    const kept = content.bytes === undefined ? undefined : content;
    this.#documents.set(keyOf(repository, digest), { content: kept, contentType });
  }

  /** Removes a document. */
  delete(repository: RepositoryLocation, digest: Digest): void {
    this.#documents.delete(keyOf(repository, digest));
  }
}

function keyOf({ origin, name }: RepositoryLocation, digest: Digest): string {
  return `${origin} ${name} ${digest}`;
}
