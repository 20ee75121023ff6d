import { createHash } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';

/**
 * How hard zlib tries, from 1 to 9. Half as fast again as its default of 6, and the file is 2 or 3 % larger: it is made while
 * the client waits.
 */
const LEVEL = 4;

/** Bytes that one call of zlib may give: as for inflating, the default of 16 KiB costs a call for each. */
const CHUNK_BYTES = 256 * 1024;

/** Where compressed bytes go, such as a file that is being written. */
export interface Sink {
  /** Appends bytes. They may be reused when the promise settles. */
  write(bytes: Uint8Array): Promise<void>;
}

/**
 * Compresses a stream into a file, as one gzip member without name and time. The same bytes and the same zlib give the same
 * file.
 *
 * @param file empty
 * @param signal stops on the way
 * @returns SHA-256 of the file, in hex
 * @throws what the source throws, PassthroughError `NO_SPACE` when the disk is full
 * @see https://www.rfc-editor.org/rfc/rfc1952
 */
export async function gzipInto(
  file: Sink,
  source: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<string> {
  const hash = createHash('sha256');
  const gzip = createGzip({ level: LEVEL, chunkSize: CHUNK_BYTES });
  await pipeline(
    source,
    gzip,
    async (compressed: AsyncIterable<Uint8Array>) => {
      for await (const bytes of compressed) {
        hash.update(bytes);
        await file.write(bytes);
      }
    },
    { signal },
  );
  return hash.digest('hex');
}
