import type { Descriptor } from '../image/descriptor.ts';
import { type Reference, repoTag } from '../image/reference.ts';
import type { ArchiveEntry } from './archive.ts';
import { jsonFile } from './entries.ts';

/** One image in `manifest.json`. `config` and `layers` are paths in the archive. */
export interface ManifestItem {
  readonly reference: Reference;
  readonly config: string;
  /** Base first. */
  readonly layers: readonly string[];
  /** Foreign layers by diff ID. */
  readonly layerSources?: ReadonlyMap<string, Descriptor>;
}

/**
 * The file that Docker Engine reads since 1.10: config, tags and layers of each image, and `LayerSources` if it has foreign
 * layers. An image with several names is listed once, with all tags.
 *
 * @see https://github.com/moby/docker-image-spec/blob/v1.3.1/spec.md#combined-image-json--filesystem-changeset-format
 */
export function manifestJson(items: readonly ManifestItem[]): ArchiveEntry {
  const images = new Map<string, { readonly item: ManifestItem; readonly tags: Set<string> }>();
  for (const item of items) {
    const key = JSON.stringify([item.config, item.layers]);
    const image = images.get(key) ?? { item, tags: new Set() };
    const { name, tag } = repoTag(item.reference);
    image.tags.add(`${name}:${tag}`);
    images.set(key, image);
  }
  return jsonFile(
    'manifest.json',
    Array.from(images.values(), ({ item, tags }) => ({
      Config: item.config,
      RepoTags: [...tags],
      Layers: item.layers,
      ...(item.layerSources?.size && { LayerSources: sources(item.layerSources) }),
    })),
  );
}

/** The known fields of each descriptor, in the order of Docker Engine. */
function sources(layers: ReadonlyMap<string, Descriptor>): Record<string, Descriptor> {
  return Object.fromEntries(
    Array.from(layers, ([diffId, { mediaType, size, digest, urls, annotations }]) => [
      diffId,
      { mediaType, size, digest, ...(urls && { urls }), ...(annotations && { annotations }) },
    ]),
  );
}
