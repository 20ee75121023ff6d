import type { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { PassthroughError } from '../errors.ts';
import { ownChunk, releaseChunk } from './chunk.ts';
import { rebatched } from './rebatch.ts';

/**
 * Bytes that one call of the inflater may give. The default of 16 KiB makes a call, a thread change and a buffer for each
 * 16 KiB, and is five times slower; beyond 256 KiB nothing is gained but memory in use.
 */
const CHUNK_BYTES = 256 * 1024;

/** Packed bytes that are given to the inflater at once: they come from sockets in smaller pieces, and each costs a call. */
const INPUT_BYTES = 128 * 1024;

/** How the bytes of a layer can be packed. */
type Compression = 'none' | 'gzip' | 'zstd';

/** First bytes of each format, of those that are refused too: packed bytes in an archive would only fail later. */
const MAGICS: readonly { readonly format: string; readonly bytes: readonly (number | undefined)[] }[] = [
  // https://www.rfc-editor.org/rfc/rfc1952#section-2.3.1
  { format: 'gzip', bytes: [0x1f, 0x8b, 0x08] },
  // https://www.rfc-editor.org/rfc/rfc8878#section-3.1.1
  { format: 'zstd', bytes: [0x28, 0xb5, 0x2f, 0xfd] },
  // A skippable frame, as pzstd writes first; any of 0x50-0x5f.
  ...Array.from({ length: 16 }, (_, low) => ({ format: 'zstd', bytes: [0x50 + low, 0x2a, 0x4d, 0x18] })),
  { format: 'bzip2', bytes: [0x42, 0x5a, 0x68, undefined, 0x31, 0x41, 0x59, 0x26, 0x53, 0x59] },
  { format: 'xz', bytes: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00] },
];

const LONGEST_MAGIC = Math.max(...MAGICS.map(({ bytes }) => bytes.length));

/**
 * Unpacks a stream by what it is, not by what its media type says: registries hold zstd under gzip's name and plain tars
 * under either. Several gzip members or zstd frames behind each other are one stream; padding behind the last is read and
 * left out.
 *
 * @param source packed bytes, taken over; an error of it passes as it is
 * @param what the stream, for messages
 * @throws PassthroughError `VERIFICATION_FAILED` for damaged or cut bytes, `UNSUPPORTED_IMAGE` for bzip2 and xz
 */
export async function* decompressed(
  source: AsyncIterable<Uint8Array>,
  what: string,
): AsyncGenerator<Uint8Array, void, undefined> {
  const bytes = source[Symbol.asyncIterator]();
  try {
    const head = await readHead(bytes);
    const whole = continued(head, bytes);
    const compression = detectCompression(head, what);
    if (compression === 'none') yield* whole;
    else yield* inflate(whole, compression, what);
    // An inflater may see its end before the source's, where padding follows. Whoever counts and hashes the source must see
    // that too, or a whole blob would pass for a cut one.
    while ((await bytes.next()).done !== true);
  } finally {
    await bytes.return?.();
  }
}

/** Reads until the format can be told, or the stream ends. */
async function readHead(bytes: AsyncIterator<Uint8Array>): Promise<Uint8Array> {
  let head: Uint8Array = new Uint8Array();
  while (head.byteLength < LONGEST_MAGIC) {
    const next = await bytes.next();
    if (next.done === true) break;
    head = head.byteLength === 0 ? next.value : Buffer.concat([head, next.value]);
  }
  return head;
}

async function* continued(
  head: Uint8Array,
  rest: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (head.byteLength > 0) yield head;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
}

function detectCompression(head: Uint8Array, what: string): Compression {
  const format = MAGICS.find(({ bytes }) =>
    bytes.every((byte, index) => byte === undefined || byte === head[index]),
  )?.format;
  if (format === undefined) return 'none';
  if (format === 'gzip' || format === 'zstd') return format;
  throw new PassthroughError('UNSUPPORTED_IMAGE', `Cannot unpack ${what}: it is compressed with ${format}`);
}

async function* inflate(
  source: AsyncIterable<Uint8Array>,
  compression: 'gzip' | 'zstd',
  what: string,
): AsyncGenerator<Uint8Array, void, undefined> {
  const inflater: Transform =
    compression === 'gzip'
      ? createGunzip({ chunkSize: CHUNK_BYTES })
      : createZstdDecompress({ chunkSize: CHUNK_BYTES });
  // The inflater passes an error of its source on to its reader, so the feed's own outcome says nothing new.
  const feed = pipeline(
    released(rebatched(source, INPUT_BYTES), inflater.writableHighWaterMark),
    inflater,
  ).catch(() => undefined);
  try {
    for await (const piece of inflater as AsyncIterable<Uint8Array>)
      yield endsItsBuffer(piece) ? ownChunk(piece) : piece;
  } catch (error) {
    if (!isDecoderError(error)) throw error;
    throw new PassthroughError(
      'VERIFICATION_FAILED',
      `Cannot unpack ${what}: its ${compression} stream is damaged: ${error.message}`,
      { cause: error },
    );
  } finally {
    inflater.destroy();
    await feed;
  }
}

/**
 * Passes packed pieces on and gives them back once the inflater has taken them in. One that alone reaches its mark makes it ask
 * for no other until then; a smaller one may still wait there when the next is asked for.
 */
async function* released(
  source: AsyncIterable<Uint8Array>,
  highWaterMark: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const piece of source) {
    const { byteLength } = piece;
    yield piece;
    if (byteLength >= highWaterMark) releaseChunk(piece);
  }
}

/**
 * Whether a piece reaches to the end of the buffer that the inflater writes into: it has taken a new one by then, and all
 * pieces before have been read. A piece before the end would take what comes behind it along.
 */
function endsItsBuffer({ byteOffset, byteLength, buffer }: Uint8Array): boolean {
  return buffer.byteLength === CHUNK_BYTES && byteOffset + byteLength === CHUNK_BYTES;
}

/** Errors of zlib and zstd: `Z_DATA_ERROR`, `Z_BUF_ERROR` for a stream that is cut, `ZSTD_error_…`. */
function isDecoderError(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && /^Z(?:_|STD_)/.test(String(error.code));
}
