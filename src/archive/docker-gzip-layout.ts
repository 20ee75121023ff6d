import type { Descriptor } from '../image/descriptor.ts';
import { digestHex } from '../image/digest.ts';
import { isForeignLayer } from '../image/media-type.ts';
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
 * Plans an archive whose layers stay compressed as in the registry. Nothing is decompressed, and the length follows from
 * manifest and config. crane writes this layout, in this order; Docker Engine since 1.10, containerd and podman load it:
 *
 *     {config hex}.json     the config blob, byte for byte; image by image, followed by its layers
 *     {layer hex}.tar.gz    the layer's blob, with this name for any compression, as crane does; each once
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
      const { descriptor } = layer;
      const { digest, size } = descriptor;
      if (isLeftOut(layer)) return [];
      return [{ name: layerName(descriptor), type: 'file', size, blob: digest, layer: { image: at, index } }];
    }),
  ]);
  const manifest = manifestJson(
    images.map((image) => ({
      reference: image.reference,
      config: configName(image),
      layers: image.layers.map(({ descriptor }) => layerName(descriptor)),
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

function layerName({ digest }: Descriptor): string {
  return `${digestHex(digest)}.tar.gz`;
}
