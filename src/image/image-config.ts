import { PassthroughError } from '../errors.ts';
import { type Digest, isDigest } from './digest.ts';
import type { Platform } from './platform.ts';

/**
 * What the archive needs to know of an image's config.
 *
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md
 */
export interface ImageConfig {
  /** Absent where the config names none, as very old or hand-made images do. */
  readonly platform?: Platform;
  /** Digests of the uncompressed layers, base first. */
  readonly diffIds: readonly Digest[];
  /** The whole document, for layouts that repeat parts of it. */
  readonly document: Readonly<Record<string, unknown>>;
}

/**
 * Reads an image config.
 *
 * @param bytes the config blob
 * @param layerCount how many layers the manifest has; `rootfs.diff_ids` must have as many
 * @throws PassthroughError `UNSUPPORTED_IMAGE` when the document is malformed or does not fit the manifest
 */
export function parseImageConfig(bytes: Uint8Array, layerCount: number): ImageConfig {
  let document: unknown;
  try {
    document = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw unsupported('it is not JSON', cause);
  }
  if (!isRecord(document)) throw unsupported('it is not a JSON object');
  const { os, architecture, variant, rootfs } = document;

  const listed = isRecord(rootfs) ? rootfs['diff_ids'] : undefined;
  const diffIds: unknown[] = Array.isArray(listed) ? listed : [];
  if (!diffIds.every(isDigest)) throw unsupported('rootfs.diff_ids holds something that is not a digest');
  if (diffIds.length !== layerCount) {
    throw unsupported(`the manifest has ${layerCount} layers, rootfs.diff_ids ${diffIds.length}`);
  }
  if (typeof os !== 'string' || typeof architecture !== 'string' || os === '' || architecture === '') {
    return { diffIds, document };
  }
  const platform = { os, architecture, ...(typeof variant === 'string' && variant !== '' && { variant }) };
  return { platform, diffIds, document };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function unsupported(why: string, cause?: unknown): PassthroughError {
  return new PassthroughError('UNSUPPORTED_IMAGE', `Cannot use image config: ${why}`, { cause });
}
