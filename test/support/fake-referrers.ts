/** The referrers API of the fake registry. */

import { type Answer, bytesBody } from './answer.ts';
import { type BuiltManifest, MEDIA_TYPES } from './image.ts';

interface Fields {
  readonly subject?: { readonly digest?: string };
  readonly artifactType?: string;
  readonly config?: { readonly mediaType?: string };
  readonly annotations?: Readonly<Record<string, string>>;
}

/** OCI distribution spec, "Listing Referrers": the manifests whose subject is `digest`, as an index. */
export function answerReferrers(digest: string, manifests: Iterable<BuiltManifest>): Answer {
  const entries = Array.from(manifests, (manifest) => ({
    manifest,
    fields: JSON.parse(manifest.bytes.toString()) as Fields,
  }))
    .filter(({ fields }) => fields.subject?.digest === digest)
    .map(({ manifest, fields: { artifactType, config, annotations } }) => ({
      mediaType: manifest.mediaType,
      digest: manifest.digest,
      size: manifest.bytes.length,
      artifactType: artifactType ?? config?.mediaType,
      annotations,
    }));
  const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.oci.index, manifests: entries };
  return {
    status: 200,
    headers: { 'Content-Type': MEDIA_TYPES.oci.index },
    body: bytesBody(JSON.stringify(index)),
  };
}
