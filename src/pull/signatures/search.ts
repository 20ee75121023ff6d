import { isPassthroughError, type PassthroughError } from '../../errors.ts';
import { DESCRIPTOR_SHAPE, type Descriptor, parseDescriptor } from '../../image/descriptor.ts';
import { type Digest, digestAlgorithm, digestHex } from '../../image/digest.ts';
import { fieldsOf, type JsonFields, readJsonObject } from '../../image/json.ts';
import { OCI_MANIFEST } from '../../image/media-type.ts';
import { PREDICATE_TYPE, type Referrer, type ReferrerList } from '../../registry/referrers.ts';
import { printable } from '../../util/printable.ts';
import { type BoundedDocuments, MAX_DOCUMENTS } from './bounded-documents.ts';
import { type Evidence, type Judgement, judge } from './judge.ts';
import type { VerificationKey } from './keys.ts';
import { BUNDLE_TYPE, SIGN_PREDICATE } from './payload.ts';
import { DocumentFault } from './strict-json.ts';

/** Most signatures of one kind that are looked at for one digest. */
const MAX_SIGNATURES = 32;

/** Most reasons that a refusal repeats. */
const MAX_REASONS = 8;

/** Longest reason, in characters. */
const MAX_REASON_LENGTH = 240;

/** Digits of a digest in a reason. */
const SHOWN_DIGITS = 12;

const SIGNATURE_ANNOTATION = 'dev.cosignproject.cosign/signature';
const SIMPLE_SIGNING = 'application/vnd.dev.cosign.simplesigning.v1+json';

/**
 * Types of entries that may be a bundle. cosign 3.1 writes the second one into the index of a registry without a referrers API, whatever
 * the type of the manifest is.
 */
const MAYBE_BUNDLES: readonly (string | RegExp)[] = [BUNDLE_TYPE, 'application/vnd.oci.empty.v1+json', ''];

/** What is read of a manifest of signatures. */
const MANIFEST_SHAPE = {
  fields: {
    subject: { fields: DESCRIPTOR_SHAPE },
    annotations: { fields: { [PREDICATE_TYPE]: 'scalar' } },
    layers: {
      items: {
        fields: { ...DESCRIPTOR_SHAPE, annotations: { fields: { [SIGNATURE_ANNOTATION]: 'scalar' } } },
      },
    },
  },
} as const;

/** Failures that concern one document, so that others may still be valid. */
const OF_DOCUMENT = ['IMAGE_TOO_LARGE', 'UNSUPPORTED_IMAGE', 'VERIFICATION_FAILED'] as const;

/** Failures of a registry for one request. It may answer others. */
const OF_REQUEST = ['REGISTRY_DENIED', 'REGISTRY_FAILED', 'REGISTRY_NOT_ALLOWED'] as const;

/** A signature that counts. */
export interface FoundSignature {
  readonly key: VerificationKey;
  /** What it signs: the index or the manifest. */
  readonly digest: Digest;
  readonly evidence: Evidence;
}

/** What signatures are judged by. */
export type SearchRules = Omit<Judgement, 'digest'>;

/** Which layers of a manifest are read. */
interface LayerChoice {
  /** The digest that is signed. */
  readonly digest: Digest;
  readonly isWanted: (mediaType: unknown) => boolean;
  /** Whether the manifest must say that it is about the digest. */
  readonly needsSubject: boolean;
}

/**
 * Looks for a signature of one image at its registry. What a registry can make it do is bounded: documents, their sizes, signatures.
 */
export class SignatureSearch {
  readonly #rules: SearchRules;
  /** What was looked at and does not count: one line each. */
  readonly #reasons: string[] = [];
  readonly #documents: BoundedDocuments;
  /** Bundles that were looked at. */
  readonly #seen = new Set<Digest>();
  #isCut = false;
  #hasRejected = false;
  #failure: PassthroughError | undefined;

  constructor(rules: SearchRules, documents: BoundedDocuments) {
    this.#rules = rules;
    this.#documents = documents;
  }

  /** What was looked for and found, for people: one line each, few of them. */
  get reasons(): readonly string[] {
    const shown = this.#reasons.slice(0, MAX_REASONS).map((reason) => printable(reason, MAX_REASON_LENGTH));
    const more = this.#reasons.length - shown.length;
    return [
      ...shown,
      ...(more > 0 ? [`and ${more} more`] : []),
      ...(this.#isCut || this.#documents.isCut
        ? [`no more than ${MAX_SIGNATURES} of a kind and ${MAX_DOCUMENTS} documents are looked at`]
        : []),
    ];
  }

  /** Whether something was there, and does not count. */
  get hasRejected(): boolean {
    return this.#hasRejected;
  }

  /**
   * Looks at all signatures of digests, until one counts.
   *
   * @param digests any of which may be signed
   * @returns `undefined` if none counts
   * @throws PassthroughError the failure of a registry that could not be asked for all of them
   */
  async find(digests: readonly Digest[]): Promise<FoundSignature | undefined> {
    for (const digest of digests) {
      for await (const found of this.#candidates(digest)) return found;
    }
    if (this.#failure !== undefined) throw this.#failure;
    return undefined;
  }

  /** The signatures of a digest that count: the tag of cosign's first form, then bundles. */
  async *#candidates(digest: Digest): AsyncGenerator<FoundSignature, void, undefined> {
    yield* this.#ofTag(digest);
    const list = `referrers of ${shortOf(digest)}`;
    const listed = await this.#fetch(list, async () => ({
      found: await this.#documents.referrers(digest, mayBeSignature),
    }));
    if (listed?.found !== undefined) yield* this.#ofReferrers(digest, listed.found, list);
    else if (listed !== undefined) this.#note(list, 'the registry does not list them');
    // A registry that has got a referrers API may lack what was signed before.
    const tag = fallbackTag(digest);
    const fallback = `tag ${shortOf(tag)}`;
    const index = await this.#fetch(fallback, () => this.#documents.index(tag, mayBeSignature));
    if (index !== undefined) yield* this.#ofReferrers(digest, index, fallback);
  }

  async *#ofTag(digest: Digest): AsyncGenerator<FoundSignature, void, undefined> {
    // The name of a tag has 128 characters at most.
    if (digestAlgorithm(digest) !== 'sha256') return;
    const tag = `sha256-${digestHex(digest)}.sig`;
    const name = `tag ${shortOf(tag)}.sig`;
    const isWanted = (type: unknown) => type === SIMPLE_SIGNING;
    const signed = await this.#fetch(name, () =>
      this.#layers(tag, { digest, isWanted, needsSubject: false }),
    );
    if (signed?.length === 0) this.#reject(name, 'it has no signatures');
    for (const [at, layer] of this.#first(signed ?? [])) {
      const what = `signature ${at + 1} of ${name}`;
      const found = await this.#fetch(what, async () => {
        const evidence = {
          form: 'tag',
          document: await this.#documents.blob(parseDescriptor(layer, 'layer')),
          signature: fieldsOf(layer['annotations'])[SIGNATURE_ANNOTATION],
        } as const;
        return { key: judge(evidence, { ...this.#rules, digest }), digest, evidence };
      });
      if (found !== undefined) yield found;
    }
  }

  async *#ofReferrers(
    digest: Digest,
    { referrers, listed, isCut, failure }: ReferrerList,
    what: string,
  ): AsyncGenerator<FoundSignature, void, undefined> {
    this.#isCut ||= isCut;
    if (referrers.length === 0) this.#reject(what, `none of ${listed} is a signature`);
    if (isCut && failure === undefined) this.#note(what, `it has more than the ${listed} that were read`);
    // Those that say that they are one come first: attestations may be many.
    const sorted = referrers.toSorted((one, other) => rankOf(one) - rankOf(other));
    let looked = 0;
    for (const referrer of sorted) {
      if (this.#seen.has(referrer.digest)) continue;
      this.#isCut ||= looked === MAX_SIGNATURES;
      if (looked === MAX_SIGNATURES) break;
      this.#seen.add(referrer.digest);
      const name = `bundle ${shortOf(referrer.digest)}`;
      const found = await this.#fetch(name, async () => {
        const bundle = await this.#bundle(referrer, digest);
        looked += 1;
        const evidence = { form: 'bundle', document: await this.#documents.blob(bundle) } as const;
        return { key: judge(evidence, { ...this.#rules, digest }), digest, evidence };
      });
      if (found !== undefined) yield found;
    }
    if (failure !== undefined) await this.#fetch(what, () => Promise.reject(failure));
  }

  /** The bundle of a manifest that is about a digest. */
  async #bundle(referrer: Referrer, digest: Digest): Promise<Descriptor> {
    const isWanted = (type: unknown) => typeof type === 'string' && BUNDLE_TYPE.test(type);
    const [only, ...more] = await this.#layers(referrer, { digest, isWanted, needsSubject: true });
    if (only === undefined || more.length > 0) throw new DocumentFault('it does not have one bundle');
    return parseDescriptor(only, 'layer');
  }

  /** The layers of a manifest of signatures that have a wanted type. They are read one by one: one may be malformed. */
  async #layers(
    reference: string | Descriptor,
    { digest, isWanted, needsSubject }: LayerChoice,
  ): Promise<readonly JsonFields[]> {
    const { subject, annotations, layers } = await this.#documents.manifest(reference, (bytes) =>
      readJsonObject(bytes, MANIFEST_SHAPE, (why) => new DocumentFault(why)),
    );
    const named = fieldsOf(subject)['digest'];
    if (named !== digest && (needsSubject || named !== undefined))
      throw new DocumentFault('its subject is another manifest');
    // The lists that cosign writes do not say it. A wrong word here only saves the look at the bundle.
    const predicateType = fieldsOf(annotations)[PREDICATE_TYPE];
    if (typeof predicateType === 'string' && ![SIGN_PREDICATE, ''].includes(predicateType))
      throw new DocumentFault('it is an attestation, not a signature');
    if (!Array.isArray(layers)) throw new DocumentFault('it has no layers');
    return layers.map(fieldsOf).filter(({ mediaType }) => isWanted(mediaType));
  }

  #first<T>(all: readonly T[]): readonly (readonly [at: number, one: T])[] {
    this.#isCut ||= all.length > MAX_SIGNATURES;
    return all.slice(0, MAX_SIGNATURES).map((one, at) => [at, one] as const);
  }

  /** Notes why something that is there does not count. */
  #reject(what: string, why: string): void {
    this.#hasRejected = true;
    this.#note(what, why);
  }

  #note(what: string, why: string): void {
    this.#reasons.push(`${what}: ${why}`);
  }

  /** Fetches and judges a document. One that does not count, or is not there, is a reason. */
  async #fetch<T>(what: string, work: () => Promise<T>): Promise<T | undefined> {
    return await this.#attempt(what, async () => {
      try {
        return await work();
      } catch (error) {
        const isMissing = isPassthroughError(error, 'IMAGE_NOT_FOUND');
        const isOfDocument = error instanceof DocumentFault || isPassthroughError(error, ...OF_DOCUMENT);
        if (!isMissing && !isOfDocument) throw error;
        if (isMissing) this.#note(what, 'not found');
        else this.#reject(what, error.message);
        return undefined;
      }
    });
  }

  /** Goes on after the failure of one request, unless the registry is down. */
  async #attempt<T>(what: string, work: () => Promise<T | undefined>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      if (!isPassthroughError(error, ...OF_REQUEST)) throw error;
      this.#failure ??= error;
      this.#note(what, error.message);
      return undefined;
    }
  }
}

/** A digest, or a tag that is made of one, in a reason. */
function shortOf(name: string): string {
  const behind = name.search(/[:-]/) + 1;
  return `${name.slice(0, behind + SHOWN_DIGITS)}…`;
}

/** The tag of a registry without a referrers API: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#referrers-tag-schema */
function fallbackTag(digest: Digest): string {
  const MAX_HEX = 64;
  return `${digestAlgorithm(digest)}-${digestHex(digest).slice(0, MAX_HEX)}`;
}

/** What an entry says is not proven. It only saves the look at entries that say that they are something else. */
function mayBeSignature({ mediaType, artifactType, predicateType }: Referrer): boolean {
  const isOther = predicateType !== '' && predicateType !== SIGN_PREDICATE;
  const isBundle = MAYBE_BUNDLES.some((type) =>
    typeof type === 'string' ? type === artifactType : type.test(artifactType),
  );
  return mediaType === OCI_MANIFEST && isBundle && !isOther;
}

function rankOf({ artifactType, predicateType }: Referrer): number {
  if (predicateType === SIGN_PREDICATE) return 0;
  return BUNDLE_TYPE.test(artifactType) ? 1 : 2;
}
