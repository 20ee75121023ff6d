import { availableParallelism } from 'node:os';
import { PassthroughError } from '../errors.ts';
import { type Digest, type DigestAlgorithm, digestAlgorithm, digestHex } from '../image/digest.ts';
import { formatPlatform, type Platform } from '../image/platform.ts';
import { lendChunk, releaseChunk } from '../streams/chunk.ts';
import { HEAD_LENGTH } from '../streams/decompress.ts';
import { StreamCursor } from '../tar/cursor.ts';
import { BLOCK_SIZE } from '../tar/header.ts';
import { cannotReadEntry, readTar, tooLarge } from '../tar/reader.ts';
import { mapConcurrently } from '../util/map-concurrently.ts';
import { quoted } from '../util/printable.ts';
import { MAX_DOCUMENT_SIZE, MAX_KEPT_DOCUMENTS } from './limits.ts';
import {
  type ArchivedImage,
  type ArchivedLayer,
  blobDigest,
  readArchivedImages,
} from './read/archived-images.ts';
import { Contents } from './read/contents.ts';
import { differs, EntryTable, type TableEntry } from './read/entry-table.ts';
import { type FileDigests, hashFile } from './read/hash-entry.ts';
import { beginsPackage, type PackageReport, readPackage } from './read/iox-package.ts';
import { indexOf, readWhole } from './read/random-archive.ts';
import {
  type ByteSource,
  openSource,
  type ReadOptions,
  UncompressedBudget,
} from './source/archive-source.ts';
import { peek, streamOf } from './source/peek.ts';
import { type RandomSource, readRange } from './source/random-source.ts';

/** What an archive holds. Everything in it was verified. */
export interface ArchiveReport {
  readonly images: readonly ImageReport[];
  /** What is around the images, if they lie in a package for Cisco IOx. */
  readonly package?: PackageReport;
}

/** One image of an archive. */
export interface ImageReport {
  /** Names, as the archive has them; none for an image without a name. */
  readonly tags: readonly string[];
  /** Digest of the config: the image ID. */
  readonly config: Digest;
  /** `os/arch[/variant]`; `unknown/unknown` where the config has none. */
  readonly platform: string;
  /** Base first, with repetitions. */
  readonly layers: readonly LayerReport[];
}

/** One layer of an image. */
export interface LayerReport {
  readonly diffId: Digest;
  /** Of the bytes in the archive: equal to the diff ID where they are not compressed. */
  readonly digest: Digest;
  /** Bytes in the archive. */
  readonly size: number;
}

/**
 * Tells what an archive holds, and verifies it: each config and manifest against its digest, each blob against its name, each
 * layer against its diff ID, and its digest and size where the archive has them. The archive is read once; nothing is written.
 * Foreign layers that the archive only names are reported as it names them.
 *
 * @throws PassthroughError naming the entry and the reason: `INVALID_ARCHIVE`, `VERIFICATION_FAILED`, `UNSUPPORTED_IMAGE`,
 *   `IMAGE_TOO_LARGE`; the signal's reason
 */
export async function verify(source: ByteSource, options: ReadOptions = {}): Promise<ArchiveReport> {
  const opened = await openSource(source, options);
  const budget = new UncompressedBudget(options);
  const { head, archive } = await peek(opened, BLOCK_SIZE);
  if (beginsPackage(head)) return await verifyPackage(streamOf(archive, options.signal), budget);
  return archive.kind === 'random'
    ? await verifyRandom(archive.source, budget, options.signal)
    : await verifyStream(archive.bytes, budget);
}

async function verifyPackage(
  bytes: AsyncIterable<Uint8Array>,
  budget: UncompressedBudget,
): Promise<ArchiveReport> {
  const images: ImageReport[] = [];
  const report = await readPackage(released(bytes), async (rootfs) => {
    images.push(...(await verifyStream(rootfs, budget)).images);
  });
  return { images, package: report };
}

/** Reads headers and documents first. So each file is hashed as its names need, and layers are uncompressed side by side. */
async function verifyRandom(
  source: RandomSource,
  budget: UncompressedBudget,
  signal: AbortSignal = new AbortController().signal,
): Promise<ArchiveReport> {
  const table = await indexOf(source);
  const images = await readArchivedImages(new Contents(table, (entry) => readWhole(source, entry, signal)));
  const layers = new Map<string, Set<DigestAlgorithm>>();
  for (const { entry, diffId } of images.flatMap(({ layers }) => layers)) {
    if (entry === undefined) continue;
    layers.set(entry.name, (layers.get(entry.name) ?? new Set()).add(digestAlgorithm(diffId)));
  }
  const repeated = new Map(table.repeats.map(([first]) => [first.name, first]));
  const hash = async (entry: TableEntry, working: AbortSignal): Promise<FileDigests> => {
    const uncompressed = [...(layers.get(entry.name) ?? [])];
    return await hashFile(readRange(source, rangeOf(entry), working), {
      what: whatOf(entry),
      stored: [algorithmOf(entry.name), ...uncompressed],
      uncompressed,
      budget,
      size: entry.size,
    });
  };
  const files = table
    .files()
    .filter(({ name }) => layers.has(name) || repeated.has(name) || blobDigest(name) !== undefined);
  const digests = await mapConcurrently(files, availableParallelism(), signal, hash);
  const byName = new Map(files.map(({ name }, index) => [name, digests[index]]));
  for (const [first, repeat] of table.repeats) {
    const [one, other] = [byName.get(first.name), await hash(repeat, signal)];
    if (one?.stored[0] !== other.stored[0]) throw differs(first.name);
  }
  return reportOf(images, byName);
}

/** Hashes each file when the stream comes to it, and keeps the documents. */
async function verifyStream(
  bytes: AsyncIterable<Uint8Array>,
  budget: UncompressedBudget,
): Promise<ArchiveReport> {
  const cursor = new StreamCursor(released(bytes));
  const table = new EntryTable();
  const byName = new Map<string, FileDigests>();
  const documents = new Map<string, Uint8Array>();
  let kept = 0;
  try {
    for await (const read of readTar(cursor)) {
      const entry = table.add(read);
      if (entry?.type !== 'file') continue;
      const parts: Uint8Array[] = [];
      const isLarge = entry.size > MAX_DOCUMENT_SIZE;
      const collected = async function* () {
        for await (const chunk of read.content()) {
          if (parts.length > 0 || (!isLarge && mayBeDocument(chunk)))
            parts.push(Uint8Array.prototype.slice.call(chunk));
          // The chunk is a part of one that the cursor still reads.
          yield lendChunk(chunk, () => undefined);
        }
      };
      // Names by SHA-512 are rare, and its diff IDs rarer.
      const algorithms = [...new Set<DigestAlgorithm>([algorithmOf(entry.name), 'sha256'])];
      const digests = await hashFile(collected(), {
        what: whatOf(entry),
        stored: algorithms,
        uncompressed: algorithms,
        budget,
        size: entry.size,
        isBorrowed: true,
      });
      const known = byName.get(entry.name);
      if (known !== undefined && known.stored[0] !== digests.stored[0]) throw differs(entry.name);
      byName.set(entry.name, digests);
      if (parts.length === 0 || known !== undefined) continue;
      kept += entry.size;
      if (kept > MAX_KEPT_DOCUMENTS)
        throw tooLarge(`its documents have more than ${MAX_KEPT_DOCUMENTS} bytes`);
      documents.set(entry.name, Buffer.concat(parts));
    }
  } finally {
    await cursor.close();
  }
  table.checkLinks();
  const contents = new Contents(table, async ({ name, size }) => {
    const document = documents.get(name);
    if (document === undefined && size > 0) {
      if (kept > MAX_KEPT_DOCUMENTS)
        throw tooLarge(`its documents have more than ${MAX_KEPT_DOCUMENTS} bytes`);
      throw cannotReadEntry(name, 'it is not JSON');
    }
    return document ?? new Uint8Array();
  });
  return reportOf(await readArchivedImages(contents), byName);
}

/** Frees the memory of each chunk when the next one is asked for. Left to the garbage collector, dead chunks take 100 MB. */
async function* released(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of source) {
    yield chunk;
    releaseChunk(chunk);
  }
}

/** Whether a file that begins with these bytes may be a document: an object, a list or null in JSON. */
function mayBeDocument(chunk: Uint8Array): boolean {
  return /^\s*(?:$|[[{]|null)/.test(Buffer.from(chunk.subarray(0, HEAD_LENGTH)).toString('latin1'));
}

/** The algorithm of the digest that a name contains; SHA-256 for other names. */
function algorithmOf(name: string): DigestAlgorithm {
  return /(?<![0-9a-f])[0-9a-f]{128}(?![0-9a-f])/.test(name) ? 'sha512' : 'sha256';
}

function reportOf(
  images: readonly ArchivedImage[],
  digests: ReadonlyMap<string, FileDigests | undefined>,
): ArchiveReport {
  for (const [name, file] of digests) {
    const claimed = blobDigest(name);
    if (claimed !== undefined && file !== undefined)
      check(claimed, file.stored, `archive entry ${quoted(name)}`);
  }
  return {
    images: images.map(({ tags, config, layers }) => ({
      tags,
      config: config.digest,
      platform: platformText(config.platform),
      layers: layers.map((layer) => reportOfLayer(layer, digests)),
    })),
  };
}

function reportOfLayer(
  { diffId, entry, descriptor }: ArchivedLayer,
  digests: ReadonlyMap<string, FileDigests | undefined>,
): LayerReport {
  if (entry === undefined) {
    return { diffId, digest: descriptor?.digest ?? diffId, size: descriptor?.size ?? 0 };
  }
  const file = digests.get(entry.name);
  if (file === undefined) throw new PassthroughError('INTERNAL', `${whatOf(entry)} was not hashed`);
  if (file.fault !== undefined) throw file.fault;
  check(diffId, file.uncompressed, `layer ${quoted(entry.name)}`, 'uncompressed ');
  const named = /^(?<hex>[0-9a-f]{64}|[0-9a-f]{128})\.tar(?:\.gz)?$/.exec(entry.name)?.groups?.['hex'];
  const known = [...file.stored, diffId].map(digestHex);
  if (named !== undefined && !known.includes(named)) {
    throw new PassthroughError(
      'VERIFICATION_FAILED',
      `Cannot verify ${whatOf(entry)}: its name is neither its digest nor its diff ID`,
      { expected: named, actual: file.stored[0] ?? '' },
    );
  }
  return { diffId, digest: file.stored[0] ?? diffId, size: file.size };
}

function check(expected: Digest, actual: readonly Digest[], what: string, form = ''): void {
  if (actual.includes(expected)) return;
  const same = actual.find((digest) => digestAlgorithm(digest) === digestAlgorithm(expected));
  if (same === undefined) {
    throw new PassthroughError(
      'UNSUPPORTED_IMAGE',
      `Cannot verify ${what}: a stream with SHA-512 diff IDs of blobs that are named otherwise must be a file`,
    );
  }
  throw new PassthroughError(
    'VERIFICATION_FAILED',
    `Cannot verify ${what}: expected ${expected}, its ${form}bytes are ${same}`,
    { expected, actual: same },
  );
}

function platformText(platform: Platform | undefined): string {
  if (platform === undefined) return 'unknown/unknown';
  const { os, architecture, variant } = platform;
  return formatPlatform({ os, architecture, ...(variant !== undefined && { variant }) });
}

function rangeOf({ offset, size }: TableEntry): { readonly start: number; readonly end: number } {
  return { start: offset, end: offset + size };
}

function whatOf({ name }: TableEntry): string {
  return `archive entry ${quoted(name)}`;
}
