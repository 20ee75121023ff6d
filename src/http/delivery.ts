import { createHash } from 'node:crypto';
import type { Checksum } from '../image/filename.ts';
import { release } from '../pieces.ts';
import type { PulledArchive } from '../pull/pull-archive.ts';
import { compressInto } from '../storage/compress.ts';
import type { Workspace } from '../storage/workspace.ts';
import type { ByteRange } from '../tar/encoder.ts';
import type { ArchiveOrder } from './archive-order.ts';

/** A file that is ready to be sent, whole or in part. Holds disk space until it is closed. */
export interface Delivery {
  readonly contentType: string;
  /** Name that a browser saves it under. */
  readonly filename: string;
  /** Bytes. */
  readonly size: number;
  /** Strong entity tag, quotes included. */
  readonly etag: string;
  /** SHA-256 of the whole in hex, where it is known. */
  readonly sha256: string | undefined;
  /** Bytes of the whole, or of a part. */
  bytes(range?: ByteRange): AsyncGenerator<Uint8Array, void, undefined>;
  /** Frees the disk space. */
  close(): Promise<void>;
}

/** What deliveries of a service share. */
export interface DeliveryTools {
  readonly workspace: Pick<Workspace, 'createFile'>;
  readonly checksums: ChecksumMemory;
  readonly signal: AbortSignal;
}

/** Most checksums that are remembered: a few hundred bytes each. */
const MAX_CHECKSUMS = 1000;

/** Checksums that were counted once, by entity tag and algorithm: equal tags mean equal bytes, so they hold for ever. */
export class ChecksumMemory {
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

/**
 * Makes of an archive what was asked for: the archive itself, a compressed one, or the line with its checksum. Takes the
 * archive over: it is closed with the delivery, or at once where it is not needed any more.
 *
 * @throws PassthroughError `NO_SPACE`, `ABORTED`, and what reading the archive throws
 */
export async function deliver(
  archive: PulledArchive,
  order: ArchiveOrder,
  tools: DeliveryTools,
): Promise<Delivery> {
  const file =
    order.compression === 'gzip' ? await compressed(archive, order, tools) : plain(archive, order, tools);
  return order.checksum === undefined ? file : await checksumOf(file, order.checksum, order, tools);
}

function plain(archive: PulledArchive, { filename }: ArchiveOrder, { checksums }: DeliveryTools): Delivery {
  const { size, etag } = archive;
  return {
    contentType: 'application/x-tar',
    filename,
    size,
    etag,
    sha256: checksums.find(etag, 'sha256'),
    bytes: (range) => archive.bytes(range),
    close: () => archive.close(),
  };
}

/** Compressed before it is sent, so that length and checksum are known, and any part of it can be asked for again. */
async function compressed(
  archive: PulledArchive,
  { filename }: ArchiveOrder,
  { workspace, checksums, signal }: DeliveryTools,
): Promise<Delivery> {
  try {
    const file = await workspace.createFile();
    try {
      const etag = etagOf(archive.etag, { compression: 'gzip', checksum: undefined });
      const sha256 = await compressInto(file, archive.bytes(), signal);
      checksums.keep(etag, 'sha256', sha256);
      return {
        contentType: 'application/x-gzip',
        filename,
        size: file.size,
        etag,
        sha256,
        bytes: (range) => file.read(range),
        close: () => file.close(),
      };
    } catch (error) {
      await file.close();
      // A pipeline that is stopped says that it was, and not why.
      throw signal.aborted ? signal.reason : error;
    }
  } finally {
    await archive.close();
  }
}

/** One line in the form that `sha256sum -c` reads: https://www.gnu.org/software/coreutils/manual/html_node/cksum-output-modes.html */
async function checksumOf(
  file: Delivery,
  algorithm: Checksum,
  { filename }: ArchiveOrder,
  { checksums, signal }: DeliveryTools,
): Promise<Delivery> {
  try {
    let hex = checksums.find(file.etag, algorithm);
    if (hex === undefined) {
      const hash = createHash(algorithm);
      for await (const bytes of file.bytes()) {
        signal.throwIfAborted();
        hash.update(bytes);
        release(bytes);
      }
      hex = hash.digest('hex');
      checksums.keep(file.etag, algorithm, hex);
    }
    const line = Buffer.from(`${hex}  ${filename}\n`);
    return {
      contentType: 'text/plain; charset=utf-8',
      filename: `${filename}.${algorithm}`,
      size: line.byteLength,
      etag: `${file.etag.slice(0, -1)}-${algorithm}"`,
      sha256: undefined,
      bytes: async function* ({ start, end } = { start: 0, end: line.byteLength }) {
        yield line.subarray(start, end);
      },
      close: async () => undefined,
    };
  } finally {
    await file.close();
  }
}
