import { PassthroughError } from '../../errors.ts';
import type { Digest } from '../../image/digest.ts';
import { declaresGzip } from '../../image/media-type.ts';
import type { Content } from '../../util/content.ts';
import type { ArchiveFile } from '../archive-file.ts';
import { contentTypeOf, etagOf, isPlanned, isSpliced } from '../gzip/gzip-way.ts';
import type { LayerFetcher } from '../layers/fetch-layers.ts';
import { totalsOf } from '../layers/layer-totals.ts';
import { layersOf, type ResolvedArchive } from '../resolve-archive.ts';
import { checkKnownBytes, lengthOf } from './known-length.ts';
import { isDeflated, type PlanParts, planPull } from './plan.ts';

/** What {@link headerOf} needs. */
export interface KnownParts extends PlanParts {
  readonly layers: Pick<LayerFetcher, 'isKnown' | 'knownOf'>;
}

/**
 * An archive without its bytes, from its manifests and configs, and from what earlier pulls have shown of its layers.
 *
 * @returns `undefined` if its length follows from a layer of which not enough is known
 * @throws PassthroughError what fetching configs throws; `IMAGE_TOO_LARGE`; for a layer of another repository, what the registry says to
 *   the question whether the client may pull it
 */
export async function headerOf(
  resolved: ResolvedArchive,
  parts: KnownParts,
  signal: AbortSignal,
): Promise<ArchiveFile | undefined> {
  const { request, archiveEtag } = resolved;
  const { policy } = parts;
  if (!isPlanned(request, policy) || !isEnoughKnown(resolved, parts)) return undefined;
  const documents = new Map<Digest, Content>();
  try {
    const plan = await planPull(resolved, parts, documents, signal);
    const size = lengthOf(plan, isSpliced(request, policy));
    if (size === undefined) return undefined;
    checkKnownBytes(plan, policy.limits);
    return {
      filename: request.filename,
      contentType: contentTypeOf(request),
      size,
      etag: etagOf(archiveEtag, request, policy, isDeflated(plan)),
      sha256: undefined,
      leftOut: [],
      layers: totalsOf(Array.from(plan.layers.values(), ({ descriptor }) => descriptor)),
      bytes: () => {
        throw new PassthroughError(
          'INTERNAL',
          'Cannot send an archive of which only the header was asked for',
        );
      },
      close: () => undefined,
    };
  } finally {
    for (const content of documents.values()) content.release();
  }
}

/**
 * Whether the length may follow from what is known, so that configs are not fetched in vain. Which layers an update has is known only
 * from the configs.
 */
function isEnoughKnown({ request, images, form }: ResolvedArchive, { layers, policy }: KnownParts): boolean {
  if (form === 'compressed') return true;
  return images.every(
    (image) =>
      image.base !== undefined ||
      layersOf(image.manifest, request, policy).every(
        (layer) => (form === 'loadable' && declaresGzip(layer)) || layers.isKnown(layer, image),
      ),
  );
}
