import { type Digest, digestAlgorithm, digestHex } from '../image/digest.ts';
import { OCI_INDEX } from '../image/media-type.ts';
import type { Platform } from '../image/platform.ts';
import { formatReference, type Reference, repoTag } from '../image/reference.ts';
import { type Archive, type ArchiveEntry, type LayerPosition, planArchive } from './archive.ts';
import { type Document, directory, documentFile, jsonFile, withoutRepeats } from './entries.ts';
import { manifestJson } from './manifest-json.ts';

/** Version of the image layout, the content of `oci-layout`. */
const IMAGE_LAYOUT_VERSION = '1.0.0';

/** One content of an archive: an image, an artifact, or an index with everything below it. */
export interface OciContent {
  readonly reference: Reference;
  /** Manifest, or index if every platform is requested, byte for byte. */
  readonly manifest: Document & { readonly mediaType: string };
  /** Digest of the manifest of the base, if blobs are left out that it has, too. */
  readonly base?: Digest | undefined;
  /**
   * Everything below the manifest, in any order: nested indexes, manifests, configs, layers, attestations. A blob may be left
   * out only if that follows from the manifest, or from it and the base. Otherwise two archives with one entity tag would differ.
   */
  readonly blobs: readonly OciBlob[];
  /** Further facts about an image for one platform; absent for artifacts and indexes. */
  readonly image?: {
    /** From the config, not from an index: the archive must not depend on the way to the manifest. */
    readonly platform?: Platform;
    readonly config: Digest;
    /** Digests of the blobs, base first. */
    readonly layers: readonly Digest[];
  };
}

/** A document or a layer. */
export interface OciBlob extends Document {
  readonly layer?: LayerPosition;
}

/**
 * Plans an OCI image layout. Every document and blob is that of the registry, so all digests stay valid. The entries are in the
 * order of names, as `docker save` of Docker Engine 25 and `ctr images export` write them:
 *
 *     blobs/{algorithm}/{hex}   manifests, configs and layers, each once
 *     index.json                a descriptor of each content, with its names as annotations
 *     manifest.json             the same in Docker's format, if all contents are images for one platform
 *     oci-layout                the version of the layout
 *
 * Docker Engine up to 24 loads `manifest.json`. podman loads one image of an OCI archive, and falls back to `manifest.json` for
 * several (seen with 4.3). `manifest.json` cannot describe artifacts and indexes, so it is left out if there are any.
 *
 * @param contents in the order of `index.json`
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
 */
export function ociLayout(contents: readonly OciContent[]): Archive {
  const blobs = contents.flatMap(({ manifest, blobs }): readonly OciBlob[] => [manifest, ...blobs]);
  const sorted = blobs.toSorted((a, b) => (a.digest < b.digest ? -1 : a.digest > b.digest ? 1 : 0));
  const algorithms = new Set(sorted.map(({ digest }) => digestAlgorithm(digest)));
  const entries = [
    directory('blobs/'),
    ...Array.from(algorithms, (algorithm) => directory(`blobs/${algorithm}/`)),
    ...sorted.map(blobEntry),
    indexJson(contents),
    ...manifestJsons(contents),
    jsonFile('oci-layout', { imageLayoutVersion: IMAGE_LAYOUT_VERSION }),
  ];
  return planArchive(withoutRepeats(entries), { layout: 'oci', images: contents });
}

function blobEntry({ layer, ...document }: OciBlob): ArchiveEntry {
  const entry = documentFile(blobName(document.digest), document);
  return layer === undefined ? entry : { ...entry, layer };
}

/** https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md#indexjson-file */
function indexJson(contents: readonly OciContent[]): ArchiveEntry {
  const references = contents.map(({ reference }) => reference);
  const manifests = contents.map(({ reference, manifest, image }) => ({
    mediaType: manifest.mediaType,
    digest: manifest.digest,
    size: manifest.size,
    annotations: {
      'io.containerd.image.name': fullName(reference),
      'org.opencontainers.image.ref.name': refName(reference, references),
    },
    ...(image?.platform && { platform: platformField(image.platform) }),
  }));
  return jsonFile('index.json', { schemaVersion: 2, mediaType: OCI_INDEX, manifests });
}

/**
 * The name by which skopeo, podman and umoci find a descriptor: the tag, as `docker save` writes it. Images with the same tag
 * but different names get their full names, since the tag would be ambiguous.
 *
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/annotations.md#pre-defined-annotation-keys
 */
function refName(reference: Reference, all: readonly Reference[]): string {
  const { tag } = repoTag(reference);
  const name = fullName(reference);
  return all.some((other) => repoTag(other).tag === tag && fullName(other) !== name) ? name : tag;
}

/** The image's name in containerd, with host and `library/`. */
function fullName({ registryName, repository, ...rest }: Reference): string {
  const { tag } = repoTag({ registryName, repository, ...rest });
  return formatReference({ registryName, repository, tag });
}

function platformField({ os, architecture, variant, osVersion }: Platform): Record<string, string> {
  return {
    architecture,
    os,
    ...(osVersion !== undefined && { 'os.version': osVersion }),
    ...(variant !== undefined && { variant }),
  };
}

function manifestJsons(contents: readonly OciContent[]): readonly ArchiveEntry[] {
  const items = contents.flatMap(({ reference, image }) =>
    image === undefined
      ? []
      : [{ reference, config: blobName(image.config), layers: image.layers.map(blobName) }],
  );
  return items.length === contents.length ? [manifestJson(items)] : [];
}

function blobName(digest: Digest): string {
  return `blobs/${digestAlgorithm(digest)}/${digestHex(digest)}`;
}
