/** Signatures that the real cosign 3.1 has made: `scripts/check/signature-vectors.ts`. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { sha256 } from '../../support/collect.ts';
import { MEDIA_TYPES, type Pushable } from '../../support/image.ts';
import { SIGNED_IMAGE } from '../../support/signed-vector-image.ts';
import { signatureTags } from '../../support/signing.ts';
import { refusal } from '../pulling.ts';
import { REPOSITORY, startScene } from './scene.ts';

interface Stored {
  readonly manifest: string;
  readonly children: readonly Stored[];
  readonly blobs: readonly string[];
}

interface VectorKey {
  readonly kind: string;
  readonly pem: string;
  readonly tag: Stored;
  readonly bundle: Stored;
  readonly attestation?: Stored;
}

interface Vectors {
  readonly digest: string;
  readonly identity: string;
  readonly keys: readonly VectorKey[];
}

const vectors = JSON.parse(await readFile(new URL('vectors.json', import.meta.url), 'utf8')) as Vectors;

function pushable({ manifest, children, blobs }: Stored): Pushable {
  const bytes = Buffer.from(manifest);
  const { mediaType = MEDIA_TYPES.oci.manifest } = JSON.parse(manifest) as { mediaType?: string };
  return {
    manifest: { mediaType, bytes, digest: sha256(bytes) },
    blobs: new Map(blobs.map((blob) => [sha256(Buffer.from(blob)), Buffer.from(blob)])),
    children: children.map(pushable),
  };
}

const { digest } = SIGNED_IMAGE.manifest;
const { tag: TAG, fallback: FALLBACK } = signatureTags(digest);

function keyOf(kind: string): VectorKey {
  return vectors.keys.find((key) => key.kind === kind) ?? assert.fail(`there is no key ${kind}`);
}

/** A registry with what cosign wrote. */
async function startWith(
  key: VectorKey,
  form: 'tag' | 'bundle',
  options: Parameters<typeof startScene>[0] = {},
) {
  const scene = await startScene(options);
  scene.registry.push(REPOSITORY, form === 'tag' ? TAG : FALLBACK, pushable(key[form]));
  return scene;
}

test('the vectors are for the image of the tests', () => assert.equal(vectors.digest, digest));

describe('a signature of cosign counts', () => {
  for (const kind of ['p256', 'p384', 'rsa']) {
    for (const form of ['tag', 'bundle'] as const) {
      test(`${kind}, in form ${form}`, async () => {
        const key = keyOf(kind);
        await using scene = await startWith(key, form, { signatures: { keys: [key.pem] } });
        assert.equal(await scene.resolve(), digest);
        assert.deepEqual(
          scene.reports.map(({ result, key: signer }) => [result, signer?.name]),
          [['verified', 'key 1']],
        );
      });
    }
  }

  test('in a bundle that the referrers API lists', async () => {
    const key = keyOf('p256');
    await using scene = await startScene({ signatures: { keys: [key.pem] }, registry: { referrers: true } });
    for (const child of key.bundle.children.map(pushable))
      scene.registry.push(REPOSITORY, child.manifest.digest, child);
    assert.equal(await scene.resolve(), digest);
    assert.equal(scene.registry.countRequests(new RegExp(`manifests/${FALLBACK}$`)), 0);
  });
});

describe('it does not count', () => {
  for (const form of ['tag', 'bundle'] as const) {
    test(`by another key, in form ${form}`, async () => {
      await using scene = await startWith(keyOf('rsa'), form, { signatures: { keys: [keyOf('p256').pem] } });
      const { details } = await refusal(scene.resolve(), 'IMAGE_NOT_SIGNED');
      assert.match(details.hints?.[0] ?? '', /not signed by a key that counts/);
    });

    test(`of an Ed25519 key, which cosign signs with as Ed25519ph, in form ${form}`, async () => {
      const key = keyOf('ed25519');
      await using scene = await startWith(key, form, { signatures: { keys: [`ed25519:${key.pem}`] } });
      await refusal(scene.resolve(), 'IMAGE_NOT_SIGNED');
    });
  }

  test('on an attestation about the image', async () => {
    const { pem, attestation = assert.fail() } = keyOf('p256');
    await using scene = await startScene({ signatures: { keys: [pem] } });
    scene.registry.push(REPOSITORY, FALLBACK, pushable(attestation));
    const { details } = await refusal(scene.resolve(), 'IMAGE_NOT_SIGNED');
    assert.match(details.hints?.[0] ?? '', /it is an attestation, not a signature/);
  });

  test('for another repository, where the repository matters', async () => {
    const key = keyOf('p256');
    const signatures = { keys: [key.pem], matchRepository: true };
    await using scene = await startWith(key, 'tag', { signatures });
    const { details } = await refusal(scene.resolve(), 'IMAGE_NOT_SIGNED');
    assert.match(details.hints?.[0] ?? '', /it is for repository "registry\.example\/team\/app"/);
  });

  test('without saying for which repository, where that matters: a bundle of cosign never says it', async () => {
    const key = keyOf('p256');
    await using scene = await startWith(key, 'bundle', {
      signatures: { keys: [key.pem], matchRepository: true },
    });
    const { details } = await refusal(scene.resolve(), 'IMAGE_NOT_SIGNED');
    assert.match(details.hints?.[0] ?? '', /it does not say for which repository/);
  });
});
