import { createHash } from 'node:crypto';
import type { Descriptor } from '../image/descriptor.ts';
import type { Digest } from '../image/digest.ts';
import { type Reference, repoTag } from '../image/reference.ts';
import { tarSize } from '../tar/encoder.ts';
import type { TarEntry } from '../tar/header.ts';

/** How an archive may be laid out; each has a module of its name. */
export const LAYOUTS = ['docker', 'docker-gzip', 'oci'] as const;
export type LayoutName = (typeof LAYOUTS)[number];

/** Whether a text is the name of a layout. */
export function isLayout(text: string): text is LayoutName {
  return (LAYOUTS as readonly string[]).includes(text);
}

/** Whether the files of foreign layers, which no registry has, are in an archive. */
export type ForeignLayers = 'fetched' | 'left out';

/** Which layer an entry is: its place in its image, and that image's in the archive, both counted from 0. */
export interface LayerPosition {
  readonly image: number;
  readonly index: number;
}

/**
 * An entry of the archive: a folder, a small file held in memory, or a file named by the digest of its bytes.
 */
export interface ArchiveEntry extends TarEntry {
  /** The bytes of a file that is held in memory. */
  readonly content?: Uint8Array;
  /** Digest of the `size` bytes of any other file: a layer's diff ID in layout docker, a blob's elsewhere. */
  readonly blob?: Digest;
  /** Which layer stands here, the first one where several share the file. */
  readonly layer?: LayerPosition;
}

/** An archive as it will be written: everything is known of it but the bytes of its blobs. */
export interface Archive {
  readonly entries: readonly ArchiveEntry[];
  /** Exact length in bytes. */
  readonly size: number;
  /** Strong entity tag, quotes included: equal tags mean equal bytes, see {@link archiveIdentity}. */
  readonly etag: string;
}

/** What an archive is made of, as far as it is known before anything but manifests is fetched. */
export interface ArchiveIdentity {
  readonly layout: LayoutName;
  /** `fetched` unless said; to be said for layout docker-gzip, the one that can do without them. */
  readonly foreignLayers?: ForeignLayers;
  /** In the order of the archive. */
  readonly images: readonly ArchivedImage[];
}

/** One image of an archive: the name that it gets there, and what it is. */
export interface ArchivedImage {
  readonly reference: Reference;
  /** Of the image's manifest; of the index where the archive holds every platform. */
  readonly manifest: Pick<Descriptor, 'digest' | 'mediaType'>;
}

/**
 * Version of what the layouts make of an image, part of every entity tag. **To be raised with any change that
 * alters a byte of any archive**: of a layout, of the tar encoder, or of the way in which references turn
 * into tags.
 */
const LAYOUT_REVISION = 1;

/**
 * The entity tag of an archive, known as soon as its manifests are: a client that has the archive can be told
 * so before a layer is fetched, and any replica gives the same tag.
 *
 * Equal tags mean equal bytes, since all that decides a byte is in the hash or follows from what is:
 *
 *     layout, revision                 →  order, names, headers, the documents' form
 *     reference                        →  RepoTags, repositories, annotations
 *     digest of a manifest or index    →  its bytes → digests below it → their bytes → diff IDs, platforms
 *     media type                       →  the descriptor in `index.json`; not all manifests have their own
 *     foreign layers                   →  whether their files are there
 *
 * The arrows hold because every byte is verified against its digest before an archive is planned, and because
 * the layouts are given nothing else: no clock, no order of arrival, nothing that an index says of an image
 * which was asked for alone. The other way round does not hold: two manifests of one config may give one
 * archive of layout docker.
 *
 * @returns a strong tag, quotes included
 * @see https://www.rfc-editor.org/rfc/rfc9110#name-etag
 */
export function archiveIdentity({ layout, foreignLayers = 'fetched', images }: ArchiveIdentity): string {
  const parts = images.map(({ reference, manifest }) => [
    reference.registryName,
    reference.repository,
    repoTag(reference).tag,
    manifest.digest,
    manifest.mediaType,
  ]);
  const text = JSON.stringify([LAYOUT_REVISION, layout, foreignLayers, parts]);
  return `"${createHash('sha256').update(text).digest('hex')}"`;
}

/**
 * Computes the length of an archive from its entries, and its entity tag from what it is made of.
 *
 * @throws PassthroughError `INTERNAL` when the entries make no archive, see `tarSize`
 */
export function planArchive(entries: readonly ArchiveEntry[], identity: ArchiveIdentity): Archive {
  return { entries, size: tarSize(entries), etag: archiveIdentity(identity) };
}
