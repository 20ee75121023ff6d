import type { Digest } from '../../image/digest.ts';
import type { RepositoryLocation } from './known-blobs.ts';

/** A manifest or a config whose bytes were verified. */
export interface KnownDocument {
  readonly digest: Digest;
  readonly bytes: Uint8Array;
  /** As the registry gave it with a manifest; empty otherwise. */
  readonly contentType: string;
}

/** Most bytes that are kept: a manifest and its config are some 10 KB, so this is for a thousand images. */
const MAX_BYTES = 16 * 1024 * 1024;

/** Bytes that a document costs besides its own. */
const OVERHEAD_BYTES = 500;

/**
 * Manifests and configs of each repository, those that were used last. They are kept by repository, since who may read one
 * repository may not read another: what is here was given out by that very repository.
 */
export class ManifestCache {
  readonly #documents = new Map<string, KnownDocument>();
  readonly #maxBytes: number;
  #bytes = 0;

  /** @param maxBytes 0 keeps nothing */
  constructor(maxBytes = MAX_BYTES) {
    this.#maxBytes = maxBytes;
  }

  /** A document, where it is known. */
  get(repository: RepositoryLocation, digest: Digest): KnownDocument | undefined {
    const key = keyOf(repository, digest);
    const document = this.#documents.get(key);
    if (document !== undefined) {
      this.#documents.delete(key);
      this.#documents.set(key, document);
    }
    return document;
  }

  /** Keeps a document; those that were used longest ago go for it. */
  keep(repository: RepositoryLocation, document: KnownDocument): void {
    const key = keyOf(repository, document.digest);
    this.#forget(key);
    const cost = costOf(document);
    if (cost > this.#maxBytes) return;
    this.#documents.set(key, document);
    this.#bytes += cost;
    for (const oldest of this.#documents.keys()) {
      if (this.#bytes <= this.#maxBytes) break;
      this.#forget(oldest);
    }
  }

  #forget(key: string): void {
    const document = this.#documents.get(key);
    if (document === undefined) return;
    this.#documents.delete(key);
    this.#bytes -= costOf(document);
  }
}

function costOf({ bytes }: KnownDocument): number {
  return bytes.byteLength + OVERHEAD_BYTES;
}

function keyOf({ origin, name }: RepositoryLocation, digest: Digest): string {
  return `${origin} ${name} ${digest}`;
}
