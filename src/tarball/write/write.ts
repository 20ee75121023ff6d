import { createHash } from 'node:crypto';
import type { ArchiveEntry, ImageLayout, Archive as Plan } from '../../archive/archive.ts';
import { legacySettings } from '../../archive/docker-layout.ts';
import type { Document } from '../../archive/entries.ts';
import { LAYOUT_TABLE, type Layout, type LayoutImage } from '../../archive/layouts.ts';
import { PassthroughError } from '../../errors.ts';
import type { Digest } from '../../image/digest.ts';
import { parseImageConfig } from '../../image/image-config.ts';
import type { Reference } from '../../image/reference.ts';
import { encodeTar, type TarSource } from '../../tar/encoder.ts';
import { isAbsent, isPlainInArchive } from '../archive.ts';
import { descriptorOf, type Image } from '../image.ts';
import { type Layer, layer as makeLayer, type OwnedLayer, uncompressedSizeOf } from '../layer.ts';
import { referenceOf } from '../names.ts';
import { MANIFEST_FILE } from '../read/manifest-file.ts';
import { type Destination, writeTo } from './destination.ts';

/** Images to write: one with the names that it has, or images by their new names. */
export type ImagesToWrite = Image | ReadonlyMap<string, Image> | Readonly<Record<string, Image>>;

/** Options of planning an archive. */
export interface LayoutOptions {
  /** Default: `docker-gzip`. */
  readonly layout?: ImageLayout;
  /** Stops the work. */
  readonly signal?: AbortSignal;
}

/** Options of writing an archive. */
export interface WriteOptions extends LayoutOptions {
  /** Is told after each chunk. The last time, `complete` equals `total`. */
  readonly onProgress?: (progress: WriteProgress) => void;
}

/** How far the writing of an archive is, in bytes. */
export interface WriteProgress {
  readonly total: number;
  readonly complete: number;
}

/** One image of `manifest.json`, as Docker Engine reads it. */
export interface ManifestItem {
  readonly Config: string;
  readonly RepoTags: readonly string[];
  readonly Layers: readonly string[];
  /** Foreign layers, by diff ID. */
  readonly LayerSources?: Readonly<Record<string, unknown>>;
}

/**
 * Writes an archive. Layers that images share are written once. A layer that comes uncompressed from another archive is compressed
 * for layout `docker-gzip`, into a temporary file. Foreign layers are written if all of them can be read; otherwise `LayerSources`
 * names them, which only `docker-gzip` can.
 *
 * @param destination a file is written beside its path and renamed when it is whole
 * @returns bytes of the archive
 * @throws PassthroughError `INVALID_REFERENCE` for no image, or one without a name; `UNSUPPORTED_IMAGE`;
 *   `VERIFICATION_FAILED` for a layer whose bytes are not those of its digest; the system's error; the signal's reason
 */
export async function write(
  destination: Destination,
  images: ImagesToWrite,
  { layout, signal, onProgress }: WriteOptions = {},
): Promise<{ readonly size: number }> {
  await using planned = await plan(images, { layout, signal, keep: true });
  const { archive, layers } = planned;
  const form = formOf(layout);
  const sources = archive.entries.map((entry) => sourceOf(entry, layers, form, signal));
  let complete = 0;
  const counted = async function* () {
    for await (const chunk of encodeTar(sources)) {
      signal?.throwIfAborted();
      const { byteLength } = chunk;
      yield chunk;
      // The destination has taken the chunk when it asks for the next one.
      complete += byteLength;
      onProgress?.({ total: archive.size, complete });
    }
  };
  await writeTo(destination, counted(), signal);
  return { size: archive.size };
}

/**
 * Exact length of the archive that {@link write} writes, in bytes. Layout `docker`, and layers that must be compressed, need a pass
 * over the layers.
 *
 * @throws PassthroughError as {@link write}
 */
export async function size(images: ImagesToWrite, options: LayoutOptions = {}): Promise<number> {
  await using planned = await plan(images, { ...options, keep: false });
  return planned.archive.size;
}

/**
 * The `manifest.json` of the archive that {@link write} writes.
 *
 * @throws PassthroughError as {@link write}
 */
export async function manifestOf(
  images: ImagesToWrite,
  options: LayoutOptions = {},
): Promise<readonly ManifestItem[]> {
  await using planned = await plan(images, { ...options, keep: false });
  const file = planned.archive.entries.find(({ name }) => name === MANIFEST_FILE);
  return JSON.parse(Buffer.from(file?.content ?? []).toString()) as readonly ManifestItem[];
}

interface Planned extends AsyncDisposable {
  readonly archive: Plan;
  /** By the digest that the entries of the plan name: of the blob, or the diff ID. */
  readonly layers: ReadonlyMap<Digest, Layer>;
}

interface PlanOptions {
  readonly layout?: ImageLayout | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly keep: boolean;
}

async function plan(
  images: ImagesToWrite,
  { layout = 'docker-gzip', signal, keep }: PlanOptions,
): Promise<Planned> {
  const named = namedImages(images);
  const owned = new Map<Layer, OwnedLayer>();
  const dispose = async () => {
    await Promise.all(Array.from(owned.values(), (layer) => layer.close()));
  };
  const form = formOf(layout);
  const pack = async (layer: Layer): Promise<Layer> => {
    if (layout !== 'docker-gzip' || !isPlainInArchive(layer)) return layer;
    const known = owned.get(layer);
    if (known !== undefined) return known;
    const options = { compression: 'gzip', keep, ...(signal && { signal }) } as const;
    const packed = await makeLayer(() => layer.uncompressed(signal && { signal }), options);
    owned.set(layer, packed);
    return packed;
  };
  try {
    const byDigest = new Map<Digest, Layer>();
    const laidOut: LayoutImage[] = [];
    let hasAbsent = false;
    for (const { name, image } of named) {
      const layers: Layer[] = [];
      for (const layer of await image.layers(signal && { signal })) {
        signal?.throwIfAborted();
        layers.push(await pack(layer));
      }
      for (const layer of layers) byDigest.set(form === 'uncompressed' ? layer.diffId : layer.digest, layer);
      hasAbsent ||= layers.some(isAbsent);
      laidOut.push(await layoutImage(name, image, layers, LAYOUT_TABLE[layout], signal));
    }
    const { arrange, namesForeignLayers } = LAYOUT_TABLE[layout];
    if (hasAbsent && !namesForeignLayers) {
      throw new PassthroughError(
        'UNSUPPORTED_IMAGE',
        `Cannot write layout ${layout}: a foreign layer is not in the archive that the image is from`,
      );
    }
    const archive = arrange(laidOut, hasAbsent ? 'left out' : 'fetched');
    return { archive, layers: byDigest, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

async function layoutImage(
  name: Reference,
  image: Image,
  layers: readonly Layer[],
  { layerForm: form, repeatsSettings }: Layout,
  signal: AbortSignal | undefined,
): Promise<LayoutImage> {
  const [root, config] = [await image.rawManifest(), await image.rawConfig()];
  const contents: LayoutImage['layers'][number][] = [];
  for (const layer of layers) {
    if (isAbsent(layer)) continue;
    const size = form === 'compressed' ? layer.size : await uncompressedSizeOf(layer, signal);
    contents.push({ descriptor: descriptorOf(layer), diffId: layer.diffId, size });
  }
  const parsed = parseImageConfig(config.bytes, layers.length);
  const settings = repeatsSettings ? documentOf(legacySettings(config.bytes)) : undefined;
  const document = { digest: config.digest, size: config.bytes.byteLength, bytes: config.bytes };
  return {
    name,
    root: { ...root, size: root.bytes.byteLength },
    config: { ...document, image: parsed, ...(settings && { settings }) },
    descriptors: layers.map(descriptorOf),
    layers: contents,
    documents: [document],
  };
}

function documentOf(bytes: Uint8Array): Document {
  const digest: Digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  return { digest, size: bytes.byteLength, bytes };
}

function sourceOf(
  entry: ArchiveEntry,
  layers: ReadonlyMap<Digest, Layer>,
  form: 'compressed' | 'uncompressed',
  signal: AbortSignal | undefined,
): TarSource {
  const { blob, ...rest } = entry;
  const layer = blob === undefined ? undefined : layers.get(blob);
  if (layer === undefined) return rest;
  const options = signal === undefined ? {} : { signal };
  return { ...rest, content: () => layer[form](options) };
}

function formOf(layout: ImageLayout = 'docker-gzip'): 'compressed' | 'uncompressed' {
  return LAYOUT_TABLE[layout].layerForm === 'uncompressed' ? 'uncompressed' : 'compressed';
}

function namedImages(images: ImagesToWrite): readonly { readonly name: Reference; readonly image: Image }[] {
  const pairs: readonly (readonly [name: string, image: Image])[] = isImage(images)
    ? images.tags.map((tag) => [tag, images] as const)
    : images instanceof Map
      ? [...images]
      : Object.entries(images);
  if (pairs.length === 0) {
    const why = isImage(images) ? 'the image has no name; give one as the key of a map' : 'there is no image';
    throw new PassthroughError('INVALID_REFERENCE', `Cannot write archive: ${why}`);
  }
  return pairs.map(([name, image]) => ({ name: referenceOf(name), image }));
}

function isImage(images: ImagesToWrite): images is Image {
  return 'rawConfig' in images && typeof images.rawConfig === 'function';
}
