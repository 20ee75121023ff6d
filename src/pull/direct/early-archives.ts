import { PassthroughError } from '../../errors.ts';
import type { Digest } from '../../image/digest.ts';
import { storedMembersAtOnce, storedMembersToEnd } from '../../streams/stored-gzip.ts';
import type { Content } from '../../util/content.ts';
import { contentTypeOf, isSpliced } from '../gzip/gzip-way.ts';
import { type ComingEntry, spliceInOrder } from '../gzip/spliced-archive.ts';
import type { LayerFetcher } from '../layers/fetch-layers.ts';
import { type LayerTotals, totalsOf } from '../layers/layer-totals.ts';
import { type DiskTurns, type Places, type TimeLimit, timeLimit } from '../limits.ts';
import { prefixed } from '../pull-archive.ts';
import type { ResolvedArchive } from '../resolve-archive.ts';
import { ComingLayers } from './coming-layers.ts';
import { finishedEntry, tarInOrder } from './in-order.ts';
import { lengthOf } from './known-length.ts';
import { documentOf, isDeflated, type Plan, type PlanParts, planPull } from './plan.ts';

/** An archive that is sent while its layers arrive. No byte of a layer is given before the layer is verified. */
export interface EarlyFile {
  readonly filename: string;
  readonly contentType: string;
  /** Bytes; `undefined` if it follows from layers that are still to be unpacked. */
  readonly size: number | undefined;
  /** Strong entity tag, quotes included. */
  readonly etag: string;
  /** The different layers in the archive. */
  readonly layers: LayerTotals;
  /** Settles when all layers are there, or have failed; never rejects. */
  readonly fetched: Promise<void>;
  /**
   * The bytes, once.
   *
   * @throws PassthroughError what fetching a layer throws; `ABORTED` when a layer is not as the entity tag says
   */
  bytes(): AsyncGenerator<Uint8Array, void, undefined>;
  /** Stops what is still on its way, and gives the file up. */
  close(): Promise<void>;
}

/** What belongs to one call of {@link EarlyArchives.open}. */
export interface EarlyCall {
  readonly signal: AbortSignal;
  /** Names the work: all that prepare the archive share one place. */
  readonly key: string;
  /** Limit of the time until all layers are there. */
  readonly time: TimeLimit;
  /** Whose preparation it is. */
  readonly client?: string | undefined;
}

/** What {@link EarlyArchives} is made from. */
export interface EarlyParts extends PlanParts {
  readonly layers: LayerFetcher;
  readonly places: Places;
  readonly disk: DiskTurns;
}

/** Archives that are sent while their layers arrive. */
export class EarlyArchives {
  readonly #parts: EarlyParts;

  constructor(parts: EarlyParts) {
    this.#parts = parts;
  }

  /**
   * Waits for a place, fetches the configs, and starts to fetch the layers.
   *
   * @returns the archive, which the caller must close
   * @throws PassthroughError what fetching configs throws, `BUSY`
   */
  open(resolved: ResolvedArchive, { signal, key, time, client }: EarlyCall): Promise<EarlyFile> {
    const { layers: fetcher, policy, places, disk } = this.#parts;
    return disk.run(signal, async (leave) => {
      const documents = new Map<Digest, Content>();
      await using held = new AsyncDisposableStack();
      held.defer(leave);
      held.defer(() => {
        for (const document of documents.values()) document.release();
      });
      const limit = held.use(timeLimit(time));
      const both = AbortSignal.any([signal, limit.signal]);
      const release = await places.share(key, both, { client, images: resolved.images });
      held.defer(release);
      const plan = await planPull(resolved, this.#parts, documents, both);
      const isGzip = isSpliced(resolved.request, policy);
      const size = lengthOf(plan, isGzip);
      const layers = new ComingLayers(fetcher, policy.limits, plan, { signal: both, isFirstAlone: true });
      // The place is for the work, not for a slow client.
      const fetched = layers.done.catch(() => undefined).finally(() => [release(), limit[Symbol.dispose]()]);
      held.defer(() => layers.release());
      held.defer(async () => {
        layers.stop(new PassthroughError('ABORTED', 'Stopped: the archive is not wanted any more'));
        await fetched;
      });
      const all = held.move();
      return {
        filename: resolved.request.filename,
        contentType: contentTypeOf(resolved.request),
        size,
        etag: isDeflated(plan) ? resolved.deflatedEtag : resolved.etag,
        layers: totalsOf(Array.from(plan.layers.values(), ({ descriptor }) => descriptor)),
        fetched,
        bytes: () => bytesOf(plan, layers, isGzip, signal),
        close: () => all.disposeAsync(),
      };
    });
  }
}

async function* bytesOf(
  plan: Plan,
  layers: ComingLayers,
  isGzip: boolean,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (!isGzip) yield* tarInOrder(plan, layers, signal);
  else if (plan.form === 'gzip') yield* spliceInOrder(comingEntries(plan, layers, signal));
  else yield* inStoredMembers(plan, tarInOrder(plan, layers, signal));
  await layers.done;
}

/** The bytes of a tar file as stored members. */
function inStoredMembers(plan: Plan, tar: AsyncIterable<Uint8Array>) {
  const size = lengthOf(plan, false);
  return size === undefined ? storedMembersToEnd(tar) : storedMembersAtOnce(size, tar);
}

async function* comingEntries(
  plan: Plan,
  layers: ComingLayers,
  signal: AbortSignal,
): AsyncGenerator<ComingEntry, void, undefined> {
  for (const planned of plan.entries) {
    const { entry, layer } = await finishedEntry(planned, plan, layers, signal);
    const document = documentOf(entry, plan);
    const source =
      document === undefined ? entry : { ...entry, content: () => prefixed(entry.prefix, document) };
    yield layer === undefined
      ? { source }
      : { source, packed: { size: layer.file.size, read: () => layers.read(layer, signal) } };
  }
}
