import type { Digest } from '../../image/digest.ts';
import { quoted } from '../../util/printable.ts';
import type { VerificationKey } from './keys.ts';
import { readBundle, readPayload, readStatement, type SignedImage } from './payload.ts';
import { isIdentityOf } from './repositories.ts';
import { DocumentFault, decodeBase64 } from './strict-json.ts';

/** What a signature is judged by. */
export interface Judgement {
  readonly keys: readonly VerificationKey[];
  /** The digest that must be signed. */
  readonly digest: Digest;
  /** Names of the repository, one of which must be signed for; `undefined` where it does not matter. */
  readonly names: readonly string[] | undefined;
}

/** A signature with the document that it covers, as a registry has them. */
export type Evidence =
  | {
      readonly form: 'tag';
      readonly document: Uint8Array;
      /** The annotation beside the payload. */
      readonly signature: unknown;
    }
  | { readonly form: 'bundle'; readonly document: Uint8Array };

/**
 * Judges a signature.
 *
 * @returns the key that has signed the image
 * @throws DocumentFault with the reason why it does not count
 */
export function judge(evidence: Evidence, judgement: Judgement): VerificationKey {
  const { document } = evidence;
  if (evidence.form === 'tag') {
    const signature = decodeBase64(evidence.signature, 'its signature');
    const key = signerOf(document, [signature], judgement);
    check(readPayload(document), judgement);
    return key;
  }
  const { signed, signatures, payload } = readBundle(document);
  // What is not signed by a known key is not read.
  const key = signerOf(signed, signatures, judgement);
  check(readStatement(payload), judgement);
  return key;
}

function signerOf(bytes: Uint8Array, signatures: readonly Buffer[], { keys }: Judgement): VerificationKey {
  const key = keys.find((one) => signatures.some((signature) => one.verifies(bytes, signature)));
  if (key === undefined) throw new DocumentFault('it is not signed by a key that counts');
  return key;
}

function check({ digest, repository }: SignedImage, { digest: wanted, names }: Judgement): void {
  if (digest !== wanted) throw new DocumentFault(`it is for ${digest}`);
  if (names === undefined) return;
  if (repository === undefined) throw new DocumentFault('it does not say for which repository');
  if (!isIdentityOf(repository, names)) throw new DocumentFault(`it is for repository ${quoted(repository)}`);
}
