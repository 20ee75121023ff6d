import { createHash } from 'node:crypto';
import { type Digest, digestHex } from '../image/digest.ts';
import type { ImageConfig } from '../image/image-config.ts';
import { repoTag } from '../image/reference.ts';
import { type Archive, type ArchiveEntry, planArchive } from './archive.ts';
import { directory, file, jsonFile, withoutRepeats } from './entries.ts';
import type { ImageContent, UnpackedLayer } from './image-content.ts';
import { manifestJson } from './manifest-json.ts';

type Image = ImageContent<UnpackedLayer>;

/** Version of the format with one folder for each layer: the content of each `VERSION`. */
const LAYER_FOLDER_VERSION = '1.0';

/** `created` in the legacy description of a layer without its own time, as engines write it. */
const UNKNOWN_TIME = '1970-01-01T00:00:00Z';

/** Fields of the config in the legacy description of the top layer. */
const LEGACY_FIELDS = ['created', 'author', 'architecture', 'os', 'variant', 'config', 'docker_version'];

/**
 * Plans an archive like those of `docker save` in Docker Engine 24 and older. Every loader accepts this layout:
 *
 *     {layer id}/           one folder for each layer, base first, image by image
 *       VERSION             1.0
 *       json                legacy description: id, parent, and on the top layer the image's settings
 *       layer.tar           the layer, uncompressed
 *     {config hex}.json     the config blob, byte for byte
 *     manifest.json         config, tags and layers, for engines since 1.10
 *     repositories          tags and top layers, for engines before 1.10
 *
 * Images share the folders of common layers, from the base up. There are no links, and no colons in names: small readers
 * support neither. So a layer that occurs twice in one image is written twice. Pure: equal input gives equal archives.
 *
 * @param images in the order of `manifest.json`; if two images have one tag, `repositories` gives it to the later image, as do
 *   loaders of `manifest.json`
 * @see https://github.com/moby/docker-image-spec/blob/v1.3.1/spec.md#combined-image-json--filesystem-changeset-format
 */
export function dockerLayout(images: readonly Image[]): Archive {
  const ids = layerIds(images);
  const items = images.map((image, at) => ({ image, ids: ids[at] ?? [] }));
  // The settings in the description of a folder: those of the first image whose top layer it is.
  const settings = new Map<string, ImageConfig>();
  for (const { image, ids } of items) {
    const top = ids.at(-1);
    if (top !== undefined && !settings.has(top)) settings.set(top, image.config.image);
  }
  const entries: readonly ArchiveEntry[] = [
    ...items.flatMap(({ image, ids }, at) => layerFolders(image, ids, at, settings)),
    ...images.map(({ config }) => file(configName(config.digest), config.bytes)),
    manifestJson(
      items.map(({ image, ids }) => ({
        reference: image.reference,
        config: configName(image.config.digest),
        layers: ids.map((id) => `${id}/layer.tar`),
      })),
    ),
    repositories(items),
  ];
  return planArchive(withoutRepeats(entries), { layout: 'docker', images });
}

function layerFolders(
  image: Image,
  ids: readonly string[],
  at: number,
  settings: ReadonlyMap<string, ImageConfig>,
): readonly ArchiveEntry[] {
  return image.layers.flatMap(({ diffId, size }, index) => {
    const id = ids[index] ?? '';
    const config = settings.get(id);
    const description = {
      id,
      ...(index > 0 && { parent: ids[index - 1] }),
      created: UNKNOWN_TIME,
      ...(config ? legacyFields(config) : { os: image.config.image.platform?.os ?? 'linux' }),
    };
    return [
      directory(`${id}/`),
      file(`${id}/VERSION`, Buffer.from(LAYER_FOLDER_VERSION)),
      jsonFile(`${id}/json`, description),
      { name: `${id}/layer.tar`, type: 'file', size, blob: diffId, layer: { image: at, index } },
    ];
  });
}

function legacyFields({ document }: ImageConfig): Record<string, unknown> {
  return Object.fromEntries(
    LEGACY_FIELDS.filter((field) => document[field] !== undefined).map((field) => [field, document[field]]),
  );
}

/** Top layers by name and tag. Images without layers are left out. */
function repositories(
  items: readonly { readonly image: Image; readonly ids: readonly string[] }[],
): ArchiveEntry {
  const names = new Map<string, Map<string, string>>();
  for (const { image, ids } of items) {
    const { name, tag } = repoTag(image.reference);
    const top = ids.at(-1);
    if (top !== undefined) names.set(name, (names.get(name) ?? new Map<string, string>()).set(tag, top));
  }
  return jsonFile(
    'repositories',
    Object.fromEntries(Array.from(names, ([name, tags]) => [name, Object.fromEntries(tags)])),
  );
}

/**
 * The IDs of the layers' folders. An ID is a hash of the layer and of all layers below it; for a top layer, also of the config.
 * So two equal layers of one image get two folders, and so do the top layers of two images that differ only in their settings.
 *
 * A top layer that is an inner layer of another image gets the ID without the config, so both images share the folder. If
 * several images have this top layer but different configs, only the first one shares it.
 */
function layerIds(images: readonly Image[]): readonly (readonly string[])[] {
  const chains = images.map(({ layers }) => chainIds(layers));
  const inner = new Set(chains.flatMap((ids) => ids.slice(0, -1)));
  const holders = new Map<string, Digest>();
  return images.map(({ layers, config }, at) => {
    const ids = chains[at] ?? [];
    const shared = ids.at(-1);
    if (shared === undefined) return ids;
    if (inner.has(shared)) {
      const holder = holders.get(shared) ?? config.digest;
      if (holder === config.digest) {
        holders.set(shared, holder);
        return ids;
      }
    }
    return [...ids.slice(0, -1), chainId([ids.at(-2), layers.at(-1)?.diffId, config.digest])];
  });
}

function chainIds(layers: readonly UnpackedLayer[]): readonly string[] {
  const ids: string[] = [];
  for (const { diffId } of layers) ids.push(chainId([ids.at(-1), diffId, undefined]));
  return ids;
}

function chainId(parts: readonly (string | Digest | undefined)[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

function configName(digest: Digest): string {
  return `${digestHex(digest)}.json`;
}
