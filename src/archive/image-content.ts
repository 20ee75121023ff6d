import type { Descriptor } from '../image/descriptor.ts';
import type { Digest } from '../image/digest.ts';
import type { ImageConfig } from '../image/image-config.ts';
import type { ArchivedImage } from './archive.ts';

/** What the layouts of Docker arrange: all of an image but the bytes of its layers. */
export interface ImageContent<Layer> extends ArchivedImage {
  readonly config: {
    readonly digest: Digest;
    readonly bytes: Uint8Array;
    /** What the bytes say. */
    readonly image: ImageConfig;
  };
  /** Base first, as many as the config has diff IDs; a layer that occurs twice stands here twice. */
  readonly layers: readonly Layer[];
}

/** A layer whose uncompressed bytes are here. */
export interface UnpackedLayer {
  readonly diffId: Digest;
  /** Uncompressed bytes. */
  readonly size: number;
}

/** A layer as the registry has it. */
export interface PackedLayer {
  readonly diffId: Digest;
  /** From the manifest. */
  readonly descriptor: Descriptor;
}
