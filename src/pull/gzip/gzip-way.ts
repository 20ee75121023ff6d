import { LAYOUT_TABLE, type LayerForm } from '../../archive/layouts.ts';
import type { Checksum } from '../../image/filename.ts';
import type { GzipWay } from '../options.ts';
import { type ArchiveRequest, isPackage } from '../request.ts';

/** How gzipped archives are made, as a setting of the service. */
interface GzipPolicy {
  readonly gzip: GzipWay;
}

/**
 * The entity tag of a file that is made from an archive. zlib's output differs between versions, so its version is part of the
 * tag where something is compressed here: replicas with different versions have different files.
 *
 * A spliced archive has no such part unless a blob proves to be no plain gzip, and one of layout docker-gzip unless a blob is no gzip.
 * That is known when its layers are there, so such a file has another tag than was expected, and a client with the expected tag has
 * it from plain blobs.
 *
 * @param isDeflated whether a layer of the archive was compressed here
 */
export function etagOf(
  archiveEtag: string,
  request: Pick<ArchiveRequest, 'compression' | 'checksum' | 'layout'>,
  policy: GzipPolicy,
  isDeflated = false,
): string {
  const parts = [archiveEtag.slice(1, -1)];
  const isLoadable = LAYOUT_TABLE[request.layout].layerForm === 'loadable';
  if (isPackage(request)) parts.push(gzipMark(policy.gzip, isDeflated));
  if (isLoadable && isDeflated) parts.push(`deflated-${process.versions.zlib}`);
  // Around a package or layers that are gzip, nothing is compressed but by zlib.
  const isInside = isPackage(request) || isLoadable;
  if (request.compression === 'gzip') parts.push(gzipMark(policy.gzip, isDeflated && !isInside));
  return withChecksum(`"${parts.join('-')}"`, request.checksum);
}

/** Part of an entity tag: how a gzip file is made, with the version of zlib where that decides its bytes. */
export function gzipMark(way: GzipWay, isDeflated: boolean): string {
  const { zlib } = process.versions;
  if (way === 'whole') return `gzip-${zlib}`;
  return isDeflated ? `spliced-${zlib}` : 'spliced';
}

/** The entity tag of the line with the checksum of a file. */
export function withChecksum(etag: string, checksum: Checksum | undefined): string {
  return checksum === undefined ? etag : `"${etag.slice(1, -1)}-${checksum}"`;
}

/** Whether a gzipped archive is put together from layers that are gzip already. */
export function isSpliced(
  { compression }: Pick<ArchiveRequest, 'compression'>,
  { gzip }: GzipPolicy,
): boolean {
  return compression === 'gzip' && gzip === 'spliced';
}

/** Whether a file is an archive whose layers have their places before they are there: nothing is made from the whole. */
export function isPlanned(request: ArchiveRequest, policy: GzipPolicy): boolean {
  if (request.checksum !== undefined || isPackage(request)) return false;
  return request.compression === 'none' || isSpliced(request, policy);
}

/** The media type of an archive. */
export function contentTypeOf({ compression }: Pick<ArchiveRequest, 'compression'>): string {
  return compression === 'gzip' ? 'application/x-gzip' : 'application/x-tar';
}

/** The form in which the layers of an archive are stored. */
export function layerFormOf(request: ArchiveRequest, policy: GzipPolicy): LayerForm {
  const { layerForm } = LAYOUT_TABLE[request.layout];
  const isInGzip = isPackage(request) ? policy.gzip === 'spliced' : isSpliced(request, policy);
  return layerForm === 'uncompressed' && isInGzip ? 'gzip' : layerForm;
}
