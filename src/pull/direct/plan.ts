import type { ArchiveEntry } from '../../archive/archive.ts';
import { LAYOUT_TABLE, type LayerForm } from '../../archive/layouts.ts';
import { PassthroughError } from '../../errors.ts';
import type { Digest } from '../../image/digest.ts';
import type { Store } from '../../storage/store.ts';
import type { Content } from '../../util/content.ts';
import { quoted } from '../../util/printable.ts';
import { type FetchedImage, ImageFetcher } from '../fetch-image.ts';
import type { FetchedLayer, LayerFetcher } from '../layers/fetch-layers.ts';
import { SizeBudget } from '../limits.ts';
import type { LayerReport } from '../progress.ts';
import {
  foreignLayersOf,
  type ResolvedArchive,
  type ResolvedImage,
  type ResolvePolicy,
} from '../resolve-archive.ts';
import { type PlannedLayer, PlannedLayers } from './planned-layers.ts';

/** What is known of an archive before its layers are fetched. */
export interface Plan {
  /** Their names and order are final. Of layers that are unpacked, `size` is not. */
  readonly entries: readonly ArchiveEntry[];
  /** The form of the layers. */
  readonly form: LayerForm;
  readonly images: readonly { readonly source: ResolvedImage; readonly layers: FetchedImage['layers'] }[];
  readonly layers: ReadonlyMap<Digest, PlannedLayer>;
  /** Documents that are not in memory, by digest. */
  readonly documents: ReadonlyMap<Digest, Content>;
}

/** What a plan is made with. */
export interface PlanParts {
  readonly policy: ResolvePolicy;
  /** Keeps what is made of large configs. */
  readonly store: Store<LayerReport>;
  /** Knows what earlier pulls have shown. */
  readonly layers?: Pick<LayerFetcher, 'knownOf'> | undefined;
}

/**
 * Fetches the configs of an archive, and computes its entries.
 *
 * @param documents receives the documents, which the caller must release, also after a failure
 * @throws PassthroughError what `ImageFetcher.fetch` throws for configs
 */
export async function planPull(
  { request, images, form }: ResolvedArchive,
  { policy, store, layers }: PlanParts,
  documents: Map<Digest, Content>,
  signal: AbortSignal,
): Promise<Plan> {
  const knownOf = layers?.knownOf.bind(layers);
  const planned = new PlannedLayers(form, knownOf);
  const fetcher = new ImageFetcher(planned, policy, store);
  const budget = new SizeBudget(policy.limits);
  const known = new Map<Digest, FetchedLayer>();
  const fetched: FetchedImage[] = [];
  for (const image of images)
    fetched.push(await fetcher.fetch(image, request, { layers: known, documents, budget, signal }));
  const { entries } = LAYOUT_TABLE[request.layout].arrange(
    fetched.map((image) => ({
      ...image,
      layers: image.layers.map(({ descriptor, diffId, isDeflated, entryBytes: size }) => {
        return { descriptor, diffId, isDeflated, size };
      }),
    })),
    foreignLayersOf(request, policy),
  );
  const sources = images.map((source, at) => ({ source, layers: fetched[at]?.layers ?? [] }));
  return { entries, form, images: sources, layers: planned.layers, documents };
}

/** Whether a layer is compressed anew, as far as that is known. */
export function isDeflated({ layers }: Pick<Plan, 'layers'>): boolean {
  return layers.values().some((layer) => layer.isDeflated);
}

/** The document in an entry that is neither in memory nor a layer. */
export function documentOf({ blob, content, layer }: ArchiveEntry, { documents }: Pick<Plan, 'documents'>) {
  return content === undefined && layer === undefined && blob !== undefined ? documents.get(blob) : undefined;
}

/** The layer in an entry, by the digest of its bytes in the archive. */
export function layerOf(entry: ArchiveEntry, plan: Pick<Plan, 'documents'>): Digest | undefined {
  return entry.content === undefined && documentOf(entry, plan) === undefined ? entry.blob : undefined;
}

/**
 * The error for a layer that is not as its media type or an earlier pull has said. Names, length and entity tag of the archive may be
 * out already; the next request gets the right ones.
 */
export function undeclared(digest: Digest): PassthroughError {
  return new PassthroughError(
    'ABORTED',
    `Stopped: layer ${quoted(digest)} is compressed in another way than expected; try again`,
  );
}

/** The error for an entry whose layer the plan does not have. */
export function unplanned(digest: Digest): PassthroughError {
  return new PassthroughError('INTERNAL', `Cannot lay out the archive: no layer is planned for ${digest}`);
}
