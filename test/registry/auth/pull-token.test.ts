import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Credential } from '../../../src/registry/auth/credentials.ts';
import type { AuthSettings } from '../../support/fake-token.ts';
import { within } from '../../support/within.ts';
import {
  BIG,
  BIG_LAYER,
  CLIENT,
  configured,
  IMAGE,
  NO_CREDENTIAL,
  never,
  OPERATOR,
  pull,
  REPOSITORY,
  RETRY,
  readLayer,
  SCOPE,
  STATIC_TOKEN,
  startScene,
} from '../support/scene.ts';

type Auth = Partial<AuthSettings>;

const TOKEN: Auth = { mode: 'token' };

const layersOf = (client: Parameters<typeof readLayer>[0]) =>
  Promise.all(Array.from({ length: 10 }, () => readLayer(client)));

describe('a token', () => {
  const denied = { code: 'REGISTRY_DENIED' };

  test('is requested once for ten concurrent layers, with and without a challenge', async () => {
    for (const [settings, blobRequests] of [
      [configured, 10],
      [() => ({}), 20],
    ] as const) {
      await using scene = await startScene({ auth: TOKEN });
      const layers = await layersOf(scene.open(CLIENT, settings(scene.server)));
      assert.ok(layers.every((layer) => layer.equals(BIG)));
      assert.deepEqual(
        [scene.server.tokenRequests.length, scene.server.countRequests(/blobs/)],
        [1, blobRequests],
      );
    }
  });

  const sharing: [name: string, credential: Credential, oneByOne: number, concurrent: number][] = [
    ['is shared by pulls if it is anonymous', NO_CREDENTIAL, 1, 1],
    ["is shared by pulls if it is of the operator's credentials", OPERATOR, 1, 1],
    ["is not shared by pulls if it is of a client's credentials", CLIENT, 2, 3],
  ];
  for (const [name, credential, oneByOne, concurrent] of sharing) {
    test(name, async () => {
      await using first = await startScene({ auth: TOKEN });
      for (const _ of [1, 2]) await pull(first.open(credential, configured(first.server)));
      assert.equal(first.server.tokenRequests.length, oneByOne);

      await using scene = await startScene({ auth: { ...TOKEN, tokenDelayUntilReleased: true } });
      const pulls = [1, 2, 3].map(() => pull(scene.open(credential, configured(scene.server))));
      await within(scene.server.waitForStalled(concurrent), 'the token requests');
      scene.server.releaseStalled();
      await Promise.all(pulls);
      assert.equal(scene.server.tokenRequests.length, concurrent);
    });
  }

  test('of one client opens nothing for another', async () => {
    await using scene = await startScene({ auth: { mode: 'token', allowAnonymous: 'noAccess' } });
    await pull(scene.open(CLIENT));
    const details = { registryStatus: 401, registryCode: 'UNAUTHORIZED' };
    await assert.rejects(pull(scene.open()), { ...denied, details });
    const wrong = { ...CLIENT, basic: { username: 'user', password: 'guess' } };
    await assert.rejects(pull(scene.open(wrong)), {
      ...denied,
      message: /^Cannot get a token from .*: incorrect username or password \(UNAUTHORIZED\)$/,
    });
  });

  test('is requested for each repository', async () => {
    const other = 'team/other';
    await using scene = await startScene({ auth: TOKEN });
    scene.server.push(other, '1', IMAGE);
    for (const repository of [REPOSITORY, other, REPOSITORY])
      await pull(scene.open(OPERATOR, {}, repository));
    assert.deepEqual(
      scene.server.tokenRequests.map(({ path }) =>
        new URL(path, scene.server.origin).searchParams.get('scope'),
      ),
      [SCOPE, `repository:${other}:pull`],
    );
  });

  test('that is revoked during a pull is replaced once for all layers', async () => {
    await using scene = await startScene({ auth: TOKEN });
    const client = scene.open(CLIENT);
    await pull(client);
    scene.server.tokens.revokeAll();
    const layers = await layersOf(client);
    assert.ok(layers.every((layer) => layer.equals(BIG)));
    assert.deepEqual([scene.server.tokenRequests.length, scene.server.countRequests(/blobs/)], [2, 20]);
  });

  test('that expires while a layer is read is replaced when the layer is resumed', async () => {
    await using scene = await startScene({
      auth: TOKEN,
      defects: { truncateBlob: { afterBytes: 1000, times: 1 } },
    });
    const layer = await scene.open(CLIENT).openLayer(BIG_LAYER, never());
    scene.server.tokens.revokeAll();
    const chunks = await Array.fromAsync(layer);
    assert.deepEqual([Buffer.concat(chunks).equals(BIG), scene.server.tokenRequests.length], [true, 2]);
  });

  test('that the registry refuses is replaced once per request', async () => {
    await using scene = await startScene({ auth: { ...TOKEN, hugeToken: 100 } });
    const client = scene.open(CLIENT);
    for (const requests of [1, 2]) {
      await assert.rejects(pull(client), denied);
      const { server } = scene;
      assert.deepEqual(
        [server.countRequests(/manifests/), server.tokenRequests.length],
        [2 * requests, requests],
      );
    }
  });

  test('that is static and refused is final', async () => {
    for (const mode of ['token', 'basic'] as const) {
      await using scene = await startScene({ auth: { mode } });
      await assert.rejects(pull(scene.open(STATIC_TOKEN)), denied);
      assert.deepEqual([scene.server.requests.length, scene.server.tokenRequests.length], [1, 0]);
    }
  });

  const failing: [auth: Auth, code: string, message: RegExp, tokenRequests: number][] = [
    [{ tokenStatus: 401 }, 'REGISTRY_DENIED', /authentication is required or was refused/, 1],
    [{ tokenStatus: 404 }, 'REGISTRY_FAILED', /not found/, 1],
    [{ tokenStatus: 500 }, 'REGISTRY_FAILED', /the answer is 500/, RETRY.attempts],
    [{ tokenBody: '<html>sign in</html>' }, 'REGISTRY_FAILED', /its answer is not JSON/, 1],
    [{ tokenField: 'none' }, 'REGISTRY_FAILED', /neither token nor access_token/, 1],
    [{ hugeToken: 100 * 1024 ** 2 }, 'REGISTRY_FAILED', /larger than 16384 bytes/, 1],
  ];
  for (const [auth, code, message, tokenRequests] of failing) {
    test(`endpoint that fails with ${JSON.stringify(auth)} ends the pull`, async () => {
      await using scene = await startScene({ auth: { ...TOKEN, ...auth } });
      await assert.rejects(pull(scene.open(CLIENT)), { code, message });
      const { server } = scene;
      assert.deepEqual([server.tokenRequests.length, server.countRequests(/manifests/)], [tokenRequests, 1]);
      await within(server.waitForNoActiveRequests(), 'the end of the responses');
    });
  }
});
