import { createHash, hash as digestOf, type Hash } from 'node:crypto';
import { Readable } from 'node:stream';
import { isPassthroughError, type PassthroughError } from '../../errors.ts';
import type { Digest, DigestAlgorithm } from '../../image/digest.ts';
import { ownChunk, releaseChunk } from '../../streams/chunk.ts';
import { type Compression, detectCompression, HEAD_LENGTH } from '../../streams/decompress.ts';
import { SMALL_FILE_SIZE } from '../limits.ts';
import type { UncompressedBudget } from '../source/archive-source.ts';
import { unpack } from '../source/unpack.ts';

/** Digests of a file in an archive. */
export interface FileDigests {
  readonly size: number;
  readonly compression: Compression;
  /** Bytes uncompressed. */
  readonly uncompressedSize: number;
  /** Of the bytes in the archive. */
  readonly stored: readonly Digest[];
  /** Of the uncompressed bytes; equal to `stored` for a file that is not compressed. */
  readonly uncompressed: readonly Digest[];
  /** Why the file cannot be uncompressed. It may be no layer, and then it need not be. */
  readonly fault: PassthroughError | undefined;
}

/** What to compute of a file. */
export interface HashOptions {
  /** Name of the file in messages. */
  readonly what: string;
  readonly stored: readonly DigestAlgorithm[];
  /** Empty for a file that is no layer: it is not uncompressed then. */
  readonly uncompressed: readonly DigestAlgorithm[];
  readonly budget: UncompressedBudget;
  /** Bytes of the file, if they are known. */
  readonly size?: number;
  /** Whether a chunk of the source is valid only until the next one is asked for. */
  readonly isBorrowed?: boolean;
}

/**
 * Hashes a file in one pass, as it is and uncompressed. Holds a few chunks.
 *
 * @param source its chunks are taken over; it is read to its end
 * @throws what the source throws
 */
export async function hashFile(
  source: AsyncIterable<Uint8Array>,
  options: HashOptions,
): Promise<FileDigests> {
  if (options.size === undefined || options.size > SMALL_FILE_SIZE) return await hashStream(source, options);
  // An archive may have 100,000 small files, and a hash object takes longer than their bytes.
  const bytes = Buffer.concat(await Array.fromAsync(source, (chunk) => Buffer.from(chunk)));
  const { stored, uncompressed } = options;
  if (uncompressed.length > 0 && mayBeCompressed(bytes)) {
    return await hashStream(Readable.from([bytes]), { ...options, isBorrowed: false });
  }
  const own = [...new Set(stored)].map((algorithm): Digest => `${algorithm}:${digestOf(algorithm, bytes)}`);
  const size = bytes.byteLength;
  return {
    size,
    compression: 'none',
    uncompressedSize: size,
    stored: own,
    uncompressed: own,
    fault: undefined,
  };
}

/** Whether a file has the first bytes of a compression, known or not. */
function mayBeCompressed(bytes: Uint8Array): boolean {
  try {
    return detectCompression(bytes, '') !== 'none';
  } catch (error) {
    if (!isPassthroughError(error)) throw error;
    return true;
  }
}

async function hashStream(
  source: AsyncIterable<Uint8Array>,
  { what, stored, uncompressed, budget, isBorrowed = false }: HashOptions,
): Promise<FileDigests> {
  const hashes = hashesOf(stored);
  let size = 0;
  const iterator = source[Symbol.asyncIterator]();
  let failure: { readonly error: unknown } | undefined;
  const next = async () => {
    const result = await iterator.next().catch((error: unknown) => {
      failure = { error };
      throw error;
    });
    if (result.done === true) return undefined;
    size += result.value.byteLength;
    for (const { hash } of hashes) hash.update(result.value);
    return result.value;
  };
  let compression: Compression = 'none';
  let unpacked: { readonly digests: readonly Digest[]; readonly size: number } | undefined;
  let fault: PassthroughError | undefined;
  try {
    const { head, isEnd } = await headOf(next, isBorrowed);
    if (uncompressed.length > 0) {
      try {
        compression = detectCompression(head, what);
        if (compression !== 'none') {
          unpacked = await hashUncompressed(restOf(head, next, isBorrowed), { what, uncompressed, budget });
        }
      } catch (error) {
        // A fault of the source is not one of the decoder.
        if (failure !== undefined || !isPassthroughError(error)) throw error;
        fault = error;
      }
    }
    if (!isEnd) for (let chunk = await next(); chunk !== undefined; chunk = await next()) releaseChunk(chunk);
  } finally {
    await iterator.return?.();
  }
  const own = digestsOf(hashes);
  return {
    size,
    compression,
    uncompressedSize: unpacked?.size ?? size,
    stored: own,
    uncompressed: unpacked?.digests ?? own,
    fault,
  };
}

async function hashUncompressed(
  source: AsyncIterable<Uint8Array>,
  { what, uncompressed, budget }: Pick<HashOptions, 'what' | 'uncompressed' | 'budget'>,
): Promise<{ readonly digests: readonly Digest[]; readonly size: number }> {
  const hashes = hashesOf(uncompressed);
  let size = 0;
  for await (const chunk of unpack(source, what, { memory: budget.memory })) {
    size += chunk.byteLength;
    budget.spend(chunk.byteLength, what);
    for (const { hash } of hashes) hash.update(chunk);
    releaseChunk(chunk);
  }
  return { digests: digestsOf(hashes), size };
}

/** The first chunks, up to the bytes that tell the compression. */
async function headOf(
  next: () => Promise<Uint8Array | undefined>,
  isBorrowed: boolean,
): Promise<{ readonly head: Uint8Array; readonly isEnd: boolean }> {
  let head: Uint8Array = new Uint8Array();
  while (head.byteLength < HEAD_LENGTH) {
    const chunk = await next();
    if (chunk === undefined) return { head, isEnd: true };
    head = head.byteLength === 0 && !isBorrowed ? chunk : Buffer.concat([head, chunk]);
  }
  return { head, isEnd: false };
}

/** A stream that does not close its source, so that the rest can be hashed when the decoder fails. */
async function* restOf(
  head: Uint8Array,
  next: () => Promise<Uint8Array | undefined>,
  isBorrowed: boolean,
): AsyncGenerator<Uint8Array, void, undefined> {
  yield head;
  for (let chunk = await next(); chunk !== undefined; chunk = await next()) {
    // The decoder reads a chunk in another thread, and may have several in its queue.
    yield isBorrowed ? ownChunk(Uint8Array.prototype.slice.call(chunk)) : chunk;
  }
}

interface NamedHash {
  readonly algorithm: DigestAlgorithm;
  readonly hash: Hash;
}

function hashesOf(algorithms: readonly DigestAlgorithm[]): readonly NamedHash[] {
  return [...new Set(algorithms)].map((algorithm) => ({ algorithm, hash: createHash(algorithm) }));
}

function digestsOf(hashes: readonly NamedHash[]): readonly Digest[] {
  return hashes.map(({ algorithm, hash }): Digest => `${algorithm}:${hash.digest('hex')}`);
}
