import type { Attributes } from '@opentelemetry/api';
import type { Digest } from '../image/digest.ts';
import { formatReference, type Reference } from '../image/reference.ts';

/** What a reference resolved to. */
export interface ResolvedImage {
  readonly reference: Reference;
  /** Of the manifest, or of the index where every platform is wanted. */
  readonly manifestDigest: Digest;
  /** It is the image's ID, too; none of an index. */
  readonly configDigest: Digest | undefined;
}

/**
 * What is known of an image before the registry is asked. The tag stands twice: under the name that older dashboards know, and
 * as the list that the conventions have made of it.
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

/** What is known of an image once its manifest is here. */
export function resolvedAttributes({ reference, manifestDigest, configDigest }: ResolvedImage): Attributes {
  const { registryName, repository } = reference;
  return {
    ...(configDigest !== undefined && {
      'container.image.id': configDigest,
      'oci.image.config.digest': configDigest,
    }),
    'container.image.repo_digests': [`${registryName}/${repository}@${manifestDigest}`],
    'oci.manifest.digest': manifestDigest,
  };
}
