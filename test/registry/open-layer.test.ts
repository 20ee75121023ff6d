import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Defects } from '../support/defects.ts';
import { within } from '../support/within.ts';
import {
  BIG,
  BIG_LAYER,
  headersOf,
  IMAGE,
  layerOf,
  never,
  readLayer,
  SHORT_MS,
  startRegistry,
  startScene,
} from './support/scene.ts';

/** `Range` of the continuations from these offsets on, after a request without a range. */
const rangesFrom = (...offsets: readonly number[]) => [
  undefined,
  ...offsets.map((offset) => `bytes=${offset}-`),
];

test('a layer is not verified, not even its size', async () => {
  await using scene = await startScene();
  for (const index of [0, 1]) {
    assert.deepEqual(await readLayer(scene.client, layerOf(index)), IMAGE.layers[index]?.blob);
  }
  scene.server.defects.wrongBlobSize = { by: 5 };
  assert.equal((await readLayer(scene.client)).length, BIG.length + 5);
  assert.deepEqual(headersOf(scene.server, 'range'), [undefined, undefined, undefined]);
});

describe('a layer is resumed where it stopped', () => {
  const rows: [name: string, defects: Defects, offsets: readonly number[]][] = [
    ['if it breaks off', { truncateBlob: { afterBytes: 100_000, times: 3 } }, [100_000, 200_000, 300_000]],
    ['if it stalls', { stallBlob: { afterBytes: 70_000, times: 1 } }, [70_000]],
    [
      'if the registry ignores the range and sends the whole layer again',
      { noRange: true, truncateBlob: { afterBytes: 100_000, times: 1 } },
      [100_000],
    ],
    [
      'if the range names another size of the layer',
      { wrongContentRange: 'otherSize', truncateBlob: { afterBytes: 100_000, times: 1 } },
      [100_000],
    ],
  ];
  for (const [name, defects, offsets] of rows) {
    test(name, async () => {
      const timeouts = 'stallBlob' in defects ? { stallMs: SHORT_MS } : {};
      await using scene = await startScene({ defects }, { timeouts });
      assert.deepEqual(await readLayer(scene.client), BIG);
      assert.deepEqual(headersOf(scene.server, 'range'), rangesFrom(...offsets));
      await within(scene.server.waitForNoActiveRequests(), 'the end of the responses');
    });
  }

  test('behind a redirect, from the registry on: the URL of the storage may have expired', async () => {
    await using storage = await startRegistry({
      defects: { truncateBlob: { afterBytes: 100_000, times: 2 } },
    });
    await using scene = await startScene({ defects: { redirectBlobsTo: storage.origin } });
    assert.deepEqual(await readLayer(scene.client), BIG);
    for (const server of [scene.server, storage]) {
      assert.deepEqual(headersOf(server, 'range'), rangesFrom(100_000, 200_000));
    }
  });
});

describe('a layer fails', () => {
  test('if a continuation starts at another offset', async () => {
    const truncateBlob = { afterBytes: 100_000, times: 1 };
    await using scene = await startScene({ defects: { wrongContentRange: 'shifted', truncateBlob } });
    const refused = { code: 'REGISTRY_FAILED', message: /^Cannot go on reading / };
    await assert.rejects(readLayer(scene.client), refused);
    assert.equal(scene.server.requests.length, 2);
    await within(scene.server.waitForNoActiveRequests(), 'the end of the responses');
  });

  test('after three requests without a byte', async () => {
    await using scene = await startScene({ defects: { truncateBlob: { afterBytes: 0 } } });
    await assert.rejects(readLayer(scene.client), {
      code: 'REGISTRY_UNREACHABLE',
      message: `Cannot reach "${scene.server.origin}": the connection broke off`,
    });
    assert.equal(scene.server.requests.length, 3);
  });

  for (const [status, code] of [
    [404, 'IMAGE_NOT_FOUND'],
    [403, 'REGISTRY_DENIED'],
    [416, 'REGISTRY_FAILED'],
  ] as const) {
    test(`with ${code} if a continuation is answered by ${status}`, async () => {
      await using scene = await startScene({ defects: { truncateBlob: { afterBytes: 1000, times: 1 } } });
      const layer = await scene.client.openLayer(BIG_LAYER, never());
      scene.server.defects.failWith = { status };
      await assert.rejects(Array.fromAsync(layer), { code });
      assert.equal(scene.server.requests.length, 2);
    });
  }

  test('before its first byte if the registry refuses it', async () => {
    await using scene = await startScene({ defects: { dropBlob: true } });
    await assert.rejects(scene.client.openLayer(BIG_LAYER, never()), {
      code: 'IMAGE_NOT_FOUND',
      details: { registryStatus: 404, registryCode: 'BLOB_UNKNOWN' },
    });
  });
});

test('a layer that is ended early frees its connection, before its first byte and after it', async () => {
  await using scene = await startScene({ defects: { stallBlob: { afterBytes: 1000 } } });
  const unread = await scene.client.openLayer(BIG_LAYER, never());
  await scene.server.waitForStalled();
  await unread.return();
  await within(scene.server.waitForNoActiveRequests(), 'the end of the unread response');

  const started = await scene.client.openLayer(BIG_LAYER, never());
  await started.next();
  await started.return();
  await within(scene.server.waitForNoActiveRequests(), 'the end of the response');
});

describe('a check of a layer', () => {
  const rows: [name: string, defects: Defects, methods: string[], code?: string][] = [
    ['is one HEAD if the registry has the layer', {}, ['HEAD']],
    ['is a HEAD and a GET without HEAD', { failWith: { pattern: /^HEAD/, status: 405 } }, ['HEAD', 'GET']],
    ['has the error of a GET', { dropBlob: true }, ['HEAD', 'GET'], 'IMAGE_NOT_FOUND'],
  ];
  for (const [name, defects, methods, code] of rows) {
    test(name, async () => {
      await using scene = await startScene({ defects });
      const checked = scene.client.checkLayer(BIG_LAYER, never());
      await (code === undefined ? checked : assert.rejects(checked, { code }));
      assert.deepEqual(
        scene.server.requests.map(({ method }) => method),
        methods,
      );
      await within(scene.server.waitForNoActiveRequests(), 'the end of the responses');
    });
  }
});
