import type { ArchiveEntry } from '../../archive/archive.ts';
import { LAYOUT_TABLE } from '../../archive/layouts.ts';
import { PassthroughError } from '../../errors.ts';
import type { Digest } from '../../image/digest.ts';
import type { Store, Stored } from '../../storage/store.ts';
import { releaseChunk } from '../../streams/chunk.ts';
import { headerBlocks, TRAILER_SIZE } from '../../tar/encoder.ts';
import { paddingAfter } from '../../tar/header.ts';
import type { Content } from '../../util/content.ts';
import { abortedBy, mapConcurrently, unlessAborted } from '../../util/map-concurrently.ts';
import { type FetchedImage, ImageFetcher } from '../fetch-image.ts';
import type { FetchedLayer, LayerFetcher } from '../layers/fetch-layers.ts';
import { SizeBudget } from '../limits.ts';
import type { LayerReport } from '../progress.ts';
import { type PullCall, prefixed } from '../pull-archive.ts';
import {
  foreignLayersOf,
  layerFormOf,
  type ResolvedArchive,
  type ResolvedImage,
  type ResolvePolicy,
} from '../resolve-archive.ts';
import type { PartialFile } from './partial-file.ts';
import { type PlannedLayer, PlannedLayers } from './planned-layers.ts';

/** Layers by diff ID, as they become ready. */
type ReadyLayers = ReadonlyMap<Digest | undefined, PromiseWithResolvers<FetchedLayer>>;

/** What is known of an archive before its layers are fetched. */
interface Plan {
  /** Their names and order are final. Of uncompressed layers, `size` is not. */
  readonly entries: readonly ArchiveEntry[];
  readonly images: readonly { readonly source: ResolvedImage; readonly layers: FetchedImage['layers'] }[];
  readonly layers: ReadonlyMap<Digest, PlannedLayer>;
  /** Documents that are not in memory, by digest. */
  readonly documents: ReadonlyMap<Digest, Content>;
}

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
   * @returns bytes of the archive
   * @throws PassthroughError `UNSUPPORTED_IMAGE`, `VERIFICATION_FAILED`, `IMAGE_TOO_LARGE`, `NO_SPACE`, `CANNOT_WRITE`, and what
   *   the repository throws
   */
  async write(resolved: ResolvedArchive, file: PartialFile, call: PullCall): Promise<number> {
    call.progress?.enter('fetching');
    const documents = new Map<Digest, Content>();
    try {
      const plan = await this.#plan(resolved, documents, call);
      return layerFormOf(resolved.request, this.#policy) === 'compressed'
        ? await this.#writeInPlace(plan, file, call)
        : await this.#writeInOrder(plan, file, call);
    } finally {
      for (const document of documents.values()) document.release();
    }
  }

  /** Fetches the configs, and computes the entries. */
  async #plan(
    { request, images }: ResolvedArchive,
    documents: Map<Digest, Content>,
    { signal }: PullCall,
  ): Promise<Plan> {
    const planned = new PlannedLayers();
    const fetcher = new ImageFetcher(planned, this.#policy, this.#store);
    const budget = new SizeBudget(this.#policy.limits);
    const known = new Map<Digest, FetchedLayer>();
    const fetched: FetchedImage[] = [];
    for (const image of images)
      fetched.push(await fetcher.fetch(image, request, { layers: known, documents, budget, signal }));
    const { entries } = LAYOUT_TABLE[request.layout].arrange(
      fetched.map((image) => ({
        ...image,
        layers: image.layers.map(({ descriptor, diffId, file: { size } }) => ({ descriptor, diffId, size })),
      })),
      foreignLayersOf(request, this.#policy),
    );
    const sources = images.map((source, at) => ({ source, layers: fetched[at]?.layers ?? [] }));
    return { entries, images: sources, layers: planned.layers, documents };
  }

  /** Compressed layers: the descriptors give each its position, so each is written there while it arrives. */
  async #writeInPlace(
    { entries, layers, documents }: Plan,
    file: PartialFile,
    call: PullCall,
  ): Promise<number> {
    const { signal, progress } = call;
    const positions = new Map<Digest, number>();
    let position = 0;
    const write = async (bytes: Uint8Array) => {
      await file.write(bytes, position);
      position += bytes.byteLength;
    };
    for (const entry of entries) {
      await write(Buffer.concat([headerBlocks(entry), entry.content ?? new Uint8Array()]));
      const document = documentOf(entry, documents);
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
    progress?.expect(
      items.length,
      items.reduce((sum, { layer }) => sum + layer.descriptor.size, 0),
    );
    const { concurrentLayers } = this.#policy.limits;
    await mapConcurrently(items, concurrentLayers, signal, async ({ layer, start }, either) => {
      const { descriptor, index, source } = layer;
      let at = start;
      const write = async (bytes: Uint8Array) => {
        const where = at;
        at += bytes.byteLength;
        await file.write(bytes, where);
      };
      await this.#layers.fetchInto({ write }, descriptor, index, { source, progress, signal: either });
    });
    return position + TRAILER_SIZE;
  }

  /**
   * Uncompressed layers: the position of a layer depends on the sizes of those before it. They are fetched into the store at the
   * same time, and each is copied as soon as it and all before it are there.
   */
  async #writeInOrder(plan: Plan, file: PartialFile, call: PullCall): Promise<number> {
    const ready = new Map(
      plan.layers.values().map(({ diffId }) => [diffId, Promise.withResolvers<FetchedLayer>()] as const),
    );
    const stop = new AbortController();
    const signal = AbortSignal.any([call.signal, stop.signal]);
    const held: FetchedLayer[] = [];
    try {
      const ends = await Promise.allSettled([
        stopping(
          stop,
          this.#fetchAll(plan, held, (layer) => ready.get(layer.diffId)?.resolve(layer), { ...call, signal }),
        ),
        stopping(stop, this.#copyInOrder(plan, ready, file, signal)),
      ]);
      const failures = ends.filter((end) => end.status === 'rejected').map(({ reason }) => reason);
      // The second failure may only say that the first has stopped it.
      if (failures.length > 0) throw stop.signal.reason?.cause ?? failures[0];
      return ends[1].status === 'fulfilled' ? ends[1].value : 0;
    } finally {
      for (const layer of held) layer.file.release();
    }
  }

  async #fetchAll(
    { images, layers: planned }: Plan,
    held: FetchedLayer[],
    onLayer: (layer: FetchedLayer) => void,
    { signal, progress }: PullCall,
  ): Promise<void> {
    const budget = new SizeBudget(this.#policy.limits);
    const known = new Map<Digest, FetchedLayer>();
    for (const { source, layers } of images) {
      const descriptors = layers.map(({ descriptor }) => descriptor);
      const indexes = descriptors.map(({ digest }) => planned.get(digest)?.index ?? 0);
      const diffIds = layers.flatMap(({ diffId }) => diffId ?? []);
      const fetched = await this.#layers.fetchAll(descriptors, {
        ...{ source, form: 'uncompressed', diffIds: Promise.resolve(diffIds), indexes },
        ...{ budget, known, progress, signal, onLayer },
      });
      for (const layer of fetched) {
        if (!known.has(layer.descriptor.digest)) held.push(layer);
        known.set(layer.descriptor.digest, layer);
      }
    }
  }

  async #copyInOrder(
    { entries, documents }: Plan,
    ready: ReadyLayers,
    target: PartialFile,
    signal: AbortSignal,
  ): Promise<number> {
    let size = 0;
    const write = async (bytes: Uint8Array) => {
      size += bytes.byteLength;
      await target.write(bytes);
    };
    for (const entry of entries) {
      const { content = new Uint8Array(), blob } = entry;
      const document = documentOf(entry, documents);
      const isLayer = document === undefined && entry.content === undefined && blob !== undefined;
      const file = isLayer ? await layerFile(blob, ready, signal) : undefined;
      const whole = { ...entry, size: file?.size ?? entry.size };
      await write(Buffer.concat([headerBlocks(whole), content]));
      const bytes = document === undefined ? file?.read() : prefixed(entry.prefix, document);
      for await (const chunk of bytes ?? []) {
        signal.throwIfAborted();
        await write(chunk);
        if (file !== undefined) releaseChunk(chunk);
      }
      await write(new Uint8Array(paddingAfter(whole.size)));
    }
    await write(new Uint8Array(TRAILER_SIZE));
    return size;
  }
}

/** The document in an entry that is neither in memory nor a layer. */
function documentOf({ blob, content, layer }: ArchiveEntry, documents: ReadonlyMap<Digest, Content>) {
  return content === undefined && layer === undefined && blob !== undefined ? documents.get(blob) : undefined;
}

/** Waits for a layer. */
async function layerFile(blob: Digest, ready: ReadyLayers, signal: AbortSignal): Promise<Stored> {
  const waiting = ready.get(blob);
  if (waiting === undefined) throw unplanned(blob);
  return (await unlessAborted(waiting.promise, signal)).file;
}

/** Stops the other part of a pull when this one fails. */
async function stopping<T>(stop: AbortController, part: Promise<T>): Promise<T> {
  try {
    return await part;
  } catch (error) {
    stop.abort(abortedBy(error));
    throw error;
  }
}

function unplanned(digest: Digest): PassthroughError {
  return new PassthroughError('INTERNAL', `Cannot lay out the archive: no layer is planned for ${digest}`);
}
