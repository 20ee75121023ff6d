import type { Digest } from '../../image/digest.ts';
import { essence } from '../../image/media-type.ts';
import type { Reference } from '../../image/reference.ts';
import type { Repository } from '../../registry/repository.ts';
import { nameOf, type ServedManifest } from '../resolve-manifest.ts';

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
 * @throws PassthroughError those of `Repository`; what `fetch` throws
 */
export async function manifestFacts(
  reference: Reference,
  repository: Repository,
  fetch: () => Promise<ServedManifest>,
  signal: AbortSignal,
): Promise<ManifestFacts> {
  const head = await repository.headManifest(nameOf(reference), signal);
  if (head?.size !== undefined && head.contentType !== '')
    return { digest: head.digest, mediaType: essence(head.contentType), size: head.size };
  const { digest, mediaType, content } = await fetch();
  content.release();
  return { digest, mediaType, size: content.size };
}
