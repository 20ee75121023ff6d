import type { ArchiveEntry } from '../archive/archive.ts';
import { PassthroughError } from '../errors.ts';
import type { TarSource } from '../tar/encoder.ts';
import { streamWithSpan } from '../telemetry/span.ts';
import type { PreparedBlobs } from './prepared-blobs.ts';

/**
 * Gives an entry of an archive its bytes: those that it holds itself, or a file's. A layer's way into the archive has a span
 * of its own.
 *
 * @throws PassthroughError `INTERNAL` when no file has the bytes that the entry names
 */
export function archiveSource(
  { blob, layer: position, ...entry }: ArchiveEntry,
  blobs: PreparedBlobs,
): TarSource {
  if (blob === undefined) return entry;
  const layer = blobs.find(blob);
  if (layer === undefined) {
    throw new PassthroughError('INTERNAL', `Cannot lay out the archive: no file has the bytes of ${blob}`);
  }
  const { file, digest, compressedSize, size } = layer;
  if (position === undefined) return { ...entry, content: (range) => file.read(range) };
  const attributes = {
    'oci.layer.index': position.index + 1,
    'oci.layer.digest': digest,
    'oci.layer.compressed_size': compressedSize,
    ...(blobs.form === 'unpacked' && { 'oci.layer.decompressed_size': size }),
  };
  const name = `write_layer_tar_${position.index + 1}`;
  return { ...entry, content: (range) => streamWithSpan(name, { attributes }, () => file.read(range)) };
}
