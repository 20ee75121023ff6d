import type { Digest } from '../../image/digest.ts';

/** A repository and the registry that it is in. */
export interface RepositoryLocation {
  /** Scheme, host and port of the registry. */
  readonly origin: string;
  readonly name: string;
}

/** Most facts that are remembered: some 200 bytes each. */
const MAX_FACTS = 20_000;

/**
 * Which blobs a repository is known to have. What is cached may have come by way of another repository, which its asker need not
 * be allowed to read: that a manifest names a layer does not prove that its repository has it, since not every registry
 * looks when the manifest is pushed. So a cached layer is given out for a repository once the registry has said so.
 */
export class KnownBlobs {
  readonly #facts = new Set<string>();

  /** Whether the repository has it, as far as is known. */
  has(repository: RepositoryLocation, digest: Digest): boolean {
    return this.#facts.has(factOf(repository, digest));
  }

  /** Notes that the repository has it; the oldest fact goes for it. */
  add(repository: RepositoryLocation, digest: Digest): void {
    const [oldest] = this.#facts;
    if (this.#facts.size >= MAX_FACTS && oldest !== undefined) this.#facts.delete(oldest);
    this.#facts.add(factOf(repository, digest));
  }
}

function factOf({ origin, name }: RepositoryLocation, digest: Digest): string {
  return `${origin} ${name} ${digest}`;
}
