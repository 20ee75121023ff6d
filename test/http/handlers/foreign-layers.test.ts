/** Layers that lie outside of registries, as those of Windows' base images do. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type BuiltImage, makeImage, makeLayer } from '../../support/image.ts';
import { basic, type PairOptions, startPair } from '../../support/pair.ts';
import { blobName, filesOf, firstLine, imagesOf } from '../../support/reading.ts';
import { startScriptedServer } from '../../support/scripted-server.ts';

const FOREIGN_TYPE = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';
const BASE = makeLayer({ 'Files/base': 'base' });
const OWN = makeLayer({ 'Files/own': 'own' });

function makeForeign(url: string): BuiltImage {
  return makeImage({
    platform: { os: 'windows', architecture: 'amd64', 'os.version': '10.0.17763.6189' },
    mediaTypes: 'docker',
    layers: [
      { tar: BASE, mediaType: FOREIGN_TYPE, descriptor: { urls: [`${url}/layers/base`] } },
      { tar: OWN },
    ],
  });
}

/** A registry without the foreign layer, and the server that has it. */
async function start(options: PairOptions = {}) {
  await using stack = new AsyncDisposableStack();
  const elsewhere = stack.use(
    await startScriptedServer((_, response) => {
      response.end(foreign?.blob);
    }),
  );
  const image = makeForeign(elsewhere.origin);
  const [foreign] = image.layers;
  const digest = foreign?.digest ?? '';
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
  test('is named in LayerSources by layout docker-gzip, and fetched from nowhere', async () => {
    await using scene = await start();
    const { service, registry, elsewhere, image, digest } = scene;
    const reply = await service.request('/docker-gzip/windows_app_1.tar');
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
    test(`is refused by layout ${layout}, which says what to do`, async () => {
      await using scene = await start();
      const reply = await scene.service.request(`/${layout}/windows_app_1.tar`);
      assert.equal(reply.status, 502);
      assert.match(firstLine(reply), /outside of the registry; set REGISTRY_FOREIGN_LAYERS=fetch/);
      assert.match(firstLine(reply), new RegExp(scene.digest));
      assert.deepEqual(scene.elsewhere.requests, []);
      assert.equal(await scene.service.openFiles(), 0);
    });
  }

  const FETCH = { REGISTRY_FOREIGN_LAYERS: 'fetch' };

  test('is fetched where the operator wants that, without the credentials of anybody', async () => {
    await using scene = await start({
      auth: { mode: 'basic' },
      env: { ...FETCH, REGISTRY_USERNAME: 'user', REGISTRY_PASSWORD: 'secret' },
    });
    const { service, elsewhere, image, digest } = scene;
    const headers = { authorization: basic('user', 'secret') };
    const docker = await service.request('/docker/windows_app_1.tar', { headers });
    assert.equal(docker.status, 200, firstLine(docker));
    const [base = ''] = imagesOf(docker)[0]?.Layers ?? [];
    assert.deepEqual(filesOf(docker).get(base), BASE);

    const oci = await service.request('/oci/windows_app_1.tar', { headers });
    assert.deepEqual(filesOf(oci).get(blobName(digest)), image.layers[0]?.blob);
    assert.equal(elsewhere.requests.length, 2);
    for (const request of elsewhere.requests) assert.equal(request.headers.authorization, undefined);
  });

  test('is in layout docker-gzip then too, and changes its entity tag', async () => {
    await using fetching = await start({ env: FETCH });
    await using leaving = await start();
    const path = '/docker-gzip/windows_app_1.tar';
    const fetched = await fetching.service.request(path);
    const [base = ''] = imagesOf(fetched)[0]?.Layers ?? [];
    assert.deepEqual(filesOf(fetched).get(base), fetching.image.layers[0]?.blob);
    assert.notEqual(fetched.headers.etag, (await leaving.service.request(path)).headers.etag);
  });

  test('whose bytes are others is refused', async () => {
    await using lying = await startScriptedServer((_, response) => {
      response.end('other bytes');
    });
    const image = makeForeign(lying.origin);
    await using pair = await startPair(
      {
        env: { ...FETCH, DEFAULT_PLATFORM: 'windows/amd64' },
        defects: { dropBlob: { digest: image.layers[0]?.digest ?? '' } },
      },
      (registry) => registry.push('windows/app', '1', image),
    );
    const reply = await pair.service.request('/oci/windows_app_1.tar');
    assert.equal(reply.status, 502);
    await pair.service.waitForLog({ event: 'request', status: 502 });
    assert.equal(await pair.service.openFiles(), 0);
  });
});
