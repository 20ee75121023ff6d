import { isPersonal } from '../../errors.ts';
import type { Descriptor } from '../../image/manifest.ts';
import type { RepositoryLocation } from '../../registry/repository.ts';
import { readRepairing } from '../../storage/repairing-reader.ts';
import type { Store, Stored } from '../../storage/store.ts';
import { decompressed, detectCompression, HEAD_LENGTH } from '../../streams/decompress.ts';
import { gzipInto } from '../../streams/gzip.ts';
import type { ByteRange } from '../../tar/encoder.ts';
import type { MemoryBudget } from '../../util/memory-budget.ts';
import { quoted } from '../../util/printable.ts';
import { SingleFlight } from '../../util/single-flight.ts';
import type { LayerReport } from '../progress.ts';
import { factsIn, type KnownLayers, type LayerFacts } from './layer-facts.ts';
import { blobKey, deflatedKey } from './layer-key.ts';
import { type LayerTarget, type WrittenForm, writeLayer } from './write-layer.ts';

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
  readonly #known: KnownLayers;
  /** Blobs that are being unpacked for their facts. */
  readonly #unpacking = new SingleFlight<string, LayerFacts, LayerReport>();

  constructor(store: Store<LayerReport>, memory: MemoryBudget, known: KnownLayers) {
    this.#store = store;
    this.#memory = memory;
    this.#known = known;
  }

  /** Whether a layer is being unpacked for its facts. */
  isUnpacking(layer: Descriptor, location: RepositoryLocation, account: string | undefined): boolean {
    return this.#unpacking.comes(blobKey(layer, location), account);
  }

  /**
   * The facts of a layer. Where the blob was not unpacked when it was fetched, it is unpacked now, once for all callers.
   *
   * @throws PassthroughError as `fetchLayer`; `DAMAGED`
   */
  async factsOf(blob: BlobOfLayer, { signal, account, report }: GzipCall): Promise<LayerFacts> {
    const { layer, location, file } = blob;
    const known = this.#known.get(layer, location) ?? factsIn(file.description);
    if (known !== undefined) return known;
    const draft = { write: async () => undefined, restart: async () => undefined };
    const { value, release } = await this.#unpacking.join(blobKey(layer, location), {
      ...{ signal, account, onReport: report, isPersonal },
      produce: (working, tell) => this.#unpack(blob, 'gzip', { draft, signal: working, report: tell }),
    });
    release();
    return value;
  }

  /**
   * The form of a stored blob in layout docker-gzip, by its first bytes: as it is, or compressed anew.
   *
   * @throws PassthroughError `DAMAGED`, and what fetching the blob again throws
   */
  async loadableForm(blob: BlobOfLayer, signal: AbortSignal): Promise<'compressed' | 'gzip'> {
    for await (const head of readBlob(blob, signal, { start: 0, end: Math.min(HEAD_LENGTH, blob.file.size) }))
      return isLoadable(head) ? 'compressed' : 'gzip';
    return 'gzip';
  }

  /**
   * A layer compressed anew.
   *
   * @returns the file, which the caller owns
   * @throws PassthroughError as `fetchLayer`; `DAMAGED`
   */
  async deflated(
    blob: BlobOfLayer,
    facts: LayerFacts | undefined,
    { signal, account }: GzipCall,
  ): Promise<Stored> {
    const { layer, location } = blob;
    const file = await this.#store.obtain(deflatedKey(layer, location), {
      signal,
      account,
      produce: async (draft, working) => {
        await gzipInto(draft, this.unpacked(blob, facts, working), working);
        return {};
      },
    });
    this.#known.addDeflated(layer, location, file.size);
    return file;
  }

  /** The uncompressed bytes of a stored blob. */
  unpacked(blob: BlobOfLayer, facts: LayerFacts | undefined, signal: AbortSignal) {
    const { layer } = blob;
    return decompressed(readBlob(blob, signal), `layer ${quoted(layer.digest)}`, {
      memory: this.#memory,
      signal,
      end: facts?.gzipBytes,
    });
  }

  /**
   * Unpacks a stored blob into a file.
   *
   * @returns what it has shown
   * @throws PassthroughError as `fetchLayer`; `DAMAGED`
   */
  unpackInto(blob: BlobOfLayer, target: UnpackTarget): Promise<LayerFacts> {
    return this.#unpack(blob, 'uncompressed', target);
  }

  #unpack(
    blob: BlobOfLayer,
    form: Exclude<WrittenForm, 'compressed'>,
    target: UnpackTarget,
  ): Promise<LayerFacts> {
    const open = async () => readBlob(blob, target.signal);
    return writeLayer(open, { layer: blob.layer, form, memory: this.#memory, ...target });
  }
}

/** Where the bytes of an unpacked layer go. */
type UnpackTarget = Pick<LayerTarget, 'draft' | 'signal' | 'report'>;

/** Whether engines load a blob as a layer of layout docker-gzip, by its first {@link HEAD_LENGTH} bytes. */
export function isLoadable(head: Uint8Array): boolean {
  try {
    return detectCompression(head, 'a layer') === 'gzip';
  } catch {
    // bzip2 and xz, which engines unpack.
    return true;
  }
}

function readBlob({ file, refetch }: BlobOfLayer, signal: AbortSignal, range?: ByteRange) {
  return readRepairing(file, range, () => refetch(signal));
}
