import { type FileHandle, open } from 'node:fs/promises';
import { ownChunk } from '../../streams/chunk.ts';
import type { Cursor } from '../../tar/cursor.ts';
import { cannotRead } from '../../tar/reader.ts';
import { READ_SIZE } from '../limits.ts';

/** Bytes that can be read at any position. */
export interface RandomSource {
  readonly size: number;
  /** Opens the bytes for reading. */
  open(): Promise<RandomReader>;
  /** Removes what the source keeps. */
  close(): Promise<void>;
}

/** Open bytes. */
export interface RandomReader extends AsyncDisposable {
  /** Up to `length` bytes that belong to the caller; fewer only at the end. */
  readAt(position: number, length: number): Promise<Uint8Array>;
}

/**
 * A file by its path. It is open only while it is read, so an archive needs no closing. A file that was replaced or changed
 * since is refused: the offsets of its entries are no longer right.
 *
 * @throws PassthroughError `INVALID_ARCHIVE` if the file cannot be opened
 */
export async function fileSource(path: string): Promise<RandomSource> {
  await using file = await openFile(path);
  const { size, version } = await stateOf(file);
  return {
    size,
    open: async () => {
      const handle = await openFile(path);
      const state = await stateOf(handle);
      if (state.version === version) return readerOf(handle);
      await handle.close();
      throw cannotRead('the file has changed since it was opened');
    },
    close: () => Promise.resolve(),
  };
}

/** @throws PassthroughError `INVALID_ARCHIVE` naming the file */
async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path);
  } catch (cause) {
    throw cannotRead(cause instanceof Error ? cause.message : String(cause), cause);
  }
}

async function stateOf(file: FileHandle): Promise<{ readonly size: number; readonly version: string }> {
  const { size, dev, ino, mtimeNs } = await file.stat({ bigint: true });
  return { size: Number(size), version: [size, dev, ino, mtimeNs].join(' ') };
}

function readerOf(file: FileHandle): RandomReader {
  return {
    readAt: (position, length) => readFully(file, position, length),
    [Symbol.asyncDispose]: () => file.close(),
  };
}

async function readFully(file: FileHandle, position: number, length: number): Promise<Uint8Array> {
  const buffer = ownChunk(Buffer.allocUnsafeSlow(length));
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(buffer, filled, length - filled, position + filled);
    if (bytesRead === 0) return buffer.subarray(0, filled);
    filled += bytesRead;
  }
  return buffer;
}

/** Bytes in memory. The caller must not change them. */
export function bytesSource(bytes: Uint8Array): RandomSource {
  return {
    size: bytes.byteLength,
    open: () =>
      Promise.resolve({
        readAt: (position, length) => Promise.resolve(bytes.subarray(position, position + length)),
        [Symbol.asyncDispose]: () => Promise.resolve(),
      }),
    close: () => Promise.resolve(),
  };
}

/** A blob of the web, such as a file that `fs.openAsBlob` gives. */
export function blobSource(blob: Blob): RandomSource {
  return {
    size: blob.size,
    open: () =>
      Promise.resolve({
        readAt: async (position, length) =>
          new Uint8Array(await blob.slice(position, position + length).arrayBuffer()),
        [Symbol.asyncDispose]: () => Promise.resolve(),
      }),
    close: () => Promise.resolve(),
  };
}

/**
 * Reads a part of a source. The next chunk is read while the current one is in use.
 *
 * @throws PassthroughError `INVALID_ARCHIVE` if the source ends before; the signal's reason
 */
export async function* readRange(
  source: RandomSource,
  { start, end }: { readonly start: number; readonly end: number },
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (start === end) return;
  await using reader = await source.open();
  const read = (at: number) => {
    const chunk = reader.readAt(at, Math.min(READ_SIZE, end - at));
    // It may fail while the reader still has the chunk before, and is awaited after that.
    chunk.catch(() => undefined);
    return chunk;
  };
  let next: Promise<Uint8Array> | undefined = read(start);
  try {
    for (let at = start; next !== undefined; ) {
      const chunk = await next;
      next = undefined;
      signal?.throwIfAborted();
      if (chunk.byteLength === 0) throw cannotRead(`it ends at byte ${at}, not at ${end}`);
      at += chunk.byteLength;
      if (at < end) next = read(at);
      yield chunk;
    }
  } finally {
    // A file must not be closed while it is read.
    await next?.catch(() => undefined);
  }
}

/** Bytes of one read of headers: small entries follow each other closely. */
const HEADERS_SIZE = 64 * 1024;

/** Moves through a source and skips without reading. */
export class RandomCursor implements Cursor {
  readonly #reader: RandomReader;
  readonly #size: number;
  #position = 0;
  /** The bytes from an offset on that were read last. */
  #read: { readonly start: number; readonly bytes: Uint8Array } = { start: 0, bytes: new Uint8Array() };

  constructor(reader: RandomReader, size: number) {
    this.#reader = reader;
    this.#size = size;
  }

  /** Offset of the next byte. */
  get position(): number {
    return this.#position;
  }

  /** @throws what the reader throws */
  async take(length: number): Promise<Uint8Array> {
    const at = this.#position;
    const end = Math.min(at + length, this.#size);
    const known = this.#read;
    if (at < known.start || end > known.start + known.bytes.byteLength) {
      const wanted = Math.min(Math.max(length, HEADERS_SIZE), this.#size - at);
      this.#read = { start: at, bytes: await this.#reader.readAt(at, wanted) };
    }
    const { start, bytes } = this.#read;
    const taken = bytes.slice(at - start, end - start);
    this.#position += taken.byteLength;
    return taken;
  }

  /** Moves on without reading. */
  skip(length: number): Promise<number> {
    const skipped = Math.min(length, this.#size - this.#position);
    this.#position += skipped;
    return Promise.resolve(skipped);
  }

  /** @throws what the reader throws */
  async *chunks(length: number): AsyncGenerator<Uint8Array, void, undefined> {
    for (let left = length; left > 0; ) {
      const chunk = await this.take(Math.min(left, HEADERS_SIZE));
      if (chunk.byteLength === 0) return;
      left -= chunk.byteLength;
      yield chunk;
    }
  }
}
