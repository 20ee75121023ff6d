import type { Digest } from '../../image/digest.ts';
import { readRepairing } from '../../storage/repairing-reader.ts';
import { abortedBy, unlessAborted } from '../../util/map-concurrently.ts';
import type { FetchedLayer, LayerFetcher } from '../layers/fetch-layers.ts';
import { entryDigest } from '../layers/layer-key.ts';
import { type ImageLimits, SizeBudget } from '../limits.ts';
import type { PullCall } from '../pull-archive.ts';
import { layerOf, type Plan, undeclared, unplanned } from './plan.ts';

/** What {@link ComingLayers} are fetched with. */
export interface ComingCall extends Pick<PullCall, 'progress' | 'signal'> {
  /** Whether the first layer of the archive is fetched alone, so that it comes soon. */
  readonly isFirstAlone?: boolean;
  /** Whether blobs are kept that are fetched to be unpacked; default: yes. */
  readonly keepsBlobs?: boolean;
}

/** The layers of a planned archive, on their way into the store. Each can be had as soon as it is verified. */
export class ComingLayers {
  /** Settles when no layer is on its way any more; rejects with the first failure. */
  readonly done: Promise<void>;
  /** By digest of the blob. */
  readonly #ready: ReadonlyMap<Digest, PromiseWithResolvers<FetchedLayer>>;
  /**
   * Digests of the blobs by those of their bytes in the archive. Two blobs may unpack to the same layer: as in a prepared archive, the
   * later one is sent, and not the one that comes first.
   */
  readonly #blobs: ReadonlyMap<Digest | undefined, Digest>;
  readonly #stop = new AbortController();
  readonly #fetcher: LayerFetcher;
  readonly #plan: Plan;
  readonly #held: FetchedLayer[] = [];

  /** Starts to fetch. The caller must wait for `done`, and release the layers. */
  constructor(fetcher: LayerFetcher, limits: ImageLimits, plan: Plan, call: ComingCall) {
    this.#fetcher = fetcher;
    this.#plan = plan;
    const layers = [...plan.layers.values()];
    this.#ready = new Map(layers.map(({ descriptor }) => [descriptor.digest, Promise.withResolvers()]));
    this.#blobs = new Map(layers.map((layer) => [entryDigest(layer, plan.form), layer.descriptor.digest]));
    const onLayer = (layer: FetchedLayer) => {
      // Held until all is sent: it is still being read when another layer fails.
      this.#held.push(layer);
      const { digest } = layer.descriptor;
      if (plan.layers.get(digest)?.isDeflated !== (layer.isDeflated === true)) this.stop(undeclared(digest));
      else this.#ready.get(digest)?.resolve(layer);
    };
    this.done = this.#fetch(fetcher, limits, plan, onLayer, call);
    this.done.catch((error: unknown) => this.stop(error));
  }

  /**
   * Waits for a layer.
   *
   * @param digest of its bytes in the archive
   * @throws PassthroughError the failure of any layer, `ABORTED` for one that is not as planned, `INTERNAL`; the signal's reason
   */
  async get(digest: Digest, signal: AbortSignal): Promise<FetchedLayer> {
    const blob = this.#blobs.get(digest);
    const waiting = blob && this.#ready.get(blob);
    if (waiting === undefined) throw unplanned(digest);
    try {
      return await unlessAborted(waiting.promise, AbortSignal.any([signal, this.#stop.signal]));
    } catch (error) {
      throw signal.aborted ? error : (this.#stop.signal.reason?.cause ?? error);
    }
  }

  /**
   * The bytes of a layer that {@link get} has given. If its stored file is damaged, it is fetched again.
   *
   * @throws PassthroughError as `readRepairing`
   */
  read(layer: FetchedLayer, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
    const { digest } = layer.descriptor;
    return readRepairing(layer.file, undefined, async () => {
      const source = this.#plan.layers.get(digest)?.source;
      if (source === undefined) throw unplanned(digest);
      return await this.#fetcher.refetch(layer, source, this.#plan.form, signal);
    });
  }

  /** Stops what is on its way, because of a failure elsewhere. Further calls do nothing. */
  stop(failure: unknown): void {
    this.#stop.abort(abortedBy(failure));
  }

  /** Releases the files. Nothing may be on its way. */
  release(): void {
    for (const { file } of this.#held) file.release();
    this.#held.length = 0;
  }

  async #fetch(
    fetcher: LayerFetcher,
    limits: ImageLimits,
    plan: Plan,
    onLayer: (layer: FetchedLayer) => void,
    { progress, isFirstAlone = false, keepsBlobs, ...call }: ComingCall,
  ): Promise<void> {
    const signal = AbortSignal.any([call.signal, this.#stop.signal]);
    const budget = new SizeBudget(limits);
    const known = new Map<Digest, FetchedLayer>();
    const isSentAsStored = plan.form === 'compressed' || plan.form === 'loadable';
    const order = plan.entries.flatMap((entry) => layerOf(entry, plan) ?? []);
    for (const { source, layers } of plan.images) {
      const descriptors = layers.map(({ descriptor }) => descriptor);
      const indexes = descriptors.map(({ digest }) => plan.layers.get(digest)?.index ?? 0);
      const diffIds = layers.flatMap(({ diffId }) => diffId ?? []);
      const fetched = await fetcher.fetchAll(descriptors, {
        ...{ source, form: plan.form, indexes, budget, known, progress, signal, onLayer, keepsBlobs },
        diffIds: Promise.resolve(diffIds.length === descriptors.length ? diffIds : undefined),
        ...(isFirstAlone && isSentAsStored && { order }),
        isFirstAlone,
      });
      for (const layer of fetched) known.set(layer.descriptor.digest, layer);
    }
  }
}
