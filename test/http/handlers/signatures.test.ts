/** Images that must be signed, by every route that serves one. */

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type BuiltImage, makeIndex } from '../../support/image.ts';
import { applicationImage } from '../../support/iox.ts';
import { type Pair, startPair } from '../../support/pair.ts';
import { ended, prepare } from '../../support/preparing.ts';
import { assertError, firstLine } from '../../support/reading.ts';
import { startTestService } from '../../support/service.ts';
import { makeSigningKey, signatureTags, signedByTag } from '../../support/signing.ts';

const IMAGE = applicationImage();
const BASE: BuiltImage = applicationImage({ base: 'yes' });
const INDEX = makeIndex([{ image: IMAGE }]);
const KEY = makeSigningKey();

type Env = Readonly<Record<string, string>>;

/** A service with a key, and a registry whose image is `team/app:1`. Tag `signed` is the same image as `team/signed:1`. */
async function start(env: Env = {}): Promise<Pair> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'keys-'));
  stack.defer(() => rm(folder, { recursive: true }));
  const path = join(folder, 'release.pub');
  await writeFile(path, KEY.pem);
  const pair = stack.use(
    await startPair({ env: { SIGNATURE_KEYS: path, CACHE_MAX_BYTES: '', ...env } }, (registry) => {
      for (const repository of ['team/app', 'team/signed']) {
        registry.push(repository, '0', BASE);
        registry.push(repository, '1', IMAGE);
        registry.push(repository, 'all', INDEX);
      }
      for (const { digest } of [IMAGE.manifest, INDEX.manifest])
        registry.push('team/signed', signatureTags(digest).tag, signedByTag(digest, KEY));
    }),
  );
  const all = stack.move();
  return { ...pair, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

/** Paths of one image; `APP` stands for its repository. */
const PATHS: readonly (readonly [what: string, path: (repository: string, host: string) => string])[] = [
  ['an archive', (name) => `/docker/team_${name}_1.tar`],
  ['a gzipped archive', (name) => `/docker/team_${name}_1.tgz`],
  ['layout docker-gzip', (name) => `/docker-gzip/team_${name}_1.tar`],
  ['layout oci', (name) => `/oci/team_${name}_1.tar`],
  ['all platforms', (name) => `/platform/all/oci/team_${name}_all.tar`],
  ['one platform', (name) => `/platform/linux/amd64/docker/team_${name}_all.tar`],
  ['a package', (name) => `/iox/team_${name}_1.tar`],
  ['a checksum', (name) => `/docker/team_${name}_1.tar.sha256`],
  ['an early archive', (name) => `/docker/team_${name}_1.tar?start=early`],
  ['an update', (name) => `/since/0/docker/team_${name}_1.tar`],
  ['a reference', (name, host) => `/${host}/team/${name}:1`],
  ['a registry in the path', (name, host) => `/registry/http/${host}/docker/team_${name}_1.tar`],
  ['a bundle', (name, host) => `/bundle.tar?image=${host}/team/signed:1&image=${host}/team/${name}:1`],
  ['a manifest', (name, host) => `/manifest/${host}/team/${name}:1`],
  ['a config', (name, host) => `/manifest/${host}/team/${name}:1?type=config`],
  ['a config below an index', (name, host) => `/manifest/${host}/team/${name}:all?type=config`],
  ['an index', (name, host) => `/manifest/${host}/team/${name}:all?type=index`],
  ['a descriptor', (name, host) => `/manifest/${host}/team/${name}:1?layout=iox`],
  ['a comparison', (name, host) => `/manifest/${host}/team/${name}:1?since=0`],
];

describe('an image without a signature is refused, and one with it is served', () => {
  for (const [what, pathOf] of PATHS) {
    test(what, async () => {
      await using pair = await start();
      const { host } = pair.registry;
      const signed = await pair.request(pathOf('signed', host));
      assert.equal(signed.status, 200, firstLine(signed));
      const etag = String(signed.headers.etag);
      const conditions = [{}, { 'if-none-match': etag }, { 'if-none-match': '*' }, { range: 'bytes=0-9' }];
      for (const headers of conditions) {
        const reply = await pair.request(pathOf('app', host), { headers });
        assertError(reply, 403, /^Image not signed: Cannot serve ".*\/team\/app.* has no valid signature$/);
      }
      const head = await pair.request(pathOf('app', host), { method: 'HEAD' });
      assert.equal(head.status, 403);
      assert.equal(pair.registry.countRequests(/team\/app\/blobs/), 0);
    });
  }
});

test('a preparation of an image without a signature fails with that reason', async () => {
  await using pair = await start();
  const failed = await ended(pair.service, await prepare(pair.service, '/docker/team_app_1.tar'));
  assert.match(JSON.stringify(failed), /IMAGE_NOT_SIGNED/);
});

test('the error says what was looked for, as text and as a document', async () => {
  await using pair = await start();
  const reply = await pair.request('/docker/team_app_1.tar');
  const text = reply.body.toString();
  assert.match(text, /\nLooked at tag sha256-[a-f0-9]{12}….sig: not found; /);
  assert.match(text, /\nKeys that count: "release.pub" \(SHA-256 [a-f0-9]{64}\)\n/);
  assert.match(text, /\nSign this digest with cosign sign --key, or add .* to SIGNATURE_KEYS\n/);
  assert.match(text, /\nerror: IMAGE_NOT_SIGNED\n/);
  const json = await pair.request('/docker/team_app_1.tar', { headers: { accept: 'application/json' } });
  assert.equal(JSON.parse(json.body.toString()).code, 'IMAGE_NOT_SIGNED');
});

test('what was cached before there was a policy is judged by it, and its tag is not confirmed', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'kept-'));
  t.after(() => rm(folder, { recursive: true }));
  await using pair = await start({ CACHE_DIR: folder, SIGNATURE_KEYS: '' });
  const path = '/docker/team_app_1.tar';
  const before = await pair.request(path);
  assert.equal(before.status, 200);
  await pair.service.stop();
  const key = join(folder, '..', `${folder.split('/').at(-1)}.pub`);
  await writeFile(key, KEY.pem);
  t.after(() => rm(key));
  await pair.service[Symbol.asyncDispose]();
  await using service = await startTestService({
    REGISTRY_URL: pair.registry.url,
    CACHE_DIR: folder,
    SIGNATURE_KEYS: key,
  });
  assert.equal((await service.request(path)).status, 403);
  const confirmed = await service.request(path, {
    headers: { 'if-none-match': String(before.headers.etag) },
  });
  assert.equal(confirmed.status, 403);
});

test('a signed image is confirmed with 304, and from the cache without another look at its signature', async () => {
  await using pair = await start();
  const path = '/docker/team_signed_1.tar';
  const { headers, body } = await pair.request(path);
  const looks = () => pair.registry.countRequests(/sha256-.*\.sig/);
  const before = looks();
  const again = await pair.request(path);
  assert.ok(again.body.equals(body));
  const confirmed = await pair.request(path, { headers: { 'if-none-match': String(headers.etag) } });
  assert.equal(confirmed.status, 304);
  assert.equal(looks(), before);
});

test('the log has a line for a signature that was verified', async () => {
  await using pair = await start();
  await pair.request('/docker/team_signed_1.tar');
  const event = await pair.service.waitForLog({ event: 'signature_verified' });
  assert.deepEqual(
    [event['level'], event['key'], event['digest'], event['served']],
    ['info', 'release.pub', IMAGE.manifest.digest, true],
  );
  assert.match(String(event['fingerprint']), /^[a-f0-9]{64}$/);
});

test('with SIGNATURE_POLICY=warn an image without a signature is served, and the log has a warning', async () => {
  await using pair = await start({ SIGNATURE_POLICY: 'warn' });
  assert.equal((await pair.request('/docker/team_app_1.tar')).status, 200);
  const event = await pair.service.waitForLog({ event: 'image_not_signed' });
  assert.deepEqual([event['level'], event['served']], ['warn', true]);
  assert.match(String(event['message']), /has no valid signature: Looked at/);
});

test('SIGNATURE_REQUIRED_FOR leaves other repositories alone', async () => {
  await using pair = await start({ SIGNATURE_REQUIRED_FOR: 'ghcr.io/*, */team/other' });
  assert.equal((await pair.request('/docker/team_app_1.tar')).status, 200);
});

test('where a signature must name the repository, the error says so', async () => {
  await using pair = await start({ SIGNATURE_MATCH_REPOSITORY: 'yes' });
  const text = (await pair.request('/docker/team_signed_1.tar')).body.toString();
  assert.match(
    text,
    /\nLooked at signature 1 of tag .*: it is for repository "registry\.example\/team\/app"; /,
  );
  assert.match(text, /\nSIGNATURE_MATCH_REPOSITORY=yes: a signature must name this repository, /);
});

test('a registry that fails to give signatures is the error, not the image', async () => {
  await using pair = await start();
  pair.registry.defects.failWith = { pattern: /\.sig/, status: 500 };
  const reply = await pair.request('/docker/team_signed_1.tar');
  assertError(reply, 502, /^Failed to prepare image: Cannot get manifest "sha256-.*\.sig"/);
});
