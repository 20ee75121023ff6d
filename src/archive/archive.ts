import { createHash } from 'node:crypto';
import type { Descriptor } from '../image/descriptor.ts';
import type { Digest } from '../image/digest.ts';
import { type Reference, repoTag } from '../image/reference.ts';
import { tarSize } from '../tar/encoder.ts';
import type { TarEntry } from '../tar/header.ts';

/** The layouts that loaders of images read. Each has a module of its name. */
export const IMAGE_LAYOUTS = ['docker', 'docker-gzip', 'oci'] as const;
export type ImageLayout = (typeof IMAGE_LAYOUTS)[number];

/** All layouts: those of images, and that of a package for devices. */
export const LAYOUTS = [...IMAGE_LAYOUTS, 'iox'] as const;
export type LayoutName = (typeof LAYOUTS)[number];

/** Whether a text is the name of a layout. */
export function isLayout(text: string): text is LayoutName {
  return (LAYOUTS as readonly string[]).includes(text);
}

/** Whether an archive contains the files of foreign layers, which lie outside of the registry. */
export type ForeignLayers = 'fetched' | 'left out';

/** Position of a layer: index of its image in the archive, and its index in the image, both from 0. */
export interface LayerPosition {
  readonly image: number;
  readonly index: number;
}

/** An entry of an archive: a folder, a small file in memory, or a stored blob. */
export interface ArchiveEntry extends TarEntry {
  /** The bytes of a file in memory. */
  readonly content?: Uint8Array;
  /** Digest of any other file: of a document; the diff ID of a layer in layout docker, that of a blob in the other layouts. */
  readonly blob?: Digest;
  /** What comes before the blob in this entry; nothing unless given. */
  readonly prefix?: Uint8Array;
  /** The layer in this entry; the first one if several layers share it. */
  readonly layer?: LayerPosition;
}

/** The plan of an archive. It is complete but for the bytes of the blobs. */
export interface Archive {
  readonly entries: readonly ArchiveEntry[];
  /** Exact length in bytes. */
  readonly size: number;
  /** Strong entity tag, with its quotes, see {@link archiveIdentity}. */
  readonly etag: string;
}

/** Everything that determines the bytes of an archive. It is known as soon as the manifests are fetched. */
export interface ArchiveIdentity {
  readonly layout: LayoutName;
  /** Default: `fetched`. Only layout docker-gzip can leave them out. */
  readonly foreignLayers?: ForeignLayers;
  /** In the order of the archive. */
  readonly images: readonly ArchivedImage[];
  /** What else decides the bytes of a package, as JSON writes it. */
  readonly package?: unknown;
}

/** One image of an archive. */
export interface ArchivedImage {
  /** The name of the image in the archive. */
  readonly reference: Reference;
  /** Of the image's manifest, or of the index if the archive holds every platform. */
  readonly manifest: Pick<Descriptor, 'digest' | 'mediaType'>;
  /** Digest of the manifest of the base, if the archive leaves out the layers that the base has, too. */
  readonly base?: Digest | undefined;
}

/**
 * Version of the layouts, part of every entity tag. **Raise it with any change that alters a byte of any archive**: in a
 * layout, in the tar encoder, or in the tags of references.
 */
const LAYOUT_REVISION = 1;

/**
 * The entity tag of an archive. It needs only manifests, so conditional requests are answered before a layer is fetched. All
 * replicas give the same tag.
 *
 * Equal tags mean equal bytes. Everything that decides a byte is in the hash, or follows from something in the hash:
 *
 *     layout, revision                 →  order, names, headers, the documents' form
 *     reference                        →  RepoTags, repositories, annotations
 *     digest of a manifest or index    →  its bytes → digests below it → their bytes → diff IDs, platforms
 *     media type                       →  the descriptor in `index.json`; not all manifests have their own
 *     foreign layers                   →  whether their files are there
 *     digest of the base's manifest    →  its layers and config → which layers are left out
 *     package                          →  settings and sizes that no label or config has
 *
 * The arrows hold for two reasons. Every byte is verified against its digest before an archive is planned. The layouts get
 * nothing else: no clock, no order of arrival, no fields of an index when one image of it was requested. Equal bytes do not mean
 * equal tags: two manifests with one config may give the same archive in layout docker.
 *
 * @returns a strong tag, with its quotes
 * @see https://www.rfc-editor.org/rfc/rfc9110#name-etag
 */
export function archiveIdentity({
  layout,
  foreignLayers = 'fetched',
  images,
  package: ofPackage,
}: ArchiveIdentity): string {
  const parts = images.map(({ reference, manifest, base }) => [
    reference.registryName,
    reference.repository,
    repoTag(reference).tag,
    manifest.digest,
    manifest.mediaType,
    ...(base === undefined ? [] : [base]),
  ]);
  const extra = ofPackage === undefined ? [] : [ofPackage];
  const text = JSON.stringify([LAYOUT_REVISION, layout, foreignLayers, parts, ...extra]);
  return `"${createHash('sha256').update(text).digest('hex')}"`;
}

/**
 * Computes the length and the entity tag of an archive.
 *
 * @throws PassthroughError `INTERNAL`, see `tarSize`
 */
export function planArchive(entries: readonly ArchiveEntry[], identity: ArchiveIdentity): Archive {
  return { entries, size: tarSize(entries), etag: archiveIdentity(identity) };
}
