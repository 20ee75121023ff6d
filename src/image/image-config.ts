import { PassthroughError } from '../errors.ts';
import { type Digest, isDigest } from './digest.ts';
import { fieldsOf, parseJsonObject } from './json.ts';
import { type Platform, platformOfFields } from './platform.ts';

/**
 * The parts of an image config that an archive needs.
 *
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md
 */
export interface ImageConfig {
  /** Absent in some very old or hand-made images. */
  readonly platform?: Platform;
  /** Digests of the uncompressed layers, base first. */
  readonly diffIds: readonly Digest[];
  /** The whole document, for layouts that copy fields. */
  readonly document: Readonly<Record<string, unknown>>;
}

/**
 * Reads an image config.
 *
 * @param bytes the config blob
 * @param layerCount number of layers in the manifest; `rootfs.diff_ids` must have the same length
 * @throws PassthroughError `UNSUPPORTED_IMAGE` when the document is malformed or does not fit the manifest
 */
export function parseImageConfig(bytes: Uint8Array, layerCount: number): ImageConfig {
  const document = parseJsonObject(bytes, unsupported);
  const listed = fieldsOf(document['rootfs'])['diff_ids'];
  const diffIds: unknown[] = Array.isArray(listed) ? listed : [];
  if (!diffIds.every(isDigest)) throw unsupported('rootfs.diff_ids holds something that is not a digest');
  if (diffIds.length !== layerCount) {
    throw unsupported(`the manifest has ${layerCount} layers, rootfs.diff_ids ${diffIds.length}`);
  }
  const platform = platformOfFields(document);
  return { ...(platform !== undefined && { platform }), diffIds, document };
}

function unsupported(why: string, cause?: unknown): PassthroughError {
  return new PassthroughError('UNSUPPORTED_IMAGE', `Cannot use image config: ${why}`, { cause });
}
