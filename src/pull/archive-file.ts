import type { Span } from '@opentelemetry/api';
import type { ArchiveOrder } from '../http/routing/archive-request.ts';
import type { Checksum } from '../image/filename.ts';
import type { ByteRange } from '../tar/encoder.ts';
import type { PullTools, ResolvedArchive } from './pull-archive.ts';

/** Whoever reads a delivery: what turns out to be damaged on the way is got anew on its account. */
export interface Reader {
  readonly archive: ResolvedArchive;
  readonly tools: PullTools;
}

/** A file that is ready to be sent, whole or in part, to any number of readers. Holds prepared files until it is released. */
export interface Delivery {
  readonly contentType: string;
  /** Bytes. */
  readonly size: number;
  /** Strong entity tag, quotes included. */
  readonly etag: string;
  /** SHA-256 of the whole in hex, where it is known. */
  readonly sha256: string | undefined;
  /** In which span it was prepared. */
  readonly preparedIn?: ReturnType<Span['spanContext']> | undefined;
  /** Bytes of the whole, or of a part. */
  bytes(range: ByteRange | undefined, reader: Reader): AsyncGenerator<Uint8Array, void, undefined>;
  /** Gives the files up. */
  release(): void;
}

/** Most checksums that are remembered: a few hundred bytes each. */
const MAX_CHECKSUMS = 1000;

/** Checksums that were counted once, by entity tag and algorithm: equal tags mean equal bytes, so they hold for ever. */
export class ChecksumCache {
  readonly #known = new Map<string, string>();

  /** The checksum in hex, where it was counted before. */
  find(etag: string, algorithm: Checksum): string | undefined {
    return this.#known.get(`${algorithm} ${etag}`);
  }

  /** Remembers a checksum; the oldest goes for it. */
  keep(etag: string, algorithm: Checksum, hex: string): void {
    const oldest = this.#known.keys().next();
    if (this.#known.size >= MAX_CHECKSUMS && oldest.done !== true) this.#known.delete(oldest.value);
    this.#known.set(`${algorithm} ${etag}`, hex);
  }
}

/**
 * The entity tag of what an order asks for, known as soon as that of its archive is. What compression gives is in the hand of
 * zlib, so its version is part of the tag: replicas of different versions have different files.
 */
export function etagOf(archiveTag: string, order: Pick<ArchiveOrder, 'compression' | 'checksum'>): string {
  const parts = [archiveTag.slice(1, -1)];
  if (order.compression === 'gzip') parts.push(`gzip-${process.versions.zlib}`);
  if (order.checksum !== undefined) parts.push(order.checksum);
  return `"${parts.join('-')}"`;
}
