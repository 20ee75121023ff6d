/** Foreign layers, which lie outside of registries, as those of Windows base images did. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type BuiltImage, makeImage, makeLayer } from '../../support/image.ts';
import { basic, type PairOptions, startPair } from '../../support/pair.ts';
import { assertError, blobName, filesOf, firstLine, imagesOf } from '../../support/reading.ts';
import { startScriptedServer } from '../../support/scripted-server.ts';

const FOREIGN_TYPE = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';
const BASE = makeLayer({ 'Files/base': 'base' });
const OWN = makeLayer({ 'Files/own': 'own' });
const FETCH = { REGISTRY_FOREIGN_LAYERS: 'fetch' };

/**
 * A registry without the foreign layer, and the server that has it.
 *
 * @param served by that server instead of the layer
 */
async function start(options: PairOptions = {}, served?: string) {
  await using stack = new AsyncDisposableStack();
  const elsewhere = stack.use(
    await startScriptedServer((_, response) => {
      response.end(served ?? image.layers[0]?.blob);
    }),
  );
  const descriptor = { urls: [`${elsewhere.origin}/layers/base`] };
  const image: BuiltImage = makeImage({
    platform: { os: 'windows', architecture: 'amd64', 'os.version': '10.0.17763.6189' },
    mediaTypes: 'docker',
    layers: [{ tar: BASE, mediaType: FOREIGN_TYPE, descriptor }, { tar: OWN }],
  });
  const digest = image.layers[0]?.digest ?? '';
  const env = { DEFAULT_PLATFORM: 'windows/amd64', ...options.env };
  const pair = stack.use(
    await startPair({ defects: { dropBlob: { digest } }, ...options, env }, (registry) => {
      registry.push('windows/app', '1', image);
    }),
  );
  const all = stack.move();
  return { ...pair, elsewhere, image, digest, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

describe('a foreign layer', () => {
  test('is listed in LayerSources by layout docker-gzip and not fetched', async () => {
    await using scene = await start();
    const { registry, elsewhere, image, digest } = scene;
    const reply = await scene.request('/docker-gzip/windows_app_1.tar');
    assert.equal(reply.status, 200, firstLine(reply));
    const [listed] = imagesOf(reply);
    const [diffId = ''] = image.diffIds;
    assert.deepEqual(Object.keys(listed?.LayerSources ?? {}), [diffId]);
    const source = listed?.LayerSources?.[diffId] as Record<string, unknown>;
    assert.equal(source['digest'], digest);
    assert.equal(source['mediaType'], FOREIGN_TYPE);
    assert.deepEqual(source['urls'], [`${elsewhere.origin}/layers/base`]);
    assert.equal(listed?.Layers.length, 2);
    const files = filesOf(reply);
    assert.equal(files.has(listed?.Layers[0] ?? ''), false);
    assert.deepEqual(files.get(listed?.Layers[1] ?? ''), image.layers[1]?.blob);
    assert.deepEqual(elsewhere.requests, []);
    assert.equal(registry.countRequests(new RegExp(digest)), 0);
  });

  for (const layout of ['docker', 'oci']) {
    test(`is refused by layout ${layout}; the error names the layer and the variable`, async () => {
      await using scene = await start();
      const line = new RegExp(`${scene.digest}.*outside of the registry; set REGISTRY_FOREIGN_LAYERS=fetch`);
      assertError(await scene.request(`/${layout}/windows_app_1.tar`), 502, line);
      assert.deepEqual(scene.elsewhere.requests, []);
      await scene.assertIdle();
    });
  }

  test('is fetched without credentials if REGISTRY_FOREIGN_LAYERS is fetch', async () => {
    await using scene = await start({
      auth: { mode: 'basic' },
      env: { ...FETCH, REGISTRY_USERNAME: 'user', REGISTRY_PASSWORD: 'secret' },
    });
    const { elsewhere, image, digest } = scene;
    const headers = { authorization: basic('user', 'secret') };
    const docker = await scene.request('/docker/windows_app_1.tar', { headers });
    assert.equal(docker.status, 200, firstLine(docker));
    const [base = ''] = imagesOf(docker)[0]?.Layers ?? [];
    assert.deepEqual(filesOf(docker).get(base), BASE);
    const oci = await scene.request('/oci/windows_app_1.tar', { headers });
    assert.deepEqual(filesOf(oci).get(blobName(digest)), image.layers[0]?.blob);
    assert.deepEqual(
      elsewhere.requests.map((request) => request.headers.authorization),
      [undefined, undefined],
    );
  });

  test('that is fetched is part of layout docker-gzip, too, and changes its entity tag', async () => {
    await using fetching = await start({ env: FETCH });
    await using listing = await start();
    const path = '/docker-gzip/windows_app_1.tar';
    const fetched = await fetching.request(path);
    const [base = ''] = imagesOf(fetched)[0]?.Layers ?? [];
    assert.deepEqual(filesOf(fetched).get(base), fetching.image.layers[0]?.blob);
    assert.notEqual(fetched.headers.etag, (await listing.request(path)).headers.etag);
  });

  test('with other bytes than its digest is refused', async () => {
    await using scene = await start({ env: FETCH }, 'other bytes');
    assertError(await scene.request('/oci/windows_app_1.tar'), 502, 'VERIFICATION_FAILED');
    await scene.service.waitForLog({ event: 'request', status: 502 });
    await scene.assertIdle();
  });
});
