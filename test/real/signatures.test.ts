/** Images that the real cosign has signed, at a real registry. */
import assert from 'node:assert/strict';
import { copyFile, readdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { makeImage, makeIndex, makeLayer } from '../support/image.ts';
import { SIGNED_IMAGE } from '../support/signed-vector-image.ts';
import { attest, makeCosignKey, pushBuilt, type SignatureForm, sign } from './cosign.ts';
import { attempt, cleanup, requireParts, temporaryDirectory, until } from './parts.ts';
import { startRegistry } from './registry.ts';
import { startService } from './service.ts';
import { requireSidPrograms } from './sid-programs.ts';

const OPTIONS = { timeout: 120_000 };
const MAIN = new URL('../../src/main.ts', import.meta.url).pathname;

function isReady(t: TestContext): boolean {
  return requireParts(t, 'docker-registry') && requireSidPrograms(t, 'cosign');
}

const { digest } = SIGNED_IMAGE.manifest;

/** A registry, a key, and a service that takes only what the key has signed. */
async function start(t: TestContext, env: Readonly<Record<string, string>> = {}) {
  const stack = cleanup(t);
  const registry = await startRegistry(stack, 'none');
  const [key, other] = await Promise.all([makeCosignKey(stack, 'p256'), makeCosignKey(stack, 'p256')]);
  const folder = await temporaryDirectory(stack, 'signatures');
  const keyFile = join(folder, 'release.pub');
  await copyFile(key.publicKey, keyFile);
  const service = await startService(stack, {
    REGISTRY_URL: registry.origin,
    SIGNATURE_KEYS: keyFile,
    ...env,
  });
  const get = async (path: string) => {
    const response = await fetch(`${service.origin}${path}`);
    return { status: response.status, body: Buffer.from(await response.arrayBuffer()) };
  };
  return { stack, registry, key, other, folder, keyFile, service, get };
}

test('an image is served once cosign has signed it, in either form', OPTIONS, async (t) => {
  if (!isReady(t)) return;
  const { registry, key, other, get, folder } = await start(t);
  for (const form of ['tag', 'bundle'] as const satisfies readonly SignatureForm[]) {
    const repository = `team/${form}`;
    const image = `${repository}@${digest}`;
    const path = `/docker/team_${form}_1.tar`;
    await pushBuilt(registry, repository, '1', SIGNED_IMAGE);
    const refused = await get(path);
    assert.equal(refused.status, 403);
    assert.match(refused.body.toString(), /^Image not signed: .* has no valid signature\n/);

    await sign(registry, { key: other, form, image });
    assert.match((await get(path)).body.toString(), /it is not signed by a key that counts/);
    if (form === 'bundle') {
      const predicate = join(folder, 'predicate.json');
      await writeFile(predicate, '{}');
      await attest(registry, key, image, predicate);
      assert.equal((await get(path)).status, 403, 'an attestation by the right key is no signature');
    }
    await sign(registry, { key, form, image });
    assert.equal((await get(path)).status, 200);
  }
});

test('the signature of an index counts for its platforms', OPTIONS, async (t) => {
  if (!isReady(t)) return;
  const { registry, key, get } = await start(t);
  const images = ['amd64', 'arm64'].map((architecture) =>
    makeImage({ platform: { os: 'linux', architecture }, layers: [{ tar: makeLayer({ architecture }) }] }),
  );
  const index = makeIndex(images.map((image) => ({ image })));
  await pushBuilt(registry, 'team/app', '1', index);
  await sign(registry, { key, form: 'bundle', image: `team/app@${index.manifest.digest}` });
  for (const path of [
    '/docker/team_app_1.tar',
    '/platform/linux/arm64/docker/team_app_1.tar',
    '/platform/all/oci/team_app_1.tar',
  ])
    assert.equal((await get(path)).status, 200, path);
});

test('cosign names the repository in its tag form, and that is compared', OPTIONS, async (t) => {
  if (!isReady(t)) return;
  const { registry, key, get } = await start(t, { SIGNATURE_MATCH_REPOSITORY: 'yes' });
  for (const name of ['right', 'wrong']) await pushBuilt(registry, `team/${name}`, '1', SIGNED_IMAGE);
  await sign(registry, { key, form: 'tag', image: `team/right@${digest}` });
  await sign(registry, {
    key,
    form: 'tag',
    image: `team/wrong@${digest}`,
    identity: `${registry.host}/team/right`,
  });
  assert.equal((await get('/docker/team_right_1.tar')).status, 200);
  assert.match(
    (await get('/docker/team_wrong_1.tar')).body.toString(),
    /it is for repository ".*team\/right"/,
  );
});

test('another key takes the place of the first while the service runs', OPTIONS, async (t) => {
  if (!isReady(t)) return;
  const { registry, key, other, get, keyFile, folder } = await start(t);
  await pushBuilt(registry, 'team/app', '1', SIGNED_IMAGE);
  await sign(registry, { key, form: 'bundle', image: `team/app@${digest}` });
  assert.equal((await get('/docker/team_app_1.tar')).status, 200);
  await copyFile(other.publicKey, join(folder, 'next.pub'));
  await rename(join(folder, 'next.pub'), keyFile);
  await until('the other key', async () =>
    (await get('/docker/team_app_1.tar')).status === 403 ? true : undefined,
  );
  await sign(registry, { key: other, form: 'bundle', image: `team/app@${digest}` });
  assert.equal((await get('/docker/team_app_1.tar')).status, 200);
});

test('pull --verify-key writes a signed image alone', OPTIONS, async (t) => {
  if (!isReady(t)) return;
  const { registry, key, other, folder } = await start(t);
  await pushBuilt(registry, 'team/app', '1', SIGNED_IMAGE);
  await sign(registry, { key, form: 'bundle', image: `team/app@${digest}` });
  const pull = (publicKey: string, file: string) =>
    attempt(process.execPath, [
      MAIN,
      'pull',
      '--platform=linux/amd64',
      `--verify-key=${publicKey}`,
      `${registry.host}/team/app:1`,
      join(folder, file),
    ]);
  const refused = await pull(other.publicKey, 'refused.tar');
  assert.equal(refused.code, 4, refused.stderr);
  assert.match(refused.stderr, /has no valid signature/);
  const pulled = await pull(key.publicKey, 'pulled.tar');
  assert.equal(pulled.code, 0, pulled.stderr);
  assert.match(pulled.stderr, /Signed: .* with key "p256.pub"/);
  assert.deepEqual((await readdir(folder)).toSorted(), ['pulled.tar', 'release.pub']);
});
