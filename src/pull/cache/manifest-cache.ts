import type { Digest } from '../../image/digest.ts';
import type { RepositoryLocation } from '../../registry/repository.ts';
import { BoundedMap } from '../../util/bounded-map.ts';

/** A manifest or a config whose bytes were verified. */
export interface CachedDocument {
  readonly digest: Digest;
  readonly bytes: Uint8Array;
  /** `Content-Type` that the registry gave for a manifest; empty for a config. */
  readonly contentType: string;
}

/** Most bytes that are kept: a manifest and its config have some 10 KB, so this holds a thousand images. */
const MAX_BYTES = 16 * 1024 * 1024;

/** Memory that a document takes besides its bytes. */
const OVERHEAD_BYTES = 500;

/**
 * Manifests and configs in memory, by repository and digest. They are kept for each repository, because a client that may read
 * one repository may not read another: every document here came from that very repository.
 */
export class ManifestCache {
  readonly #documents: BoundedMap<string, CachedDocument>;

  /** @param maxBytes 0 keeps nothing */
  constructor(maxBytes = MAX_BYTES) {
    const costOf = ({ bytes }: CachedDocument) => bytes.byteLength + OVERHEAD_BYTES;
    this.#documents = new BoundedMap({ maxCost: maxBytes, costOf });
  }

  /** Returns a document if it is cached. */
  get(repository: RepositoryLocation, digest: Digest): CachedDocument | undefined {
    return this.#documents.get(keyOf(repository, digest));
  }

  /** Caches a document. */
  set(repository: RepositoryLocation, document: CachedDocument): void {
    this.#documents.set(keyOf(repository, document.digest), document);
  }
}

function keyOf({ origin, name }: RepositoryLocation, digest: Digest): string {
  return `${origin} ${name} ${digest}`;
}
