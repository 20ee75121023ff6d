/** Signatures in the forms of cosign, right and wrong, made with keys of the test. */

import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { sha256 } from './collect.ts';
import { MEDIA_TYPES, type Pushable } from './image.ts';

/** A key pair of the test. */
export interface SigningKey {
  /** The public key. */
  readonly pem: string;
  readonly privateKey: KeyObject;
  sign(bytes: Uint8Array): Buffer;
}

const CURVES = { p256: ['prime256v1', 'sha256'], p384: ['secp384r1', 'sha384'] } as const;

/** Makes a key pair. */
export function makeSigningKey(kind: 'p256' | 'p384' | 'rsa' | 'ed25519' = 'p256'): SigningKey {
  if (kind === 'ed25519') return keyOf(generateKeyPairSync('ed25519'), null);
  if (kind === 'rsa') return keyOf(generateKeyPairSync('rsa', { modulusLength: 2048 }), 'sha256');
  const [namedCurve, hash] = CURVES[kind];
  return keyOf(generateKeyPairSync('ec', { namedCurve }), hash);
}

function keyOf(
  { publicKey, privateKey }: { readonly publicKey: KeyObject; readonly privateKey: KeyObject },
  hash: string | null,
): SigningKey {
  const pem = String(publicKey.export({ type: 'spki', format: 'pem' }));
  return { pem, privateKey, sign: (bytes) => sign(hash, bytes, privateKey) };
}

/** A layer of a manifest of signatures. */
export interface SignatureLayer {
  readonly mediaType: string;
  readonly bytes: Uint8Array;
  readonly annotations?: Readonly<Record<string, unknown>>;
  /** Overriding fields of the descriptor. */
  readonly descriptor?: Readonly<Record<string, unknown>>;
}

const EMPTY = Buffer.from('{}');

/** A manifest of documents, as a registry stores it. */
export function makeArtifact(
  layers: readonly SignatureLayer[],
  fields: Readonly<Record<string, unknown>> = {},
): Pushable {
  const descriptors = layers.map(({ mediaType, bytes, annotations, descriptor }) => ({
    mediaType,
    digest: sha256(bytes),
    size: bytes.length,
    annotations,
    ...descriptor,
  }));
  const config = {
    mediaType: 'application/vnd.oci.empty.v1+json',
    digest: sha256(EMPTY),
    size: EMPTY.length,
  };
  const document = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.oci.manifest,
    config,
    layers: descriptors,
    ...fields,
  };
  const bytes = Buffer.from(JSON.stringify(document));
  return {
    manifest: { mediaType: MEDIA_TYPES.oci.manifest, bytes, digest: sha256(bytes) },
    blobs: new Map([
      [config.digest, EMPTY],
      ...layers.map(({ bytes: blob }) => [sha256(blob), Buffer.from(blob)] as const),
    ]),
  };
}

/** A payload of simple signing. */
export function makePayload(digest: string, repository = 'registry.example/team/app', type?: string): Buffer {
  const critical = {
    identity: { 'docker-reference': repository },
    image: { 'docker-manifest-digest': digest },
    type: type ?? 'cosign container image signature',
  };
  return Buffer.from(JSON.stringify({ critical, optional: null }));
}

/** A layer of form `tag`: a payload, and its signature beside it. */
export function signedLayer(
  payload: Uint8Array,
  signature: Buffer | string,
  rest: Partial<SignatureLayer> = {},
): SignatureLayer {
  const text = typeof signature === 'string' ? signature : signature.toString('base64');
  return {
    mediaType: 'application/vnd.dev.cosign.simplesigning.v1+json',
    bytes: payload,
    annotations: { 'dev.cosignproject.cosign/signature': text },
    ...rest,
  };
}

/** The manifest under the tag `sha256-<hex>.sig` of an image that is signed with a key. */
export function signedByTag(digest: string, key: SigningKey, repository?: string): Pushable {
  const payload = makePayload(digest, repository);
  return makeArtifact([signedLayer(payload, key.sign(payload))]);
}

/** Type of a bundle, and of the manifest that holds it. */
export const BUNDLE = 'application/vnd.dev.sigstore.bundle.v0.3+json';

/** The statement that an image is signed. */
export function makeStatement(digest: string, rest: Readonly<Record<string, unknown>> = {}): Buffer {
  const [algorithm = '', hex] = digest.split(':');
  const statement = {
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ digest: { [algorithm]: hex }, annotations: {} }],
    predicateType: 'https://sigstore.dev/cosign/sign/v1',
    predicate: {},
    ...rest,
  };
  return Buffer.from(JSON.stringify(statement));
}

/** What the signature of an envelope covers: https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md */
export function envelopeBytes(payload: Uint8Array, type = 'application/vnd.in-toto+json'): Buffer {
  return Buffer.concat([Buffer.from(`DSSEv1 ${type.length} ${type} ${payload.length} `), payload]);
}

/** A bundle with a signed statement. */
export function makeBundle(
  statement: Uint8Array,
  key: SigningKey,
  rest: { readonly bundle?: object; readonly envelope?: object } = {},
): Buffer {
  const envelope = {
    payload: Buffer.from(statement).toString('base64'),
    payloadType: 'application/vnd.in-toto+json',
    signatures: [{ sig: key.sign(envelopeBytes(statement)).toString('base64') }],
    ...rest.envelope,
  };
  const material = { publicKey: { hint: 'not read' } };
  return Buffer.from(
    JSON.stringify({
      mediaType: BUNDLE,
      verificationMaterial: material,
      dsseEnvelope: envelope,
      ...rest.bundle,
    }),
  );
}

/** A bundle with the signature of a manifest's own bytes. */
export function makeMessageBundle(digest: string, signature: Buffer): Buffer {
  const messageDigest = {
    algorithm: 'SHA2_256',
    digest: Buffer.from(digest.slice('sha256:'.length), 'hex').toString('base64'),
  };
  return Buffer.from(
    JSON.stringify({
      mediaType: BUNDLE,
      verificationMaterial: { publicKey: { hint: 'not read' } },
      messageSignature: { messageDigest, signature: signature.toString('base64') },
    }),
  );
}

/** The manifest of a bundle. */
export function bundleManifest(
  digest: string,
  bundle: Uint8Array,
  fields: Readonly<Record<string, unknown>> = {},
): Pushable {
  const subject = { mediaType: MEDIA_TYPES.oci.manifest, digest, size: 1 };
  return makeArtifact([{ mediaType: BUNDLE, bytes: bundle }], { subject, artifactType: BUNDLE, ...fields });
}

/** The index under the tag `sha256-<hex>`, where a registry has no referrers API. */
export function referrersIndex(
  referrers: readonly Pushable[],
  entry: Readonly<Record<string, unknown>> = { artifactType: 'application/vnd.oci.empty.v1+json' },
): Pushable {
  const manifests = referrers.map(({ manifest: { mediaType, digest, bytes } }) => ({
    mediaType,
    digest,
    size: bytes.length,
    ...entry,
  }));
  const document = { schemaVersion: 2, mediaType: MEDIA_TYPES.oci.index, manifests };
  const bytes = Buffer.from(JSON.stringify(document));
  const manifest = { mediaType: MEDIA_TYPES.oci.index, bytes, digest: sha256(bytes) };
  return { manifest, blobs: new Map(), children: referrers };
}

/** The tags of a digest's signatures. */
export function signatureTags(digest: string): { readonly tag: string; readonly fallback: string } {
  const fallback = digest.replace(':', '-');
  return { tag: `${fallback}.sig`, fallback };
}
