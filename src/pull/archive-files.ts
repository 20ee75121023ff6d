import { createHash } from 'node:crypto';
import { type Context, context, trace } from '@opentelemetry/api';
import { isPassthroughError } from '../errors.ts';
import type { ArchiveOrder } from '../http/routing/archive-request.ts';
import type { Stored } from '../storage/store.ts';
import { releaseChunk } from '../streams/chunk.ts';
import { gzipInto } from '../streams/gzip.ts';
import { instruments } from '../telemetry/metrics.ts';
import { errorType, withSpan } from '../telemetry/span.ts';
import type { Semaphore } from '../util/semaphore.ts';
import type { Lease, SingleFlight } from '../util/single-flight.ts';
import { type ChecksumCache, type Delivery, etagOf } from './archive-file.ts';
import { type Progress, ProgressCounter } from './progress.ts';
import {
  isPrepared,
  type PullTools,
  prepareArchive,
  type ResolvedArchive,
  renewLayers,
} from './pull-archive.ts';
import { readRenewing } from './repairing-reader.ts';

/** What all preparations of a service share. */
export interface PreparationTools {
  readonly admission: Semaphore;
  readonly checksums: ChecksumCache;
  /** What is prepared or sent just now, by what it is. */
  readonly deliveries: SingleFlight<string, Delivery, Progress>;
  /** Checksums that are counted just now. */
  readonly hashes: SingleFlight<string, string>;
}

/** One asker of a delivery. */
export interface Asker {
  readonly archive: ResolvedArchive;
  readonly order: Pick<ArchiveOrder, 'compression' | 'checksum' | 'filename'>;
  /** Its own: the signal lets it leave. */
  readonly pull: PullTools;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/**
 * Gives what was asked for: the archive itself, a compressed one, or the line with its checksum. All who ask for the same
 * share one preparation, and one place for it; what is in the store already needs none.
 *
 * @returns the delivery, to be released
 * @throws PassthroughError what the pull throws, `BUSY` when no place is to be had, `NO_SPACE`, `ABORTED`
 */
export async function obtainDelivery(asker: Asker, tools: PreparationTools): Promise<Lease<Delivery>> {
  const { checksum } = asker.order;
  if (checksum === undefined) return await obtainFile(asker, tools);
  const tag = etagOf(asker.archive.etag, { ...asker.order, checksum: undefined });
  let hex = tools.checksums.find(tag, checksum);
  if (hex === undefined) {
    const file = await obtainFile(asker, tools);
    try {
      hex =
        (checksum === 'sha256' ? file.value.sha256 : undefined) ??
        (await tools.hashes.run(`${checksum} ${tag}`, asker.pull.signal, (signal) =>
          hashOf(file.value, checksum, { ...asker, pull: { ...asker.pull, signal } }),
        ));
      tools.checksums.keep(tag, checksum, hex);
    } finally {
      file.release();
    }
  }
  return checksumLine(hex, asker);
}

async function obtainFile(asker: Asker, tools: PreparationTools): Promise<Lease<Delivery>> {
  const { archive, order, pull, onProgress } = asker;
  const { deliveries } = tools;
  const key = `${order.compression} ${archive.key}`;
  const join = () =>
    deliveries.join(key, {
      signal: pull.signal,
      onReport: onProgress,
      // That the one who began was refused says nothing of the others, who have credentials of their own.
      isPersonal: (error) => isPassthroughError(error, 'REGISTRY_DENIED'),
      produce: (working, report) => {
        const progress = new ProgressCounter(report);
        return make({ ...asker, pull: { ...pull, signal: working, progress } }, tools);
      },
    });
  if (!deliveries.has(key)) return await join();
  return await withSpan('await_preparation', {}, async (span) => {
    const share = await join();
    const { preparedIn } = share.value;
    if (share.origin !== 'produced' && preparedIn !== undefined) span.addLink({ context: preparedIn });
    return share;
  });
}

function make(asker: Asker, tools: PreparationTools): Promise<Delivery> {
  return asker.order.compression === 'gzip' ? compressed(asker, tools) : plain(asker, tools);
}

async function plain({ archive, pull }: Asker, tools: PreparationTools): Promise<Delivery> {
  const prepared = await inPlace(isPrepared(archive, pull), pull, tools, () => prepareArchive(archive, pull));
  const { size, etag } = prepared;
  return {
    contentType: 'application/x-tar',
    size,
    etag,
    get sha256() {
      return tools.checksums.find(etag, 'sha256');
    },
    preparedIn: activeSpan(),
    bytes: (range, reader) => prepared.bytes(range, renewLayers(reader.archive, reader.tools)),
    release: () => prepared.release(),
  };
}

/** Compressed before it is sent, so that length and checksum are known, and any part of it can be asked for again. */
async function compressed(asker: Asker, tools: PreparationTools): Promise<Delivery> {
  const { archive, pull } = asker;
  const etag = etagOf(archive.etag, { compression: 'gzip', checksum: undefined });
  const file =
    (await pull.store.find(compressedKey(asker), pull.signal)) ??
    (await inPlace(false, pull, tools, () => compress(archive, pull, asker)));
  return {
    contentType: 'application/x-gzip',
    size: file.size,
    etag,
    sha256: String(file.description['sha256']),
    preparedIn: activeSpan(),
    bytes: (range, reader) => readRenewing(file, range, () => compress(reader.archive, reader.tools, asker)),
    release: () => file.release(),
  };
}

async function compress(archive: ResolvedArchive, pull: PullTools, asker: Asker): Promise<Stored> {
  const prepared = await prepareArchive(archive, pull);
  try {
    pull.progress?.enter('compressing');
    return await pull.store.obtain(compressedKey(asker), {
      signal: pull.signal,
      produce: async (draft, working) => {
        const source = prepared.bytes(undefined, renewLayers(archive, { ...pull, signal: working }));
        try {
          return { sha256: await gzipInto(draft, source, working) };
        } catch (error) {
          // A pipeline that is stopped says that it was, and not why.
          throw working.aborted ? working.reason : error;
        }
      },
    });
  } finally {
    prepared.release();
  }
}

/** What zlib gives is in its own hand, so its version is part of what a compressed archive is. */
function compressedKey({ archive }: Asker): string {
  return `gzip-${process.versions.zlib} ${archive.key}`;
}

/**
 * Prepares in one of the places that there are for it, and counts that.
 *
 * @param isAtHand whether so little is to be done that it needs no place
 */
async function inPlace<T>(
  isAtHand: boolean,
  { signal, progress }: PullTools,
  { admission }: PreparationTools,
  prepare: () => Promise<T>,
): Promise<T> {
  progress?.enter('waiting');
  const leave = isAtHand ? () => undefined : await admission.acquire(signal);
  const { activePreparations, preparationDuration } = instruments();
  const begun = performance.now();
  const record = (dimensions: { readonly 'error.type'?: string }) =>
    preparationDuration.record((performance.now() - begun) / 1000, dimensions);
  activePreparations.add(1);
  progress?.enter('fetching');
  try {
    const prepared = await prepare();
    record({});
    return prepared;
  } catch (error) {
    record({ 'error.type': errorType(error) });
    throw error;
  } finally {
    activePreparations.add(-1);
    leave();
  }
}

async function hashOf(file: Delivery, algorithm: string, { archive, pull }: Asker): Promise<string> {
  const hash = createHash(algorithm);
  for await (const bytes of file.bytes(undefined, { archive, tools: pull })) {
    pull.signal.throwIfAborted();
    hash.update(bytes);
    releaseChunk(bytes);
  }
  return hash.digest('hex');
}

/** One line in the form that `sha256sum -c` reads: https://www.gnu.org/software/coreutils/manual/html_node/cksum-output-modes.html */
function checksumLine(hex: string, { archive, order }: Asker): Lease<Delivery> {
  const line = Buffer.from(`${hex}  ${order.filename}\n`);
  return {
    origin: 'produced',
    value: {
      contentType: 'text/plain; charset=utf-8',
      size: line.byteLength,
      etag: etagOf(archive.etag, order),
      sha256: undefined,
      bytes: async function* ({ start, end } = { start: 0, end: line.byteLength }) {
        yield line.subarray(start, end);
      },
      release: () => undefined,
    },
    release: () => undefined,
  };
}

function activeSpan(within: Context = context.active()): Delivery['preparedIn'] {
  return trace.getSpan(within)?.spanContext();
}
