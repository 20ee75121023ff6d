import type { Archive } from '../archive/archive.ts';
import { dockerGzipLayout } from '../archive/docker-gzip-layout.ts';
import { dockerLayout } from '../archive/docker-layout.ts';
import { ociLayout } from '../archive/oci-layout.ts';
import { PassthroughError } from '../errors.ts';
import type { PreparedImage } from './fetch-image.ts';
import type { PreparedLayer } from './fetch-layers.ts';
import type { ArchiveRequest } from './pull-archive.ts';

/**
 * Lays prepared images out as an archive.
 *
 * @param images in the order of the request
 */
export function layOut(request: ArchiveRequest, images: readonly PreparedImage[]): Archive {
  switch (request.layout) {
    case 'docker':
      return dockerLayout(
        images.map((image) => ({ ...dockerParts(image), layers: image.layers.map(unpackedLayer) })),
      );
    case 'docker-gzip':
      return dockerGzipLayout(
        images.map((image) => ({
          ...dockerParts(image),
          layers: image.descriptors.map((descriptor, index) => ({
            descriptor,
            diffId: dockerParts(image).config.image.diffIds[index] ?? descriptor.digest,
          })),
        })),
        { foreignLayers: request.fetchesForeignLayers ? 'fetched' : 'left out' },
      );
    case 'oci':
      return ociLayout(images.map((image, at) => ociParts(image, at)));
  }
}

function dockerParts({ name, root, config }: PreparedImage) {
  if (config?.image === undefined) throw new PassthroughError('INTERNAL', 'Cannot lay out what is no image');
  const { digest, mediaType } = root;
  return {
    reference: name,
    manifest: { digest, mediaType },
    config: { digest: config.digest, bytes: config.bytes, image: config.image },
  };
}

/** Layers of this form have a diff ID: their bytes were verified against it. */
function unpackedLayer({ diffId, descriptor, file }: PreparedLayer) {
  return { diffId: diffId ?? descriptor.digest, size: file.size };
}

function ociParts({ name, root, config, descriptors, documents, layers }: PreparedImage, at: number) {
  const files = layers.map(({ descriptor: { digest, size } }, index) => ({
    digest,
    size,
    layer: { image: at, index },
  }));
  return {
    reference: name,
    manifest: root,
    blobs: [...documents.map(({ digest, bytes }) => ({ digest, size: bytes.byteLength, bytes })), ...files],
    ...(config?.image !== undefined && {
      image: {
        ...(config.image.platform !== undefined && { platform: config.image.platform }),
        config: config.digest,
        layers: descriptors.map(({ digest }) => digest),
      },
    }),
  };
}
