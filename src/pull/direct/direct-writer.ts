import type { ArchiveEntry } from '../../archive/archive.ts';
import { LAYOUT_TABLE } from '../../archive/layouts.ts';
import { PassthroughError } from '../../errors.ts';
import type { Digest } from '../../image/digest.ts';
import { releaseChunk } from '../../streams/chunk.ts';
import { headerBlocks, TRAILER_SIZE } from '../../tar/encoder.ts';
import { paddingAfter } from '../../tar/header.ts';
import { abortedBy, mapConcurrently, unlessAborted } from '../../util/map-concurrently.ts';
import { type FetchedImage, ImageFetcher } from '../fetch-image.ts';
import type { FetchedLayer, LayerFetcher } from '../fetch-layers.ts';
import { SizeBudget } from '../limits.ts';
import type { PullCall } from '../pull-archive.ts';
import {
  foreignLayersOf,
  layerFormOf,
  type ResolvedArchive,
  type ResolvedImage,
  type ResolvePolicy,
} from '../resolve-archive.ts';
import type { PartialFile } from './partial-file.ts';
import { type PlannedLayer, PlannedLayers } from './planned-layers.ts';

/** What is known of an archive before its layers are fetched. */
interface Plan {
  /** Their names and order are final. Of uncompressed layers, `size` is not. */
  readonly entries: readonly ArchiveEntry[];
  readonly images: readonly { readonly source: ResolvedImage; readonly layers: FetchedImage['layers'] }[];
  readonly layers: ReadonlyMap<Digest, PlannedLayer>;
}

/** Writes archives to files while their layers arrive, so that nothing is prepared before. */
export class DirectWriter {
  readonly #layers: LayerFetcher;
  readonly #policy: ResolvePolicy;

  constructor(layers: LayerFetcher, policy: ResolvePolicy) {
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
    const plan = await this.#plan(resolved, call);
    return layerFormOf(resolved.request) === 'compressed'
      ? await this.#writeInPlace(plan, file, call)
      : await this.#writeInOrder(plan, file, call);
  }

  /** Fetches the configs, and computes the entries. */
  async #plan({ request, images }: ResolvedArchive, { signal }: PullCall): Promise<Plan> {
    const planned = new PlannedLayers();
    const fetcher = new ImageFetcher(planned, this.#policy);
    const budget = new SizeBudget(this.#policy.limits);
    const known = new Map<Digest, FetchedLayer>();
    const fetched: FetchedImage[] = [];
    for (const image of images)
      fetched.push(await fetcher.fetch(image, request, { layers: known, budget, signal }));
    const { entries } = LAYOUT_TABLE[request.layout].arrange(
      fetched.map((image) => ({
        ...image,
        layers: image.layers.map(({ descriptor, diffId, file: { size } }) => ({ descriptor, diffId, size })),
      })),
      foreignLayersOf(request, this.#policy),
    );
    const sources = images.map((source, at) => ({ source, layers: fetched[at]?.layers ?? [] }));
    return { entries, images: sources, layers: planned.layers };
  }

  /** Compressed layers: the descriptors give each its position, so each is written there while it arrives. */
  async #writeInPlace({ entries, layers }: Plan, file: PartialFile, call: PullCall): Promise<number> {
    const { signal, progress } = call;
    const positions = new Map<Digest, number>();
    let position = 0;
    for (const entry of entries) {
      const before = Buffer.concat([headerBlocks(entry), entry.content ?? new Uint8Array()]);
      await file.write(before, position);
      position += before.byteLength;
      if (entry.content === undefined && entry.blob !== undefined) {
        positions.set(entry.blob, position);
        position += entry.size;
      }
      const padding = new Uint8Array(paddingAfter(entry.size));
      await file.write(padding, position);
      position += padding.byteLength;
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
        stopping(stop, this.#copyInOrder(plan.entries, ready, file, signal)),
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
    { images }: Plan,
    held: FetchedLayer[],
    onLayer: (layer: FetchedLayer) => void,
    { signal, progress }: PullCall,
  ): Promise<void> {
    const budget = new SizeBudget(this.#policy.limits);
    const known = new Map<Digest, FetchedLayer>();
    for (const { source, layers } of images) {
      const descriptors = layers.map(({ descriptor }) => descriptor);
      const diffIds = layers.flatMap(({ diffId }) => diffId ?? []);
      const fetched = await this.#layers.fetchAll(descriptors, {
        ...{ source, form: 'uncompressed', diffIds: Promise.resolve(diffIds) },
        ...{ budget, known, progress, signal, onLayer },
      });
      for (const layer of fetched) {
        if (!known.has(layer.descriptor.digest)) held.push(layer);
        known.set(layer.descriptor.digest, layer);
      }
    }
  }

  async #copyInOrder(
    entries: readonly ArchiveEntry[],
    ready: ReadonlyMap<Digest | undefined, PromiseWithResolvers<FetchedLayer>>,
    target: PartialFile,
    signal: AbortSignal,
  ): Promise<number> {
    let size = 0;
    const write = async (bytes: Uint8Array) => {
      size += bytes.byteLength;
      await target.write(bytes);
    };
    for (const { content, blob, layer, ...entry } of entries) {
      const waiting = content === undefined && blob !== undefined ? ready.get(blob) : undefined;
      if (content === undefined && blob !== undefined && waiting === undefined) throw unplanned(blob);
      const file = waiting && (await unlessAborted(waiting.promise, signal)).file;
      const whole = file === undefined ? entry : { ...entry, size: file.size };
      await write(Buffer.concat([headerBlocks(whole), content ?? new Uint8Array()]));
      for await (const chunk of file?.read() ?? []) {
        signal.throwIfAborted();
        await write(chunk);
        releaseChunk(chunk);
      }
      await write(new Uint8Array(paddingAfter(whole.size)));
    }
    await write(new Uint8Array(TRAILER_SIZE));
    return size;
  }
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
