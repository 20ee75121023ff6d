/** What is signed: a simple-signing payload, or the statement in a Sigstore bundle. */

import { type Digest, isDigest } from '../../image/digest.ts';
import { DocumentFault, decodeBase64, isObject, readStrictJson } from './strict-json.ts';

/** What a signature says about an image. */
export interface SignedImage {
  readonly digest: Digest;
  /** The repository that was signed for, as it is written there; `undefined` if it is not said. */
  readonly repository: string | undefined;
}

/** Types of payloads that cosign signs: https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md#simple-signing */
const PAYLOAD_TYPES: readonly unknown[] = [
  'cosign container image signature',
  'https://sigstore.dev/cosign/sign/v1',
];

/** Types of statements: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md */
const STATEMENT_TYPES: readonly unknown[] = [
  'https://in-toto.io/Statement/v1',
  'https://in-toto.io/Statement/v0.1',
];

/** The only predicate that makes a statement the signature of an image. */
export const SIGN_PREDICATE = 'https://sigstore.dev/cosign/sign/v1';

const DSSE_PAYLOAD_TYPE = 'application/vnd.in-toto+json';

/** A bundle in one of its versions: https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto */
export const BUNDLE_TYPE =
  /^application\/vnd\.dev\.sigstore\.bundle(?:\.v0\.3\+json|\+json;version=0\.[123])$/;

/** Most signatures of one envelope: a bundle has one. */
const MAX_SIGNATURES = 4;

/** What a bundle holds; its signatures are not verified. */
export interface Bundle {
  /** What the signatures cover. */
  readonly signed: Buffer;
  /** The statement. */
  readonly payload: Buffer;
  readonly signatures: readonly Buffer[];
}

/**
 * Reads a payload whose signature is valid.
 *
 *     { "critical": { "identity": { "docker-reference": … }, "image": { "docker-manifest-digest": … }, "type": … }, "optional": … }
 *
 * @throws DocumentFault
 */
export function readPayload(bytes: Uint8Array): SignedImage {
  const { critical } = readStrictJson(bytes);
  if (!isObject(critical)) throw new DocumentFault('its payload is no simple signing');
  const { type, image, identity } = critical;
  if (!PAYLOAD_TYPES.includes(type)) throw new DocumentFault('its payload is not that of an image');
  const digest = isObject(image) ? image['docker-manifest-digest'] : undefined;
  const repository = isObject(identity) ? identity['docker-reference'] : undefined;
  if (!isDigest(digest)) throw new DocumentFault('its payload names no digest');
  return { digest, repository: typeof repository === 'string' && repository !== '' ? repository : undefined };
}

/**
 * Reads a bundle.
 *
 * @throws DocumentFault
 */
export function readBundle(bytes: Uint8Array): Bundle {
  const bundle = readStrictJson(bytes);
  const { mediaType, dsseEnvelope, messageSignature, verificationMaterial } = bundle;
  if (typeof mediaType !== 'string' || !BUNDLE_TYPE.test(mediaType))
    throw new DocumentFault('it is no Sigstore bundle');
  if (isObject(verificationMaterial) && !isObject(verificationMaterial['publicKey']))
    throw new DocumentFault('it is signed with a certificate, which is not verified');
  // The signature of a blob: no statement says that it is meant as the signature of an image.
  if (messageSignature !== undefined) throw new DocumentFault('its bundle signs a message, not a statement');
  if (!isObject(dsseEnvelope)) throw new DocumentFault('its bundle has no envelope');
  const { payloadType, payload: encoded, signatures } = dsseEnvelope;
  if (payloadType !== DSSE_PAYLOAD_TYPE) throw new DocumentFault('the payload of its bundle is no statement');
  if (!Array.isArray(signatures) || signatures.length === 0 || signatures.length > MAX_SIGNATURES)
    throw new DocumentFault(`its bundle does not have one to ${MAX_SIGNATURES} signatures`);
  const payload = decodeBase64(encoded, 'the payload of its bundle');
  return {
    payload,
    signed: preAuthentication(DSSE_PAYLOAD_TYPE, payload),
    signatures: signatures.map((one: unknown) =>
      decodeBase64(isObject(one) ? one['sig'] : undefined, 'the signature of its bundle'),
    ),
  };
}

/**
 * What the signature of an envelope covers.
 *
 *     PAE = "DSSEv1" SP LEN(type) SP type SP LEN(payload) SP payload
 *
 * @see https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md
 */
export function preAuthentication(type: string, payload: Uint8Array): Buffer {
  const head = `DSSEv1 ${Buffer.byteLength(type)} ${type} ${payload.byteLength} `;
  return Buffer.concat([Buffer.from(head), payload]);
}

/**
 * Reads a statement whose signature is valid. It must be about one image alone, and say nothing but that it is signed: an
 * attestation or a bill of materials that was signed with the same key is no signature of the image.
 *
 * @throws DocumentFault
 */
export function readStatement(bytes: Uint8Array): SignedImage {
  const { _type: type, predicateType, subject } = readStrictJson(bytes);
  if (!STATEMENT_TYPES.includes(type)) throw new DocumentFault('its payload is no statement');
  if (predicateType !== SIGN_PREDICATE) throw new DocumentFault('it is an attestation, not a signature');
  const [only, ...more]: unknown[] = Array.isArray(subject) ? subject : [];
  if (!isObject(only) || more.length > 0) throw new DocumentFault('its statement is not about one image');
  const { name, digest } = only;
  const digests = isObject(digest) ? Object.entries(digest) : [];
  const [algorithm, hex] = digests.length === 1 ? (digests[0] ?? []) : [];
  const signed = `${algorithm}:${String(hex)}`;
  if (!isDigest(signed)) throw new DocumentFault('its statement does not name one digest');
  return { digest: signed, repository: typeof name === 'string' && name !== '' ? name : undefined };
}
