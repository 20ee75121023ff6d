import { createHash } from 'node:crypto';
import type { Descriptor } from '../../image/descriptor.ts';
import { type Digest, digestHex, isDigest } from '../../image/digest.ts';
import { type ImageConfig, parseImageConfig } from '../../image/image-config.ts';
import { isForeignLayer } from '../../image/media-type.ts';
import { formatPlatform } from '../../image/platform.ts';
import { Verifier } from '../../streams/verify.ts';
import { cannotRead, cannotReadEntry } from '../../tar/reader.ts';
import { quoted } from '../../util/printable.ts';
import { MAX_MANIFEST_FILE_SIZE } from '../limits.ts';
import { comparedName } from '../names.ts';
import { blobName, type Contents, checkSize, inDocument } from './contents.ts';
import type { TableEntry } from './entry-table.ts';
import { MANIFEST_FILE, type ManifestFileItem, parseManifestFile } from './manifest-file.ts';
import { INDEX_FILE, type OciImage, readOciImages } from './oci-index.ts';

/** A layer of an archived image. */
export interface ArchivedLayer {
  /** Digest of the uncompressed layer, from the config. */
  readonly diffId: Digest;
  /** The file; `undefined` for a foreign layer that the archive only names. */
  readonly entry: TableEntry | undefined;
  /** What a manifest, or `LayerSources`, says about the blob. For a layer without a file it is always there. */
  readonly descriptor: Descriptor | undefined;
}

/** A config. The parsed document is not kept: a hostile one takes ten times the memory of its bytes. */
export interface ArchivedConfig extends Omit<ImageConfig, 'document'> {
  readonly digest: Digest;
  readonly bytes: Uint8Array;
}

/** An image of an archive, with its documents. No layer has been read. */
export interface ArchivedImage {
  /** Names as the archive has them. */
  readonly tags: readonly string[];
  readonly config: ArchivedConfig;
  /** Base first, with repetitions. */
  readonly layers: readonly ArchivedLayer[];
  /** The manifest, where the archive has one. */
  readonly manifest:
    | { readonly digest: Digest; readonly mediaType: string; readonly bytes: Uint8Array }
    | undefined;
}

/** A config's file name that is its digest: `{hex}.json` of Docker, `sha256:{hex}` of crane. */
const CONFIG_NAME = /^(?:sha(?:256|512):)?(?<hex>[0-9a-f]{64}|[0-9a-f]{128})(?:\.json)?$/;

/**
 * Lists the images of an archive: those of `manifest.json`, then those that only `index.json` names. An image under several names
 * is listed once. What documents claim about documents is verified; layers are not read.
 *
 * @throws PassthroughError `INVALID_ARCHIVE`, `UNSUPPORTED_IMAGE`, `VERIFICATION_FAILED`, `IMAGE_TOO_LARGE`, naming the entry
 */
export async function readArchivedImages(contents: Contents): Promise<readonly ArchivedImage[]> {
  const { table } = contents;
  const file = table.file(MANIFEST_FILE);
  if (file === undefined && table.file(INDEX_FILE) === undefined) {
    throw cannotRead(
      table.file('repositories') === undefined
        ? 'it has neither manifest.json nor index.json, so it is no archive of images'
        : 'it has no manifest.json, as archives of Docker before 1.10; load it there and save it with a newer version',
    );
  }
  const items =
    file === undefined ? [] : parseManifestFile(await contents.document(file, MAX_MANIFEST_FILE_SIZE));
  const images = new Map<string, Merged>();
  const add = (image: ArchivedImage, isOptional = false) => {
    const key = [image.config.digest, ...image.layers.map(({ entry, diffId }) => entry?.name ?? diffId)].join(
      ' ',
    );
    const merged = images.get(key) ?? { image, tags: new Map<string, string>(), isOptional };
    addTags(merged, image.tags);
    images.set(key, merged);
  };
  for (const item of items) add(await imageOfItem(item, contents));

  const listed = [...images.values()];
  for (const oci of await readOciImages(contents)) {
    const same = listed.filter(({ image }) => image.config.digest === oci.manifest.config.digest);
    for (const merged of same) {
      const { image, tags } = merged;
      if (oci.name?.isWhole === true || tags.size === 0) addTags(merged, tagsOf(oci));
      // Docker Engine 25.0 wrote manifests without layers: https://github.com/moby/moby/issues/47065
      const isWhole = oci.manifest.layers.length === image.layers.length;
      for (const descriptor of oci.manifest.layers) {
        const entry = table.file(blobName(descriptor.digest));
        if (entry !== undefined) checkSize(entry, descriptor);
      }
      if (isWhole) merged.image = { ...image, manifest: image.manifest ?? manifestOf(oci) };
    }
    if (same.length > 0) continue;
    const image = await imageOfManifest(oci, contents);
    if (image !== undefined) add(image, oci.isOptional);
  }
  if (images.size === 0) throw cannotRead('it holds no image');
  checkNames([...images.values()]);
  return Array.from(images.values(), ({ image, tags }) => ({ ...image, tags: [...tags.values()] }));
}

/** An image, and its tags by the names in which they are compared. */
interface Merged {
  image: ArchivedImage;
  readonly tags: Map<string, string>;
  /** Whether only an index below `index.json` names it. */
  readonly isOptional: boolean;
}

/**
 * Refuses a name that stands for two images of one platform. Docker gives it to the later one of `manifest.json`, crane to the
 * earlier one, containerd to that of `index.json`. Two images of one index are the choice of who made the index.
 */
function checkNames(images: readonly Merged[]): void {
  const owners = new Map<string, Merged>();
  for (const merged of images) {
    const { config } = merged.image;
    const platform = config.platform === undefined ? '' : formatPlatform(config.platform);
    for (const [name, tag] of merged.tags) {
      const key = `${name} ${platform}`;
      const owner = owners.get(key);
      if (owner === undefined) owners.set(key, merged);
      else if (owner.image.config.digest !== config.digest && !(owner.isOptional && merged.isOptional)) {
        throw cannotRead(`the name ${quoted(tag)} stands for two images`);
      }
    }
  }
}

function addTags({ tags }: Merged, more: readonly string[]): void {
  for (const tag of more) {
    const name = comparedName(tag);
    if (!tags.has(name)) tags.set(name, tag);
  }
}

async function imageOfItem(item: ManifestFileItem, contents: Contents): Promise<ArchivedImage> {
  const { table } = contents;
  const config = await readConfig(item.config, item.layers.length, contents);
  const layers = item.layers.map((path, index): ArchivedLayer => {
    const diffId = diffIdAt(config, index);
    const entry = table.file(path);
    const source = item.sources.get(diffId) ?? sourceByName(item, path);
    if (entry !== undefined) return { diffId, entry, descriptor: source };
    if (source !== undefined && isForeignLayer(source)) return { diffId, entry, descriptor: source };
    throw cannotReadEntry(MANIFEST_FILE, `layer ${quoted(path)} is not in the archive`);
  });
  return { tags: item.tags, config, layers, manifest: undefined };
}

/** The source of a layer by the digest of its blob, which its path contains: regctl and Docker's containerd store write it so. */
function sourceByName({ sources }: ManifestFileItem, path: string): Descriptor | undefined {
  return sources.size === 0
    ? undefined
    : [...sources.values()].find(({ digest }) => path.includes(digestHex(digest)));
}

async function imageOfManifest(oci: OciImage, contents: Contents): Promise<ArchivedImage | undefined> {
  const { table } = contents;
  const { manifest, isOptional } = oci;
  const blobs = manifest.layers.map((descriptor) => ({
    descriptor,
    entry: table.file(blobName(descriptor.digest)),
  }));
  const configName = blobName(manifest.config.digest);
  const configFile = table.file(configName);
  // containerd keeps the manifest of a platform that was not pulled. Layers that it shares with other platforms are there.
  if (isOptional && configFile === undefined) return undefined;
  if (configFile !== undefined) checkSize(configFile, manifest.config);
  const config = await readConfig(configName, manifest.layers.length, contents);
  const layers = blobs.map(({ descriptor, entry }, index): ArchivedLayer => {
    if (entry !== undefined) checkSize(entry, descriptor);
    else if (!isForeignLayer(descriptor)) {
      throw cannotReadEntry(blobName(oci.digest), `layer ${descriptor.digest} is not in the archive`);
    }
    return { diffId: diffIdAt(config, index), entry, descriptor };
  });
  return { tags: tagsOf(oci), config, layers, manifest: manifestOf(oci) };
}

async function readConfig(
  path: string,
  layerCount: number,
  contents: Contents,
): Promise<ArchivedImage['config']> {
  const entry = contents.table.file(path);
  if (entry === undefined) throw cannotRead(`config ${quoted(path)} is not in the archive`);
  const bytes = await contents.document(entry);
  const claimed = claimedDigest(path) ?? claimedDigest(entry.name);
  if (claimed !== undefined) {
    const verifier = new Verifier({ digest: claimed, what: `archive entry ${quoted(entry.name)}` });
    verifier.update(bytes);
    verifier.finish();
  }
  const digest: Digest = claimed ?? `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  const { platform, diffIds } = inDocument(entry.name, () => parseImageConfig(bytes, layerCount));
  return { digest, bytes, diffIds, ...(platform && { platform }) };
}

/** The digest that the name of a config claims. */
function claimedDigest(path: string): Digest | undefined {
  const blob = blobDigest(path);
  if (blob !== undefined) return blob;
  const hex = CONFIG_NAME.exec(path)?.groups?.['hex'];
  if (hex === undefined) return undefined;
  const digest = `${hex.length === 64 ? 'sha256' : 'sha512'}:${hex}`;
  return isDigest(digest) ? digest : undefined;
}

/**
 * The digest that the name of a blob claims: `blobs/sha256/{hex}`, in rules_oci with an ending.
 *
 * @returns `undefined` for other names
 */
export function blobDigest(path: string): Digest | undefined {
  const { algorithm, hex } =
    /^(?:\.\/)*blobs\/(?<algorithm>sha256|sha512)\/(?<hex>[0-9a-f]+)(?:\.tar(?:\.gz)?|\.json)?$/.exec(path)
      ?.groups ?? {};
  const digest = `${algorithm}:${hex}`;
  return isDigest(digest) ? digest : undefined;
}

function diffIdAt({ diffIds }: ArchivedConfig, index: number): Digest {
  const diffId = diffIds[index];
  // The parser has compared the numbers.
  if (diffId === undefined) throw cannotRead(`its config has no diff ID ${index}`);
  return diffId;
}

function manifestOf({ digest, manifest, bytes }: OciImage): NonNullable<ArchivedImage['manifest']> {
  return { digest, mediaType: manifest.mediaType, bytes };
}

function tagsOf({ name }: OciImage): readonly string[] {
  return name === undefined ? [] : [name.text];
}
