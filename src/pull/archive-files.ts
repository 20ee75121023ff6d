import { trace } from '@opentelemetry/api';
import { dependsOnAccount, isPassthroughError } from '../errors.ts';
import type { Checksum } from '../image/filename.ts';
import { readRepairing } from '../storage/repairing-reader.ts';
import type { Store, Stored } from '../storage/store.ts';
import { gzipInto } from '../streams/gzip.ts';
import { measuringPreparation, withSpan } from '../telemetry/span.ts';
import { type Lease, SingleFlight } from '../util/single-flight.ts';
import type { ArchiveFile, SharedFile } from './archive-file.ts';
import { ChecksumCache } from './cache/checksum-cache.ts';
import { checksumFile } from './cache/checksum-file.ts';
import { EarlyArchives, type EarlyCall, type EarlyFile } from './direct/early-archives.ts';
import { headerOf } from './direct/known-archive.ts';
import { contentTypeOf, etagOf, isPlanned, isSpliced, withChecksum } from './gzip/gzip-way.ts';
import type { LayerFetcher } from './layers/fetch-layers.ts';
import { describeTotals, totalsIn } from './layers/layer-totals.ts';
import { checkUncompressedSize, DiskTurns, type Places } from './limits.ts';
import { type LayerReport, type Progress, ProgressCounter } from './progress.ts';
import type { ArchivePuller, PullCall } from './pull-archive.ts';
import { archiveAccount, type ResolvedArchive, type ResolvePolicy } from './resolve-archive.ts';

/** What belongs to one call of {@link ArchiveFiles.open}. */
export interface OpenFileCall {
  /** Stops the preparation, and later the repair of damaged layers while the file is read. */
  readonly signal: AbortSignal;
  /** Stops the preparation only, for example at a time limit. */
  readonly limit: AbortSignal;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Whose preparation it is. */
  readonly client?: string | undefined;
  /** Whether only the header is sent, so that layers are fetched only where it depends on them. */
  readonly isHeadOnly?: boolean | undefined;
}

/** What {@link ArchiveFiles} is made from. */
export interface ArchiveFilesOptions {
  readonly store: Store<LayerReport>;
  readonly puller: ArchivePuller;
  /** Fetches the layers of archives that are sent early. */
  readonly layers: LayerFetcher;
  readonly policy: ResolvePolicy;
  readonly places: Places;
  /** Files that are prepared or read now; see {@link sharedFiles}. */
  readonly inFlight: SingleFlight<string, SharedFile, Progress>;
}

/** The single flight of {@link ArchiveFilesOptions.inFlight}. */
export function sharedFiles(): SingleFlight<string, SharedFile, Progress> {
  return new SingleFlight((file) => file.release());
}

/** Prepares the files that requests ask for: the archive, the compressed archive, or the line with its checksum. */
export class ArchiveFiles {
  readonly #options: ArchiveFilesOptions;
  readonly #checksums = new ChecksumCache();
  readonly #disk = new DiskTurns();
  readonly #early: EarlyArchives;

  constructor(options: ArchiveFilesOptions) {
    this.#options = options;
    this.#early = new EarlyArchives({ ...options, disk: this.#disk });
  }

  /**
   * Opens the file that a request asks for. Concurrent requests for one file share its preparation and one place for it; a file
   * that is stored needs no place.
   *
   * @returns the file, which the caller must close
   * @throws PassthroughError what the pull throws, `BUSY`, `NO_SPACE`, `ABORTED`
   */
  async open(resolved: ResolvedArchive, call: OpenFileCall): Promise<ArchiveFile> {
    const { checksum, filename } = resolved.request;
    const header = call.isHeadOnly === true ? await this.#header(resolved, call) : undefined;
    if (header !== undefined) return header;
    const reader = { resolved, signal: call.signal };
    if (checksum === undefined) {
      const { value, release } = await this.#share(resolved, call);
      return {
        filename,
        contentType: value.contentType,
        size: value.size,
        etag: value.etag,
        layers: value.layers,
        get sha256() {
          return value.sha256;
        },
        leftOut: value.leftOut,
        bytes: (range) => value.bytes(range, reader),
        close: release,
      };
    }
    const { hex, etag } = await this.#checksumOf(resolved, checksum, call);
    return checksumFile(`${hex}  ${filename}\n`, `${filename}.${checksum}`, withChecksum(etag, checksum));
  }

  /** The entity tag of the file whose checksum a request may ask for. */
  #etagOf({ archiveEtag, request }: ResolvedArchive, isDeflated = false): string {
    return etagOf(archiveEtag, { ...request, checksum: undefined }, this.#options.policy, isDeflated);
  }

  /**
   * Opens an archive before its layers are there.
   *
   * @returns `undefined` if that brings nothing, so that {@link open} is to be called: for a checksum, an archive that is compressed as
   *   a whole, and one whose layers are all stored. One that is being prepared can begin: its first layers may be there
   * @throws PassthroughError as {@link open}
   */
  async openEarly(resolved: ResolvedArchive, call: Omit<EarlyCall, 'key'>): Promise<EarlyFile | undefined> {
    const { inFlight, policy, puller } = this.#options;
    const key = this.#keyOf(resolved);
    const isHere = inFlight.holds(key) || puller.isStored(resolved, 'complete');
    if (isHere || !isPlanned(resolved.request, policy)) return undefined;
    return await this.#early.open(resolved, { ...call, key });
  }

  /** The file without its bytes, if all of it follows from what is known without the layers. */
  #header(resolved: ResolvedArchive, call: OpenFileCall): Promise<ArchiveFile | undefined> {
    const signal = AbortSignal.any([call.signal, call.limit]);
    return this.#disk.run(signal, async (leave) => {
      const header = await headerOf(resolved, this.#options, signal);
      leave();
      return header && { ...header, sha256: this.#checksums.get('sha256', header.etag) };
    });
  }

  #keyOf({ request, key }: ResolvedArchive): string {
    return `${request.compression} ${key}`;
  }

  async #checksumOf(
    resolved: ResolvedArchive,
    checksum: Checksum,
    call: OpenFileCall,
  ): Promise<{ readonly hex: string; readonly etag: string }> {
    const expected = this.#etagOf(resolved);
    const known = this.#checksums.get(checksum, expected);
    if (known !== undefined) return { hex: known, etag: expected };
    const { value: file, release } = await this.#share(resolved, call);
    const { etag } = file;
    try {
      const signal = AbortSignal.any([call.signal, call.limit]);
      const read = (working: AbortSignal) => file.bytes(undefined, { resolved, signal: working });
      if (checksum !== 'sha256' || file.sha256 === undefined) {
        const call = { ...ownedBy(resolved), etag, signal, read };
        return { hex: await this.#checksums.checksumOf(checksum, call), etag };
      }
      this.#checksums.set(checksum, etag, file.sha256);
      return { hex: file.sha256, etag };
    } finally {
      release();
    }
  }

  /** Joins the preparation of a file, or starts it. */
  async #share(
    resolved: ResolvedArchive,
    { signal, limit, onProgress, client }: OpenFileCall,
  ): Promise<Lease<SharedFile>> {
    const { inFlight, policy } = this.#options;
    const { compression } = resolved.request;
    const key = this.#keyOf(resolved);
    const join = () =>
      inFlight.join(key, {
        signal: AbortSignal.any([signal, limit]),
        onReport: onProgress,
        ...ownedBy(resolved),
        produce: (working, report) =>
          this.#disk.run(working, (leave) => {
            const call = { signal: working, progress: new ProgressCounter(report), client };
            return compression === 'gzip' && !isSpliced(resolved.request, policy)
              ? this.#compressed(resolved, call, leave)
              : this.#pulled(resolved, call, leave);
          }),
      });
    if (!inFlight.has(key)) return await join();
    return await withSpan('await_preparation', {}, async (span) => {
      const lease = await join();
      const { preparedIn } = lease.value;
      if (lease.origin !== 'produced' && preparedIn !== undefined) span.addLink({ context: preparedIn });
      return lease;
    });
  }

  /** The archive as the puller gives it: as a tar file, or spliced as a gzip file. */
  async #pulled(resolved: ResolvedArchive, call: PullCall, leave: () => void): Promise<SharedFile> {
    const { puller } = this.#options;
    const pulled = await this.#prepare(resolved, puller.isStored(resolved), call, () =>
      puller.pull(resolved, call),
    );
    const etag = this.#etagOf(resolved, pulled.isDeflated);
    const checksums = this.#checksums;
    return {
      contentType: contentTypeOf(resolved.request),
      ...{ size: pulled.size, etag, layers: pulled.layers },
      get sha256() {
        return checksums.get('sha256', etag);
      },
      leftOut: pulled.leftOut,
      preparedIn: trace.getActiveSpan()?.spanContext(),
      bytes: (range, reader) => pulled.bytes(range, reader),
      release: () => [pulled.release(), leave()],
    };
  }

  /** Compresses the archive into a file first, so that its length and checksum are known and ranges of it can be sent. */
  async #compressed(resolved: ResolvedArchive, call: PullCall, leave: () => void): Promise<SharedFile> {
    const file =
      (await this.#findCompressed(resolved, call)) ??
      (await this.#prepare(resolved, false, call, () => this.#compress(resolved, call)));
    return {
      contentType: 'application/x-gzip',
      size: file.size,
      etag: this.#etagOf(resolved),
      sha256: String(file.description['sha256']),
      layers: totalsIn(file.description, resolved.layers),
      leftOut: String(file.description['leftOut'] ?? '')
        .split(' ')
        .filter((label) => label !== ''),
      preparedIn: trace.getActiveSpan()?.spanContext(),
      bytes: (range, reader) =>
        readRepairing(file, range, () => this.#compress(reader.resolved, { signal: reader.signal })),
      release: () => [file.release(), leave()],
    };
  }

  /** Opens a compressed archive from the store. It may be older than the limit on its size. */
  async #findCompressed(resolved: ResolvedArchive, { signal }: PullCall): Promise<Stored | undefined> {
    const { store, policy } = this.#options;
    const file = await store.find(compressedKey(resolved), signal);
    try {
      checkUncompressedSize(Number(file?.description['uncompressedBytes'] ?? 0), policy.limits);
      return file;
    } catch (error) {
      file?.release();
      throw error;
    }
  }

  async #compress(resolved: ResolvedArchive, { signal, progress }: PullCall): Promise<Stored> {
    const { store, puller } = this.#options;
    const pulled = await puller.pull(resolved, { signal, progress });
    try {
      progress?.enter('compressing');
      return await store.obtain(compressedKey(resolved), {
        signal,
        account: archiveAccount(resolved),
        produce: async (draft, working) => {
          const bytes = pulled.bytes(undefined, { resolved, signal: working });
          const sha256 = await gzipInto(draft, bytes, working);
          const { uncompressedBytes, layers, leftOut } = pulled;
          const facts = { sha256, uncompressedBytes, leftOut: leftOut.join(' ') };
          return { ...facts, ...describeTotals(layers) };
        },
      });
    } finally {
      pulled.release();
    }
  }

  /**
   * Runs a preparation with one of the limited places, and measures it.
   *
   * @param isStored whether the preparation is so little work that it needs no place
   */
  async #prepare<T>(
    resolved: ResolvedArchive,
    isStored: boolean,
    { signal, progress, client }: PullCall,
    work: () => Promise<T>,
  ): Promise<T> {
    progress?.enter('waiting');
    const release = isStored
      ? () => undefined
      : await this.#options.places.share(this.#keyOf(resolved), signal, { client, images: resolved.images });
    progress?.enter('fetching');
    try {
      return await measuringPreparation(work);
    } finally {
      release();
    }
  }
}

/** Whose work it is, and which of its failures are not those of other callers: what their account was refused. */
function ownedBy(resolved: ResolvedArchive) {
  return {
    account: archiveAccount(resolved),
    isPersonal: (error: unknown, isSameAccount: boolean) =>
      isPassthroughError(error, 'REGISTRY_DENIED') || (!isSameAccount && dependsOnAccount(error)),
  };
}

/** zlib's output differs between versions, so its version is part of the key. */
function compressedKey({ key }: ResolvedArchive): string {
  return `gzip-${process.versions.zlib} ${key}`;
}
