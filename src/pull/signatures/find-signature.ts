import { PassthroughError } from '../../errors.ts';
import type { Digest } from '../../image/digest.ts';
import type { Reference } from '../../image/reference.ts';
import type { CredentialOwner } from '../../registry/auth/credentials.ts';
import type { Repository } from '../../registry/repository.ts';
import type { Documents } from '../../util/documents.ts';
import { quoted } from '../../util/printable.ts';
import { BoundedDocuments } from './bounded-documents.ts';
import { type FoundSignature, type SearchRules, SignatureSearch } from './search.ts';

/** Where the signatures of an image are. */
export interface SignatureSource {
  /** Opened with the credentials that the image was resolved with, and without a cache. */
  readonly repository: Repository;
  /** The same at the registry alone; `undefined` where it has no mirrors. */
  readonly registry: Repository | undefined;
  readonly owner: CredentialOwner;
  readonly account: string | undefined;
}

/** An image whose signature is looked for. */
export interface SearchedImage {
  readonly reference: Reference;
  readonly source: SignatureSource;
  /** Any of which may be signed. */
  readonly digests: readonly Digest[];
}

/** Longest time for one search, in milliseconds. It takes a few small requests to a registry. */
const MAX_SEARCH_MS = 60_000;

/**
 * Finds a signature that counts: at the mirrors and the registry, and at the registry alone where mirrors have signatures that do not
 * count, since theirs may be older.
 *
 * @throws PassthroughError `IMAGE_NOT_SIGNED` with what was looked for; `REGISTRY_TIMEOUT`; what `SignatureSearch.find` throws
 */
export async function findSignature(
  { reference, source, digests }: SearchedImage,
  rules: SearchRules,
  documents: Documents,
  signal: AbortSignal,
): Promise<FoundSignature> {
  // Not the tag: requests for other tags of the same image share the search, and its error.
  const image = `${reference.registryName}/${reference.repository}`;
  using limit = timeLimit(image);
  const both = AbortSignal.any([signal, limit.signal]);
  const start = (repository: Repository) =>
    new SignatureSearch(rules, new BoundedDocuments({ repository, documents, signal: both }));
  let search = start(source.repository);
  let found = await search.find(digests);
  const { registry } = source;
  if (found === undefined && search.hasRejected && registry !== undefined) {
    search = start(registry);
    found = await search.find(digests);
  }
  if (found !== undefined) return found;
  const { keys, names } = rules;
  const ofKeys = keys.map(({ name, fingerprint }) => `${quoted(name)} (SHA-256 ${fingerprint})`).join(', ');
  throw new PassthroughError(
    'IMAGE_NOT_SIGNED',
    `Cannot serve ${quoted(image)}: ${digests.join(' or ')} has no valid signature`,
    {
      hints: [`Looked at ${search.reasons.join('; ')}`, `Keys that count: ${ofKeys}`],
      ...(names !== undefined && { setting: 'signatureRepository' }),
    },
  );
}

/** Ends a search that a registry draws out. */
function timeLimit(image: string): Disposable & { readonly signal: AbortSignal } {
  const limit = new AbortController();
  const message = `Cannot verify the signature of ${quoted(image)}: it took more than ${MAX_SEARCH_MS / 1000} s`;
  const timer = setTimeout(
    () => limit.abort(new PassthroughError('REGISTRY_TIMEOUT', message)),
    MAX_SEARCH_MS,
  );
  return { signal: limit.signal, [Symbol.dispose]: () => clearTimeout(timer) };
}
