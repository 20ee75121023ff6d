import { PassthroughError } from '../errors.ts';
import { type Digest, isDigest } from './digest.ts';
import { fieldsOf, type JsonFields, type ObjectShape, readJsonObject } from './json.ts';
import { PLATFORM_SHAPE, type Platform, platformOfFields } from './platform.ts';

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
}

/** The fields of an image config that an archive in layout docker repeats in its legacy descriptions. */
const LEGACY_FIELDS = [
  'created',
  'author',
  'architecture',
  'os',
  'variant',
  'config',
  'docker_version',
] as const;

/** What is read of a config. */
const CONFIG_SHAPE: ObjectShape = {
  fields: { ...PLATFORM_SHAPE, rootfs: { fields: { diff_ids: { items: 'scalar' } } } },
};

const LEGACY_SHAPE: ObjectShape = {
  fields: Object.fromEntries(LEGACY_FIELDS.map((field) => [field, 'source'] as const)),
};

/**
 * Reads an image config.
 *
 * @param bytes the config blob
 * @param layerCount number of layers in the manifest; `rootfs.diff_ids` must have the same length
 * @throws PassthroughError `UNSUPPORTED_IMAGE` when the document is malformed or does not fit the manifest
 */
export function parseImageConfig(bytes: Uint8Array, layerCount: number): ImageConfig {
  const document = readJsonObject(bytes, CONFIG_SHAPE, unsupported);
  const listed = fieldsOf(document['rootfs'])['diff_ids'];
  const diffIds: unknown[] = Array.isArray(listed) ? listed : [];
  if (!diffIds.every(isDigest)) throw unsupported('rootfs.diff_ids holds something that is not a digest');
  if (diffIds.length !== layerCount) {
    throw unsupported(`the manifest has ${layerCount} layers, rootfs.diff_ids ${diffIds.length}`);
  }
  const platform = platformOfFields(document);
  return { ...(platform !== undefined && { platform }), diffIds };
}

/**
 * Reads the fields of an image config that legacy descriptions repeat.
 *
 * @returns the {@link LEGACY_FIELDS} that it has, in their order
 * @throws PassthroughError `UNSUPPORTED_IMAGE` when the document is malformed, and when its settings have too many values
 */
export function parseLegacyFields(bytes: Uint8Array): JsonFields {
  const sources = readJsonObject(bytes, LEGACY_SHAPE, unsupported);
  return Object.fromEntries(
    LEGACY_FIELDS.flatMap((field) => {
      const source = sources[field];
      return typeof source === 'string' ? [[field, JSON.parse(source)] as const] : [];
    }),
  );
}

function unsupported(why: string, cause?: unknown): PassthroughError {
  return new PassthroughError('UNSUPPORTED_IMAGE', `Cannot use image config: ${why}`, { cause });
}
