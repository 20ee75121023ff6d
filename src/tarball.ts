/**
 * The package export "./tarball": reads and writes archives of images, as `docker save` and `docker load` do. It needs no engine
 * and no registry, and loads no telemetry.
 */

export type { ImageLayout as LayoutName } from './archive/archive.ts';
export {
  type DiskSpace,
  type ErrorCode,
  type ErrorDetails,
  isPassthroughError,
  PassthroughError,
} from './errors.ts';
export type { Descriptor } from './image/descriptor.ts';
export type { Digest, DigestAlgorithm } from './image/digest.ts';
export type { JsonFields } from './image/json.ts';
export type { Platform } from './image/platform.ts';
export type { Compression } from './streams/decompress.ts';
export { type Archive, open } from './tarball/archive.ts';
export { type Image, type ImageOptions, image, type MediaTypes, type RawDocument } from './tarball/image.ts';
export {
  type Layer,
  type LayerOptions,
  layer,
  type OwnedLayer,
  type ReadLayerOptions,
} from './tarball/layer.ts';
export type { PackageFileReport, PackageReport } from './tarball/read/iox-package.ts';
export type { ByteSource, ReadOptions } from './tarball/source/archive-source.ts';
export { type ArchiveReport, type ImageReport, type LayerReport, verify } from './tarball/verify.ts';
export type { Destination } from './tarball/write/destination.ts';
export {
  type ImagesToWrite,
  type LayoutOptions,
  type ManifestItem,
  manifestOf,
  size,
  type WriteOptions,
  type WriteProgress,
  write,
} from './tarball/write/write.ts';
