import type { Digest } from '../../image/digest.ts';
import { type ImageConfig, parseImageConfig } from '../../image/image-config.ts';
import type { ArtifactManifest, ImageManifest } from '../../image/manifest.ts';
import type { Reference } from '../../image/reference.ts';
import type { Repository } from '../../registry/repository.ts';
import { withSpan } from '../../telemetry/span.ts';
import type { Content } from '../../util/content.ts';
import type { Documents } from '../../util/documents.ts';
import { quoted } from '../../util/printable.ts';
import { digestAttributes, referenceAttributes } from '../image-attributes.ts';

/** An image, in the repository that holds it. */
export interface OpenedImage {
  readonly reference: Reference;
  readonly repository: Repository;
}

/** A verified config of an image or an artifact. */
export interface VerifiedConfig {
  readonly digest: Digest;
  /** The holder must release it. */
  readonly content: Content;
  /** What the bytes say; absent for an artifact. */
  readonly image?: ImageConfig;
}

/**
 * Fetches the config of a manifest and verifies it.
 *
 * @param manifestDigest of the manifest, for the trace
 * @returns the config, whose content the caller must release
 * @throws PassthroughError `UNSUPPORTED_IMAGE`, and what the repository throws
 */
export function fetchConfig(
  { reference, repository }: OpenedImage,
  manifest: ImageManifest | ArtifactManifest,
  manifestDigest: Digest,
  signal: AbortSignal,
  documents: Documents,
): Promise<VerifiedConfig> {
  const { digest } = manifest.config;
  const attributes = {
    ...referenceAttributes(reference),
    ...digestAttributes(reference, { manifest: manifestDigest, config: digest }),
  };
  return withSpan('fetch_config_blob', { attributes }, async () => {
    using held = new DisposableStack();
    const content = await repository.getConfig(manifest.config, signal);
    held.defer(() => content.release());
    const image =
      manifest.kind === 'image'
        ? await documents.use(content, `config ${quoted(digest)}`, signal, (bytes) =>
            parseImageConfig(bytes, manifest.layers.length),
          )
        : undefined;
    held.move();
    return { digest, content, ...(image !== undefined && { image }) };
  });
}
