/** Layers: uncompressed tars, their compressed forms, and a gzip bomb. */

import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { createGzip, gzipSync, zstdCompressSync } from 'node:zlib';
import { readAll } from './collect.ts';

/** How the blob of a layer is compressed. */
export type Compression = 'gzip' | 'zstd' | 'none';

/** A file with a type or mode of its own. */
export interface LayerFile {
  readonly type?: 'file' | 'directory' | 'symlink' | 'hardlink';
  readonly content?: string | Buffer;
  readonly linkname?: string;
  readonly mode?: number;
}

/** A layer that is made as a blob, because its uncompressed form is too large to hold. */
export interface BlobLayer {
  /** The compressed layer, as a registry keeps it. */
  readonly blob: Buffer;
  /** Digest of the uncompressed tar. */
  readonly diffId: string;
  /** Length of the uncompressed tar in bytes. */
  readonly uncompressedSize: number;
}

const BLOCK_BYTES = 512;

/** First size that the eleven octal digits of a ustar header cannot express: 8 GiB. */
const USTAR_SIZE_LIMIT_BYTES = 8 ** 11;

/** Chunk in which a bomb goes through the compressor. */
const BOMB_CHUNK_BYTES = 1024 ** 2;

const TYPE_FLAGS = { file: '0', hardlink: '1', symlink: '2', directory: '5' } as const;

/**
 * Makes the uncompressed tar of a layer: ustar, owner 0:0, mtime 0, the entries in the order of the keys.
 *
 * @param files path to content; a path that ends in `/` is a directory
 * @returns the tar, two zero blocks at its end
 */
export function makeLayer(files: Readonly<Record<string, string | Buffer | LayerFile>>): Buffer {
  const parts: Buffer[] = [];
  for (const [name, value] of Object.entries(files)) {
    const file = typeof value === 'string' || Buffer.isBuffer(value) ? { content: value } : value;
    const content = Buffer.from(file.content ?? '');
    parts.push(tarHeader(name, content.length, file), content, padding(content.length));
  }
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK_BYTES)]);
}

/**
 * @param bytes what to compress
 * @param compression how; `none` gives the bytes as they are
 * @returns the same bytes for the same input, always
 */
export function compress(bytes: Uint8Array, compression: Compression): Buffer {
  switch (compression) {
    case 'gzip':
      return gzipSync(bytes);
    case 'zstd':
      return zstdCompressSync(bytes);
    case 'none':
      return Buffer.from(bytes);
  }
}

/**
 * Makes a gzip layer of one file of zeros, which unpacks to about a thousand times its size. It is built as a
 * stream, so that only the compressed form is in memory.
 *
 * @param uncompressedBytes length of the file inside, below 8 GiB
 * @returns a layer for `makeImage`
 */
export async function makeGzipBombLayer(uncompressedBytes: number): Promise<BlobLayer> {
  const hash = createHash('sha256');
  let uncompressedSize = 0;
  function* tar(): Generator<Buffer> {
    for (const chunk of bombChunks(uncompressedBytes)) {
      hash.update(chunk);
      uncompressedSize += chunk.length;
      yield chunk;
    }
  }
  // Level 1 is three times as quick, and leaves four times as much.
  const blob = await readAll(
    Readable.from(tar()).compose(createGzip({ level: 9, chunkSize: BOMB_CHUNK_BYTES })),
  );
  return { blob, diffId: `sha256:${hash.digest('hex')}`, uncompressedSize };
}

function* bombChunks(size: number): Generator<Buffer> {
  yield tarHeader('bomb', size, {});
  const zeros = Buffer.alloc(BOMB_CHUNK_BYTES);
  let left = size + padding(size).length + 2 * BLOCK_BYTES;
  while (left > 0) {
    const chunk = zeros.subarray(0, Math.min(left, zeros.length));
    left -= chunk.length;
    yield chunk;
  }
}

function padding(size: number): Buffer {
  return Buffer.alloc((BLOCK_BYTES - (size % BLOCK_BYTES)) % BLOCK_BYTES);
}

/** POSIX.1-2024, pax, "ustar Header Block". */
function tarHeader(path: string, size: number, file: LayerFile): Buffer {
  if (size >= USTAR_SIZE_LIMIT_BYTES) {
    throw new RangeError(`Cannot write tar entry "${path}": ${size} bytes need more than ustar`);
  }
  const type = file.type ?? (path.endsWith('/') ? 'directory' : 'file');
  const [prefix, name] = splitPath(path);
  const header = Buffer.alloc(BLOCK_BYTES);
  header.write(name, 0);
  header.write(octal(file.mode ?? (type === 'directory' ? 0o755 : 0o644), 8), 100);
  header.write(octal(0, 8), 108);
  header.write(octal(0, 8), 116);
  header.write(octal(size, 12), 124);
  header.write(octal(0, 12), 136);
  header.write('        ', 148);
  header.write(TYPE_FLAGS[type], 156);
  header.write(file.linkname ?? '', 157, 100);
  header.write('ustar\x0000', 257);
  header.write(prefix, 345);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}

function octal(value: number, width: number): string {
  return `${value.toString(8).padStart(width - 1, '0')}\0`;
}

/** Splits at the slash that leaves at most 155 bytes before it and at most 100 after it. */
function splitPath(path: string): [prefix: string, name: string] {
  if (Buffer.byteLength(path) <= 100) {
    return ['', path];
  }
  for (let slash = path.indexOf('/'); slash !== -1; slash = path.indexOf('/', slash + 1)) {
    const prefix = path.slice(0, slash);
    const name = path.slice(slash + 1);
    if (name !== '' && Buffer.byteLength(prefix) <= 155 && Buffer.byteLength(name) <= 100) {
      return [prefix, name];
    }
  }
  throw new RangeError(`Cannot write tar entry "${path}": the path needs more than ustar`);
}
