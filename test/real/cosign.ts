/** Images that the real cosign has signed, at a real registry. */

import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pushable } from '../support/image.ts';
import { run, temporaryDirectory } from './parts.ts';
import type { Registry } from './registry.ts';
import { pathOfSidProgram } from './sid-programs.ts';

/** The kinds of keys that cosign imports. */
export const KINDS = ['p256', 'p384', 'rsa', 'ed25519'] as const;
export type KeyKind = (typeof KINDS)[number];

/** How cosign stores a signature. */
export type SignatureForm = 'tag' | 'bundle';

/** A key pair that cosign signs with. */
export interface CosignKey {
  readonly kind: KeyKind;
  /** File of the public key. */
  readonly publicKey: string;
  /** The public key. */
  readonly pem: string;
  /** File of the private key, in cosign's own form. */
  readonly privateKey: string;
}

/** A signature that is to be made. */
export interface Signing {
  readonly key: CosignKey;
  readonly form: SignatureForm;
  /** `repository@digest`. */
  readonly image: string;
  /** The identity in the payload of form `tag`, in place of the repository. */
  readonly identity?: string;
}

/** No transparency log and no authority of certificates: neither can be reached, and neither is looked at. */
const OFFLINE = ['--use-signing-config=false', '--tlog-upload=false', '--allow-http-registry', '--yes'];

const ENVIRONMENT = { env: { COSIGN_PASSWORD: '' } };

function generate(kind: KeyKind): { readonly privateKey: KeyObject; readonly publicKey: KeyObject } {
  if (kind === 'rsa') return generateKeyPairSync('rsa', { modulusLength: 2048 });
  if (kind === 'ed25519') return generateKeyPairSync('ed25519');
  return generateKeyPairSync('ec', { namedCurve: kind === 'p256' ? 'prime256v1' : 'secp384r1' });
}

/** Makes a key pair, as files of cosign; they go when `stack` is undone. */
export async function makeCosignKey(stack: AsyncDisposableStack, kind: KeyKind): Promise<CosignKey> {
  const directory = await temporaryDirectory(stack, `cosign-${kind}`);
  const pair = generate(kind);
  const pkcs8 = join(directory, 'pkcs8.pem');
  await writeFile(pkcs8, pair.privateKey.export({ type: 'pkcs8', format: 'pem' }));
  const prefix = join(directory, kind);
  await run(pathOfSidProgram('cosign'), ['import-key-pair', '--key', pkcs8, '-o', prefix, '-y'], ENVIRONMENT);
  const pem = String(pair.publicKey.export({ type: 'spki', format: 'pem' }));
  return { kind, pem, publicKey: `${prefix}.pub`, privateKey: `${prefix}.key` };
}

/** Signs an image. */
export async function sign(registry: Registry, { key, form, image, identity }: Signing): Promise<void> {
  const ofForm = form === 'tag' ? ['--new-bundle-format=false'] : [];
  const ofIdentity = identity === undefined ? [] : ['--sign-container-identity', identity];
  const target = `${registry.host}/${image}`;
  const options = ['--key', key.privateKey, ...OFFLINE, ...ofForm, ...ofIdentity];
  await run(pathOfSidProgram('cosign'), ['sign', ...options, target], ENVIRONMENT);
}

/** Signs a statement about an image, which is no signature of the image. */
export async function attest(registry: Registry, key: CosignKey, image: string, predicate: string) {
  const options = ['--key', key.privateKey, ...OFFLINE, '--type', 'custom', '--predicate', predicate];
  await run(pathOfSidProgram('cosign'), ['attest', ...options, `${registry.host}/${image}`], ENVIRONMENT);
}

/** Pushes an image that was made in memory. */
export async function pushBuilt(
  { origin }: Pick<Registry, 'origin'>,
  repository: string,
  tag: string,
  { manifest, blobs, children = [] }: Pushable,
): Promise<void> {
  const base = `${origin}/v2/${repository}`;
  for (const child of children) await pushBuilt({ origin }, repository, child.manifest.digest, child);
  for (const [digest, bytes] of blobs) {
    const upload = await fetch(`${base}/blobs/uploads/`, { method: 'POST' });
    assert.equal(upload.status, 202);
    const url = new URL(upload.headers.get('location') ?? '', origin);
    url.searchParams.set('digest', digest);
    assert.equal((await fetch(url, { method: 'PUT', body: Uint8Array.from(bytes) })).status, 201);
  }
  const headers = { 'Content-Type': manifest.mediaType };
  const put = { method: 'PUT', headers, body: Uint8Array.from(manifest.bytes) };
  assert.equal((await fetch(`${base}/manifests/${tag}`, put)).status, 201);
}
