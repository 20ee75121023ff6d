import { DESCRIPTOR_SHAPE, type Descriptor, parseDescriptor } from './descriptor.ts';
import { fieldsOf, readJsonObject } from './json.ts';

/** A manifest that names another manifest as its subject: a signature, an attestation, a bill of materials. */
export interface Referrer extends Descriptor {
  /** Type of the artifact; empty if the entry has none. */
  readonly artifactType: string;
  /** Type of the statement in a Sigstore bundle, as the entry claims it; empty if the entry has none. */
  readonly predicateType: string;
}

/** Annotation that cosign puts on the manifests of bundles. Registries repeat it in the lists of referrers. */
const PREDICATE_TYPE = 'dev.sigstore.bundle.predicateType';

/** What is read of an entry. */
const ENTRY_SHAPE = {
  fields: {
    ...DESCRIPTOR_SHAPE,
    artifactType: 'scalar',
    annotations: { fields: { [PREDICATE_TYPE]: 'scalar' } },
  },
} as const;

/**
 * Reads a list of referrers: an index. Malformed entries are left out, since others must not lose their signature by them.
 *
 * @param most further entries are left out
 * @param refuse makes the error for a document that is no index
 * @throws the error of `refuse`
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers
 */
export function parseReferrers(
  bytes: Uint8Array,
  most: number,
  refuse: (why: string, cause?: unknown) => Error,
): readonly Referrer[] {
  const referrers: Referrer[] = [];
  const take = (item: unknown) => {
    const referrer = referrers.length < most ? referrerOf(item) : undefined;
    if (referrer !== undefined) referrers.push(referrer);
  };
  const shape = { fields: { manifests: { items: ENTRY_SHAPE, take } } };
  const { manifests } = readJsonObject(bytes, shape, refuse);
  if (!Array.isArray(manifests)) throw refuse('its manifests are not a list');
  return referrers;
}

function referrerOf(item: unknown): Referrer | undefined {
  const fields = fieldsOf(item);
  const text = (value: unknown) => (typeof value === 'string' ? value : '');
  try {
    return {
      ...parseDescriptor(fields, 'manifests'),
      artifactType: text(fields['artifactType']),
      predicateType: text(fieldsOf(fields['annotations'])[PREDICATE_TYPE]),
    };
  } catch {
    return undefined;
  }
}
