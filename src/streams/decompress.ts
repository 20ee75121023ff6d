import type { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { constants, createGunzip, createZstdDecompress } from 'node:zlib';
import { PassthroughError } from '../errors.ts';
import type { MemoryBudget } from '../util/memory-budget.ts';
import { systemErrorCode } from '../util/system-error.ts';
import { ownChunk, releaseChunk } from './chunk.ts';
import { mayHaveEnded, UnknownEndError } from './gzip-end.ts';
import { HeaderChecksums } from './gzip-headers.ts';
import { rebatched } from './rebatch.ts';
import { type FrameNeeds, ZstdRuns } from './zstd-frames.ts';

/**
 * Output bytes of one call of the decoder. The default of 16 KiB needs a call, a thread change and a buffer for each 16 KiB,
 * and is five times slower. More than 256 KiB is no faster.
 */
const CHUNK_BYTES = 256 * 1024;

/**
 * Compressed bytes of one call of the decoder, and of one search for headers. Chunks from a socket are smaller, and each call costs
 * time.
 */
const INPUT_BYTES = 128 * 1024;

/** Largest window that libzstd unpacks unless told otherwise, in bytes; that of `zstd --ultra -22`. */
const MAX_WINDOW_BYTES = 128 * 1024 * 1024;

/** Memory of a zstd decoder besides its window, in bytes: 0.5 MiB of its own, and a chunk in and out. */
const DECODER_BYTES = 1024 * 1024;

/** Smallest window that libzstd can be limited to, as a power of two: 1 KiB. */
const MIN_WINDOW_LOG = 10;

/** What unpacking takes besides the bytes. */
export interface DecompressOptions {
  /** Counts the windows of zstd. A gzip decoder takes 32 KiB, so the number of downloads limits those. */
  readonly memory: MemoryBudget;
  /** Ends the wait for memory. */
  readonly signal: AbortSignal;
  /** Bytes up to the end of gzip that has other bytes behind it; see `endOfGzip`. */
  readonly end?: number | undefined;
  /** Receives what the stream was, when all of it is read. */
  readonly onEnd?: ((facts: StreamFacts) => void) | undefined;
}

/** What a stream turned out to be. */
export interface StreamFacts {
  readonly compression: Compression;
  /**
   * Whether it is gzip that can stand among other members of a gzip file: nothing lies behind its last member, and no header has
   * what readers differ about; see `HeaderChecksums`.
   */
  readonly isPlainGzip: boolean;
}

/** Compression of a layer or an archive. */
export type Compression = 'none' | 'gzip' | 'zstd';

/** First bytes of each format. bzip2 and xz are refused here: as a layer of an archive they would fail at the client. */
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

/** Bytes that tell the format: the length of the longest magic. */
export const HEAD_LENGTH = Math.max(...MAGICS.map(({ bytes }) => bytes.length));

/**
 * Decompresses a stream. The format is read from its first bytes, since media types are wrong in practice: registries serve
 * zstd as gzip, and uncompressed tar files as either. Concatenated gzip members or zstd frames are one stream. Padding after
 * the last one is read and dropped.
 *
 * @param source compressed or uncompressed bytes; its chunks are taken over
 * @param what name of the stream in messages
 * @throws PassthroughError `VERIFICATION_FAILED` for damaged or cut bytes, as {@link UnknownEndError} where `end` may help;
 *   `UNSUPPORTED_IMAGE` for bzip2, xz and a zstd window that is too large; what the source throws; the signal's reason
 */
export async function* decompressed(
  source: AsyncIterable<Uint8Array>,
  what: string,
  options: DecompressOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const counter = { bytes: 0 };
  const headers = new HeaderChecksums();
  const bytes = counted(source, counter);
  try {
    const head = await readHead(bytes);
    const compression = detectCompression(head, what);
    const whole = continued(head, bytes);
    const { end = Number.POSITIVE_INFINITY } = options;
    const gunzip = compression === 'gzip' ? createGunzip({ chunkSize: CHUNK_BYTES }) : undefined;
    if (compression === 'none') {
      yield* whole;
    } else {
      const large = rebatched(whole, INPUT_BYTES);
      if (gunzip === undefined) yield* decodeZstd(large, what, options);
      else yield* decode(upTo(end, searched(large, headers)), gunzip, 'gzip', what);
    }
    // The decoder ends before the source where padding follows. The rest is read for the verifier of the source, which would
    // take the blob for a cut one otherwise.
    while ((await bytes.next()).done !== true);
    const isPlainGzip = gunzip?.bytesWritten === counter.bytes && !headers.found;
    options.onEnd?.({ compression, isPlainGzip });
  } finally {
    await bytes.return();
  }
}

async function* counted(
  source: AsyncIterable<Uint8Array>,
  counter: { bytes: number },
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of source) {
    counter.bytes += chunk.byteLength;
    yield chunk;
  }
}

async function* searched(
  source: AsyncIterable<Uint8Array>,
  headers: HeaderChecksums,
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of source) {
    headers.update(chunk);
    yield chunk;
  }
}

/** Reads until there are enough bytes to detect the format, or the stream ends. */
async function readHead(bytes: AsyncIterator<Uint8Array>): Promise<Uint8Array> {
  let head: Uint8Array = new Uint8Array();
  while (head.byteLength < HEAD_LENGTH) {
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

/** The first bytes of a stream. The rest is left to be read. */
async function* upTo(
  end: number,
  source: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  for (let left = end; left > 0; ) {
    const next = await source.next();
    if (next.done === true) return;
    // A reader may release the chunk.
    const { byteLength } = next.value;
    if (byteLength <= left) {
      yield next.value;
    } else {
      // Copied: others may read the chunk, too, and a part of it cannot be released alone.
      yield Buffer.from(next.value.subarray(0, left));
      releaseChunk(next.value);
    }
    left -= byteLength;
  }
}

/**
 * The compression of bytes, by their first {@link HEAD_LENGTH}.
 *
 * @param what name of the bytes in the message
 * @throws PassthroughError `UNSUPPORTED_IMAGE` for bzip2 and xz
 */
export function detectCompression(head: Uint8Array, what: string): Compression {
  const format = MAGICS.find(({ bytes }) =>
    bytes.every((byte, index) => byte === undefined || byte === head[index]),
  )?.format;
  if (format === undefined) return 'none';
  if (format === 'gzip' || format === 'zstd') return format;
  throw new PassthroughError('UNSUPPORTED_IMAGE', `Cannot unpack ${what}: it is compressed with ${format}`);
}

/** Unpacks the runs of a zstd stream, each with a decoder whose window was reserved before. */
async function* decodeZstd(
  source: AsyncGenerator<Uint8Array, void, undefined>,
  what: string,
  { memory, signal }: DecompressOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    const runs = new ZstdRuns(source);
    for (let needs = await runs.next(); needs !== undefined; needs = await runs.next()) {
      checkWindow(needs, what, memory);
      // No limit of its own: a preparation whose layers wait for each other must not fail in its middle.
      const bytes = needs.keptBytes + DECODER_BYTES;
      const lease = await memory.reserve(bytes, `a zstd window of ${what}`, signal, Number.POSITIVE_INFINITY);
      try {
        const windowLog = Math.max(MIN_WINDOW_LOG, Math.ceil(Math.log2(needs.windowBytes)));
        const params = { [constants.ZSTD_d_windowLogMax]: windowLog };
        const decoder = createZstdDecompress({ chunkSize: CHUNK_BYTES, params });
        yield* decode(runs.run(needs.windowBytes), decoder, 'zstd', what);
      } finally {
        lease.release();
      }
    }
  } finally {
    await source.return();
  }
}

/** @throws PassthroughError `UNSUPPORTED_IMAGE` */
function checkWindow({ windowBytes, keptBytes }: FrameNeeds, what: string, { maxBytes }: MemoryBudget): void {
  const most = Math.min(MAX_WINDOW_BYTES, Math.max(0, maxBytes - DECODER_BYTES));
  if (windowBytes <= MAX_WINDOW_BYTES && keptBytes <= most) return;
  throw new PassthroughError(
    'UNSUPPORTED_IMAGE',
    `Cannot unpack ${what}: its zstd window of ${windowBytes} bytes is larger than ${most}`,
    windowBytes <= MAX_WINDOW_BYTES ? { setting: 'bufferedBytes' } : {},
  );
}

async function* decode(
  source: AsyncIterable<Uint8Array>,
  decoder: Transform & { readonly bytesWritten: number },
  compression: 'gzip' | 'zstd',
  what: string,
): AsyncGenerator<Uint8Array, void, undefined> {
  // An error of the source reaches the reader through the decoder, so the result of the pipeline is not needed.
  const feed = pipeline(released(source, decoder.writableHighWaterMark), decoder).catch(() => undefined);
  try {
    for await (const chunk of decoder as AsyncIterable<Uint8Array>)
      yield endsItsBuffer(chunk) ? ownChunk(chunk) : chunk;
  } catch (error) {
    if (!isDecoderError(error)) throw error;
    const message = `Cannot unpack ${what}: its ${compression} stream is damaged: ${error.message}`;
    if (compression === 'gzip' && mayHaveEnded(error))
      throw new UnknownEndError(message, decoder.bytesWritten, error);
    throw new PassthroughError('VERIFICATION_FAILED', message, { cause: error });
  } finally {
    decoder.destroy();
    await feed;
  }
}

/**
 * Passes compressed chunks on and releases each after the decoder has read it. A chunk of at least the high-water mark fills the
 * decoder's queue, so the next chunk is requested after this one was read. A smaller chunk may still be in the queue then, and is
 * left to the garbage collector.
 */
async function* released(
  source: AsyncIterable<Uint8Array>,
  highWaterMark: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of source) {
    const { byteLength } = chunk;
    yield chunk;
    if (byteLength >= highWaterMark) releaseChunk(chunk);
  }
}

/**
 * Whether a chunk ends where the decoder's output buffer ends. The decoder writes to a new buffer by then, and the earlier chunks
 * of this one were read. A chunk that ends before must not be released: the decoder may still write behind it.
 */
function endsItsBuffer({ byteOffset, byteLength, buffer }: Uint8Array): boolean {
  return buffer.byteLength === CHUNK_BYTES && byteOffset + byteLength === CHUNK_BYTES;
}

/** Whether zlib or zstd threw it: `Z_DATA_ERROR`, `Z_BUF_ERROR` for a cut stream, `ZSTD_error_…`. */
function isDecoderError(error: unknown): error is Error {
  return error instanceof Error && /^Z(?:_|STD_)/.test(systemErrorCode(error) ?? '');
}
