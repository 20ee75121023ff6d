import type { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { constants, createGzip, createZstdCompress } from 'node:zlib';

/** Output bytes of one call of the encoder. Its default of 16 KiB needs 16 times as many calls. */
const CHUNK_BYTES = 256 * 1024;

/** A format that {@link compress} writes. */
export type Format = 'gzip' | 'zstd';

/** Levels of each format. The default of gzip is that of the service, see `gzip.ts`; that of zstd is its own. */
export const LEVELS: Readonly<Record<Format, { readonly default: number; readonly max: number }>> = {
  gzip: { default: 4, max: 9 },
  zstd: { default: 3, max: 22 },
};

/**
 * Compresses a stream as one gzip member without name and time, or as one zstd frame. Equal bytes give equal output, as long as
 * zlib or zstd stays the same.
 *
 * @param source its chunks are taken over
 * @param level from 1 to that of {@link LEVELS}
 * @throws what the source throws
 */
export async function* compress(
  source: AsyncIterable<Uint8Array>,
  format: Format,
  level = LEVELS[format].default,
): AsyncGenerator<Uint8Array, void, undefined> {
  const encoder: Transform =
    format === 'gzip'
      ? createGzip({ level, chunkSize: CHUNK_BYTES })
      : createZstdCompress({
          chunkSize: CHUNK_BYTES,
          params: { [constants.ZSTD_c_compressionLevel]: level },
        });
  // An error of the source reaches the reader through the encoder, so the result of the pipeline is not needed.
  const feed = pipeline(source, encoder).catch(() => undefined);
  try {
    yield* encoder as AsyncIterable<Uint8Array>;
  } finally {
    encoder.destroy();
    await feed;
  }
}
