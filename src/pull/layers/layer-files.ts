import { isPassthroughError } from '../../errors.ts';
import type { Descriptor } from '../../image/manifest.ts';
import type { Repository, RepositoryLocation } from '../../registry/repository.ts';
import type { Draft, Store, Stored, StoredSource } from '../../storage/store.ts';
import type { MemoryBudget } from '../../util/memory-budget.ts';
import { KeyedSemaphore } from '../../util/semaphore.ts';
import type { LayerReport } from '../progress.ts';
import { type FetchLayerOptions, fetchLayer } from './fetch-layer.ts';
import type { BlobOfLayer, GzipLayers } from './gzip-layers.ts';
import { describeFacts, factsIn } from './layer-facts.ts';
import { blobKey, inflatedKey, liesOutside } from './layer-key.ts';
import type { Facts, WrittenForm } from './write-layer.ts';

/** Where layers come from: a repository, opened with the caller's credentials. */
export interface LayerSource {
  readonly location: RepositoryLocation;
  readonly repository: Repository;
  /** The client's account whose rights the repository is opened with; see `accountOf`. */
  readonly account?: string | undefined;
}

/** What {@link LayerFiles} is made from. */
export interface LayerFilesOptions {
  readonly store: Store<LayerReport>;
  /** Counts what decoders of layers take. */
  readonly memory: MemoryBudget;
  readonly gzip: GzipLayers;
  /** Most layers that are fetched from one registry at once. */
  readonly concurrentDownloads: number;
}

/** What belongs to one call of {@link LayerFiles}. */
export interface LayerFileCall {
  readonly source: LayerSource;
  readonly signal: AbortSignal;
  readonly report: (report: LayerReport) => void;
  /** Whether the blob is of use beside the uncompressed bytes. */
  readonly keepsBlob?: boolean | undefined;
}

/** A file of a layer, and where its bytes came from. */
export interface LayerFile {
  readonly file: Stored;
  readonly from: 'registry' | Exclude<StoredSource, 'made'>;
}

/**
 * The files of layers in the store: of each layer its blob, and for layout docker also its uncompressed bytes. Both come from one
 * download:
 *
 *     blob:          registry → blob
 *     uncompressed:  registry → blob → uncompressed     (one pass)
 *                    stored blob → uncompressed
 */
export class LayerFiles {
  readonly #store: Store<LayerReport>;
  readonly #memory: MemoryBudget;
  readonly #gzip: GzipLayers;
  readonly #downloads: KeyedSemaphore;

  constructor({ store, memory, gzip, concurrentDownloads }: LayerFilesOptions) {
    this.#store = store;
    this.#memory = memory;
    this.#gzip = gzip;
    this.#downloads = new KeyedSemaphore(concurrentDownloads);
  }

  /**
   * The blob of a layer: from the store, from a download under way, or from the registry.
   *
   * @param form of a download: whether the blob is unpacked on the way for its facts
   * @param inflated receives the uncompressed bytes of a download of this caller
   * @throws PassthroughError as `fetchLayer`
   */
  async blob(
    layer: Descriptor,
    form: Exclude<WrittenForm, 'uncompressed'>,
    { source, signal, report }: LayerFileCall,
    inflated?: Draft,
  ): Promise<LayerFile> {
    const { location, account } = source;
    const file = await this.#store.obtain(blobKey(layer, location), {
      ...{ signal, account, onReport: report },
      produce: async (draft, working, tell) => {
        const target = { draft, inflated, signal: working, report: tell };
        const facts = await this.download(layer, form, source, target);
        return { repository: location.name, ...(facts !== undefined && describeFacts(facts)) };
      },
    });
    return { file, from: file.source === 'made' ? 'registry' : file.source };
  }

  /**
   * The uncompressed bytes of a layer. A blob that is fetched for them is kept, unless it could not stay.
   *
   * @throws PassthroughError as `fetchLayer`; `DAMAGED`
   */
  async inflated(layer: Descriptor, call: LayerFileCall): Promise<LayerFile> {
    const keepsBlob = call.keepsBlob !== false && this.#store.keeps(layer.size);
    try {
      return await this.#inflated(layer, keepsBlob, call);
    } catch (error) {
      // What the disk has no room for with the blob may fit without it.
      if (!keepsBlob || !isPassthroughError(error, 'NO_SPACE')) throw error;
      return await this.#inflated(layer, false, call);
    }
  }

  /** A stored blob, for what reads it. */
  blobOf(layer: Descriptor, source: LayerSource, file: Stored): BlobOfLayer {
    const { location } = source;
    const report = () => undefined;
    const refetch = async (signal: AbortSignal) =>
      (await this.blob(layer, 'compressed', { source, signal, report })).file;
    return { layer, location, file, refetch };
  }

  /**
   * Fetches a layer from the registry, as soon as it may be asked for one more.
   *
   * @throws PassthroughError as `fetchLayer`
   */
  download<Form extends WrittenForm>(
    layer: Descriptor,
    form: Form,
    { location, repository }: LayerSource,
    target: Pick<FetchLayerOptions<Form>, 'draft' | 'inflated' | 'signal' | 'report'>,
  ): Promise<Facts<Form>> {
    const open = (one: Descriptor, working: AbortSignal) =>
      liesOutside(one) ? repository.openForeignLayer(one, working) : repository.openLayer(one, working);
    const reject = (one: Descriptor) => repository.rejectLayer?.(one);
    const options = { layer, form, open, reject, memory: this.#memory, ...target };
    const { origin, name } = location;
    return this.#downloads.run(origin, target.signal, () => fetchLayer(options), name);
  }

  async #inflated(layer: Descriptor, keepsBlob: boolean, call: LayerFileCall): Promise<LayerFile> {
    const { source, signal, report } = call;
    const { location, account } = source;
    let from: LayerFile['from'] = 'registry';
    const file = await this.#store.obtain(inflatedKey(layer, location), {
      ...{ signal, account, onReport: report },
      produce: async (draft, working, tell) => {
        const target = { draft, signal: working, report: tell };
        const blob = keepsBlob ? undefined : await this.#store.find(blobKey(layer, location), working);
        if (blob === undefined && !keepsBlob) {
          const facts = await this.download(layer, 'uncompressed', source, target);
          return { repository: location.name, ...describeFacts(facts) };
        }
        const made =
          blob === undefined
            ? await this.#withBlob(layer, { source, signal: working, report: tell }, draft)
            : { file: blob, from: 'cache' as const, facts: undefined };
        from = made.from;
        try {
          const facts =
            made.facts ?? (await this.#gzip.unpackInto(this.blobOf(layer, source, made.file), target));
          // The repository that the bytes come from: see `LayerFetcher`.
          return {
            repository: made.file.description['repository'] ?? location.name,
            ...describeFacts(facts),
          };
        } finally {
          made.file.release();
        }
      },
    });
    return { file, from: file.source === 'made' ? from : file.source };
  }

  /**
   * The blob of a layer; if this caller fetches it, a draft gets the uncompressed bytes in the same pass.
   *
   * @returns also the facts, if the draft has the bytes
   */
  async #withBlob(layer: Descriptor, call: LayerFileCall, draft: Draft) {
    let writing = Promise.resolve();
    let isWanted = true;
    // Another caller may need the blob still when this one has left, and has given its draft up.
    const write = (bytes: Uint8Array) => {
      if (isWanted) writing = draft.write(bytes);
      return isWanted ? writing : Promise.resolve();
    };
    const restart = async () => {
      if (isWanted) await draft.restart?.();
    };
    const both = draft.restart === undefined ? { write } : { write, restart };
    try {
      const { file, from } = await this.blob(layer, 'gzip', call, both);
      return { file, from, facts: from === 'registry' ? factsIn(file.description) : undefined };
    } finally {
      isWanted = false;
      await writing.catch(() => undefined);
    }
  }
}
