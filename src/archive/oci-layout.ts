import { type Digest, digestAlgorithm, digestHex } from '../image/digest.ts';
import { OCI_INDEX } from '../image/media-type.ts';
import type { Platform } from '../image/platform.ts';
import { formatReference, type Reference, repoTag } from '../image/reference.ts';
import { type Archive, type ArchiveEntry, type LayerPosition, planArchive } from './archive.ts';
import { directory, file, jsonFile, withoutRepeats } from './entries.ts';
import { manifestJson } from './manifest-json.ts';

/** Version of the image layout, the content of `oci-layout`. */
const IMAGE_LAYOUT_VERSION = '1.0.0';

/** One thing that an archive holds: an image, an artifact, or an index with all that it names. */
export interface OciContent {
  readonly reference: Reference;
  /** Manifest, or the index where every platform is wanted; byte for byte. */
  readonly manifest: { readonly digest: Digest; readonly mediaType: string; readonly bytes: Uint8Array };
  /**
   * All that can be reached from there, in any order: nested indexes, manifests, configs, layers,
   * attestations. Which of it is left out must follow from the root, or two archives of one entity tag
   * differ.
   */
  readonly blobs: readonly OciBlob[];
  /** What an image for one platform says besides; absent for an artifact and for an index. */
  readonly image?: {
    /** From the config, never from an index: the archive must not depend on how the manifest was found. */
    readonly platform?: Platform;
    readonly config: Digest;
    /** Digests of the blobs, base first. */
    readonly layers: readonly Digest[];
  };
}

/** A blob: its bytes, or the digest by which they are to be found. */
export interface OciBlob {
  readonly digest: Digest;
  readonly size: number;
  readonly bytes?: Uint8Array;
  readonly layer?: LayerPosition;
}

/**
 * Lays out an OCI image layout, every document and blob as the registry has it, so that all digests survive.
 * In the order of names, as `docker save` of Docker Engine 25 and `ctr images export` write it:
 *
 *     blobs/{algorithm}/{hex}   manifests, configs and layers, each once
 *     index.json                a descriptor of each content, its names in the annotations
 *     manifest.json             the same in Docker's words, where all are images for one platform
 *     oci-layout                the version of the layout
 *
 * `manifest.json` is what Docker Engine up to 24 loads; podman, which takes one image of an OCI archive, falls
 * back to it where there are several (seen with 4.3). With an artifact or an index in the archive it would tell a part
 * of it only, and is left out.
 *
 * @param contents in the order of `index.json`
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
 */
export function ociLayout(contents: readonly OciContent[]): Archive {
  const blobs = contents.flatMap(({ manifest, blobs }) => [
    { digest: manifest.digest, size: manifest.bytes.byteLength, bytes: manifest.bytes },
    ...blobs,
  ]);
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

function blobEntry({ digest, size, bytes, layer }: OciBlob): ArchiveEntry {
  const name = blobName(digest);
  return bytes === undefined
    ? { name, type: 'file', size, blob: digest, ...(layer && { layer }) }
    : file(name, bytes);
}

/** https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md#indexjson-file */
function indexJson(contents: readonly OciContent[]): ArchiveEntry {
  const tags = refNames(contents.map(({ reference }) => reference));
  const manifests = contents.map(({ reference, manifest, image }, at) => ({
    mediaType: manifest.mediaType,
    digest: manifest.digest,
    size: manifest.bytes.byteLength,
    annotations: {
      'io.containerd.image.name': fullName(reference),
      'org.opencontainers.image.ref.name': tags[at],
    },
    ...(image?.platform && { platform: platformField(image.platform) }),
  }));
  return jsonFile('index.json', { schemaVersion: 2, mediaType: OCI_INDEX, manifests });
}

/**
 * What skopeo, podman and umoci know each descriptor by: the tag, as `docker save` has it. Where images of
 * several names have one tag it would stand for more than one, so these get their full names.
 *
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/annotations.md#pre-defined-annotation-keys
 */
function refNames(references: readonly Reference[]): readonly string[] {
  const named = references.map((reference) => ({ tag: repoTag(reference).tag, name: fullName(reference) }));
  return named.map(({ tag, name }) =>
    named.some((other) => other.tag === tag && other.name !== name) ? name : tag,
  );
}

/** What containerd names the image: host and `library/` included. */
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
