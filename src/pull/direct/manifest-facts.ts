import type { Digest } from '../../image/digest.ts';
import { essence } from '../../image/media-type.ts';
import { fetchManifest, nameOf, type OpenedImage } from '../resolve-manifest.ts';

/** What is known of a manifest without its bytes. */
export interface ManifestFacts {
  readonly digest: Digest;
  readonly mediaType: string;
  /** Bytes. */
  readonly size: number;
}

/**
 * Asks for digest, media type and size of a manifest with HEAD, and fetches the manifest where HEAD does not tell them all.
 *
 * @returns claims of the registry, or facts of a verified manifest
 * @throws PassthroughError those of `Repository`, `UNSUPPORTED_IMAGE`
 */
export async function manifestFacts(image: OpenedImage, signal: AbortSignal): Promise<ManifestFacts> {
  const head = await image.repository.headManifest(nameOf(image.reference), signal);
  if (head?.size !== undefined && head.contentType !== '')
    return { digest: head.digest, mediaType: essence(head.contentType), size: head.size };
  const { digest, mediaType, bytes } = await fetchManifest(
    image,
    { type: undefined, platform: undefined },
    signal,
  );
  return { digest, mediaType, size: bytes.byteLength };
}
