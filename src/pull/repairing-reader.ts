import type { ArchiveEntry } from '../archive/archive.ts';
import { isPassthroughError, PassthroughError } from '../errors.ts';
import type { Stored } from '../storage/store.ts';
import type { ByteRange, TarSource } from '../tar/encoder.ts';
import { streamWithSpan } from '../telemetry/span.ts';
import type { PreparedLayer } from './fetch-layers.ts';
import type { PreparedBlobs } from './prepared-blobs.ts';

/**
 * Gets a layer anew whose file turned out to be damaged.
 *
 * @param image whose layer it is, counted from 0
 */
export type RenewLayer = (layer: PreparedLayer, image: number) => Promise<Stored>;

/**
 * Gives an entry of an archive its bytes: those that it holds itself, or a file's. A layer's way into the archive has a span
 * of its own.
 *
 * @param renew for whoever reads; without it a damaged file is an error
 * @throws PassthroughError `INTERNAL` when no file has the bytes that the entry names
 */
export function archiveSource(
  { blob, layer: position, ...entry }: ArchiveEntry,
  blobs: PreparedBlobs,
  renew?: RenewLayer,
): TarSource {
  if (blob === undefined) return entry;
  const layer = blobs.find(blob);
  if (layer === undefined) {
    throw new PassthroughError('INTERNAL', `Cannot lay out the archive: no file has the bytes of ${blob}`);
  }
  const { file, descriptor } = layer;
  const again = renew && (() => renew(layer, position?.image ?? 0));
  const read = (range?: ByteRange) => readRenewing(file, range, again);
  if (position === undefined) return { ...entry, content: read };
  const attributes = {
    'oci.layer.index': position.index + 1,
    'oci.layer.digest': descriptor.digest,
    'oci.layer.compressed_size': descriptor.size,
    ...(blobs.form === 'unpacked' && { 'oci.layer.decompressed_size': file.size }),
  };
  const name = `write_layer_tar_${position.index + 1}`;
  return { ...entry, content: (range) => streamWithSpan(name, { attributes }, () => read(range)) };
}

/**
 * Reads a file of the store, or a part of it. Where it is damaged its reader gets the rest from a new one, so that nobody
 * notices but by the time that it takes.
 *
 * @param renew gets the same content once more; its file is released here
 * @throws PassthroughError `DAMAGED` where it cannot be got anew, or is damaged again; what `renew` throws
 */
export async function* readRenewing(
  file: Stored,
  range: ByteRange = { start: 0, end: file.size },
  renew?: () => Promise<Stored>,
): AsyncGenerator<Uint8Array, void, undefined> {
  let { start } = range;
  try {
    for await (const piece of file.read(range)) {
      start += piece.byteLength;
      yield piece;
    }
    return;
  } catch (error) {
    if (renew === undefined || !isPassthroughError(error, 'DAMAGED')) throw error;
  }
  const renewed = await renew();
  try {
    yield* renewed.read({ start, end: range.end });
  } finally {
    renewed.release();
  }
}
