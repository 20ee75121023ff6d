import type { ArchiveEntry, LayerPosition } from '../archive/archive.ts';
import type { PackageEntry } from '../archive/iox-layout.ts';
import { LAYOUT_TABLE, type LayerForm } from '../archive/layouts.ts';
import { PassthroughError } from '../errors.ts';
import type { Digest } from '../image/digest.ts';
import { readRepairing } from '../storage/repairing-reader.ts';
import type { Store } from '../storage/store.ts';
import { type ByteRange, encodeTar, type TarSource } from '../tar/encoder.ts';
import { streamWithSpan } from '../telemetry/span.ts';
import type { Content } from '../util/content.ts';
import { type FetchedImage, ImageFetcher } from './fetch-image.ts';
import { isSpliced, layerFormOf } from './gzip/gzip-way.ts';
import { SplicedArchive } from './gzip/spliced-archive.ts';
import type { DescribedConfig } from './iox/describe.ts';
import { type Packed, Packer } from './iox/packer.ts';
import type { FetchedLayer, LayerFetcher, Presence } from './layers/fetch-layers.ts';
import { entryDigest } from './layers/layer-key.ts';
import { type LayerTotals, totalsOf } from './layers/layer-totals.ts';
import { SizeBudget } from './limits.ts';
import type { LayerReport, ProgressCounter } from './progress.ts';
import type { ReadableArchive, Reader } from './readable-archive.ts';
import { isPackage } from './request.ts';
import { foreignLayersOf, layersOf, type ResolvedArchive, type ResolvePolicy } from './resolve-archive.ts';
import { blobsOf, unsharedLayers } from './update/shared-layers.ts';

/** What belongs to one call of {@link ArchivePuller.pull}. */
export interface PullCall {
  readonly signal: AbortSignal;
  readonly progress?: ProgressCounter | undefined;
  /** Whose pull it is. */
  readonly client?: string | undefined;
}

/** An archive whose bytes are verified and stored; as a gzip file where it is spliced. */
export interface PulledArchive extends ReadableArchive {
  /** Sum of the layers' uncompressed bytes, as the limit counts them; 0 if the layers stay compressed. */
  readonly uncompressedBytes: number;
  /** Whether a layer was compressed here, because its blob is no plain gzip. */
  readonly isDeflated: boolean;
  /** The different layers in it. */
  readonly layers: LayerTotals;
  /** Labels that the descriptor of a package does not have. */
  readonly leftOut: readonly string[];
  /** Releases the files of the layers. Further calls do nothing. */
  release(): void;
}

/** An archive that is read. */
interface ReadArchive {
  readonly files: ReadonlyMap<Digest | undefined, FetchedLayer>;
  readonly documents: ReadonlyMap<Digest, Content>;
  readonly form: LayerForm;
  readonly reader: Reader;
}

/** Fetches the images of an archive and lays them out. */
export class ArchivePuller {
  readonly #layers: LayerFetcher;
  readonly #images: ImageFetcher;
  readonly #packer: Packer;
  readonly #policy: ResolvePolicy;

  /** @param store keeps what is made of large configs, and what packages need */
  constructor(layers: LayerFetcher, policy: ResolvePolicy, store: Store<LayerReport>) {
    this.#layers = layers;
    this.#images = new ImageFetcher(layers, policy, store);
    this.#packer = new Packer(store, policy);
    this.#policy = policy;
  }

  /**
   * Whether all layers of an archive are in the store, so that pulling it is little work. Of an update, those that it leaves out need
   * not be, as far as the manifests tell: diff IDs, which decide, are known only from the configs.
   *
   * @param presence `complete` where none of them may be on its way
   */
  isStored(resolved: ResolvedArchive, presence: Presence = 'coming'): boolean {
    const { request, images } = resolved;
    if (isPackage(request) && !this.#packer.has(resolved)) return false;
    const { sharedLayers } = LAYOUT_TABLE[request.layout];
    return images.every((image) => {
      const all = layersOf(image.manifest, request, this.#policy);
      const layers = image.base === undefined ? all : unsharedLayers(all, image.base, sharedLayers);
      return this.#images.has(layers, image, request, presence);
    });
  }

  /**
   * Fetches configs and layers, and computes the layout. All bytes are stored and verified when the promise resolves; nothing is
   * held when it rejects.
   *
   * @throws PassthroughError what `ImageFetcher.fetch` and `Packer.pack` throw
   */
  async pull(resolved: ResolvedArchive, call: PullCall): Promise<PulledArchive> {
    const { request, images } = resolved;
    const layers = new Map<Digest, FetchedLayer>();
    const documents = new Map<Digest, Content>();
    const release = () => {
      for (const { file } of layers.values()) file.release();
      for (const content of documents.values()) content.release();
    };
    try {
      const budget = new SizeBudget(this.#policy.limits);
      const fetched: FetchedImage[] = [];
      for (const image of images)
        fetched.push(await this.#images.fetch(image, request, { ...call, layers, documents, budget }));
      const { entries, size } = LAYOUT_TABLE[request.layout].arrange(
        fetched.map((image) => ({ ...image, layers: image.layers.map(withSize) })),
        foreignLayersOf(request, this.#policy),
      );
      const form = layerFormOf(request, this.#policy);
      const files = new Map(
        Array.from(layers.values(), (layer) => [entryDigest(layer, form), layer] as const),
      );
      const sourceOf = (reader: Reader) => (entry: ArchiveEntry) =>
        this.#source(entry, { files, documents, form, reader });
      const tar: ReadableArchive = {
        size,
        bytes: (range, reader) => encodeTar(entries, range, sourceOf(reader)),
      };
      const archive =
        form === 'gzip' || isSpliced(request, this.#policy) ? splice(entries, form, files) : undefined;
      const spliced: ReadableArchive | undefined = archive && {
        size: archive.size,
        bytes: (range, reader) =>
          archive.bytes(range, {
            sourceOf: sourceOf(reader),
            readPacked: (entry, part) =>
              this.#layerReader(entry.blob, entry.layer, { files, documents, form, reader })(part),
          }),
      };
      const pulled = {
        uncompressedBytes: budget.spent,
        isDeflated: layers.values().some(({ isDeflated }) => isDeflated === true),
        layers: totalsOf(Array.from(layers.values(), ({ descriptor }) => descriptor)),
        leftOut: [],
        release,
      };
      if (!isPackage(request)) return { ...pulled, ...(spliced ?? tar) };
      const config = configOf(fetched[0], documents);
      const rootfs = { tar, spliced, isDeflated: pulled.isDeflated, config };
      return this.#packed(resolved, pulled, await this.#packer.pack(resolved, rootfs, call));
    } catch (error) {
      release();
      throw error;
    }
  }

  #packed(
    { request }: ResolvedArchive,
    pulled: Omit<PulledArchive, keyof ReadableArchive>,
    { entries, size, sourceOf, leftOut, release }: Packed,
  ): PulledArchive {
    const archive = isSpliced(request, this.#policy)
      ? new SplicedArchive(entries, () => undefined)
      : undefined;
    return {
      ...pulled,
      leftOut,
      size: archive?.size ?? size,
      bytes: (range, reader) => {
        const contentOf = (entry: PackageEntry) => sourceOf(entry, reader);
        if (archive === undefined) return encodeTar(entries, range, contentOf);
        return archive.bytes(range, { sourceOf: contentOf, readPacked: nothingPacked });
      },
      release: () => [release(), pulled.release()],
    };
  }

  /** Gives an entry its bytes. A layer's way into the answer has a span of its own. */
  #source({ blob, layer: position, prefix, ...entry }: ArchiveEntry, archive: ReadArchive): TarSource {
    if (blob === undefined) return entry;
    const { documents, form } = archive;
    const document = position === undefined ? documents.get(blob) : undefined;
    if (document !== undefined) return { ...entry, content: (range) => prefixed(prefix, document, range) };
    // The file of an empty layer may be gzip of nothing.
    if (form === 'gzip' && entry.size === 0) return entry;
    return { ...entry, content: this.#layerReader(blob, position, archive) };
  }

  /** The way to the bytes of a file, as it is stored. */
  #layerReader(blob: Digest | undefined, position: LayerPosition | undefined, archive: ReadArchive) {
    const { files, form, reader } = archive;
    const layer = files.get(blob);
    if (layer === undefined) {
      throw new PassthroughError('INTERNAL', `Cannot lay out the archive: no file has the bytes of ${blob}`);
    }
    const { file, descriptor, uncompressedBytes } = layer;
    const refetch = () => {
      // Where blobs of several images unpack to the same layer, that of the last one is the file.
      const image = reader.resolved.images.find(({ manifest }) =>
        blobsOf(manifest).some(({ digest }) => digest === descriptor.digest),
      );
      if (image === undefined)
        throw new PassthroughError('INTERNAL', 'Cannot fetch a layer again: it has no image');
      return this.#layers.refetch(layer, image, form, reader.signal);
    };
    const read = (range?: ByteRange) => readRepairing(file, range, refetch);
    if (position === undefined || reader.isHashing === true) return read;
    const attributes = {
      'oci.layer.index': position.index + 1,
      'oci.layer.digest': descriptor.digest,
      'oci.layer.compressed_size': descriptor.size,
      ...(uncompressedBytes !== undefined && { 'oci.layer.decompressed_size': uncompressedBytes }),
    };
    const name = `write_layer_tar_${position.index + 1}`;
    return (range?: ByteRange) => streamWithSpan(name, { attributes }, () => read(range));
  }
}

/** An archive as gzip, with the layers that are gzip already. */
function splice(
  entries: readonly ArchiveEntry[],
  form: LayerForm,
  files: ReadonlyMap<Digest | undefined, FetchedLayer>,
): SplicedArchive<ArchiveEntry> {
  return new SplicedArchive(entries, ({ blob, layer }) =>
    form === 'gzip' && layer !== undefined ? files.get(blob)?.file.size : undefined,
  );
}

/** No entry of a package is a member of its own. */
async function* nothingPacked(): AsyncGenerator<Uint8Array, void, undefined> {}

function configOf(image: FetchedImage | undefined, documents: ReadonlyMap<Digest, Content>): DescribedConfig {
  const content = documents.get(image?.config?.digest ?? 'sha256:');
  if (image?.config === undefined || content === undefined)
    throw new PassthroughError('INTERNAL', 'Cannot pack an archive: it has no config');
  return { digest: image.config.digest, content, platform: image.config.image?.platform };
}

/** Some bytes, and a document behind them. */
export async function* prefixed(
  prefix: Uint8Array = new Uint8Array(),
  document: Content,
  { start, end }: ByteRange = { start: 0, end: prefix.byteLength + document.size },
): AsyncGenerator<Uint8Array, void, undefined> {
  const length = prefix.byteLength;
  if (start < length) yield prefix.subarray(start, end);
  if (end > length) yield* document.read({ start: Math.max(start - length, 0), end: end - length });
}

function withSize({ descriptor, diffId, isDeflated, entryBytes }: FetchedLayer) {
  return { descriptor, diffId, isDeflated, size: entryBytes };
}
