import { LAYOUT_TABLE } from '../../archive/layouts.ts';
import { PassthroughError } from '../../errors.ts';
import type { Digest } from '../../image/digest.ts';
import { formatReference, type Reference } from '../../image/reference.ts';
import type { Documents } from '../../util/documents.ts';
import { quoted } from '../../util/printable.ts';
import { fetchConfig } from '../documents/fetch-config.ts';
import { totalsOf } from '../layers/layer-totals.ts';
import type { ResolvedArchive } from '../resolve-archive.ts';
import { findSharedLayers } from './shared-layers.ts';

/** A layer of an image, and whether an update archive leaves it out. */
export interface ComparedLayer {
  readonly digest: Digest;
  readonly diffId: Digest | undefined;
  /** Compressed bytes. */
  readonly size: number;
  readonly isShared: boolean;
}

/** What an update archive would have of an image. */
export interface Comparison {
  /** In full, with the digest of the manifest. */
  readonly image: string;
  readonly base: string;
  /** Base first, as in the manifest. */
  readonly layers: readonly ComparedLayer[];
  /** Compressed bytes of all layers, each counted once. */
  readonly bytes: number;
  /** Compressed bytes of the layers in the update archive. */
  readonly updateBytes: number;
}

/**
 * Compares an image with the base of its update.
 *
 * @param resolved of a single image, with a base
 * @throws PassthroughError `UNSUPPORTED_IMAGE` for all platforms at once; what the repositories throw for the configs
 */
export async function compareWithBase(
  { images, request }: ResolvedArchive,
  documents: Documents,
  signal: AbortSignal,
): Promise<Comparison> {
  const [image] = images;
  const base = image?.base;
  if (image === undefined || base === undefined)
    throw new PassthroughError('INTERNAL', 'Cannot compare an image without a base');
  const { reference } = image.request;
  const { manifest, digest, config: known } = image.manifest;
  if (manifest.kind === 'index') {
    const why = 'it is an index, and layers are compared for one platform';
    throw new PassthroughError(
      'UNSUPPORTED_IMAGE',
      `Cannot compare ${quoted(formatReference(reference))}: ${why}`,
    );
  }
  const opened = { reference, repository: image.repository };
  const fetched = known ?? (await fetchConfig(opened, manifest, digest, signal, documents));
  if (known === undefined) fetched.content.release();
  const { sharedLayers } = LAYOUT_TABLE[request.layout];
  const config = async () => fetched;
  const shared = await findSharedLayers(manifest, { sharedLayers, base, config, documents, signal });
  const rest = manifest.layers.filter((_, index) => !shared.has(index));
  return {
    image: pinned(reference, digest),
    base: pinned(base.reference, base.manifest.digest),
    layers: manifest.layers.map((layer, index) => ({
      digest: layer.digest,
      diffId: fetched.image?.diffIds[index],
      size: layer.size,
      isShared: shared.has(index),
    })),
    bytes: totalsOf(manifest.layers).bytes,
    updateBytes: totalsOf(rest).bytes,
  };
}

function pinned({ registryName, repository, tag }: Reference, digest: Digest): string {
  return formatReference({ registryName, repository, ...(tag !== undefined && { tag }), digest });
}
