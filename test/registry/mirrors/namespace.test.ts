import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULT_OPTIONS } from '../../../src/pull/options.ts';
import { locationOf } from '../../../src/registry/mirrors/namespace.ts';
import { openRegistryAccess } from '../../../src/registry/open-repository.ts';
import { registryHost } from '../../../src/registry/registry-host.ts';
import {
  accessSettings,
  CONFIG,
  IMAGE,
  layerOf,
  MANIFEST,
  never,
  openAccess,
  pull,
  REPOSITORY,
  readLayer,
  startScene,
} from '../support/scene.ts';

test('a namespace is sent with manifests, blobs and tags, and not with token requests', async () => {
  await using scene = await startScene(
    { auth: { mode: 'token' }, defects: { tagPageSize: 1 } },
    { namespace: 'docker.io' },
  );
  const { client, server } = scene;
  server.push(REPOSITORY, '2', IMAGE);
  await pull(client);
  await client.headManifest('1', never());
  await client.getManifest(MANIFEST, never());
  await client.getConfig(CONFIG, never());
  await readLayer(client, layerOf(0));
  await client.checkLayer(layerOf(1), never());
  assert.deepEqual((await Array.fromAsync(client.listTags(never()))).flat(), ['1', '2']);
  const api = server.requests.filter(({ path }) => path.startsWith('/v2/'));
  const { searchParams } = new URL(server.tokenRequests[0]?.path ?? '', server.origin);
  assert.deepEqual(
    api.filter(({ path }) => new URL(path, server.origin).searchParams.get('ns') !== 'docker.io'),
    [],
  );
  assert.ok(api.length >= 9);
  assert.equal(searchParams.has('ns'), false);
});

test('a namespace in the path stands in place of the query', async () => {
  using access = openAccess({ namespace: 'quay.io' });
  await using scene = await startScene();
  const rows = [
    ['docker.io/library/nginx', false],
    ['library/nginx', true],
    ['nginx.org', true],
  ] as const;
  for (const [repository, hasNamespace] of rows) {
    scene.server.push(repository, '1', IMAGE);
    await pull(access.open(scene.server, undefined, {}, repository));
    assert.equal(scene.server.requests.at(-1)?.path.includes('?ns=quay.io'), hasNamespace, repository);
  }
});

test('one name in two namespaces is two repositories for the caches', () => {
  const host = registryHost('http', 'localhost:8080');
  const nameOf = (namespace?: string, repository = 'curl/curl') =>
    locationOf(host, repository, namespace).name;
  assert.equal(new Set([nameOf(), nameOf('docker.io'), nameOf('quay.io')]).size, 3);
  assert.equal(nameOf('quay.io', 'docker.io/curl'), nameOf(undefined, 'docker.io/curl'));
});

test('a namespace that is no host is refused at once', () => {
  const { documents } = accessSettings();
  for (const namespace of ['', 'a b', 'docker.io/library', 'https://docker.io', 'user@host', 'a\nb']) {
    assert.throws(
      () => openRegistryAccess({ ...DEFAULT_OPTIONS.registry, documents, userAgent: 'test', namespace }),
      { code: 'INVALID_CONFIGURATION' },
      namespace,
    );
  }
});
