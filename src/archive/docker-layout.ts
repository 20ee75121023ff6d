import { createHash } from 'node:crypto';
import { type Digest, digestHex } from '../image/digest.ts';
import { repoTag } from '../image/reference.ts';
import { type Archive, type ArchiveEntry, type ArchiveInput, planArchive } from './archive.ts';

/** Version of the folder-a-layer format, the content of each `VERSION`. */
const LAYER_FOLDER_VERSION = '1.0';

/** Time that stands in the legacy description of a layer whose own is not known: what engines write there. */
const UNKNOWN_TIME = '1970-01-01T00:00:00Z';

/** Fields of the config that the legacy description of the top layer repeats. */
const LEGACY_FIELDS = ['created', 'author', 'architecture', 'os', 'variant', 'config', 'docker_version'];

/**
 * Lays an image out as `docker save` of Docker Engine 24 and older did, the one layout that every loader takes:
 *
 *     {layer id}/           one folder a layer, base first
 *       VERSION             1.0
 *       json                legacy description: id, parent, and on the top layer the image's settings
 *       layer.tar           the layer, uncompressed
 *     {config hex}.json     the config blob, byte for byte
 *     manifest.json         config, tags and layers: what engines since 1.10 read
 *     repositories          tags and top layers: what engines before 1.10 read
 *
 * No link, no colon in a name, a layer that occurs twice written twice: small readers follow neither. Pure: the same
 * input gives the same archive.
 *
 * @see https://github.com/moby/docker-image-spec/blob/v1.3.1/spec.md#combined-image-json--filesystem-changeset-format
 */
export function dockerLayout(input: ArchiveInput): Archive {
  const { configDigest, configBytes, layers } = input;
  const ids = layerIds(input);
  const tag = repoTag(input.reference);
  const configName = `${digestHex(configDigest)}.json`;
  const topLayer = ids.at(-1);

  const entries: readonly ArchiveEntry[] = [
    ...ids.flatMap((id, index) => layerFolder(input, ids, id, index)),
    file(configName, configBytes),
    jsonFile('manifest.json', [
      {
        Config: configName,
        RepoTags: [`${tag.name}:${tag.tag}`],
        Layers: ids.map((id) => `${id}/layer.tar`),
      },
    ]),
    jsonFile('repositories', topLayer === undefined ? {} : { [tag.name]: { [tag.tag]: topLayer } }),
  ];
  return planArchive(entries, layers);
}

function layerFolder(
  input: ArchiveInput,
  ids: readonly string[],
  id: string,
  index: number,
): readonly ArchiveEntry[] {
  const description = {
    id,
    ...(index > 0 && { parent: ids[index - 1] }),
    created: UNKNOWN_TIME,
    ...(index === ids.length - 1 ? legacyFields(input) : { os: input.config.platform?.os ?? 'linux' }),
  };
  return [
    { name: `${id}/`, type: 'directory', size: 0 },
    file(`${id}/VERSION`, Buffer.from(LAYER_FOLDER_VERSION)),
    jsonFile(`${id}/json`, description),
    { name: `${id}/layer.tar`, type: 'file', size: input.layers[index]?.size ?? 0, layer: index },
  ];
}

function legacyFields({ config }: ArchiveInput): Record<string, unknown> {
  return Object.fromEntries(
    LEGACY_FIELDS.filter((field) => config.document[field] !== undefined).map((field) => [
      field,
      config.document[field],
    ]),
  );
}

/**
 * Names for the layers' folders: a hash of the layer and all below it, and on the top layer of the config too, so that
 * two layers of equal bytes get two names, as do the tops of two images that differ in their settings alone.
 */
function layerIds({ layers, configDigest }: ArchiveInput): readonly string[] {
  const ids: string[] = [];
  for (const [index, { diffId }] of layers.entries()) {
    const isTop = index === layers.length - 1;
    ids.push(chainId([ids.at(-1), diffId, isTop ? configDigest : undefined]));
  }
  return ids;
}

function chainId(parts: readonly (string | Digest | undefined)[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

function file(name: string, content: Uint8Array): ArchiveEntry {
  return { name, type: 'file', size: content.byteLength, content };
}

function jsonFile(name: string, value: unknown): ArchiveEntry {
  return file(name, Buffer.from(`${JSON.stringify(value)}\n`));
}
