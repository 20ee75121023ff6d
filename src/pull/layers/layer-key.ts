import type { LayerForm } from '../../archive/layouts.ts';
import type { Digest } from '../../image/digest.ts';
import type { Descriptor } from '../../image/manifest.ts';
import { isForeignLayer } from '../../image/media-type.ts';
import type { RepositoryLocation } from '../../registry/repository.ts';
import type { DerivedKey } from '../../storage/store-key.ts';

/**
 * The key of a layer in the store. It contains the registry, since a blob from one registry must not be served for another; for a
 * foreign layer also the repository, since its registry need not have the blob. It contains the size, since a manifest with a
 * wrong size must neither get the layer nor spoil it for others.
 *
 * @param kind of what is stored of it: its form, or what is known about it
 */
export function layerKey(layer: Descriptor, kind: string, { origin, name }: RepositoryLocation): string {
  const { digest, size } = layer;
  return `${kind} ${digest} ${size} ${liesOutside(layer) ? `${origin}/${name}` : origin}`;
}

/** The key of a layer's blob. */
export function blobKey(layer: Descriptor, location: RepositoryLocation): string {
  return layerKey(layer, 'compressed', location);
}

/** The key of a layer's uncompressed bytes, which can be made again from the blob. */
export function inflatedKey(layer: Descriptor, location: RepositoryLocation): DerivedKey {
  return { key: layerKey(layer, 'uncompressed', location), from: blobKey(layer, location) };
}

/** The key of a layer that is compressed anew. zlib's output differs between versions, so each has a file of its own. */
export function deflatedKey(layer: Descriptor, location: RepositoryLocation): DerivedKey {
  const key = layerKey(layer, `gzip-${process.versions.zlib}`, location);
  return { key, from: blobKey(layer, location) };
}

/** The digest by which an archive names a layer's bytes. Those that were compressed anew are no blob, so their diff ID does. */
export function entryDigest(
  { descriptor, diffId, isDeflated }: LayerBytes,
  form: LayerForm,
): Digest | undefined {
  return form === 'compressed' || (form === 'loadable' && isDeflated !== true) ? descriptor.digest : diffId;
}

/** What tells the bytes of a layer in an archive. */
interface LayerBytes {
  readonly descriptor: Descriptor;
  readonly diffId: Digest | undefined;
  readonly isDeflated?: boolean | undefined;
}

/** Whether the descriptor names a place outside of the registry. */
export function liesOutside(layer: Descriptor): boolean {
  return isForeignLayer(layer) && layer.urls !== undefined;
}

/** Attributes of a layer's spans. */
export function layerAttributes({ digest, size }: Descriptor, index: number) {
  return {
    'oci.layer.index': index + 1,
    'oci.layer.digest': digest,
    'oci.layer.compressed_size': size,
  };
}

/** Sorts layers by the place of their blobs in a list. Those that it does not have come last. */
export function inOrder<Item extends { readonly layer: Descriptor }>(
  items: readonly Item[],
  order: readonly Digest[] = [],
): readonly Item[] {
  const places = new Map(order.map((digest, place) => [digest, place]));
  const placeOf = ({ layer }: Item) => places.get(layer.digest) ?? order.length;
  return items.toSorted((one, other) => placeOf(one) - placeOf(other));
}
