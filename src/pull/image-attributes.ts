import type { Attributes } from '@opentelemetry/api';
import type { Digest } from '../image/digest.ts';
import { formatReference, type Reference } from '../image/reference.ts';

/** The digests that a reference resolved to. */
export interface ImageDigests {
  /** Of the manifest; of the index if the archive holds all platforms. */
  readonly manifest: Digest;
  /** Of the config, which is also the image ID; `undefined` for an index. */
  readonly config: Digest | undefined;
}

/**
 * Span attributes of an image before the registry is asked. The tag has two attributes: the name that older dashboards use, and
 * the list that the conventions define.
 *
 * @see https://opentelemetry.io/docs/specs/semconv/registry/attributes/container/
 */
export function referenceAttributes(reference: Reference): Attributes {
  const { registryName, repository, tag } = reference;
  return {
    'container.image.name': `${registryName}/${repository}`,
    ...(tag !== undefined && { 'container.image.tag': tag, 'container.image.tags': [tag] }),
    'oci.image.ref': formatReference(reference),
  };
}

/** Span attributes of an image whose manifest is verified. */
export function digestAttributes(reference: Reference, { manifest, config }: ImageDigests): Attributes {
  const { registryName, repository } = reference;
  return {
    ...(config !== undefined && { 'container.image.id': config, 'oci.image.config.digest': config }),
    'container.image.repo_digests': [`${registryName}/${repository}@${manifest}`],
    'oci.manifest.digest': manifest,
  };
}
