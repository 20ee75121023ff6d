/** Archives that share a layer share its download, but neither its failure nor the access to it. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  APP,
  APP_FILE,
  assertHolds,
  assertHoldsPacked,
  BASE,
  BASE_DIGEST,
  BASE_STALLS,
  BUNDLE,
  startScene,
  storedFiles,
  TOOL,
  TOOL_FILE,
} from '../../support/cached.ts';
import type { Defects } from '../../support/defects.ts';
import type { FakeRegistry } from '../../support/fake-registry.ts';
import { makeImage } from '../../support/image.ts';
import { assertError } from '../../support/reading.ts';
import type { Reply } from '../../support/service.ts';
import { within } from '../../support/within.ts';

const UNCACHED = { CACHE_MAX_BYTES: '0', MAX_CONCURRENT_PREPARATIONS: '10' };

/** Waits until the configs of images are requested: their layers are requested at the same time. */
async function untilConfigs(registry: FakeRegistry, count: number, ...images: readonly (typeof APP)[]) {
  const digests = images.map(({ config }) => config.digest).join('|');
  await within(registry.waitForRequest(new RegExp(`GET .*blobs/(?:${digests})`), count), 'a config');
}

function assertFetchedOnce(registry: FakeRegistry, images: readonly (typeof APP)[]): void {
  for (const { digest } of images.flatMap(({ layers }) => layers)) {
    assert.equal(registry.countRequests(new RegExp(`GET .*/blobs/${digest}`)), 1);
  }
}

describe('archives that share a layer', () => {
  test('share its download, whatever their names and repositories', async () => {
    await using scene = await startScene();
    const { registry } = scene;
    await using service = await scene.start(UNCACHED);
    registry.defects.stallBlob = BASE_STALLS;
    const requests = [
      [APP_FILE, [APP]],
      ['/docker/team_app_2.tar', [TOOL]],
      ['/team/app:1?format=tar&name=other:1', [APP]],
      [TOOL_FILE, [TOOL]],
      [BUNDLE, [APP, TOOL]],
    ] as const;
    const replies: Promise<Reply>[] = [];
    for (const [at, [path]] of requests.entries()) {
      replies.push(service.request(path));
      await untilConfigs(registry, at + 1, APP, TOOL);
      if (at === 0) await scene.untilStalled();
    }
    registry.releaseStalled();
    for (const [at, reply] of (await Promise.all(replies)).entries()) {
      assertHolds(reply, ...(requests[at]?.[1] ?? []));
    }
    assertFetchedOnce(registry, [APP, { ...TOOL, layers: TOOL.layers.slice(1) }]);
    const sent = scene.takeRequests();
    // A layer from another repository needs a confirmation for one's own.
    assert.ok(sent.includes(`HEAD org/tool/blobs/${BASE_DIGEST}`));
    assert.ok(!sent.includes(`HEAD team/app/blobs/${BASE_DIGEST}`));
    await service.waitForLog({ event: 'request', outcome: 'ok' }, requests.length);
    assert.equal(await service.openFiles(), 0);
    assert.deepEqual(await storedFiles(service.workspace), []);
  });

  test('share it between the layouts that store it compressed', async () => {
    await using scene = await startScene();
    const { registry } = scene;
    await using service = await scene.start(UNCACHED);
    registry.defects.stallBlob = BASE_STALLS;
    const packed = service.request('/docker-gzip/team_app_1.tar');
    await scene.untilStalled();
    const oci = service.request('/oci/team_app_1.tar');
    await untilConfigs(registry, 2, APP);
    registry.releaseStalled();
    assertHoldsPacked(await packed, APP);
    assert.equal((await oci).status, 200);
    assertFetchedOnce(registry, [APP]);
  });

  const thin = { ...APP, blobs: new Map([[APP.config.digest, APP.config.bytes]]) };
  const configAndBase = {
    stallRequests: { pattern: new RegExp(`${APP.config.digest}|${BASE_DIGEST}`), times: 2 },
  };
  const base = { stallRequests: { pattern: new RegExp(`other/blobs/${BASE_DIGEST}`) } };
  const failures: readonly [
    what: string,
    image: typeof APP,
    stall: Defects,
    count: number,
    defects: Defects,
    code: string,
  ][] = [
    [
      'whose config is missing',
      APP,
      configAndBase,
      2,
      { dropBlob: { digest: APP.config.digest } },
      'IMAGE_NOT_FOUND',
    ],
    [
      'whose config is damaged',
      APP,
      configAndBase,
      2,
      { wrongBlobDigest: { digest: APP.config.digest } },
      'VERIFICATION_FAILED',
    ],
    ['whose repository does not have the layer', thin, base, 1, {}, 'IMAGE_NOT_FOUND'],
    [
      'that names another size for the layer',
      makeImage({ layers: [{ ...BASE, descriptor: { size: 1 } }] }),
      base,
      1,
      {},
      'VERIFICATION_FAILED',
    ],
  ];
  for (const [what, image, stall, count, defects, code] of failures) {
    test(`do not share the failure of an archive ${what}`, async () => {
      await using scene = await startScene();
      const { registry } = scene;
      registry.push('team/other', '1', image);
      await using service = await scene.start(UNCACHED);
      Object.assign(registry.defects, stall);
      const broken = service.request('/docker/team_other_1.tar');
      await scene.untilStalled(count);
      const sound = service.request(TOOL_FILE);
      await untilConfigs(registry, 1, TOOL);
      Object.assign(registry.defects, defects);
      registry.releaseStalled();
      assertError(await broken, 502, code);
      assertHolds(await sound, TOOL);
    });
  }

  test('do not share the abort when the first client leaves before its config has arrived', async () => {
    await using scene = await startScene();
    const { registry } = scene;
    await using service = await scene.start(UNCACHED);
    Object.assign(registry.defects, configAndBase);
    const client = new AbortController();
    const leaving = service.request(APP_FILE, { signal: client.signal });
    await scene.untilStalled(2);
    const staying = service.request(TOOL_FILE);
    await untilConfigs(registry, 1, TOOL);
    client.abort();
    await assert.rejects(leaving, { name: 'AbortError' });
    await service.waitForLog({ event: 'request', outcome: 'aborted' });
    registry.releaseStalled();
    assertHolds(await staying, TOOL);
  });
});
