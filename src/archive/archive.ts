import { createHash } from 'node:crypto';
import type { Digest } from '../image/digest.ts';
import type { ImageConfig } from '../image/image-config.ts';
import type { Reference } from '../image/reference.ts';
import { headerBlocks, tarSize } from '../tar/encoder.ts';
import type { TarEntry } from '../tar/header.ts';

/** What a layout arranges: all of an image but the layers' bytes. */
export interface ArchiveInput {
  readonly reference: Reference;
  readonly configDigest: Digest;
  readonly configBytes: Uint8Array;
  readonly config: ImageConfig;
  /** Base first, as many as `config.diffIds`; a layer that occurs twice stands here twice. */
  readonly layers: readonly { readonly diffId: Digest /** Uncompressed bytes. */; readonly size: number }[];
}

/** An entry of the archive: a folder, a small file held in memory, or a layer named by its index. */
export interface ArchiveEntry extends TarEntry {
  readonly content?: Uint8Array;
  readonly layer?: number;
}

/** An archive as it will be written: everything is known of it but the layers' bytes. */
export interface Archive {
  readonly entries: readonly ArchiveEntry[];
  /** Exact length in bytes. */
  readonly size: number;
  /** Strong entity tag, quotes included: equal tags mean equal bytes. */
  readonly etag: string;
}

/**
 * Computes length and entity tag of an archive from its entries.
 *
 * The tag is a hash over every header block, every small file and every layer's diff ID: over all that decides a byte
 * of the archive, so that any replica gives the same tag without reading a layer.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#name-etag
 */
export function planArchive(entries: readonly ArchiveEntry[], layers: ArchiveInput['layers']): Archive {
  const hash = createHash('sha256');
  for (const entry of entries) {
    hash.update(headerBlocks(entry));
    if (entry.content !== undefined) hash.update(entry.content);
    if (entry.layer !== undefined) hash.update(layers[entry.layer]?.diffId ?? '');
  }
  return { entries, size: tarSize(entries), etag: `"${hash.digest('hex')}"` };
}
