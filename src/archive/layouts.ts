import { PassthroughError } from '../errors.ts';
import type { Descriptor } from '../image/descriptor.ts';
import type { Digest } from '../image/digest.ts';
import type { ImageConfig } from '../image/image-config.ts';
import type { Reference } from '../image/reference.ts';
import type { Archive, ForeignLayers, LayoutName } from './archive.ts';
import { dockerGzipLayout } from './docker-gzip-layout.ts';
import { dockerLayout } from './docker-layout.ts';
import type { Document } from './entries.ts';
import { ociLayout } from './oci-layout.ts';

/**
 * The form in which an archive takes a layer:
 *
 * - `compressed`: as the registry serves it
 * - `loadable`: the same, or compressed anew as gzip where that is zstd or not compressed: engines up to 24 load no such layer
 * - `gzip`: the same as a part of a gzip file, or compressed anew where it is no plain gzip
 * - `uncompressed`
 */
export type LayerForm = 'compressed' | 'loadable' | 'gzip' | 'uncompressed';

/** A layer whose bytes are stored. */
export interface LayerContent {
  /** The blob, as the manifest describes it. */
  readonly descriptor: Descriptor;
  /** Of the uncompressed bytes; `undefined` for a layer of an artifact. */
  readonly diffId: Digest | undefined;
  /** Bytes in the archive. */
  readonly size: number;
  /** Whether the layer was compressed anew, so that its file is not the blob. */
  readonly isDeflated?: boolean | undefined;
}

/** An image as every layout takes it: all but the bytes of its layers. */
export interface LayoutImage {
  /** Name in the archive. */
  readonly name: Reference;
  /** The manifest; the index if the archive holds all platforms. */
  readonly root: Document & { readonly mediaType: string };
  /** Absent for an index. Its `image` is absent for an artifact, its `settings` for layouts without legacy descriptions. */
  readonly config?: Document & { readonly image?: ImageConfig; readonly settings?: Document };
  /** The layers that the manifest names, base first, also those that are left out; none for an index. */
  readonly descriptors: readonly Descriptor[];
  /** Of an update archive: its base, whose layers are left out. */
  readonly base?: LayoutBase | undefined;
  /** The layers that are stored. */
  readonly layers: readonly LayerContent[];
  /** Configs and manifests below the root. */
  readonly documents: readonly Document[];
}

/**
 * Which layers an update archive leaves out if its base has them, too: `leading` ones, with equal diff IDs from the bottom up, since
 * engines look layers up by their chain; or `any`, with equal digests of their blobs, wherever they stand.
 */
export type SharedLayers = 'leading' | 'any';

/** The base of an update archive. */
export interface LayoutBase {
  /** Of its manifest. */
  readonly digest: Digest;
  /** Indexes in `descriptors` of the layers that it has, too; none for an index. */
  readonly shared: ReadonlySet<number>;
}

/** What the service must know about a layout. */
export interface Layout {
  /** The form of the layers in the archive. */
  readonly layerForm: Exclude<LayerForm, 'gzip'>;
  /** Whether the archive can hold an index with all its platforms, and artifacts. */
  readonly holdsIndexes: boolean;
  /** Whether the archive can name foreign layers without holding their bytes. */
  readonly namesForeignLayers: boolean;
  /** Whether the archive repeats settings of the config, as `legacySettings` writes them. */
  readonly repeatsSettings: boolean;
  /** Which layers an update archive leaves out. */
  readonly sharedLayers: SharedLayers;
  /** Whether the archive is packed into another one, as `ioxLayout` plans it. It is for one image then. */
  readonly isPackage: boolean;
  /** Computes the entries of the archive and its size. Images stand in the order of the archive. */
  readonly arrange: (images: readonly LayoutImage[], foreignLayers: ForeignLayers) => Archive;
}

/** Every layout by its name in paths and queries. */
export const LAYOUT_TABLE: Readonly<Record<LayoutName, Layout>> = {
  docker: {
    layerForm: 'uncompressed',
    holdsIndexes: false,
    namesForeignLayers: false,
    repeatsSettings: true,
    sharedLayers: 'leading',
    isPackage: false,
    arrange: arrangeDocker,
  },
  'docker-gzip': {
    layerForm: 'loadable',
    holdsIndexes: false,
    namesForeignLayers: true,
    repeatsSettings: false,
    sharedLayers: 'leading',
    isPackage: false,
    arrange: (images, foreignLayers) => dockerGzipLayout(images.map(dockerGzipContent), { foreignLayers }),
  },
  oci: {
    layerForm: 'compressed',
    holdsIndexes: true,
    namesForeignLayers: false,
    repeatsSettings: false,
    sharedLayers: 'any',
    isPackage: false,
    arrange: (images) => ociLayout(images.map(ociContent)),
  },
  iox: {
    layerForm: 'uncompressed',
    holdsIndexes: false,
    namesForeignLayers: false,
    repeatsSettings: true,
    sharedLayers: 'leading',
    isPackage: true,
    arrange: arrangeDocker,
  },
};

function arrangeDocker(images: readonly LayoutImage[]): Archive {
  return dockerLayout(images.map(legacyContent));
}

function dockerContent({ name, root, config, base }: LayoutImage) {
  if (config?.image === undefined) throw new PassthroughError('INTERNAL', 'Cannot lay out what is no image');
  const { digest, mediaType } = root;
  return {
    reference: name,
    manifest: { digest, mediaType },
    base: base?.digest,
    config: { ...config, image: config.image },
  };
}

function legacyContent(image: LayoutImage) {
  const content = dockerContent(image);
  const { settings } = content.config;
  if (settings === undefined)
    throw new PassthroughError('INTERNAL', 'Cannot lay out an image without settings');
  const { diffIds } = content.config.image;
  // Here the shared layers are the leading ones. The others are stored, and their bytes are verified against the config.
  const leftOut = diffIds
    .slice(0, image.base?.shared.size ?? 0)
    .map((diffId) => ({ diffId, size: 0, isLeftOut: true }));
  const layers = image.layers.map(({ diffId, descriptor, size }) => ({
    diffId: diffId ?? descriptor.digest,
    size,
  }));
  return { ...content, config: { ...content.config, settings }, layers: [...leftOut, ...layers] };
}

function dockerGzipContent(image: LayoutImage) {
  const content = dockerContent(image);
  const { diffIds } = content.config.image;
  const deflated = new Map(
    image.layers.flatMap(({ descriptor, size, isDeflated }) =>
      isDeflated === true ? [[descriptor.digest, size] as const] : [],
    ),
  );
  const layers = image.descriptors.map((descriptor, index) => ({
    descriptor,
    diffId: diffIds[index] ?? descriptor.digest,
    isLeftOut: image.base?.shared.has(index) === true,
    deflatedBytes: deflated.get(descriptor.digest),
  }));
  return { ...content, layers };
}

function ociContent(image: LayoutImage, at: number) {
  const { name, root, config, base, descriptors, documents, layers } = image;
  const places = new Map(descriptors.map(({ digest }, index) => [digest, index] as const).reverse());
  const files = layers.map(({ descriptor: { digest, size } }, index) => ({
    digest,
    size,
    layer: { image: at, index: places.get(digest) ?? index },
  }));
  return {
    reference: name,
    manifest: root,
    base: base?.digest,
    blobs: [...documents, ...files],
    ...(config?.image !== undefined && {
      image: {
        ...(config.image.platform !== undefined && { platform: config.image.platform }),
        config: config.digest,
        layers: descriptors.map(({ digest }) => digest),
      },
    }),
  };
}
