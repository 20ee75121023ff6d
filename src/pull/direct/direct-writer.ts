import { PassthroughError } from '../../errors.ts';
import type { Digest } from '../../image/digest.ts';
import type { Store } from '../../storage/store.ts';
import { headerBlocks, TRAILER_SIZE } from '../../tar/encoder.ts';
import { paddingAfter } from '../../tar/header.ts';
import type { Content } from '../../util/content.ts';
import { mapConcurrently } from '../../util/map-concurrently.ts';
import type { LayerFetcher } from '../layers/fetch-layers.ts';
import { isLoadable } from '../layers/gzip-layers.ts';
import type { LayerReport } from '../progress.ts';
import { type PullCall, prefixed } from '../pull-archive.ts';
import type { ResolvedArchive, ResolvePolicy } from '../resolve-archive.ts';
import { ComingLayers } from './coming-layers.ts';
import { tarInOrder, writeAll } from './in-order.ts';
import type { PartialFile } from './partial-file.ts';
import { documentOf, isDeflated, type Plan, planPull, unplanned } from './plan.ts';

/** Ends the way without the store for an archive of which a blob proves to be no gzip, against its media type. */
const NOT_LOADABLE = new PassthroughError('INTERNAL', 'A layer must be compressed anew');

/** Writes archives to files while their layers arrive, so that nothing is prepared before. */
export class DirectWriter {
  readonly #layers: LayerFetcher;
  readonly #policy: ResolvePolicy;

  readonly #store: Store<LayerReport>;

  /** @param store keeps what is made of large configs */
  constructor(layers: LayerFetcher, policy: ResolvePolicy, store: Store<LayerReport>) {
    this.#store = store;
    this.#layers = layers;
    this.#policy = policy;
  }

  /**
   * Fetches an archive into a file. All its bytes are verified when the promise resolves, not before. No write is under way when it
   * rejects.
   *
   * @returns bytes of the archive; `undefined` for one whose layers must go through the store
   * @throws PassthroughError `UNSUPPORTED_IMAGE`, `VERIFICATION_FAILED`, `IMAGE_TOO_LARGE`, `NO_SPACE`, `CANNOT_WRITE`, and what
   *   the repository throws
   */
  async write(resolved: ResolvedArchive, file: PartialFile, call: PullCall): Promise<number | undefined> {
    call.progress?.enter('fetching');
    const documents = new Map<Digest, Content>();
    try {
      const parts = { policy: this.#policy, store: this.#store };
      const plan = await planPull(resolved, parts, documents, call.signal);
      if (plan.form === 'uncompressed') return await this.#writeInOrder(plan, file, call);
      return isDeflated(plan) ? undefined : await this.#writeInPlace(plan, file, call);
    } catch (error) {
      if (error === NOT_LOADABLE) return undefined;
      throw error;
    } finally {
      for (const document of documents.values()) document.release();
    }
  }

  /** Layers as in the registry: the descriptors give each its position, so each is written there while it arrives. */
  async #writeInPlace(plan: Plan, file: PartialFile, call: PullCall): Promise<number> {
    const { signal, progress } = call;
    const { entries, layers } = plan;
    const positions = new Map<Digest, number>();
    let position = 0;
    const write = async (bytes: Uint8Array) => {
      await file.write(bytes, position);
      position += bytes.byteLength;
    };
    for (const entry of entries) {
      await write(Buffer.concat([headerBlocks(entry), entry.content ?? new Uint8Array()]));
      const document = documentOf(entry, plan);
      if (document !== undefined) {
        for await (const chunk of prefixed(entry.prefix, document)) await write(chunk);
      } else if (entry.content === undefined && entry.blob !== undefined) {
        positions.set(entry.blob, position);
        position += entry.size;
      }
      await write(new Uint8Array(paddingAfter(entry.size)));
    }
    await file.write(new Uint8Array(TRAILER_SIZE), position);

    const items = [...layers.values()].map((layer) => {
      const start = positions.get(layer.descriptor.digest);
      if (start === undefined) throw unplanned(layer.descriptor.digest);
      return { layer, start };
    });
    progress?.expect(items.map(({ layer }) => layer.descriptor));
    const { concurrentLayers } = this.#policy.limits;
    await mapConcurrently(items, concurrentLayers, signal, async ({ layer, start }, either) => {
      const { descriptor, index, source } = layer;
      let at = start;
      const write = async (bytes: Uint8Array) => {
        if (plan.form === 'loadable' && at === start && !isLoadable(bytes)) throw NOT_LOADABLE;
        const where = at;
        at += bytes.byteLength;
        await file.write(bytes, where);
      };
      const restart = async () => {
        at = start;
      };
      await this.#layers.fetchInto({ write, restart }, descriptor, index, {
        source,
        progress,
        signal: either,
      });
    });
    return position + TRAILER_SIZE;
  }

  /**
   * Uncompressed layers: the position of a layer depends on the sizes of those before it. They are fetched into the store at the
   * same time, and each is copied as soon as it and all before it are there.
   */
  async #writeInOrder(plan: Plan, file: PartialFile, call: PullCall): Promise<number> {
    // The next archive is written without the store, too, so a blob is of no use there.
    const coming = { ...call, keepsBlobs: false };
    const layers = new ComingLayers(this.#layers, this.#policy.limits, plan, coming);
    try {
      const bytes = tarInOrder(plan, layers, call.signal);
      const size = await writeAll(bytes, (chunk) => file.write(chunk));
      await layers.done;
      return size;
    } catch (error) {
      layers.stop(error);
      throw error;
    } finally {
      await layers.done.catch(() => undefined);
      layers.release();
    }
  }
}
