/**
 * `node scripts/check/signature-vectors.ts`: signs an image with the real cosign, with a key of each kind and in both forms, and writes what
 * cosign has left at the registry to test/pull/signatures/vectors.json. It needs docker-registry and, from
 * scripts/check/sid-programs.sh, cosign. The keys are thrown away.
 */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { attest, KINDS, makeCosignKey, pushBuilt, type SignatureForm, sign } from '../../test/real/cosign.ts';
import { temporaryDirectory } from '../../test/real/parts.ts';
import { type Registry, startRegistry } from '../../test/real/registry.ts';
import { SIGNED_IMAGE } from '../../test/support/signed-vector-image.ts';

const FILE = new URL('../../test/pull/signatures/vectors.json', import.meta.url);

/** The identity that is signed in form `tag`. */
const IDENTITY = 'registry.example/team/app';

const { digest } = SIGNED_IMAGE.manifest;
const ACCEPT = 'application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json';

/** What a registry has under a tag: a manifest or an index, and all that it names. */
interface Stored {
  readonly manifest: string;
  readonly children: readonly Stored[];
  readonly blobs: readonly string[];
}

interface Entry {
  readonly digest: string;
}

async function text({ origin }: Registry, path: string): Promise<string> {
  const response = await fetch(`${origin}/v2/${path}`, { headers: { accept: ACCEPT } });
  if (!response.ok) throw new Error(`Cannot get ${path}: ${response.status}`);
  return await response.text();
}

async function stored(registry: Registry, repository: string, reference: string): Promise<Stored> {
  const manifest = await text(registry, `${repository}/manifests/${reference}`);
  const {
    manifests = [],
    layers = [],
    config,
  } = JSON.parse(manifest) as {
    manifests?: Entry[];
    layers?: Entry[];
    config?: Entry;
  };
  const children: Stored[] = [];
  for (const child of manifests) children.push(await stored(registry, repository, child.digest));
  const blobs = new Set([...(config === undefined ? [] : [config]), ...layers].map((entry) => entry.digest));
  const texts = [...blobs].map((blob) => text(registry, `${repository}/blobs/${blob}`));
  return { manifest, children, blobs: await Promise.all(texts) };
}

await using stack = new AsyncDisposableStack();
const registry = await startRegistry(stack, 'none');
const tags: Readonly<Record<SignatureForm, string>> = {
  tag: `${digest.replace(':', '-')}.sig`,
  bundle: digest.replace(':', '-'),
};
const keys = [];
for (const kind of KINDS) {
  const key = await makeCosignKey(stack, kind);
  const signatures: Partial<Record<SignatureForm, Stored>> = {};
  for (const form of ['tag', 'bundle'] as const) {
    const repository = `vectors/${kind}-${form}`;
    await pushBuilt(registry, repository, 'latest', SIGNED_IMAGE);
    await sign(registry, { key, form, image: `${repository}@${digest}`, identity: IDENTITY });
    signatures[form] = await stored(registry, repository, tags[form]);
  }
  let attestation: Stored | undefined;
  if (kind === 'p256') {
    const predicate = join(await temporaryDirectory(stack, 'predicate'), 'predicate.json');
    await writeFile(predicate, '{"packages":[]}');
    await pushBuilt(registry, 'vectors/attested', 'latest', SIGNED_IMAGE);
    await attest(registry, key, `vectors/attested@${digest}`, predicate);
    attestation = await stored(registry, 'vectors/attested', tags.bundle);
  }
  keys.push({ kind, pem: key.pem, ...signatures, ...(attestation !== undefined && { attestation }) });
}
await writeFile(FILE, `${JSON.stringify({ digest, identity: IDENTITY, keys }, null, 2)}\n`);
console.log(`Wrote ${FILE.pathname}`);
