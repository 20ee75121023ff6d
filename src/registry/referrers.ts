import { isPassthroughError, PassthroughError } from '../errors.ts';
import { DESCRIPTOR_SHAPE, type Descriptor, parseDescriptor } from '../image/descriptor.ts';
import type { Digest } from '../image/digest.ts';
import { fieldsOf, readJsonObject } from '../image/json.ts';
import { OCI_INDEX } from '../image/media-type.ts';
import { quoted } from '../util/printable.ts';
import { type RepositoryPlace, referrersEndpoint } from './endpoint.ts';
import type { WholeBody } from './read-bounded.ts';
import { nextPage } from './tag-list.ts';

/** A manifest that names another manifest as its subject: a signature, an attestation, a bill of materials. */
export interface Referrer extends Descriptor {
  /** Type of the artifact; empty if the entry has none. */
  readonly artifactType: string;
  /** Type of the statement in a Sigstore bundle, as the entry claims it; empty if the entry has none. */
  readonly predicateType: string;
}

/** Decides by what an entry says of itself, which is not proven, whether it is kept. */
export type IsWanted = (referrer: Referrer) => boolean;

/** A list of referrers, or a part of it. */
export interface ReferrerList {
  /** Those that are wanted. */
  readonly referrers: readonly Referrer[];
  /** How many entries were read. */
  readonly listed: number;
  /** Whether there are more than were read. */
  readonly isCut: boolean;
  /** Why a further page could not be read. */
  readonly failure?: PassthroughError;
}

/** Annotation that cosign puts on the manifests of bundles. Registries repeat it in the lists of referrers. */
export const PREDICATE_TYPE = 'dev.sigstore.bundle.predicateType';

/** What is read of an entry. */
const ENTRY_SHAPE = {
  fields: {
    ...DESCRIPTOR_SHAPE,
    artifactType: 'scalar',
    annotations: { fields: { [PREDICATE_TYPE]: 'scalar' } },
  },
} as const;

/** Most wanted referrers of a manifest that are kept: signed images have a few. */
export const MAX_REFERRERS = 1000;

/** Most pages to read: an image that is scanned every night has hundreds of entries, and registries send 50 to 100 on a page. */
export const MAX_REFERRER_PAGES = 20;

/** Largest page, in bytes: 1000 entries of cosign have 350 KB. */
export const MAX_REFERRERS_BYTES = 1024 * 1024;

/**
 * Statuses of registries without a referrers API. The specification has 404; go-containerregistry, which cosign uses, also takes
 * 400 and 406 for it, and others say that the method or the route is not implemented.
 */
const NO_REFERRERS_API: readonly (number | undefined)[] = [400, 404, 405, 406, 501];

/** The first page of the referrers of a manifest. */
export function referrersBody(place: RepositoryPlace, digest: Digest): WholeBody {
  return {
    endpoint: referrersEndpoint(place, digest),
    headers: { accept: OCI_INDEX },
    maxBytes: MAX_REFERRERS_BYTES,
    tooLarge: 'REGISTRY_FAILED',
    what: `list of referrers of ${quoted(digest)}`,
  };
}

/** One page of referrers. */
export interface ReferrerPage {
  readonly value: ReferrerList;
  /** Value of its `Link` header; empty if there is none. */
  readonly link: string;
}

/** Fetches a page, and reads its body with `parse`. */
export type GetReferrerPage = (
  page: WholeBody,
  parse: (bytes: Uint8Array) => ReferrerList,
) => Promise<ReferrerPage>;

/**
 * Reads the referrers of a manifest page by page, up to the limits above: what lies beyond them is left out. What was read before a
 * page that fails is kept, since it may have all that is wanted.
 *
 * @param first the first page; see {@link referrersBody}
 * @param isWanted others are left out, so that they take no place
 * @returns `undefined` if the registry has no referrers API
 * @throws PassthroughError of the first page: `REGISTRY_FAILED` for a body that is no list; what `getPage` throws
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers
 */
export async function collectReferrers(
  first: WholeBody,
  isWanted: IsWanted,
  getPage: GetReferrerPage,
): Promise<ReferrerList | undefined> {
  const { what, endpoint } = first;
  const refuse = (why: string, cause?: unknown) =>
    new PassthroughError('REGISTRY_FAILED', `Cannot read ${what}: ${why}`, { cause });
  const referrers: Referrer[] = [];
  let listed = 0;
  let isCut = false;
  let url: URL | undefined = endpoint.url;
  for (let pages = 0; url !== undefined && pages < MAX_REFERRER_PAGES; pages += 1) {
    try {
      const { value, link }: ReferrerPage = await getPage(
        { ...first, endpoint: { ...endpoint, url } },
        (body) => parseReferrers(body, { most: MAX_REFERRERS - referrers.length, isWanted, refuse }),
      );
      referrers.push(...value.referrers);
      listed += value.listed;
      isCut ||= value.isCut;
      url = isCut ? undefined : nextPage(link, url, what);
    } catch (error) {
      const isMissing = isPassthroughError(error) && NO_REFERRERS_API.includes(error.details.registryStatus);
      if (isMissing && pages === 0) return undefined;
      if (!isPassthroughError(error) || listed === 0) throw error;
      return { referrers, listed, isCut: true, failure: error };
    }
  }
  return { referrers, listed, isCut: isCut || url !== undefined };
}

/** How a list is read. */
export interface ReadList {
  /** Further entries that are wanted are left out. */
  readonly most: number;
  readonly isWanted: IsWanted;
  /** Makes the error for a document that is no index. */
  readonly refuse: (why: string, cause?: unknown) => Error;
}

/**
 * Reads a list of referrers: an index. Malformed entries are left out, since others must not lose their signature by them.
 *
 * @throws the error of `refuse`
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers
 */
export function parseReferrers(bytes: Uint8Array, { most, isWanted, refuse }: ReadList): ReferrerList {
  const referrers: Referrer[] = [];
  let listed = 0;
  let isCut = false;
  const take = (item: unknown) => {
    listed += 1;
    const referrer = referrerOf(item);
    if (referrer === undefined || !isWanted(referrer)) return;
    if (referrers.length < most) referrers.push(referrer);
    else isCut = true;
  };
  const shape = { fields: { manifests: { items: ENTRY_SHAPE, take } } };
  const { manifests } = readJsonObject(bytes, shape, refuse);
  if (!Array.isArray(manifests)) throw refuse('its manifests are not a list');
  return { referrers, listed, isCut };
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
