import { PassthroughError } from '../../errors.ts';
import type { Index } from '../../image/manifest.ts';
import type { MemoryBudget, MemoryLease } from '../../util/memory-budget.ts';
import { quoted } from '../../util/printable.ts';
import { DESCRIPTORS_FACTOR, reserveHeld } from './held-memory.ts';

/** Most manifests below an index with all its platforms. Tens are usual; attestations double them. */
const MAX_CHILDREN = 200;

/** Factor of {@link childrenBytes}. 200 manifests of 20 KB, several times the usual size, are one of the largest size. */
const LARGEST_CHILDREN = 8;

/**
 * Most bytes of all manifests below an index that is resolved with all its platforms.
 *
 * @param manifestBytes most bytes of one of them
 */
export function childrenBytes(manifestBytes: number): number {
  return LARGEST_CHILDREN * manifestBytes;
}

/** What limits the manifests below an index. */
export interface ChildrenLimits {
  /** Most bytes of all of them, as the index declares them; see {@link childrenBytes}. */
  readonly childrenBytes: number;
  /** Counts what is held for long. */
  readonly heldMemory: MemoryBudget;
}

/** Counts the manifests below an index before one is fetched: an index of 20 KB may name a gigabyte of them. */
export class ChildrenBudget implements Disposable {
  readonly #name: string;
  readonly #limits: ChildrenLimits;
  readonly #signal: AbortSignal;
  readonly #leases: (MemoryLease | undefined)[] = [];
  readonly #digests = new Set<string>();
  #bytes = 0;

  /** @param name of the image, for messages */
  constructor(name: string, limits: ChildrenLimits, signal: AbortSignal) {
    this.#name = name;
    this.#limits = limits;
    this.#signal = signal;
  }

  /** Bytes of memory that are reserved. */
  get reservedBytes(): number {
    return this.#leases.reduce((sum, lease) => sum + (lease?.bytes ?? 0), 0);
  }

  /**
   * Counts the manifests that an index names, each once, and reserves memory for their descriptors.
   *
   * @throws PassthroughError `UNSUPPORTED_IMAGE` for too many, `IMAGE_TOO_LARGE` for too large ones; as `MemoryBudget.reserve`
   */
  async admit({ all }: Index): Promise<void> {
    const before = this.#bytes;
    for (const { digest, size } of all) {
      if (this.#digests.has(digest)) continue;
      this.#digests.add(digest);
      this.#bytes += size;
    }
    if (this.#digests.size > MAX_CHILDREN) {
      const why = `more than ${MAX_CHILDREN} manifests lie below it`;
      throw new PassthroughError('UNSUPPORTED_IMAGE', `Cannot use manifest: ${why}`);
    }
    const { childrenBytes: most, heldMemory } = this.#limits;
    if (this.#bytes > most) {
      const why = `the manifests below it have ${this.#bytes} bytes, more than ${most}`;
      throw new PassthroughError('IMAGE_TOO_LARGE', `Cannot use index: ${why}`);
    }
    const call = { what: `the manifests of ${quoted(this.#name)}`, signal: this.#signal };
    this.#leases.push(await reserveHeld(heldMemory, DESCRIPTORS_FACTOR * (this.#bytes - before), call));
  }

  /** Gives the memory back. */
  [Symbol.dispose](): void {
    for (const lease of this.#leases) lease?.release();
  }
}
