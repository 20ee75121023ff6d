import type { Descriptor } from '../image/descriptor.ts';
import type { Digest } from '../image/digest.ts';
import type { ImageConfig } from '../image/image-config.ts';
import type { ArchivedImage } from './archive.ts';
import type { Document } from './entries.ts';

/** An image without the bytes of its layers, for the layouts of Docker. */
export interface ImageContent<Layer> extends ArchivedImage {
  readonly config: Document & {
    /** The parsed bytes. */
    readonly image: ImageConfig;
  };
  /** Base first, one for each diff ID of the config. A layer that occurs twice is listed twice. */
  readonly layers: readonly Layer[];
}

/** A layer of an image. */
interface Layer {
  readonly diffId: Digest;
  /** Whether its file is not in the archive, because the base of an update archive has the layer. Default: `false`. */
  readonly isLeftOut?: boolean;
}

/** A layer in uncompressed form. */
export interface UnpackedLayer extends Layer {
  /** Uncompressed bytes. */
  readonly size: number;
}

/** A layer in the form of the registry, or compressed anew. */
export interface PackedLayer extends Layer {
  /** From the manifest. */
  readonly descriptor: Descriptor;
  /** Bytes of its gzip, if that was made here because the blob is no gzip. */
  readonly deflatedBytes?: number | undefined;
}
