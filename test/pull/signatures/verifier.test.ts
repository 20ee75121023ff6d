/** When signatures are looked for, what is remembered, and what happens where they cannot be fetched. */

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { archiveRequest, updateOf } from '../../../src/pull/request.ts';
import { makeImage, makeIndex, makeLayer } from '../../support/image.ts';
import { SIGNED_IMAGE } from '../../support/signed-vector-image.ts';
import {
  bundleManifest,
  makeBundle,
  makeSigningKey,
  makeStatement,
  referrersIndex,
  signatureTags,
  signedByTag,
} from '../../support/signing.ts';
import { NEVER, refusal } from '../pulling.ts';
import { REPOSITORY, type SceneOptions, startScene } from './scene.ts';

const { digest } = SIGNED_IMAGE.manifest;
const { tag: TAG, fallback: FALLBACK } = signatureTags(digest);
const KEY = makeSigningKey();
const SIGNATURES = { keys: [KEY.pem] };
const SIGNATURE_REQUESTS = /sha256-|referrers|blobs/;

const BUNDLED = referrersIndex([bundleManifest(digest, makeBundle(makeStatement(digest), KEY))]);

async function startSigned(options: SceneOptions = {}) {
  const scene = await startScene({ signatures: SIGNATURES, ...options });
  scene.registry.push(REPOSITORY, TAG, signedByTag(digest, KEY));
  return scene;
}

describe('a signature is looked for', () => {
  test('once for each digest', async () => {
    await using scene = await startSigned();
    await scene.resolve();
    const before = scene.registry.countRequests(SIGNATURE_REQUESTS);
    await scene.resolve();
    await scene.resolve({ layout: 'oci' });
    assert.equal(scene.registry.countRequests(SIGNATURE_REQUESTS), before);
    assert.equal(scene.reports.length, 1);
  });

  test('once for concurrent requests', async () => {
    await using scene = await startSigned();
    scene.registry.defects.stallManifest = { reference: TAG };
    const all = Array.from({ length: 10 }, () => scene.resolve());
    await scene.registry.waitForStalled();
    scene.registry.defects.stallManifest = undefined;
    scene.registry.releaseStalled();
    assert.deepEqual(new Set(await Promise.all(all)), new Set([digest]));
    assert.equal(scene.registry.countRequests(new RegExp(`GET .*${TAG}`)), 1);
  });

  test('in 16 repositories of a registry at once', async () => {
    await using scene = await startScene({ signatures: SIGNATURES });
    const repositories = Array.from({ length: 40 }, (_, at) => `team/app-${at}`);
    for (const one of repositories) {
      scene.registry.push(one, '1', SIGNED_IMAGE);
      scene.registry.push(one, TAG, signedByTag(digest, KEY));
    }
    scene.registry.defects.stallManifest = { reference: TAG };
    const all = repositories.map((one) => scene.resolve({}, `${one}:1`));
    await scene.registry.waitForStalled(16);
    const looks = () => scene.registry.countRequests(new RegExp(`GET .*${TAG}`));
    // The registry has answered for all images, so that a search without a limit would have begun.
    await scene.registry.waitForRequest(/GET .*manifests\/1$/, repositories.length);
    assert.equal(looks(), 16);
    scene.registry.defects.stallManifest = undefined;
    scene.registry.releaseStalled();
    await Promise.all(all);
    assert.equal(looks(), repositories.length);
  });

  test('again where none was found, so that an image is served as soon as it is signed', async () => {
    await using scene = await startScene({ signatures: SIGNATURES });
    await refusal(scene.resolve(), 'IMAGE_NOT_SIGNED');
    scene.registry.push(REPOSITORY, TAG, signedByTag(digest, KEY));
    assert.equal(await scene.resolve(), digest);
  });

  test('for no repository that the rules leave out', async () => {
    await using scene = await startScene({
      signatures: { ...SIGNATURES, requiredFor: ['registry.example/*'] },
    });
    assert.equal(await scene.resolve(), digest);
    assert.equal(scene.registry.countRequests(SIGNATURE_REQUESTS), 0);
  });

  test('by patterns in any case, and by none that no repository could fit', async () => {
    await using scene = await startScene({ signatures: { ...SIGNATURES, requiredFor: ['*/TEAM/*'] } });
    await refusal(scene.resolve(), 'IMAGE_NOT_SIGNED');
    const open = startScene({ signatures: { ...SIGNATURES, requiredFor: ['ghcr.io/org/app:1'] } });
    const { message } = await refusal(open, 'INVALID_CONFIGURATION');
    assert.match(message, /^Cannot use pattern "ghcr.io\/org\/app:1" .* without a tag/);
  });

  test('before a manifest is given', async () => {
    await using scene = await startScene({ signatures: SIGNATURES });
    const ask = () =>
      scene.images.manifest(scene.named(), { type: undefined, platform: undefined }, { signal: NEVER });
    await refusal(ask(), 'IMAGE_NOT_SIGNED');
    scene.registry.push(REPOSITORY, TAG, signedByTag(digest, KEY));
    const served = await ask();
    served.content.release();
    assert.equal(served.digest, digest);
  });

  test('of the image of an update, not of its base', async () => {
    await using scene = await startSigned();
    const base = makeImage({ layers: [{ tar: makeLayer({ base: 'x' }) }] });
    scene.registry.push(REPOSITORY, '0', base);
    const request = archiveRequest([updateOf(scene.named(), '0')]);
    const resolved = await scene.images.resolve(request, { signal: NEVER });
    resolved.release();
    const turned = archiveRequest([updateOf(scene.named(`${REPOSITORY}:0`), '1')]);
    await refusal(scene.images.resolve(turned, { signal: NEVER }), 'IMAGE_NOT_SIGNED');
  });
});

describe('of an image for several platforms', () => {
  const children = ['amd64', 'arm64'].map((architecture) =>
    makeImage({ platform: { os: 'linux', architecture }, layers: [{ tar: makeLayer({ architecture }) }] }),
  );
  const [amd64 = assert.fail()] = children;
  const index = makeIndex(children.map((image) => ({ image })));
  const ALL = { platform: 'all', layout: 'oci' } as const;
  const ARM = { platform: { os: 'linux', architecture: 'arm64' } };

  test('the signature of the index counts for each of them', async () => {
    await using scene = await startScene({ signatures: SIGNATURES, image: index });
    const { digest: signed } = index.manifest;
    scene.registry.push(REPOSITORY, signatureTags(signed).tag, signedByTag(signed, KEY));
    await scene.resolve();
    await scene.resolve(ARM);
    await scene.resolve(ALL);
    assert.deepEqual(
      scene.reports.map(({ digest: found }) => found),
      [signed],
    );
    const byDigest = `${REPOSITORY}@${amd64.manifest.digest}`;
    await refusal(scene.resolve({}, byDigest), 'IMAGE_NOT_SIGNED');
  });

  test('the signature of one manifest counts for this one alone', async () => {
    await using scene = await startScene({ signatures: SIGNATURES, image: index });
    const { digest: signed } = amd64.manifest;
    scene.registry.push(REPOSITORY, signatureTags(signed).tag, signedByTag(signed, KEY));
    assert.equal(await scene.resolve(), signed);
    assert.equal(await scene.resolve({}, `${REPOSITORY}@${signed}`), signed);
    await refusal(scene.resolve(ARM), 'IMAGE_NOT_SIGNED');
    await refusal(scene.resolve(ALL), 'IMAGE_NOT_SIGNED');
  });
});

describe('where a registry fails', () => {
  const failures = [
    ['500', 'REGISTRY_FAILED'],
    ['403', 'REGISTRY_DENIED'],
    ['429', 'REGISTRY_RATE_LIMITED'],
  ] as const;
  for (const [status, code] of failures) {
    test(`with ${status}, that is the error, and no image is served`, async () => {
      await using scene = await startScene({ signatures: SIGNATURES });
      scene.registry.defects.failWith = { pattern: /sha256-.*\.sig/, status: Number(status) };
      await refusal(scene.resolve(), code);
      assert.deepEqual(
        scene.reports.map(({ result, isServed }) => [result, isServed]),
        [['unchecked', false]],
      );
    });
  }

  test('with one request, a signature in another place counts', async () => {
    await using scene = await startScene({ signatures: SIGNATURES });
    scene.registry.push(REPOSITORY, FALLBACK, BUNDLED);
    scene.registry.defects.failWith = { pattern: /\.sig|referrers/, status: 403 };
    assert.equal(await scene.resolve(), digest);
  });

  test('by a connection that breaks, no image is served', async () => {
    await using scene = await startScene({ signatures: SIGNATURES });
    scene.registry.defects.resetConnections = { pattern: /\.sig/ };
    await refusal(scene.resolve(), 'REGISTRY_UNREACHABLE');
  });

  test('by wrong bytes, the signature does not count', async () => {
    await using scene = await startSigned();
    scene.registry.defects.wrongBlobDigest = true;
    const { details } = await refusal(scene.resolve(), 'IMAGE_NOT_SIGNED');
    assert.match(details.hints?.[0] ?? '', /Cannot verify config/);
  });
});

describe('with policy warn', () => {
  test('an image without a signature is served, reported, and not searched for at each request', async () => {
    await using scene = await startScene({ signatures: { ...SIGNATURES, policy: 'warn' } });
    assert.equal(await scene.resolve(), digest);
    const before = scene.registry.countRequests(SIGNATURE_REQUESTS);
    assert.equal(await scene.resolve(), digest);
    assert.equal(scene.registry.countRequests(SIGNATURE_REQUESTS), before);
    const [report] = scene.reports;
    assert.deepEqual([scene.reports.length, report?.result, report?.isServed], [1, 'not_signed', true]);
    assert.match(report?.reason ?? '', /has no valid signature: Looked at tag/);
  });

  test('an image whose signature cannot be fetched is served', async () => {
    await using scene = await startScene({ signatures: { ...SIGNATURES, policy: 'warn' } });
    scene.registry.defects.failWith = { pattern: SIGNATURE_REQUESTS, status: 500 };
    assert.equal(await scene.resolve(), digest);
    assert.deepEqual(
      scene.reports.map(({ result, isServed }) => [result, isServed]),
      [['unchecked', true]],
    );
  });
});

describe('while the registry is down', () => {
  const DOWN = { status: 503 };

  async function startKept(t: { after(fn: () => Promise<void>): void }, options: SceneOptions = {}) {
    const directory = await mkdtemp(join(tmpdir(), 'kept-'));
    t.after(() => rm(directory, { recursive: true }));
    return await startSigned({ cache: { directory, staleMs: 3_600_000 }, ...options });
  }

  test('a stale image is served if its signature was verified before', async (t) => {
    await using scene = await startKept(t);
    await scene.resolve();
    scene.registry.defects.failWith = DOWN;
    assert.equal(await scene.resolve(), digest);
  });

  for (const form of ['tag', 'bundle']) {
    test(`after a restart, too, from the signature that was kept, in form ${form}`, async (t) => {
      await using scene = await startKept(t);
      if (form === 'bundle') {
        scene.registry.push(REPOSITORY, TAG, signedByTag(digest, makeSigningKey()));
        scene.registry.push(REPOSITORY, FALLBACK, BUNDLED);
      }
      await scene.resolve();
      await scene.restart();
      scene.registry.defects.failWith = DOWN;
      assert.equal(await scene.resolve(), digest);
    });
  }

  test('what was kept is judged by the keys of today', async (t) => {
    const keys = [KEY.pem];
    await using scene = await startKept(t, { signatures: { keys } });
    await scene.resolve();
    keys.splice(0, 1, makeSigningKey().pem);
    await scene.restart();
    await refusal(scene.resolve(), 'IMAGE_NOT_SIGNED');
    scene.registry.defects.failWith = DOWN;
    await refusal(scene.resolve(), 'REGISTRY_FAILED');
  });

  test('what was cached before there was a policy is not served', async (t) => {
    const keys: string[] = [];
    await using scene = await startKept(t, { signatures: { keys } });
    await scene.resolve();
    keys.push(KEY.pem);
    await scene.restart();
    scene.registry.defects.failWith = DOWN;
    await refusal(scene.resolve(), 'REGISTRY_FAILED');
  });
});

describe('credentials', () => {
  const mine = { username: 'me', password: 'secret' };

  test('of the client fetch the signatures, too', async () => {
    const auth = { mode: 'basic', users: new Map([['me', 'secret']]) } as const;
    await using scene = await startSigned({ registry: { auth } });
    const request = archiveRequest([scene.named()]);
    const resolved = await scene.images.resolve(request, { signal: NEVER, credentials: mine });
    resolved.release();
    // Who may not pull the image learns nothing of its signature, also when it is remembered.
    await refusal(scene.images.resolve(request, { signal: NEVER }), 'REGISTRY_DENIED');
    await refusal(
      scene.images.resolve(request, { signal: NEVER, credentials: { ...mine, password: 'wrong' } }),
      'REGISTRY_DENIED',
    );
    assert.equal(scene.reports.length, 1);
  });
});
