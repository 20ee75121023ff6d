import { PassthroughError } from '../../errors.ts';
import { isDigest } from '../../image/digest.ts';
import type { Descriptor } from '../../image/manifest.ts';
import type { RepositoryLocation } from '../../registry/repository.ts';
import type { Description } from '../../storage/checked-file.ts';
import { readRepairing } from '../../storage/repairing-reader.ts';
import type { Store, Stored } from '../../storage/store.ts';
import { decompressed } from '../../streams/decompress.ts';
import { gzipInto } from '../../streams/gzip.ts';
import type { MemoryBudget } from '../../util/memory-budget.ts';
import { quoted } from '../../util/printable.ts';
import type { LayerReport } from '../progress.ts';
import { type LayerFacts, type LayerTarget, writeLayer } from './fetch-layer.ts';
import { layerKey } from './layer-key.ts';

/** What is kept of a layer beside its blob, and for longer: facts that unpacking it has shown. */
const FACTS = 'facts';

/** Facts as they are stored with a file. */
export function describeFacts({ diffId, uncompressedBytes, isPlainGzip }: LayerFacts): Description {
  return { diffId, uncompressedBytes, isPlainGzip: isPlainGzip ? 1 : 0 };
}

function factsIn({ diffId, uncompressedBytes, isPlainGzip }: Description): LayerFacts | undefined {
  if (typeof diffId !== 'string' || !isDigest(diffId) || isPlainGzip === undefined) return undefined;
  return { diffId, uncompressedBytes: Number(uncompressedBytes), isPlainGzip: isPlainGzip === 1 };
}

/** A layer whose blob is stored. */
export interface BlobOfLayer {
  readonly layer: Descriptor;
  readonly location: RepositoryLocation;
  readonly file: Stored;
  /** Fetches the blob again, if its file is damaged. */
  readonly refetch: (signal: AbortSignal) => Promise<Stored>;
}

/** What belongs to one call of {@link GzipLayers}. */
export interface GzipCall {
  readonly signal: AbortSignal;
  readonly account?: string | undefined;
  readonly report?: ((report: LayerReport) => void) | undefined;
}

/**
 * Stored blobs as parts of gzip files: what unpacking has shown of each, and those that are compressed anew because they are no plain
 * gzip.
 */
export class GzipLayers {
  readonly #store: Store<LayerReport>;
  readonly #memory: MemoryBudget;

  constructor(store: Store<LayerReport>, memory: MemoryBudget) {
    this.#store = store;
    this.#memory = memory;
  }

  /** Whether the facts of a layer are stored, or under way. */
  has(layer: Descriptor, location: RepositoryLocation, account: string | undefined): boolean {
    return this.#store.has(layerKey(layer, FACTS, location), account);
  }

  /**
   * The facts of a layer. They are kept: where the blob was not unpacked when it was fetched, it is unpacked now.
   *
   * @throws PassthroughError as `fetchLayer`; `DAMAGED`
   */
  async factsOf(blob: BlobOfLayer, { signal, account, report }: GzipCall): Promise<LayerFacts> {
    const { layer, location, file } = blob;
    const kept = await this.#store.obtain(layerKey(layer, FACTS, location), {
      signal,
      account,
      ...(report !== undefined && { onReport: report }),
      produce: async (_, working, tell) => {
        if (factsIn(file.description) !== undefined) return file.description;
        const draft = { write: async () => undefined };
        const facts = await this.#unpack(blob, 'gzip', { draft, signal: working, report: tell });
        return facts === undefined ? {} : describeFacts(facts);
      },
    });
    const facts = factsIn(kept.description);
    kept.release();
    if (facts !== undefined) return facts;
    throw new PassthroughError('INTERNAL', `Cannot use what is known of layer ${quoted(layer.digest)}`);
  }

  /**
   * A layer compressed anew. zlib's output differs between versions, so each has a file of its own.
   *
   * @returns the file, which the caller owns
   * @throws PassthroughError as `fetchLayer`; `DAMAGED`
   */
  deflated(blob: BlobOfLayer, { signal, account }: GzipCall): Promise<Stored> {
    return this.#store.obtain(layerKey(blob.layer, `gzip-${process.versions.zlib}`, blob.location), {
      signal,
      account,
      produce: async (draft, working) => {
        await gzipInto(draft, this.unpacked(blob, working), working);
        return {};
      },
    });
  }

  /** The uncompressed bytes of a stored blob. */
  unpacked(blob: BlobOfLayer, signal: AbortSignal) {
    const { layer } = blob;
    return decompressed(readBlob(blob, signal), `layer ${quoted(layer.digest)}`, {
      memory: this.#memory,
      signal,
    });
  }

  /**
   * Unpacks a stored blob into a file.
   *
   * @returns what it has shown
   * @throws PassthroughError as `fetchLayer`; `DAMAGED`
   */
  unpackInto(blob: BlobOfLayer, target: UnpackTarget): Promise<LayerFacts | undefined> {
    return this.#unpack(blob, 'uncompressed', target);
  }

  async #unpack(
    blob: BlobOfLayer,
    form: 'gzip' | 'uncompressed',
    target: UnpackTarget,
  ): Promise<LayerFacts | undefined> {
    const bytes = readBlob(blob, target.signal);
    try {
      return await writeLayer(bytes, { layer: blob.layer, form, memory: this.#memory, ...target });
    } finally {
      await bytes.return();
    }
  }
}

/** Where the bytes of an unpacked layer go. */
type UnpackTarget = Pick<LayerTarget, 'draft' | 'signal' | 'report'>;

function readBlob({ file, refetch }: BlobOfLayer, signal: AbortSignal) {
  return readRepairing(file, undefined, () => refetch(signal));
}
