import { PassthroughError } from '../../errors.ts';
import type { Digest } from '../../image/digest.ts';
import type { Descriptor } from '../../image/manifest.ts';
import { toOciManifest } from '../../image/oci-manifest.ts';
import type { ImageService } from '../../pull/image-service.ts';
import type { Call, ImageRequest } from '../../pull/request.ts';
import type { PlatformChoice } from '../../pull/resolve-manifest.ts';

/** The manifest of an image as the proxy serves it. */
export interface ProxiedManifest {
  /** In the form of OCI. */
  readonly bytes: Uint8Array;
  /** Digest of the manifest at the registry, which is that of the bytes unless they were converted. */
  readonly digest: Digest;
  /** Digest of the index from which the image was chosen. */
  readonly indexDigest: Digest | undefined;
  /** Config and layers. */
  readonly blobs: ReadonlyMap<Digest, Descriptor>;
}

/**
 * One image at its registry. It is resolved once, when it is first needed: a tag that moves meanwhile does not give layers that the
 * manifest does not name.
 */
export class ProxiedImage {
  readonly #service: ImageService;
  readonly #image: ImageRequest;
  readonly #platform: PlatformChoice;
  readonly #call: Call;
  #manifest: Promise<ProxiedManifest> | undefined;

  /** @param call its signal ends the command */
  constructor(service: ImageService, image: ImageRequest, platform: PlatformChoice, call: Call) {
    this.#service = service;
    this.#image = image;
    this.#platform = platform;
    this.#call = call;
  }

  /**
   * Resolves the image. A failure is not kept, so that a later call asks the registry again.
   *
   * @throws PassthroughError what `ImageService.manifest` throws; `UNSUPPORTED_IMAGE`
   */
  async manifest(): Promise<ProxiedManifest> {
    const manifest = this.#manifest ?? this.#resolve();
    this.#manifest = manifest;
    try {
      return await manifest;
    } catch (error) {
      // Another caller may have begun anew.
      if (this.#manifest === manifest) this.#manifest = undefined;
      throw error;
    }
  }

  /**
   * Finds config or layer by digest.
   *
   * @throws PassthroughError `NOT_FOUND` if the manifest names no such blob; what {@link manifest} throws
   */
  async blob(digest: Digest): Promise<Descriptor> {
    const { blobs, digest: manifestDigest } = await this.manifest();
    const found = blobs.get(digest);
    if (found !== undefined) return found;
    throw new PassthroughError(
      'NOT_FOUND',
      `Cannot send blob ${digest}: manifest ${manifestDigest} names no such config or layer`,
    );
  }

  /**
   * Opens a blob. Its bytes are verified when they have been read to the end, not before.
   *
   * @throws PassthroughError what `ImageService.openBlob` throws
   */
  open(blob: Descriptor, signal: AbortSignal): Promise<AsyncGenerator<Uint8Array, void, undefined>> {
    return this.#service.openBlob(this.#image, blob, { ...this.#call, signal });
  }

  async #resolve(): Promise<ProxiedManifest> {
    const choice = { type: 'image', platform: this.#platform } as const;
    const served = await this.#service.manifest(this.#image, choice, this.#call);
    try {
      // The content may be freed with its release.
      const source = Uint8Array.from(await served.content.readWhole());
      const { bytes, manifest } = toOciManifest(source, served.mediaType);
      const blobs = new Map([manifest.config, ...manifest.layers].map((blob) => [blob.digest, blob]));
      return { bytes, digest: served.digest, indexDigest: served.indexDigest, blobs };
    } finally {
      served.content.release();
    }
  }
}
