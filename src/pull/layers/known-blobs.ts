import type { Digest } from '../../image/digest.ts';
import type { RepositoryLocation } from '../../registry/repository.ts';
import { BoundedMap } from '../../util/bounded-map.ts';

/** Most bytes of memory for what is remembered: some 15,000 blobs. */
const MAX_BYTES = 4 * 1024 * 1024;

/** Memory that an entry takes besides its key. */
const OVERHEAD_BYTES = 100;

/**
 * Which blobs a repository is known to have. A stored layer may come from another repository, which this request may not be
 * allowed to read. That a manifest names a layer does not prove that its repository has the layer, since not every registry
 * checks that at the push. So a stored layer is served for a repository only after the registry has confirmed it once.
 */
export class KnownBlobs {
  readonly #blobs = new BoundedMap<string, true>({
    maxCost: MAX_BYTES,
    costOf: (_, key) => key.length + OVERHEAD_BYTES,
  });

  /** Whether the repository has confirmed that it has the blob. */
  has(repository: RepositoryLocation, digest: Digest): boolean {
    return this.#blobs.get(keyOf(repository, digest)) === true;
  }

  /** Records that the repository has the blob. */
  add(repository: RepositoryLocation, digest: Digest): void {
    this.#blobs.set(keyOf(repository, digest), true);
  }
}

function keyOf({ origin, name }: RepositoryLocation, digest: Digest): string {
  return `${origin} ${name} ${digest}`;
}
