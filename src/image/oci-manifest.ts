import { PassthroughError } from '../errors.ts';
import { fieldsOf, type JsonFields } from './json.ts';
import { type ArtifactManifest, type ImageManifest, parseManifest } from './manifest.ts';
import { DOCKER_MANIFEST, OCI_CONFIG, OCI_MANIFEST, ociTypeOf } from './media-type.ts';

/** A manifest in the form of OCI. */
export interface OciManifest {
  readonly bytes: Uint8Array;
  readonly manifest: ImageManifest | ArtifactManifest;
}

/**
 * Converts the manifest of an image to OCI: its media type and those of config and layers. Nothing else changes, so config and
 * layers keep their digests. A manifest without Docker's types stays as it is, byte for byte.
 *
 * @param contentType `Content-Type` of the response of the registry
 * @throws PassthroughError `UNSUPPORTED_IMAGE`, also for an index
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md
 */
export function toOciManifest(bytes: Uint8Array, contentType: string): OciManifest {
  const source = parseImage(bytes, contentType);
  const isDockers =
    source.mediaType === DOCKER_MANIFEST ||
    [source.config, ...source.layers].some(({ mediaType }) => ociTypeOf(mediaType) !== undefined);
  if (!isDockers) return { bytes, manifest: source };

  // TextDecoder drops a byte order mark, which JSON.parse refuses.
  const document = fieldsOf(JSON.parse(new TextDecoder().decode(bytes)));
  const { layers } = document;
  // Docker's manifests of old images have other types for the config, which OCI has no name for.
  const config = source.kind === 'image' ? OCI_CONFIG : undefined;
  const converted = Buffer.from(
    JSON.stringify({
      ...document,
      mediaType: OCI_MANIFEST,
      config: withOciType(document['config'], config),
      layers: Array.isArray(layers) ? layers.map((layer: unknown) => withOciType(layer)) : layers,
    }),
  );
  // The blobs are those of the converted text: of a field that is there twice, JSON.parse may keep another one than the first reader.
  return { bytes: converted, manifest: parseImage(converted, OCI_MANIFEST) };
}

function parseImage(bytes: Uint8Array, contentType: string): ImageManifest | ArtifactManifest {
  const manifest = parseManifest(bytes, contentType, { artifacts: true });
  if (manifest.kind !== 'index') return manifest;
  throw new PassthroughError('UNSUPPORTED_IMAGE', 'Cannot convert manifest: it is an index, not an image');
}

function withOciType(descriptor: unknown, otherwise?: string): JsonFields {
  const fields = fieldsOf(descriptor);
  const { mediaType } = fields;
  return { ...fields, mediaType: ociTypeOf(String(mediaType)) ?? otherwise ?? mediaType };
}
