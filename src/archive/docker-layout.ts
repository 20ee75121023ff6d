import { createHash } from 'node:crypto';
import { type Digest, digestHex } from '../image/digest.ts';
import { parseLegacyFields } from '../image/image-config.ts';
import { repoTag } from '../image/reference.ts';
import { type Archive, type ArchiveEntry, planArchive } from './archive.ts';
import { type Document, directory, documentFile, file, jsonFile, withoutRepeats } from './entries.ts';
import type { ImageContent, UnpackedLayer } from './image-content.ts';
import { manifestJson } from './manifest-json.ts';

/** An image, and its settings as {@link legacySettings} writes them. */
type Image = ImageContent<UnpackedLayer> & { readonly config: { readonly settings: Document } };

/** Version of the format with one folder for each layer: the content of each `VERSION`. */
const LAYER_FOLDER_VERSION = '1.0';

/** `created` in the legacy description of a layer without its own time, as engines write it. */
const UNKNOWN_TIME = '1970-01-01T00:00:00Z';

/**
 * The end of the legacy description of an image's top layer: `"created":"…","config":{…}}` and a line feed. Its beginning, `id`
 * and `parent`, depends on the archive.
 *
 * @param config the config blob
 * @throws PassthroughError `UNSUPPORTED_IMAGE`, see `parseLegacyFields`
 */
export function legacySettings(config: Uint8Array): Buffer {
  const json = JSON.stringify({ created: UNKNOWN_TIME, ...parseLegacyFields(config) });
  return Buffer.from(`${json.slice(1)}\n`);
}

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
 * A layer that is left out has no folder. `manifest.json` lists it all the same: an engine that has its chain of diff IDs does not
 * open the file.
 *
 * @param images in the order of `manifest.json`; if two images have one tag, `repositories` gives it to the later image, as do
 *   loaders of `manifest.json`
 * @see https://github.com/moby/docker-image-spec/blob/v1.3.1/spec.md#combined-image-json--filesystem-changeset-format
 */
export function dockerLayout(images: readonly Image[]): Archive {
  const items = withFolders(images);
  // The settings in the description of a top folder. Images with the same top folder have the same config.
  const settings = new Map(items.map(({ image, folders }) => [folders.at(-1)?.id, image.config.settings]));
  const entries: readonly ArchiveEntry[] = [
    ...items.flatMap((item, at) => layerEntries(item, at, settings)),
    ...images.map(({ config }) => documentFile(configName(config.digest), config)),
    manifestJson(
      items.map(({ image, folders }) => ({
        reference: image.reference,
        config: configName(image.config.digest),
        layers: folders.map(({ id }) => `${id}/layer.tar`),
      })),
    ),
    repositories(items),
  ];
  return planArchive(withoutRepeats(entries), { layout: 'docker', images });
}

/** A layer with the ID that names its folder, and the ID of the layer below. */
interface LayerFolder extends UnpackedLayer {
  readonly id: string;
  readonly parent: string | undefined;
}

/** An image with the folders of its layers, base first. */
interface Item {
  readonly image: Image;
  readonly folders: readonly LayerFolder[];
}

function layerEntries(
  { image, folders }: Item,
  at: number,
  settings: ReadonlyMap<string | undefined, Document>,
): readonly ArchiveEntry[] {
  const os = image.config.image.platform?.os ?? 'linux';
  return folders.flatMap(({ id, parent, diffId, size, isLeftOut }, index) => {
    if (isLeftOut === true) return [];
    const own = settings.get(id);
    const ids = { id, ...(parent !== undefined && { parent }) };
    return [
      directory(`${id}/`),
      file(`${id}/VERSION`, Buffer.from(LAYER_FOLDER_VERSION)),
      own === undefined
        ? jsonFile(`${id}/json`, { ...ids, created: UNKNOWN_TIME, os })
        : described(`${id}/json`, ids, own),
      { name: `${id}/layer.tar`, type: 'file', size, blob: diffId, layer: { image: at, index } },
    ];
  });
}

/** The legacy description of a layer that has an image's settings. */
function described(name: string, ids: object, settings: Document): ArchiveEntry {
  const prefix = Buffer.from(JSON.stringify(ids).replace(/\}$/, ','));
  if (settings.bytes !== undefined) return file(name, Buffer.concat([prefix, settings.bytes]));
  return { name, type: 'file', size: prefix.byteLength + settings.size, prefix, blob: settings.digest };
}

/** Top layers by name and tag. Images without layers are left out. */
function repositories(items: readonly Item[]): ArchiveEntry {
  const names = new Map<string, Map<string, string>>();
  for (const { image, folders } of items) {
    const { name, tag } = repoTag(image.reference);
    const top = folders.at(-1);
    if (top !== undefined) names.set(name, (names.get(name) ?? new Map<string, string>()).set(tag, top.id));
  }
  return jsonFile(
    'repositories',
    Object.fromEntries(Array.from(names, ([name, tags]) => [name, Object.fromEntries(tags)])),
  );
}

/**
 * Gives each layer the ID of its folder. An ID is a hash of the layer and of all layers below it; for a top layer, also of the config.
 * So two equal layers of one image get two folders, and so do the top layers of two images that differ only in their settings.
 *
 * A top layer that is an inner layer of another image gets the ID without the config, so both images share the folder. If
 * several images have this top layer but different configs, only the first one shares it.
 */
function withFolders(images: readonly Image[]): readonly Item[] {
  const chains = images.map((image) => ({ image, folders: chain(image.layers) }));
  const inner = new Set(chains.flatMap(({ folders }) => folders.slice(0, -1).map(({ id }) => id)));
  const sharers = new Map<string, Digest>();
  return chains.map(({ image, folders }) => {
    const { digest } = image.config;
    const top = folders.at(-1);
    if (top === undefined) return { image, folders };
    if (inner.has(top.id)) {
      const sharer = sharers.get(top.id) ?? digest;
      sharers.set(top.id, sharer);
      if (sharer === digest) return { image, folders };
    }
    const own = { ...top, id: layerId(top.parent, top.diffId, digest) };
    return { image, folders: [...folders.slice(0, -1), own] };
  });
}

/** The folders of layers, by IDs that do not depend on a config. */
function chain(layers: readonly UnpackedLayer[]): readonly LayerFolder[] {
  let parent: string | undefined;
  return layers.map((layer) => {
    const folder = { ...layer, id: layerId(parent, layer.diffId), parent };
    parent = folder.id;
    return folder;
  });
}

function layerId(parent: string | undefined, diffId: Digest, config?: Digest): string {
  return createHash('sha256')
    .update(JSON.stringify([parent, diffId, config]))
    .digest('hex');
}

function configName(digest: Digest): string {
  return `${digestHex(digest)}.json`;
}
