import { createHash } from 'node:crypto';
import { PassthroughError } from '../errors.ts';
import type { Descriptor } from '../image/descriptor.ts';
import type { Digest } from '../image/digest.ts';
import { parseImageConfig } from '../image/image-config.ts';
import { fieldsOf, type JsonFields } from '../image/json.ts';
import { DOCKER_MANIFEST, OCI_MANIFEST } from '../image/media-type.ts';
import type { Platform } from '../image/platform.ts';
import type { Layer, ReadLayerOptions } from './layer.ts';

/** An image that can be read and written. */
export interface Image {
  /** Names in the archive that it is from; none for an image that was made. */
  readonly tags: readonly string[];
  /** Digest of the config: the image ID. */
  readonly id: Digest;
  /** `undefined` where the config has none. */
  readonly platform: Platform | undefined;
  /** The manifest as JSON; made from config and layers where the archive has none. */
  manifest(): Promise<JsonFields>;
  /** The config as JSON. */
  config(): Promise<JsonFields>;
  /**
   * The layers, base first, with repetitions. The first time, compressed layers whose digest the archive does not tell are read.
   */
  layers(options?: ReadLayerOptions): Promise<readonly Layer[]>;
  /** The bytes of the manifest, and what names them. */
  rawManifest(): Promise<RawDocument>;
  /** The bytes of the config, and what names them. */
  rawConfig(): Promise<RawDocument>;
}

/** A document as it is stored. */
export interface RawDocument {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly bytes: Uint8Array;
}

/** How to make an image. */
export interface ImageOptions {
  /**
   * The config: bytes, which stay as they are, or an object. An object without `rootfs` gets the diff IDs of the layers.
   *
   * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md
   */
  readonly config: Uint8Array | JsonFields;
  /** Base first. */
  readonly layers: readonly Layer[];
  /** Media types of manifest and config. Default: `oci`. */
  readonly mediaTypes?: MediaTypes;
}

/** The families of media types. */
export type MediaTypes = 'oci' | 'docker';

const TYPES: Readonly<Record<MediaTypes, { readonly manifest: string; readonly config: string }>> = {
  oci: { manifest: OCI_MANIFEST, config: 'application/vnd.oci.image.config.v1+json' },
  docker: { manifest: DOCKER_MANIFEST, config: 'application/vnd.docker.container.image.v1+json' },
};

/**
 * Makes an image from a config and layers.
 *
 * @throws PassthroughError `UNSUPPORTED_IMAGE` for a config that is malformed or has other diff IDs than the layers
 */
export function image({ config, layers, mediaTypes = 'oci' }: ImageOptions): Image {
  const bytes =
    config instanceof Uint8Array ? config : Buffer.from(JSON.stringify(withRootfs(config, layers)));
  const parsed = parseImageConfig(bytes, layers.length);
  const wrong = layers.findIndex(({ diffId }, index) => diffId !== parsed.diffIds[index]);
  if (wrong !== -1) {
    throw new PassthroughError(
      'UNSUPPORTED_IMAGE',
      `Cannot make image: rootfs.diff_ids[${wrong}] is ${parsed.diffIds[wrong]}, the layer has ${layers[wrong]?.diffId}`,
    );
  }
  const digest = sha256Of(bytes);
  return imageFrom({
    tags: [],
    config: { digest, bytes, ...(parsed.platform && { platform: parsed.platform }) },
    layers: () => Promise.resolve(layers),
    manifest: undefined,
    mediaTypes,
  });
}

function withRootfs(config: JsonFields, layers: readonly Layer[]): JsonFields {
  if (config['rootfs'] !== undefined) return config;
  return { ...config, rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) } };
}

/** What an image is made from. */
export interface ImageParts {
  readonly tags: readonly string[];
  readonly config: {
    readonly digest: Digest;
    readonly bytes: Uint8Array;
    readonly platform?: Platform;
  };
  readonly layers: (options?: ReadLayerOptions) => Promise<readonly Layer[]>;
  /** `undefined` has one made. */
  readonly manifest: RawDocument | undefined;
  readonly mediaTypes: MediaTypes;
}

/** An image of parts that are known to fit. */
export function imageFrom({ tags, config, layers, manifest, mediaTypes }: ImageParts): Image {
  const types = TYPES[mediaTypes];
  const rawConfig = { mediaType: types.config, digest: config.digest, bytes: config.bytes };
  const rawManifest = async () => manifest ?? manifestOf(rawConfig, await layers(), types.manifest);
  return {
    tags,
    id: config.digest,
    platform: config.platform,
    manifest: async () => fieldsOf(JSON.parse(textOf((await rawManifest()).bytes))),
    config: async () => fieldsOf(JSON.parse(textOf(config.bytes))),
    layers,
    rawManifest,
    rawConfig: () => Promise.resolve(rawConfig),
  };
}

/** A manifest of a config and layers. The fields stand in the order of the specification. */
function manifestOf(config: RawDocument, layers: readonly Layer[], mediaType: string): RawDocument {
  const descriptor = { mediaType: config.mediaType, digest: config.digest, size: config.bytes.byteLength };
  const document = {
    schemaVersion: 2,
    mediaType,
    config: descriptor,
    layers: layers.map(descriptorOf),
  };
  const bytes = Buffer.from(JSON.stringify(document));
  return { mediaType, digest: sha256Of(bytes), bytes };
}

/** The descriptor of a layer, without the layer's other fields. */
export function descriptorOf({ mediaType, digest, size, urls, annotations }: Descriptor): Descriptor {
  return { mediaType, digest, size, ...(urls && { urls }), ...(annotations && { annotations }) };
}

function sha256Of(bytes: Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
}
