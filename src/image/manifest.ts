import { PassthroughError } from '../errors.ts';
import { type Digest, isDigest } from './digest.ts';
import {
  DOCKER_MANIFEST,
  DOCKER_MANIFEST_LIST,
  essence,
  isImageConfig,
  OCI_INDEX,
  OCI_MANIFEST,
} from './media-type.ts';
import { isUnknownPlatform, type Platform } from './platform.ts';

/**
 * Points at content: what it is, its digest and its size in bytes.
 *
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md
 */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
}

/** An entry of an index that may hold an image. */
export interface IndexEntry extends Descriptor {
  readonly platform?: Platform;
}

/** An OCI index or a Docker manifest list, without the entries that hold no image. */
export interface Index {
  readonly kind: 'index';
  readonly mediaType: string;
  readonly entries: readonly IndexEntry[];
}

/** An OCI or Docker image manifest. Layers stand base first. */
export interface ImageManifest {
  readonly kind: 'image';
  readonly mediaType: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

/** Annotation that BuildKit puts on index entries which describe another entry. */
const ATTESTATION_ANNOTATION = 'vnd.docker.reference.type';

/**
 * Most layers that an image may have here. Engines stop at 127 (overlayfs) or 125 (aufs); a manifest may only list
 * what its size limit allows, and this keeps the number of open files in bounds besides.
 */
const MAX_LAYERS = 1000;

/**
 * Reads a manifest of any of the four kinds.
 *
 * The document's own `mediaType` decides, then the header's, then the shape. A document that is both an index and an
 * image is refused: two readers could see two images under one digest (CVE-2021-41190).
 *
 * @param bytes the document as the registry sent it
 * @param contentType the `Content-Type` it came with, or its descriptor's media type
 * @throws PassthroughError `UNSUPPORTED_IMAGE` for schema 1, artifacts, other documents and malformed ones
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md
 */
export function parseManifest(bytes: Uint8Array, contentType: string): Index | ImageManifest {
  const document = parseJson(bytes);
  if (document['schemaVersion'] === 1) {
    throw unsupported('it is schema 1, which registries and engines have given up; push the image again');
  }
  if (document['schemaVersion'] !== 2) throw unsupported('schemaVersion is not 2');
  const isIndex = document['manifests'] !== undefined;
  const isImage = document['layers'] !== undefined || document['config'] !== undefined;
  if (isIndex && isImage)
    throw unsupported('it has the fields of an index and of an image, so its meaning is ambiguous');

  const mediaType = documentMediaType(document['mediaType'], contentType, isIndex);
  if (mediaType === OCI_INDEX || mediaType === DOCKER_MANIFEST_LIST) {
    return { kind: 'index', mediaType, entries: parseEntries(document['manifests']) };
  }
  if (mediaType !== OCI_MANIFEST && mediaType !== DOCKER_MANIFEST) {
    throw unsupported(`media type ${JSON.stringify(mediaType)} is not that of an image`);
  }
  const config = parseDescriptor(document['config'], 'config');
  if (!isImageConfig(config.mediaType)) {
    throw unsupported(
      `it is an artifact, not a container image: its config is ${JSON.stringify(config.mediaType)}`,
    );
  }
  const layers = document['layers'];
  if (!Array.isArray(layers)) throw unsupported('layers is not a list');
  if (layers.length > MAX_LAYERS) throw unsupported(`it has more than ${MAX_LAYERS} layers`);
  return {
    kind: 'image',
    mediaType,
    config,
    layers: layers.map((layer, index) => parseDescriptor(layer, `layers[${index}]`)),
  };
}

function documentMediaType(own: unknown, contentType: string, isIndex: boolean): string {
  if (typeof own === 'string' && own !== '') return essence(own);
  const given = essence(contentType);
  const known = [OCI_INDEX, OCI_MANIFEST, DOCKER_MANIFEST, DOCKER_MANIFEST_LIST].includes(given);
  return known ? given : isIndex ? OCI_INDEX : OCI_MANIFEST;
}

function parseEntries(manifests: unknown): readonly IndexEntry[] {
  if (!Array.isArray(manifests)) throw unsupported('manifests is not a list');
  return manifests
    .map((entry: unknown, index) => ({
      descriptor: parseDescriptor(entry, `manifests[${index}]`),
      platform: parsePlatformField(fields(entry)['platform']),
      annotations: fields(fields(entry)['annotations']),
    }))
    .filter(
      ({ platform, annotations }) =>
        annotations[ATTESTATION_ANNOTATION] === undefined &&
        (platform === undefined || !isUnknownPlatform(platform)),
    )
    .map(({ descriptor, platform }) => (platform === undefined ? descriptor : { ...descriptor, platform }));
}

/**
 * Reads a descriptor.
 *
 * @param name where it stands in its document, for the message
 * @throws PassthroughError `UNSUPPORTED_IMAGE` naming the field that is missing or wrong
 */
function parseDescriptor(value: unknown, name: string): Descriptor {
  const { mediaType, digest, size } = fields(value);
  if (typeof mediaType !== 'string') throw unsupported(`${name}.mediaType is missing`);
  if (!isDigest(digest)) throw unsupported(`${name}.digest is not a sha256 or sha512 digest`);
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw unsupported(`${name}.size is not a number of bytes`);
  }
  return { mediaType, digest, size };
}

function parsePlatformField(value: unknown): Platform | undefined {
  const { os, architecture, variant } = fields(value);
  if (typeof os !== 'string' || typeof architecture !== 'string' || os === '' || architecture === '') {
    return undefined;
  }
  return typeof variant === 'string' && variant !== '' ? { os, architecture, variant } : { os, architecture };
}

function parseJson(bytes: Uint8Array): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw unsupported('it is not JSON', cause);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw unsupported('it is not a JSON object');
  }
  return fields(value);
}

/** The fields of a JSON object; none where `value` is anything else. */
function fields(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function unsupported(why: string, cause?: unknown): PassthroughError {
  return new PassthroughError('UNSUPPORTED_IMAGE', `Cannot use manifest: ${why}`, { cause });
}
