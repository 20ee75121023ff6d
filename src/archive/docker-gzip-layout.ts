import { type Digest, digestHex } from '../image/digest.ts';
import { declaresGzip, isForeignLayer } from '../image/media-type.ts';
import { type Archive, type ArchiveEntry, type ForeignLayers, planArchive } from './archive.ts';
import { documentFile, withoutRepeats } from './entries.ts';
import type { ImageContent, PackedLayer } from './image-content.ts';
import { manifestJson } from './manifest-json.ts';

type Image = ImageContent<PackedLayer>;

/** Options of {@link dockerGzipLayout}. */
export interface DockerGzipOptions {
  /** Whether the archive contains the files of foreign layers. */
  readonly foreignLayers: ForeignLayers;
}

/**
 * Plans an archive whose layers stay compressed as in the registry, if they are gzip there. crane writes this layout, in this order;
 * Docker Engine since 1.10, containerd and podman load it:
 *
 *     {config hex}.json     the config blob, byte for byte; image by image, followed by its layers
 *     {layer hex}.tar.gz    the layer's blob, named by its digest; or its gzip that was made here, named by its diff ID, since the
 *                           digest is that of other bytes; each once
 *     manifest.json         config, tags and layers; foreign layers also as `LayerSources`, by diff ID
 *
 * `Layers` also lists layers that are left out, foreign ones and those of a base: engines require as many layers there as diff IDs
 * in the config, and use a layer that they already have. In contrast to crane, the config's name has no colon, which some file
 * systems do not allow.
 *
 * @param images in the order of `manifest.json`
 * @see https://github.com/google/go-containerregistry/blob/v0.20.2/pkg/v1/tarball/README.md
 */
export function dockerGzipLayout(images: readonly Image[], { foreignLayers }: DockerGzipOptions): Archive {
  const isLeftOut = ({ descriptor, isLeftOut: isInBase }: PackedLayer) =>
    isInBase === true || (foreignLayers === 'left out' && isForeignLayer(descriptor));
  const blobs = images.flatMap((image, at): readonly ArchiveEntry[] => [
    documentFile(configName(image), image.config),
    ...image.layers.flatMap((layer, index): readonly ArchiveEntry[] => {
      if (isLeftOut(layer)) return [];
      const size = layer.deflatedBytes ?? layer.descriptor.size;
      const position = { image: at, index };
      return [{ name: layerName(layer), type: 'file', size, blob: digestOf(layer), layer: position }];
    }),
  ]);
  const manifest = manifestJson(
    images.map((image) => ({
      reference: image.reference,
      config: configName(image),
      layers: image.layers.map(layerName),
      layerSources: new Map(
        image.layers
          .filter(({ descriptor }) => isForeignLayer(descriptor))
          .map(({ diffId, descriptor }) => [diffId, descriptor]),
      ),
    })),
  );
  return planArchive(withoutRepeats([...blobs, manifest]), { layout: 'docker-gzip', foreignLayers, images });
}

function configName({ config }: Image): string {
  return `${digestHex(config.digest)}.json`;
}

function layerName(layer: PackedLayer): string {
  return `${digestHex(digestOf(layer))}.tar.gz`;
}

/** A layer that is left out for a base is named as in the whole archive, as far as its media type tells. */
function digestOf({ descriptor, diffId, deflatedBytes, isLeftOut }: PackedLayer): Digest {
  const isBlob = isLeftOut === true ? declaresGzip(descriptor) : deflatedBytes === undefined;
  return isBlob ? descriptor.digest : diffId;
}
