import { constants, createHash, createPublicKey, type KeyObject, verify } from 'node:crypto';
import { PassthroughError } from '../../errors.ts';
import { quoted } from '../../util/printable.ts';

/** A public key that images may be signed with. */
export interface VerificationKey {
  /** Name of its file, for messages. */
  readonly name: string;
  /** SHA-256 of the key in DER (SubjectPublicKeyInfo), in hexadecimal digits: cosign's hint in base64 has the same bytes. */
  readonly fingerprint: string;
  /** Whether a signature of this key is valid for these bytes. */
  verifies(bytes: Uint8Array, signature: Uint8Array): boolean;
}

/** How a kind of key signs. `hash` is `null` where the kind has its own. */
interface Scheme {
  readonly hash: 'sha256' | 'sha384' | null;
}

/** Most keys of one file. */
const MAX_KEYS_OF_FILE = 16;

/** Lengths of RSA keys, in bits: NIST SP 800-131A has 2048 at least, and verification takes time by the square. */
const MIN_RSA_BITS = 2048;
const MAX_RSA_BITS = 8192;

/** The first line of a block of PEM: https://www.rfc-editor.org/rfc/rfc7468#section-3 */
const BEGIN = /-----BEGIN ([A-Z0-9 ]{1,64})-----/g;

/** The blocks that hold a public key: SubjectPublicKeyInfo, and PKCS #1, which is RSA's own. */
const PUBLIC_KEYS = new Set(['PUBLIC KEY', 'RSA PUBLIC KEY']);

/** In place of a block that holds something else. */
const OTHER_BLOCKS: readonly (readonly [pattern: RegExp, why: string])[] = [
  [/PRIVATE KEY/, 'it holds a private key, which belongs to those who sign: name the .pub file beside it'],
  [/CERTIFICATE/, 'it holds a certificate: certificates are not verified; name a file with its public key'],
];

/** What is said of an Ed25519 key that is not marked. */
const ED25519_REFUSED =
  'cosign 3 signs with an Ed25519 key as Ed25519ph, which the crypto of Node.js does not verify; write ed25519: before ' +
  'the path if its signatures are plain Ed25519, or sign with an ECDSA P-256 key';

/**
 * Reads the public keys of a PEM text.
 *
 * @param name of the text, for messages
 * @param isPlainEd25519 whether Ed25519 keys are accepted, because their signatures are plain
 * @returns at least one key
 * @throws PassthroughError `INVALID_CONFIGURATION`
 */
export function parseKeys(text: string, name: string, isPlainEd25519: boolean): readonly VerificationKey[] {
  const begins = [...text.matchAll(BEGIN)];
  const fail = (why: string, cause?: unknown): never => {
    const details = { setting: 'signatureKeys', reason: why, cause } as const;
    throw new PassthroughError('INVALID_CONFIGURATION', `Cannot use key ${quoted(name)}: ${why}`, details);
  };
  if (begins.length === 0)
    fail('it has no public key in PEM form, which begins with -----BEGIN PUBLIC KEY-----');
  if (begins.length > MAX_KEYS_OF_FILE) fail(`it has more than ${MAX_KEYS_OF_FILE} keys`);
  return begins.map(({ index, 1: label = '' }, at) => {
    const pem = text.slice(index, begins[at + 1]?.index);
    if (!PUBLIC_KEYS.has(label)) {
      const other = OTHER_BLOCKS.find(([pattern]) => pattern.test(label));
      fail(other?.[1] ?? `it holds ${quoted(label)}, which is no public key`);
    }
    let key: KeyObject;
    try {
      key = createPublicKey(pem);
    } catch (cause) {
      return fail('its public key is damaged, or of a kind that is not supported', cause);
    }
    const scheme = schemeOf(key, isPlainEd25519);
    return typeof scheme === 'string' ? fail(scheme) : keyOf(key, name, scheme);
  });
}

/** How a key signs, or why it is refused. */
function schemeOf({ asymmetricKeyType: type, asymmetricKeyDetails = {} }: KeyObject, isPlain: boolean) {
  const { namedCurve, modulusLength = 0 } = asymmetricKeyDetails;
  if (type === 'ec' && namedCurve === 'prime256v1') return { hash: 'sha256' } as const;
  if (type === 'ec' && namedCurve === 'secp384r1') return { hash: 'sha384' } as const;
  if (type === 'ed25519') return isPlain ? ({ hash: null } as const) : ED25519_REFUSED;
  if (type === 'rsa') {
    if (modulusLength >= MIN_RSA_BITS && modulusLength <= MAX_RSA_BITS) return { hash: 'sha256' } as const;
    return `it is an RSA key of ${modulusLength} bits; expected ${MIN_RSA_BITS} to ${MAX_RSA_BITS}`;
  }
  const kind = type === 'ec' ? `an ECDSA key on curve ${namedCurve}` : `a key of kind ${type}`;
  return `it is ${kind}; expected ECDSA P-256 or P-384, RSA, or Ed25519`;
}

function keyOf(key: KeyObject, name: string, { hash }: Scheme): VerificationKey {
  const der = key.export({ type: 'spki', format: 'der' });
  const isRsa = key.asymmetricKeyType === 'rsa';
  const options = isRsa
    ? { key, padding: constants.RSA_PKCS1_PADDING }
    : { key, dsaEncoding: 'der' as const };
  return {
    name,
    fingerprint: createHash('sha256').update(der).digest('hex'),
    verifies: (bytes, signature) => verify(hash, bytes, options, signature),
  };
}
