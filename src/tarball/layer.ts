import { type Descriptor, parseDescriptor } from '../image/descriptor.ts';
import type { Digest } from '../image/digest.ts';
import { releaseChunk } from '../streams/chunk.ts';
import { compress, type Format, LEVELS } from '../streams/compress.ts';
import type { Compression } from '../streams/decompress.ts';
import { Verifier } from '../streams/verify.ts';
import { type FileDigests, hashFile } from './read/hash-entry.ts';
import { type ByteSource, bytesOf, type ReadOptions, UncompressedBudget } from './source/archive-source.ts';
import { type RandomSource, readRange } from './source/random-source.ts';
import { spool } from './source/spool.ts';
import { unpack } from './source/unpack.ts';

/** Options of reading a layer. */
export interface ReadLayerOptions {
  /** Stops the reading. */
  readonly signal?: AbortSignal;
}

/** A layer of an image. Its bytes are verified while they are read. */
export interface Layer extends Descriptor {
  /** Digest of the uncompressed bytes. */
  readonly diffId: Digest;
  /**
   * Reads the blob, which has `digest` and `size`. It is what a registry or an archive stores, compressed or not.
   *
   * @throws PassthroughError at the end, `VERIFICATION_FAILED`; `UNSUPPORTED_IMAGE` for a foreign layer that is only named
   */
  compressed(options?: ReadLayerOptions): AsyncIterable<Uint8Array>;
  /**
   * Reads the tar, which has `diffId`.
   *
   * @throws PassthroughError as {@link compressed}
   */
  uncompressed(options?: ReadLayerOptions): AsyncIterable<Uint8Array>;
}

/** A layer that may keep a temporary file. */
export interface OwnedLayer extends Layer, AsyncDisposable {
  /** Removes the temporary file, if there is one. The layer cannot be read afterwards. */
  close(): Promise<void>;
}

/** How to make a layer. */
export interface LayerOptions extends ReadOptions {
  /** Default: that of OCI for the compression. A foreign type needs `urls`, too. */
  readonly mediaType?: string;
  /**
   * Compression of the blob. Default: that of the source, and gzip for a source that is not compressed. A source that is
   * compressed as asked for stays as it is.
   */
  readonly compression?: Compression;
  /** From 1, the fastest: to 9 for gzip, to 22 for zstd. Default: 4 and 3. */
  readonly level?: number;
  /** Keeps what was compressed in a temporary file. Without it, each reading of the blob compresses again. */
  readonly keep?: boolean;
  /** Where a foreign layer is. */
  readonly urls?: readonly string[];
}

const MEDIA_TYPES: Readonly<Record<Compression, string>> = {
  none: 'application/vnd.oci.image.layer.v1.tar',
  gzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  zstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
};

/** Bytes of the uncompressed form of layers that were read once. */
const uncompressedSizes = new WeakMap<Layer, Promise<number>>();

/**
 * Makes a layer from a tar, which may be compressed with gzip or zstd: the first bytes tell. The source is read once here, and
 * again for each reading of the layer; a stream that can be read only once is copied into a temporary file.
 *
 * @throws RangeError for a level that the compression does not have
 * @throws PassthroughError `UNSUPPORTED_IMAGE` for bzip2 and xz, `VERIFICATION_FAILED` for a damaged stream, `IMAGE_TOO_LARGE`
 *   for a bomb; what the source throws; the signal's reason
 */
export async function layer(source: ByteSource, options: LayerOptions = {}): Promise<OwnedLayer> {
  const { signal } = options;
  const isOnce = typeof source === 'object' && Symbol.asyncIterator in source;
  const copy = isOnce ? await spool(bytesOf(source, signal)) : undefined;
  const open = (reading: AbortSignal | undefined) =>
    copy === undefined ? bytesOf(source, reading) : wholeOf(copy, reading);
  try {
    return await layerOf(open, copy, options);
  } catch (error) {
    await copy?.close();
    throw error;
  }
}

type Open = (signal: AbortSignal | undefined) => AsyncIterable<Uint8Array>;

async function layerOf(
  open: Open,
  copy: RandomSource | undefined,
  options: LayerOptions,
): Promise<OwnedLayer> {
  const { signal, level, keep = false } = options;
  const budget = new UncompressedBudget(options);
  const algorithms = ['sha256'] as const;
  const hashing = { what: 'layer', stored: algorithms, uncompressed: algorithms, budget };
  const given = await hashFile(open(signal), hashing);
  if (given.fault !== undefined) throw given.fault;
  const compression = options.compression ?? (given.compression === 'none' ? 'gzip' : given.compression);
  checkLevel(compression, level);
  const isAsGiven = compression === given.compression;
  const pack: Open = (reading) => {
    const tar =
      given.compression === 'none' ? open(reading) : unpack(open(reading), 'layer', { signal: reading });
    return compression === 'none' ? tar : compress(tar, compression, level);
  };
  const kept = !isAsGiven && keep ? await spool(pack(signal)) : undefined;
  const blob: Open = isAsGiven ? open : kept === undefined ? pack : (reading) => wholeOf(kept, reading);
  try {
    const packed = isAsGiven ? given : await hashFile(blob(signal), { ...hashing, uncompressed: [] });
    const made = layerFrom({
      descriptor: descriptorOf(packed, { ...options, compression }),
      diffId: firstOf(given.uncompressed),
      what: 'layer',
      blob,
      tar: isAsGiven ? undefined : open,
    });
    uncompressedSizes.set(made, Promise.resolve(given.uncompressedSize));
    const close = async () => {
      await Promise.all([kept?.close(), copy?.close()]);
    };
    return Object.assign(made, { close, [Symbol.asyncDispose]: close });
  } catch (error) {
    await kept?.close();
    throw error;
  }
}

/** What a layer is read from. */
export interface LayerParts {
  readonly descriptor: Descriptor;
  readonly diffId: Digest;
  /** Name of the layer in messages. */
  readonly what: string;
  /** Opens the blob. */
  readonly blob: Open;
  /** Opens something that unpacks to the tar in fewer steps than the blob. */
  readonly tar?: Open | undefined;
}

/** A layer whose bytes are verified as they are read. */
export function layerFrom({ descriptor, diffId, what, blob, tar = blob }: LayerParts): Layer {
  const { digest, size } = descriptor;
  return {
    ...descriptor,
    diffId,
    compressed: ({ signal } = {}) => verified(blob(signal), new Verifier({ digest, size, what })),
    uncompressed: ({ signal } = {}) =>
      verified(unpack(tar(signal), what, { signal }), new Verifier({ digest: diffId, what })),
  };
}

/** Bytes of a layer uncompressed. The layer is read once, unless its size is known. */
export function uncompressedSizeOf(layer: Layer, signal: AbortSignal | undefined): Promise<number> {
  const known = uncompressedSizes.get(layer);
  if (known !== undefined) return known;
  const measured = measure(layer, signal);
  uncompressedSizes.set(layer, measured);
  // A failure may be that of the signal: the next caller tries again.
  measured.catch(() => uncompressedSizes.delete(layer));
  return measured;
}

async function measure(layer: Layer, signal: AbortSignal | undefined): Promise<number> {
  if (layer.digest === layer.diffId) return layer.size;
  let size = 0;
  for await (const chunk of layer.uncompressed(signal === undefined ? {} : { signal })) {
    size += chunk.byteLength;
    releaseChunk(chunk);
  }
  return size;
}

/** The media type of a layer in OCI's manifests. */
export function mediaTypeOf(compression: Compression): string {
  return MEDIA_TYPES[compression];
}

async function* verified(
  source: AsyncIterable<Uint8Array>,
  verifier: Verifier,
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of source) {
    verifier.update(chunk);
    yield chunk;
  }
  verifier.finish();
}

function wholeOf(source: RandomSource, signal: AbortSignal | undefined): AsyncIterable<Uint8Array> {
  return readRange(source, { start: 0, end: source.size }, signal);
}

function descriptorOf(
  packed: FileDigests,
  { mediaType, compression = 'gzip', urls }: LayerOptions,
): Descriptor {
  const fields = { mediaType: mediaType ?? MEDIA_TYPES[compression], digest: firstOf(packed.stored) };
  return parseDescriptor({ ...fields, size: packed.size, urls }, 'layer');
}

function firstOf([digest]: readonly Digest[]): Digest {
  if (digest === undefined) throw new RangeError('Cannot make layer: it was not hashed');
  return digest;
}

function checkLevel(compression: Compression, level: number | undefined): void {
  if (compression === 'none' || level === undefined) return;
  const { max } = LEVELS[compression satisfies Format];
  if (Number.isInteger(level) && level >= 1 && level <= max) return;
  throw new RangeError(`Cannot compress layer: level ${level} is not a whole number from 1 to ${max}`);
}
