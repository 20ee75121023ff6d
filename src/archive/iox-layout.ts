import { storedSize } from '../streams/stored-gzip.ts';
import { headerBlocks, TRAILER_SIZE, tarSize } from '../tar/encoder.ts';
import type { TarEntry } from '../tar/header.ts';
import { file } from './entries.ts';
import { ROOTFS_NAME } from './iox/descriptor.ts';
import type { PackageDigest } from './iox/settings.ts';

/** Names of the entries of a package. */
export const PACKAGE_NAMES = Object.freeze({
  descriptor: 'package.yaml',
  digests: 'package.mf',
  artifacts: 'artifacts.tar.gz',
});

/** An entry of a package. The one without content is `artifacts.tar.gz`. */
export interface PackageEntry extends TarEntry {
  readonly content?: Uint8Array;
}

/** What a package is made of. */
export interface IoxPackage {
  /** The text of `package.yaml`. */
  readonly descriptor: Uint8Array;
  /** Bytes of `artifacts.tar.gz`. */
  readonly artifactsSize: number;
  readonly algorithm: PackageDigest;
  /** Digests in hex by the names of entries; none for algorithm `none`. */
  readonly digests: ReadonlyMap<string, string>;
}

/**
 * Plans a package for Cisco IOx, in the order in which ioxclient writes one:
 *
 *     package.yaml       the descriptor
 *     package.mf         a digest of each other entry, unless left out
 *     artifacts.tar.gz   a tar with one entry, `rootfs.tar`, which is an archive in layout docker
 *
 * @throws PassthroughError `INTERNAL`, see `tarSize`
 * @see https://developer.cisco.com/docs/iox/package-format
 */
export function ioxLayout({ descriptor, artifactsSize, algorithm, digests }: IoxPackage): {
  readonly entries: readonly PackageEntry[];
  readonly size: number;
} {
  const lines = Array.from(digests, ([name, hex]) => `${algorithm.toUpperCase()}(${name})= ${hex}\n`);
  const entries: readonly PackageEntry[] = [
    file(PACKAGE_NAMES.descriptor, descriptor),
    ...(algorithm === 'none' ? [] : [file(PACKAGE_NAMES.digests, Buffer.from(lines.join('')))]),
    { name: PACKAGE_NAMES.artifacts, type: 'file', size: artifactsSize },
  ];
  return { entries, size: tarSize(entries) };
}

/** The entry of `artifacts.tar.gz`, uncompressed. */
export function rootfsEntry(size: number): TarEntry {
  return { name: ROOTFS_NAME, type: 'file', size };
}

/** What stands around the archive of the image in the uncompressed `artifacts.tar.gz`. Archives are whole blocks, so no padding. */
export function aroundRootfs(size: number): { readonly before: Uint8Array; readonly after: Uint8Array } {
  return { before: headerBlocks(rootfsEntry(size)), after: new Uint8Array(TRAILER_SIZE) };
}

/**
 * Bytes of `artifacts.tar.gz` around the gzip of the archive of the image.
 *
 * @param size of the archive of the image, uncompressed
 * @param gzipSize of its gzip
 */
export function splicedArtifactsSize(size: number, gzipSize: number): number {
  const { before, after } = aroundRootfs(size);
  return storedSize(before.byteLength) + gzipSize + storedSize(after.byteLength);
}
