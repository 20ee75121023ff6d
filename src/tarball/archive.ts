import { PassthroughError } from '../errors.ts';
import type { Digest } from '../image/digest.ts';
import { formatPlatform, type Platform, parsePlatform, platformDistance } from '../image/platform.ts';
import { type Compression, detectCompression, HEAD_LENGTH } from '../streams/decompress.ts';
import { quoted } from '../util/printable.ts';
import { descriptorOf, type Image, imageFrom } from './image.ts';
import { type Layer, layerFrom, mediaTypeOf } from './layer.ts';
import { comparedName } from './names.ts';
import {
  type ArchivedImage,
  type ArchivedLayer,
  blobDigest,
  readArchivedImages,
} from './read/archived-images.ts';
import { Contents } from './read/contents.ts';
import { differs, type EntryTable, type TableEntry } from './read/entry-table.ts';
import { hashFile } from './read/hash-entry.ts';
import { indexOf, readWhole } from './read/random-archive.ts';
import {
  type ByteSource,
  openSource,
  type ReadOptions,
  UncompressedBudget,
} from './source/archive-source.ts';
import { type RandomSource, readRange } from './source/random-source.ts';
import { spool } from './source/spool.ts';

/** An open archive. */
export interface Archive extends AsyncDisposable {
  /** All images, in the order of the archive. An image under several names is there once. */
  images(): readonly Image[];
  /**
   * Finds an image.
   *
   * @param tag name of the image, compared by Docker's rules: `nginx` finds `docker.io/library/nginx:latest`. May be left out
   *   for an archive of one image
   * @param options `platform`, such as `linux/arm64`, chooses among images of one name
   * @throws PassthroughError `IMAGE_NOT_FOUND` naming the tag, and what there is; `INVALID_REFERENCE` without a tag if there are
   *   several images, or if several have this name
   */
  image(tag?: string, options?: { readonly platform?: string }): Promise<Image>;
  /** Removes what was copied of the archive. Its layers cannot be read afterwards. */
  close(): Promise<void>;
}

/** Layers that an archive holds uncompressed. */
const plainLayers = new WeakSet<Layer>();

/** Foreign layers that an archive names and does not hold. */
const absentLayers = new WeakSet<Layer>();

/** Most names that an error lists. */
const LISTED_NAMES = 10;

/**
 * Opens an archive of images: of `docker save` since 1.10, podman, skopeo, kaniko, jib, Bazel, Nix, regctl, crane, or an OCI image
 * layout, also compressed with gzip or zstd. Headers and documents are read and checked; layers are read when they are asked for.
 *
 * A file is open only while it is read. Of a stream, and of an archive that is compressed as a whole, an uncompressed copy is
 * made in a temporary file without a name; `close` removes it.
 *
 * @throws PassthroughError naming the entry and the reason: `INVALID_ARCHIVE`, `VERIFICATION_FAILED`, `UNSUPPORTED_IMAGE`,
 *   `IMAGE_TOO_LARGE`; the signal's reason
 */
export async function open(source: ByteSource, options: ReadOptions = {}): Promise<Archive> {
  const opened = await openSource(source, options);
  const random = opened.kind === 'random' ? opened.source : await spool(opened.bytes);
  try {
    const table = await indexOf(random);
    await checkRepeats(table, random, options);
    const contents = new Contents(table, (entry) => readWhole(random, entry, options.signal));
    const images = (await readArchivedImages(contents)).map((archived) => imageOf(archived, random));
    return {
      images: () => images,
      image: async (tag, { platform } = {}) => choose(images, tag, platform),
      close: () => random.close(),
      [Symbol.asyncDispose]: () => random.close(),
    };
  } catch (error) {
    await random.close();
    throw error;
  }
}

/** Whether a layer is uncompressed because an archive held it so, and not because it was made so. */
export function isPlainInArchive(layer: Layer): boolean {
  return plainLayers.has(layer);
}

/** Whether the bytes of a layer cannot be read, because its archive only names it. */
export function isAbsent(layer: Layer): boolean {
  return absentLayers.has(layer);
}

async function checkRepeats(table: EntryTable, source: RandomSource, options: ReadOptions): Promise<void> {
  const budget = new UncompressedBudget(options);
  const hash = async ({ offset, size, name }: TableEntry) => {
    const bytes = readRange(source, { start: offset, end: offset + size }, options.signal);
    return await hashFile(bytes, { what: name, stored: ['sha256'], uncompressed: [], budget, size });
  };
  for (const [first, repeat] of table.repeats) {
    const [one, other] = [await hash(first), await hash(repeat)];
    if (one.stored[0] !== other.stored[0]) throw differs(first.name);
  }
}

function choose(images: readonly Image[], tag: string | undefined, platformText?: string): Image {
  const platform = platformText === undefined ? undefined : parsePlatform(platformText);
  const named = tag === undefined ? images : images.filter(({ tags }) => hasName(tags, tag));
  const found = platform === undefined ? named : forPlatform(named, platform);
  const [first, ...others] = found;
  if (first === undefined) {
    const what = [tag ?? 'image', ...(platformText === undefined ? [] : [platformText])].join(' for ');
    throw new PassthroughError(
      named.length === 0 ? 'IMAGE_NOT_FOUND' : 'PLATFORM_NOT_FOUND',
      `Cannot find ${quoted(what)} in the archive: it has ${listOf(named.length === 0 ? images : named)}`,
    );
  }
  if (others.length === 0) return first;
  const reason =
    tag === undefined
      ? `the archive has several, and no tag is given: ${listOf(found)}`
      : `the archive has several of this name: ${listOf(found)}`;
  throw new PassthroughError(
    'INVALID_REFERENCE',
    `Cannot choose image${tag === undefined ? '' : ` ${quoted(tag)}`}: ${reason}`,
  );
}

function hasName(tags: readonly string[], tag: string): boolean {
  const wanted = comparedName(tag);
  return tags.some((name) => name === tag || comparedName(name) === wanted);
}

/** The images that fit a platform best. */
function forPlatform(images: readonly Image[], wanted: Platform): readonly Image[] {
  const ranked = images.flatMap((image) => {
    const distance = image.platform && platformDistance(image.platform, wanted);
    return distance === undefined ? [] : [{ image, distance }];
  });
  const best = Math.min(...ranked.map(({ distance }) => distance));
  return ranked.filter(({ distance }) => distance === best).map(({ image }) => image);
}

function listOf(images: readonly Image[]): string {
  const names = images.map(({ tags, id, platform }) => {
    const name = quoted(tags.join(' ') || id);
    return platform === undefined ? name : `${name} for ${quoted(formatPlatform(platform)).slice(1, -1)}`;
  });
  const rest = names.length - LISTED_NAMES;
  return `${names.slice(0, LISTED_NAMES).join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`;
}

function imageOf({ tags, config, layers, manifest }: ArchivedImage, source: RandomSource): Image {
  let opened: Promise<readonly Layer[]> | undefined;
  const open = async (signal: AbortSignal | undefined) => {
    const byName = new Map<string, Layer>();
    const result: Layer[] = [];
    for (const archived of layers) {
      const key = `${archived.entry?.name} ${archived.diffId}`;
      const layer = byName.get(key) ?? (await layerOf(archived, source, signal));
      byName.set(key, layer);
      result.push(layer);
    }
    return result;
  };
  return imageFrom({
    tags,
    config,
    manifest,
    mediaTypes: manifest?.mediaType.includes('docker') === true ? 'docker' : 'oci',
    layers: ({ signal } = {}) => {
      opened ??= open(signal).catch((error: unknown) => {
        opened = undefined;
        throw error;
      });
      return opened;
    },
  });
}

async function layerOf(
  { diffId, entry, descriptor: named }: ArchivedLayer,
  source: RandomSource,
  signal: AbortSignal | undefined,
): Promise<Layer> {
  if (entry === undefined) {
    const descriptor = descriptorOf(named ?? { mediaType: mediaTypeOf('gzip'), digest: diffId, size: 0 });
    const layer = layerFrom({ descriptor, diffId, what: `layer ${diffId}`, blob: () => absent(diffId) });
    absentLayers.add(layer);
    return layer;
  }
  const range = { start: entry.offset, end: entry.offset + entry.size };
  const what = `layer ${quoted(entry.name)}`;
  const compression = await compressionOf(source, entry, what);
  const digest = await digestOf(source, entry, { diffId, compression, what }, signal);
  const isSame = named !== undefined && named.digest === digest && named.size === entry.size;
  const descriptor = isSame
    ? descriptorOf(named)
    : { mediaType: mediaTypeOf(compression), digest, size: entry.size };
  const layer = layerFrom({ descriptor, diffId, what, blob: (signal) => readRange(source, range, signal) });
  if (compression === 'none') plainLayers.add(layer);
  return layer;
}

async function compressionOf(source: RandomSource, entry: TableEntry, what: string): Promise<Compression> {
  await using reader = await source.open();
  const head = await reader.readAt(entry.offset, Math.min(HEAD_LENGTH, entry.size));
  return detectCompression(head, what);
}

/**
 * The digest of a layer's file. A name under `blobs/` is one, and so is the diff ID of a file that is not compressed: reading the
 * layer verifies both. Otherwise the file is read.
 */
async function digestOf(
  source: RandomSource,
  { name, offset, size }: TableEntry,
  layer: { readonly diffId: Digest; readonly compression: Compression; readonly what: string },
  signal: AbortSignal | undefined,
): Promise<Digest> {
  const claimed = blobDigest(name) ?? (layer.compression === 'none' ? layer.diffId : undefined);
  if (claimed !== undefined) return claimed;
  const bytes = readRange(source, { start: offset, end: offset + size }, signal);
  const budget = new UncompressedBudget({});
  const { stored } = await hashFile(bytes, {
    what: layer.what,
    stored: ['sha256'],
    uncompressed: [],
    budget,
  });
  return stored[0] ?? layer.diffId;
}

/** A stream that fails when it is read. */
async function* absent(diffId: Digest): AsyncGenerator<Uint8Array, void, undefined> {
  const why = 'it is a foreign layer, which the archive only names';
  yield await Promise.reject(
    new PassthroughError('UNSUPPORTED_IMAGE', `Cannot read layer ${diffId}: ${why}`),
  );
}
