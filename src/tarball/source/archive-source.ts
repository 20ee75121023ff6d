import { open, stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { PassthroughError } from '../../errors.ts';
import { ownChunk } from '../../streams/chunk.ts';
import { detectCompression, HEAD_LENGTH } from '../../streams/decompress.ts';
import { cannotRead, tooLarge } from '../../tar/reader.ts';
import { ByteBudget } from '../../util/byte-budget.ts';
import { unlessAborted } from '../../util/map-concurrently.ts';
import { quoted } from '../../util/printable.ts';
import { MAX_UNCOMPRESSED_SIZE, READ_SIZE } from '../limits.ts';
import { blobSource, bytesSource, fileSource, type RandomSource, readRange } from './random-source.ts';
import { unpack, windowBudget } from './unpack.ts';

/**
 * Where the bytes of an archive or a layer come from: the path or file URL of a file, bytes in memory, a blob, a stream that
 * is read once, or a function that opens a stream.
 */
export type ByteSource =
  | string
  | URL
  | Uint8Array
  | Blob
  | AsyncIterable<Uint8Array>
  | (() => AsyncIterable<Uint8Array> | Promise<AsyncIterable<Uint8Array>>);

/** Options of a pass over an archive. */
export interface ReadOptions {
  /** Stops the work. */
  readonly signal?: AbortSignal;
  /** Most bytes of the layers, or of an archive that is compressed as a whole, uncompressed. Default: 32 GiB. */
  readonly maxUncompressedBytes?: number;
}

/** The bytes of an archive, uncompressed: at any position, or once from the start to the end. */
export type Opened =
  | { readonly kind: 'random'; readonly source: RandomSource }
  | { readonly kind: 'stream'; readonly bytes: AsyncIterable<Uint8Array> };

/**
 * Opens the bytes of an archive. gzip and zstd around the archive are taken off, and told by the first bytes.
 *
 * @throws PassthroughError `INVALID_ARCHIVE` for a file that cannot be opened; `UNSUPPORTED_IMAGE` for bzip2 and xz
 */
export async function openSource(source: ByteSource, options: ReadOptions): Promise<Opened> {
  const raw = await openRaw(source, options);
  if (raw.kind === 'stream') return { kind: 'stream', bytes: uncompressed(raw.bytes, options) };
  const random = raw.source;
  await using reader = await random.open();
  const head = await reader.readAt(0, Math.min(HEAD_LENGTH, random.size));
  if (detectCompression(head, 'archive') === 'none') return raw;
  const all = readRange(random, { start: 0, end: random.size }, options.signal);
  return { kind: 'stream', bytes: uncompressed(all, options) };
}

/** Opens bytes as they are. */
async function openRaw(source: ByteSource, { signal }: ReadOptions): Promise<Opened> {
  signal?.throwIfAborted();
  if (typeof source === 'string' || source instanceof URL) {
    const path = source instanceof URL ? fileURLToPath(source) : source;
    const found = await stat(path).catch((cause: Error) => {
      throw cannotRead(cause.message, cause);
    });
    if (found.isDirectory()) throw cannotRead(`${quoted(path)} is a folder`);
    if (found.isFile()) return { kind: 'random', source: await fileSource(path) };
    return { kind: 'stream', bytes: abortable(readPipe(path, signal), signal) };
  }
  if (source instanceof Uint8Array) return { kind: 'random', source: bytesSource(source) };
  if (source instanceof Blob) return { kind: 'random', source: blobSource(source) };
  const stream = typeof source === 'function' ? await source() : source;
  return { kind: 'stream', bytes: abortable(stream, signal) };
}

/** Reads what is no regular file, such as a pipe. A read that waits for the other side ends with the signal. */
async function* readPipe(
  path: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  const never = new AbortController().signal;
  const file = await open(path);
  try {
    for (;;) {
      const buffer = ownChunk(Buffer.allocUnsafeSlow(READ_SIZE));
      const { bytesRead } = await unlessAborted(file.read(buffer, 0, READ_SIZE, null), signal ?? never);
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    // A pending read keeps the file open until the other side writes or leaves, so an abort does not wait for it.
    const closed = file.close();
    if (signal?.aborted === true) closed.catch(() => undefined);
    else await closed;
  }
}

/**
 * Reads a source from its start to its end, as it is.
 *
 * @throws PassthroughError `INVALID_ARCHIVE` for a file that cannot be opened; what the source throws; the signal's reason
 */
export async function* bytesOf(source: ByteSource, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  const raw = await openRaw(source, signal === undefined ? {} : { signal });
  if (raw.kind === 'stream') yield* raw.bytes;
  else yield* readRange(raw.source, { start: 0, end: raw.source.size }, signal);
}

async function* abortable(
  source: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of source) {
    signal?.throwIfAborted();
    // A stream of text would be decoded and encoded again, with other bytes.
    if (!(chunk instanceof Uint8Array)) throw new TypeError('Cannot read archive: its stream has no bytes');
    yield chunk;
  }
}

async function* uncompressed(
  source: AsyncIterable<Uint8Array>,
  { maxUncompressedBytes = MAX_UNCOMPRESSED_SIZE, signal }: ReadOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const budget = new ByteBudget(maxUncompressedBytes, (limit) =>
    tooLarge(`it has more than ${limit} bytes unpacked`),
  );
  for await (const chunk of unpack(source, 'archive', { signal })) {
    budget.spend(chunk.byteLength);
    yield chunk;
  }
}

/** Counts what the layers of an archive have uncompressed, and the memory of their decoders. It throws `IMAGE_TOO_LARGE`. */
export class UncompressedBudget extends ByteBudget {
  /** Shared by the layers that are read at once. */
  readonly memory = windowBudget();

  constructor({ maxUncompressedBytes = MAX_UNCOMPRESSED_SIZE }: ReadOptions) {
    super(
      maxUncompressedBytes,
      (limit, what) =>
        new PassthroughError(
          'IMAGE_TOO_LARGE',
          `Cannot unpack ${what}: the layers have more than ${limit} bytes uncompressed`,
        ),
    );
  }
}
