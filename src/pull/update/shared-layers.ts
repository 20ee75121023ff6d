import type { SharedLayers } from '../../archive/layouts.ts';
import type { Digest } from '../../image/digest.ts';
import type { ArtifactManifest, Descriptor, ImageManifest } from '../../image/manifest.ts';
import type { Documents } from '../../util/documents.ts';
import { fetchConfig, type VerifiedConfig } from '../documents/fetch-config.ts';
import type { ResolvedBase } from '../resolve-archive.ts';
import type { VerifiedManifest } from '../resolve-manifest.ts';

/** What belongs to one look for shared layers. */
export interface SharedLayersCall {
  /** Which layers the layout leaves out. */
  readonly sharedLayers: SharedLayers;
  readonly base: ResolvedBase;
  /** The config of the image; only asked for where diff IDs count. */
  readonly config: () => Promise<Pick<VerifiedConfig, 'image'>>;
  readonly documents: Documents;
  readonly signal: AbortSignal;
}

/**
 * Finds the layers of a manifest that an update archive leaves out, because its base has them, too.
 *
 * @returns their indexes in the manifest
 * @throws PassthroughError what the config rejects with; `UNSUPPORTED_IMAGE`, and what the repository throws for the config of the base
 */
export async function findSharedLayers(
  { layers }: Pick<ImageManifest | ArtifactManifest, 'layers'>,
  { sharedLayers, base, config, documents, signal }: SharedLayersCall,
): Promise<ReadonlySet<number>> {
  if (sharedLayers === 'any') {
    const known = new Set(blobsOf(base.manifest).map(({ digest }) => digest));
    return new Set(layers.flatMap(({ digest }, index) => (known.has(digest) ? [index] : [])));
  }
  const { image } = await config();
  const own = image?.diffIds ?? [];
  const others = await diffIdsOf(base, documents, signal);
  const first = own.findIndex((diffId, index) => diffId !== others[index]);
  return new Set(own.slice(0, first === -1 ? own.length : first).keys());
}

/**
 * The layers of an image that its update may have, as far as the manifests tell. Equal blobs have equal diff IDs; unequal ones may, so
 * some of these may be left out, too.
 */
export function unsharedLayers(
  layers: readonly Descriptor[],
  base: ResolvedBase,
  sharedLayers: SharedLayers,
): readonly Descriptor[] {
  const known = blobsOf(base.manifest).map(({ digest }) => digest);
  if (sharedLayers === 'any') {
    const all = new Set(known);
    return layers.filter(({ digest }) => !all.has(digest));
  }
  const first = layers.findIndex(({ digest }, index) => digest !== known[index]);
  return first === -1 ? [] : layers.slice(first);
}

/** The layers of a resolved image; of an index, those of all its manifests. */
export function blobsOf({ manifest, children }: ResolvedBase['manifest']): readonly Descriptor[] {
  const manifests = [manifest, ...children.map((child: VerifiedManifest) => child.manifest)];
  return manifests.flatMap((one) => (one.kind === 'index' ? [] : one.layers));
}

/** The diff IDs of a base, from its config. */
async function diffIdsOf(
  { reference, repository, manifest: { manifest, digest, config } }: ResolvedBase,
  documents: Documents,
  signal: AbortSignal,
): Promise<readonly Digest[]> {
  if (config !== undefined) return config.image?.diffIds ?? [];
  if (manifest.kind === 'index') return [];
  const fetched = await fetchConfig({ reference, repository }, manifest, digest, signal, documents);
  fetched.content.release();
  return fetched.image?.diffIds ?? [];
}
