/**
 * Media types of manifests, from OCI and Docker.
 *
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/media-types.md
 * @see https://github.com/distribution/distribution/blob/v2.8.3/docs/spec/manifest-v2-2.md
 */
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const DOCKER_MANIFEST_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';

/** Media types of image configs, from OCI and Docker. */
export const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json';
const DOCKER_CONFIG = 'application/vnd.docker.container.image.v1+json';

/** `Accept` of manifest requests. Without schema 1: a registry that has nothing else answers with an error or sends it anyway. */
export const ACCEPTED_MANIFESTS: readonly string[] = [
  OCI_INDEX,
  DOCKER_MANIFEST_LIST,
  OCI_MANIFEST,
  DOCKER_MANIFEST,
];

/**
 * Media types of image configs. Manifests with other configs are artifacts: charts, signatures, models. The second group is
 * for old images with wrong types: https://github.com/docker/distribution/issues/1621
 */
const IMAGE_CONFIGS: readonly string[] = [
  OCI_CONFIG,
  DOCKER_CONFIG,

  'application/octet-stream',
  'application/json',
  'text/html',
  '',
];

/** The media type without its parameters, in lower case: `Application/JSON; charset=utf-8` → `application/json`. */
export function essence(mediaType: string): string {
  return (mediaType.split(';', 1)[0] ?? '').trim().toLowerCase();
}

/** Whether a config's media type is that of an image config, or one that old images have in its place. */
export function isImageConfig(mediaType: string): boolean {
  return IMAGE_CONFIGS.includes(essence(mediaType));
}

/** Whether the media type of a layer says that its blob is gzip. */
export function declaresGzip({ mediaType }: { readonly mediaType: string }): boolean {
  return /[+.]gzip$/.test(essence(mediaType));
}

/** Layers whose licence forbids redistribution, such as those of Windows base images. A registry need not have them. */
const FOREIGN_LAYERS: readonly string[] = [
  'application/vnd.docker.image.rootfs.foreign.diff.tar',
  'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
  'application/vnd.oci.image.layer.nondistributable.v1.tar',
  'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
  'application/vnd.oci.image.layer.nondistributable.v1.tar+zstd',
];

/**
 * Whether a layer may lie outside the registry, at its descriptor's `urls`. Some registries have it nevertheless.
 *
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md#non-distributable-layers
 * @see https://github.com/distribution/distribution/blob/v2.8.3/docs/spec/manifest-v2-2.md
 */
export function isForeignLayer(layer: { readonly mediaType: string }): boolean {
  return FOREIGN_LAYERS.includes(essence(layer.mediaType));
}

/**
 * Docker's media types of what a manifest names, with those of OCI. Zstandard has no type in Docker's specification; builders write
 * the one below.
 */
const OCI_TYPES: ReadonlyMap<string, string> = new Map([
  [DOCKER_MANIFEST, OCI_MANIFEST],
  [DOCKER_CONFIG, OCI_CONFIG],
  ['application/vnd.docker.image.rootfs.diff.tar', 'application/vnd.oci.image.layer.v1.tar'],
  ['application/vnd.docker.image.rootfs.diff.tar.gzip', 'application/vnd.oci.image.layer.v1.tar+gzip'],
  ['application/vnd.docker.image.rootfs.diff.tar.zstd', 'application/vnd.oci.image.layer.v1.tar+zstd'],
  [
    'application/vnd.docker.image.rootfs.foreign.diff.tar',
    'application/vnd.oci.image.layer.nondistributable.v1.tar',
  ],
  [
    'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
    'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
  ],
]);

/**
 * The media type of OCI for one of Docker.
 *
 * @returns `undefined` for a type that is not Docker's
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/media-types.md#compatibility-matrix
 */
export function ociTypeOf(mediaType: string): string | undefined {
  return OCI_TYPES.get(essence(mediaType));
}
