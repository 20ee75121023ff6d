import { createHash } from 'node:crypto';
import type { Checksum } from '../../image/filename.ts';
import { releaseChunk } from '../../streams/chunk.ts';
import { BoundedMap } from '../../util/bounded-map.ts';
import { type JoinOptions, SingleFlight } from '../../util/single-flight.ts';

/** Most checksums that are kept: each entry takes a few hundred bytes. */
const MAX_CHECKSUMS = 1000;

/** What {@link ChecksumCache.checksumOf} hashes, and for whom. */
export interface HashCall extends Pick<JoinOptions<string, never>, 'signal' | 'account' | 'isPersonal'> {
  /** Entity tag of the file. */
  readonly etag: string;
  /** Reads the file. It may fetch a damaged part again, with the rights of the caller's account. */
  readonly read: (signal: AbortSignal) => AsyncIterable<Uint8Array>;
}

/** Checksums by algorithm and entity tag. Equal tags mean equal bytes, so an entry never expires. */
export class ChecksumCache {
  readonly #checksums = new BoundedMap<string, string>({ maxCost: MAX_CHECKSUMS });
  readonly #hashing = new SingleFlight<string, string>();

  /** A checksum in hex, if it is known. */
  get(algorithm: Checksum, etag: string): string | undefined {
    return this.#checksums.get(`${algorithm} ${etag}`);
  }

  /** Keeps a checksum that is known from elsewhere. */
  set(algorithm: Checksum, etag: string, hex: string): void {
    this.#checksums.set(`${algorithm} ${etag}`, hex);
  }

  /**
   * Hashes a file, once for all concurrent callers, and keeps the result.
   *
   * @returns the checksum in hex
   * @throws what `read` throws; the signal's reason
   */
  async checksumOf(algorithm: Checksum, { etag, read, ...call }: HashCall): Promise<string> {
    const { value, release } = await this.#hashing.join(`${algorithm} ${etag}`, {
      ...call,
      produce: (working) => hashOf(read(working), algorithm, working),
    });
    release();
    this.set(algorithm, etag, value);
    return value;
  }
}

async function hashOf(
  content: AsyncIterable<Uint8Array>,
  algorithm: Checksum,
  signal: AbortSignal,
): Promise<string> {
  const hash = createHash(algorithm);
  for await (const bytes of content) {
    signal.throwIfAborted();
    hash.update(bytes);
    releaseChunk(bytes);
  }
  return hash.digest('hex');
}
