import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { ImageService } from '../../src/pull/image-service.ts';
import type { ImageServiceOptions } from '../../src/pull/options.ts';
import { type ArchiveRequest, archiveRequest, imageRequest } from '../../src/pull/request.ts';
import { DOCKER_HUB, registryHost } from '../../src/registry/registry-host.ts';
import { listTar, readAll } from '../support/collect.ts';
import { bytesOf } from '../support/documents.ts';
import { type FakeRegistryOptions, startFakeRegistry } from '../support/fake-registry.ts';
import { makeImage, makeLayer } from '../support/image.ts';
import { QUICK_RETRY } from '../support/service.ts';
import { within } from '../support/within.ts';
import { NEVER, refusal } from './pulling.ts';

const IMAGE = makeImage({ layers: [{ tar: makeLayer({ hello: 'world' }) }] });
const POLICY = { defaultHost: DOCKER_HUB, defaultNamespace: '', allowedHosts: undefined, plainHttpHosts: [] };

/** A service without any face, and a registry with `team/app:1`. */
async function start(options: ImageServiceOptions = {}, registryOptions: FakeRegistryOptions = {}) {
  await using stack = new AsyncDisposableStack();
  const registry = stack.use(await startFakeRegistry(registryOptions));
  registry.push('team/app', '1', IMAGE);
  const workspaceDirectory = await mkdtemp(join(tmpdir(), 'images-'));
  stack.defer(() => rm(workspaceDirectory, { recursive: true }));
  const images = await ImageService.open({ workspaceDirectory, ...options }, { retry: QUICK_RETRY });
  stack.defer(() => images.close());
  const image = imageRequest(`${registry.host}/team/app:1`, POLICY);
  const request = (given: Partial<ArchiveRequest> = {}) => archiveRequest([image], given);
  const all = stack.move();
  return {
    images,
    registry,
    workspaceDirectory,
    image,
    request,
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

test('an archive is resolved, pulled, read in parts and closed without any face', async () => {
  await using scene = await start();
  const resolved = await scene.images.resolve(scene.request(), { signal: NEVER });
  assert.equal(resolved.images[0]?.manifest.digest, IMAGE.manifest.digest);
  assert.equal(scene.registry.countRequests(/blobs/), 0, 'resolving needs the manifest alone');

  const archive = await scene.images.pull(resolved, { signal: NEVER });
  assert.deepEqual([archive.etag, archive.filename], [resolved.etag, 'team__app_1.tar']);
  const bytes = await readAll(archive.bytes());
  assert.equal(bytes.length, archive.size);
  assert.deepEqual(await readAll(archive.bytes({ start: 5, end: 600 })), bytes.subarray(5, 600));
  assert.ok(listTar(bytes).some(({ name }) => name === 'manifest.json'));
  archive.close();
});

test('the time limit covers resolving and pulling together', async () => {
  await using scene = await start({ prepareTimeoutMs: 60_000 });
  const resolved = await scene.images.resolve(scene.request(), { signal: NEVER });
  assert.ok(resolved.resolveMs > 0);
  const spent = { ...resolved, resolveMs: 60_000 };
  scene.registry.defects.stallRequests = { pattern: /blobs/ };
  const { message } = await refusal(
    within(scene.images.pull(spent, { signal: NEVER }), 'the refusal'),
    'REGISTRY_TIMEOUT',
  );
  assert.equal(message, 'Cannot prepare the image: it took more than 60 s');
});

describe('credentials', () => {
  const basic = { username: 'me', password: 'secret' };
  const operator = { bearerToken: undefined, basic, boundTo: undefined, hosts: [] };
  const [one, other] = [registryHost('https', 'one.example'), registryHost('https', 'other.example')];
  const table = [
    ['none without any', [one], undefined, undefined, ['none']],
    ["the operator's", [one], undefined, operator, ['operator']],
    ["the client's before the operator's", [one, one], basic, operator, ['client']],
    ["not the client's for several registries", [one, other], basic, operator, ['operator']],
    ["not the client's for several registries, and none else", [one, other], basic, undefined, ['none']],
  ] as const;
  for (const [name, hosts, client, fixed, owners] of table) {
    test(`are ${name}`, async () => {
      await using scene = await start(fixed && { registry: { credentials: fixed } });
      assert.deepEqual([...scene.images.credentialOwners(hosts, { credentials: client })], owners);
    });
  }
});

test('the default limits take the token of a registry that requires one', async () => {
  const basic = { username: 'user', password: 'secret' };
  await using scene = await start(undefined, { auth: { mode: 'token', allowAnonymous: false } });
  const resolved = await scene.images.resolve(scene.request(), { signal: NEVER, credentials: basic });
  const archive = await scene.images.pull(resolved, { signal: NEVER });
  assert.equal((await readAll(archive.bytes())).length, archive.size);
  archive.close();
});

for (const [maxBytes, method] of [
  [0, 'GET'],
  [1, 'HEAD'],
] as const) {
  test(`a cache of ${maxBytes} bytes asks for a known manifest by ${method}`, async () => {
    await using scene = await start({ cache: { maxBytes } });
    for (let times = 0; times < 2; times += 1) await scene.images.resolve(scene.request(), { signal: NEVER });
    assert.equal(scene.registry.requests.at(-1)?.method, method);
  });
}

test('a preparation runs without a waiting caller, and can be looked up when it has ended', async () => {
  await using scene = await start();
  const { preparation, ended } = scene.images.prepare(scene.request(), { path: '/docker/team_app_1.tar' });
  assert.deepEqual(preparation.subject, {
    ...{ path: '/docker/team_app_1.tar', layout: 'docker', platform: 'linux/amd64' },
    images: [`${scene.registry.host}/team/app:1`],
  });
  const { state, progress } = await within(ended, 'the preparation');
  assert.deepEqual([state, progress.layers], ['done', { done: 1, total: 1 }]);
  assert.equal(scene.images.preparations.find(preparation.id)?.state, 'done');
});

test('closing cancels what runs, and leaves no file behind', async () => {
  await using scene = await start({}, { defects: { stallRequests: { pattern: /blobs/ } } });
  const { ended } = scene.images.prepare(scene.request(), { path: '/docker/team_app_1.tar' });
  await within(scene.registry.waitForStalled(2), 'config and layer');
  await within(scene.images.close(), 'the end');
  assert.equal((await ended).state, 'cancelled');
  assert.throws(() => scene.images.prepare(scene.request(), { path: '/' }), { code: 'BUSY' });
  assert.deepEqual(await readdir(scene.workspaceDirectory), []);
});

test('a service whose store cannot be opened gives its folder up', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'images-'));
  try {
    const failure = new Error('no store');
    const options = { cache: { directory } };
    await assert.rejects(ImageService.open(options, { openStore: () => Promise.reject(failure) }), failure);
    await (await ImageService.open(options)).close();
  } finally {
    await rm(directory, { recursive: true });
  }
});

test('tags and manifests are read without pulling', async () => {
  await using scene = await start();
  const tags = await bytesOf(await scene.images.tags(scene.image, { signal: NEVER }));
  assert.equal(tags.toString(), '["1"]');
  const choice = { type: undefined, platform: undefined };
  const { digest, content } = await scene.images.manifest(scene.image, choice, { signal: NEVER });
  assert.equal(digest, IMAGE.manifest.digest);
  assert.deepEqual(await bytesOf(content), IMAGE.manifest.bytes);
});
