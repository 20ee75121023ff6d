import type { Attributes, Span } from '@opentelemetry/api';
import { isPassthroughError } from '../../errors.ts';
import type { Digest } from '../../image/digest.ts';
import { formatReference, type Reference } from '../../image/reference.ts';
import type { RegistryHost } from '../../registry/registry-host.ts';
import type { RepositoryLocation } from '../../registry/repository.ts';
import { instruments } from '../../telemetry/metrics.ts';
import { withSpan } from '../../telemetry/span.ts';
import { BoundedMap } from '../../util/bounded-map.ts';
import type { Documents } from '../../util/documents.ts';
import { KeyedSemaphore } from '../../util/semaphore.ts';
import { SingleFlight } from '../../util/single-flight.ts';
import { referenceAttributes } from '../image-attributes.ts';
import type { EvidenceStore } from './evidence-store.ts';
import { findSignature, type SignatureSource } from './find-signature.ts';
import { type Evidence, judge } from './judge.ts';
import type { KeyRing, KeySet } from './key-ring.ts';
import type { VerificationKey } from './keys.ts';
import { isRequired, namesOf } from './repositories.ts';
import { DocumentFault } from './strict-json.ts';

/** Whose images must be signed, and with which keys. */
export interface SignatureOptions {
  /**
   * Public keys, any of which may have signed an image: each the path of a PEM file, or PEM. Without keys, no signature is asked for.
   * `ed25519:` before one says that its signatures are plain Ed25519.
   */
  readonly keys: readonly string[];
  /** Patterns of `host/repository`: images of other repositories need no signature. `*` stands for any text. */
  readonly requiredFor: readonly string[];
  /** Whether an image that is not signed is refused, or only reported. */
  readonly policy: 'enforce' | 'warn';
  /** Whether a signature must say that it is for the repository that is asked for. */
  readonly matchRepository: boolean;
}

/** How the signature of an image was judged. */
export interface SignatureReport {
  /** `unchecked`: the registry could not be asked. */
  readonly result: 'verified' | 'not_signed' | 'unchecked';
  /** Reference of the image in full. */
  readonly image: string;
  /** The digest that is signed, or that should be. */
  readonly digest: Digest;
  /** The key that has signed it: its name and fingerprint. */
  readonly key?: Pick<VerificationKey, 'name' | 'fingerprint'>;
  /** Why it does not count. */
  readonly reason?: string;
  /** Whether it is served nevertheless. */
  readonly isServed: boolean;
}

/** An image whose manifest is verified, and the way to its signatures. */
export interface CheckedImage {
  readonly host: RegistryHost;
  readonly reference: Reference;
  readonly location: RepositoryLocation;
  readonly source: SignatureSource;
  /** The index that the reference names, if an image was chosen from it, and the manifest: one of them must be signed. */
  readonly digests: readonly Digest[];
}

/** What a {@link SignatureVerifier} is made from. */
export interface SignatureVerifierOptions {
  readonly rules: Omit<SignatureOptions, 'keys'>;
  readonly keys: KeyRing;
  readonly documents: Documents;
  readonly evidence: EvidenceStore;
  readonly onReport: (report: SignatureReport) => void;
}

/** A signature that counts. */
interface Verified {
  readonly digest: Digest;
  readonly key: VerificationKey;
  readonly form: Evidence['form'];
}

/** What is remembered of a digest: the signature that counts, or until when its lack is not reported again. */
type Remembered = Verified | { readonly untilMs: number; readonly form?: undefined };

/** Most digests that are remembered: some 400 bytes each. */
const MAX_REMEMBERED = 20_000;

/** Most searches at one registry at once: requests for images without a signature must not overload it. */
const MAX_SEARCHES = 16;

/** Milliseconds for which an image without a signature is served without another search, where it is only reported. */
const WARNED_MS = 60_000;

/**
 * Checks that images are signed before they are served. Every request passes here, cached archives too, so that a change of keys or
 * rules holds at once for what was cached before. A digest that is signed is searched for once, and remembered with the keys.
 */
export class SignatureVerifier {
  readonly #options: SignatureVerifierOptions;
  readonly #remembered = new BoundedMap<string, Remembered>({ maxCost: MAX_REMEMBERED });
  readonly #inFlight = new SingleFlight<string, Verified>();
  readonly #permits = new KeyedSemaphore(MAX_SEARCHES);

  constructor(options: SignatureVerifierOptions) {
    this.#options = options;
  }

  /**
   * Checks an image.
   *
   * @throws PassthroughError `IMAGE_NOT_SIGNED`; the failure of a registry that cannot be asked, which is never taken for a signature
   */
  async check(image: CheckedImage, signal: AbortSignal): Promise<void> {
    const { rules, keys } = this.#options;
    const { host, reference, location } = image;
    const [, namespace] = location.name.split('?ns=');
    const names = namesOf({ host, repository: reference.repository, namespace });
    if (!isRequired(rules.requiredFor, names)) return;
    const set = await keys.current();
    await withSpan('verify_signature', { attributes: referenceAttributes(reference) }, async (span) => {
      const remembered = this.#recall(image, set);
      if (remembered !== undefined) {
        note(span, 'remembered', remembered.form === undefined ? undefined : remembered);
        return;
      }
      try {
        const verified = await this.#join(image, set, rules.matchRepository ? names : undefined, signal);
        note(span, 'verified', verified);
      } catch (error) {
        this.#refuse(error, image, set, span, signal);
      }
    });
  }

  #recall({ location, digests }: CheckedImage, { id }: KeySet): Remembered | undefined {
    for (const digest of digests) {
      const known = this.#remembered.get(keyOf(id, location, digest));
      if (known !== undefined && (known.form !== undefined || performance.now() < known.untilMs))
        return known;
    }
    return undefined;
  }

  /** Concurrent requests share a search, if they have the same rights. */
  async #join(
    image: CheckedImage,
    set: KeySet,
    names: readonly string[] | undefined,
    signal: AbortSignal,
  ): Promise<Verified> {
    const { location, digests, source } = image;
    const { owner, account } = source;
    const key = [owner, account ?? '', ...digests.map((digest) => keyOf(set.id, location, digest))].join(' ');
    const { value, release } = await this.#inFlight.join(key, {
      signal,
      account,
      produce: (working) => this.#verify(image, set, names, working),
    });
    release();
    return value;
  }

  async #verify(
    image: CheckedImage,
    set: KeySet,
    names: readonly string[] | undefined,
    signal: AbortSignal,
  ): Promise<Verified> {
    const { documents, evidence, onReport } = this.#options;
    const { location, reference, source } = image;
    const kept = await this.#judgeKept(image, set, names);
    const search = () => findSignature(image, { keys: set.keys, names }, documents, signal);
    const found = kept ?? (await this.#permits.run(location.origin, signal, search, location.name));
    const verified = { digest: found.digest, key: found.key, form: found.evidence.form };
    this.#remembered.set(keyOf(set.id, location, found.digest), verified);
    if (kept === undefined && source.owner === 'none')
      await evidence.keep(location, found.digest, found.evidence);
    const { name, fingerprint } = found.key;
    onReport({
      result: 'verified',
      image: formatReference(reference),
      digest: found.digest,
      key: { name, fingerprint },
      isServed: true,
    });
    return verified;
  }

  /** Judges the signature that was kept with the manifest. The registry is not asked. */
  async #judgeKept(
    { location, digests }: CheckedImage,
    { keys }: KeySet,
    names: readonly string[] | undefined,
  ) {
    for (const digest of digests) {
      const found = await this.#options.evidence.find(location, digest);
      if (found === undefined) continue;
      try {
        return { key: judge(found, { keys, digest, names }), digest, evidence: found };
      } catch (error) {
        if (!(error instanceof DocumentFault)) throw error;
      }
    }
    return undefined;
  }

  /** Throws, unless what is not signed is only reported. */
  #refuse(error: unknown, image: CheckedImage, { id }: KeySet, span: Span, signal: AbortSignal): void {
    const { rules, onReport } = this.#options;
    const { reference, location, digests } = image;
    if (signal.aborted || !isPassthroughError(error) || error.code === 'ABORTED') throw error;
    const isNotSigned = error.code === 'IMAGE_NOT_SIGNED';
    const isServed = rules.policy === 'warn';
    const [digest] = digests;
    note(span, isNotSigned ? 'not_signed' : 'unchecked', undefined);
    if (digest === undefined) throw error;
    const [hint] = error.details.hints ?? [];
    const reason = isNotSigned && hint !== undefined ? `${error.message}: ${hint}` : error.message;
    const report = { result: isNotSigned ? 'not_signed' : 'unchecked', digest, reason, isServed } as const;
    onReport({ ...report, image: formatReference(reference) });
    if (!isServed) throw error;
    this.#remembered.set(keyOf(id, location, digest), { untilMs: performance.now() + WARNED_MS });
  }
}

function keyOf(id: string, { origin, name }: RepositoryLocation, digest: Digest): string {
  return `${id} ${origin} ${name} ${digest}`;
}

/** Notes how a check ended, in the trace and as a metric. */
function note(
  span: Span,
  result: SignatureReport['result'] | 'remembered',
  verified: Verified | undefined,
): void {
  instruments().signatures.add(1, { 'passthrough.signature.result': result });
  const attributes: Attributes = { 'passthrough.signature.result': result };
  if (verified !== undefined) {
    attributes['passthrough.signature.form'] = verified.form;
    attributes['passthrough.signature.digest'] = verified.digest;
    attributes['passthrough.signature.key.name'] = verified.key.name;
    attributes['passthrough.signature.key.fingerprint'] = verified.key.fingerprint;
  }
  span.setAttributes(attributes);
}
