/** Different archives that share a layer share its download, and nothing else: neither a failure nor a right. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  APP,
  assertHolds,
  assertHoldsPacked,
  BASE,
  BASE_DIGEST,
  startScene,
  storedFiles,
  TOOL,
} from '../../support/cached.ts';
import { makeImage } from '../../support/image.ts';
import type { Reply } from '../../support/service.ts';
import { within } from '../../support/within.ts';

const BASE_STALLS = { digest: BASE_DIGEST, afterBytes: 1000 };

describe('archives that share a layer', () => {
  test('share its download, whatever they are called and wherever in the registry they are', async () => {
    await using scene = await startScene();
    const { registry } = scene;
    await using service = await scene.start({ CACHE_MAX_BYTES: '0', MAX_CONCURRENT_PREPARATIONS: '10' });
    registry.defects.stallBlob = BASE_STALLS;
    const requests = [
      ['/docker/team_app_1.tar', [APP]],
      ['/docker/team_app_2.tar', [TOOL]],
      ['/team/app:1?format=tar&name=other:1', [APP]],
      ['/docker/org_tool_1.tar', [TOOL]],
      ['/bundle.tar?image=team/app:1&image=org/tool:1', [APP, TOOL]],
    ] as const;
    const replies: Promise<Reply>[] = [];
    for (const [at, [path]] of requests.entries()) {
      replies.push(service.request(path));
      // Each asks for its config itself, at the same time as for its layers.
      const configs = new RegExp(`GET .*blobs/(?:${APP.config.digest}|${TOOL.config.digest})`);
      await within(registry.waitForRequest(configs, at + 1), 'the request for a config');
      if (at === 0) await scene.untilStalled();
    }
    registry.releaseStalled();
    for (const [at, reply] of (await Promise.all(replies)).entries())
      assertHolds(reply, ...(requests[at]?.[1] ?? []));
    const layers = [...APP.layers, ...TOOL.layers];
    for (const { digest } of layers) {
      assert.equal(registry.countRequests(new RegExp(`GET .*/blobs/${digest}`)), 1);
    }
    const asked = scene.asked();
    // What came by way of another repository is asked after in one's own.
    assert.ok(asked.includes(`HEAD org/tool/blobs/${BASE_DIGEST}`));
    assert.ok(!asked.includes(`HEAD team/app/blobs/${BASE_DIGEST}`));
    await service.waitForLog({ event: 'request', outcome: 'ok' }, requests.length);
    assert.equal(await service.openFiles(), 0);
    assert.deepEqual(await storedFiles(service.workspace), []);
  });

  test('share it between the layouts that hold it as the registry has it', async () => {
    await using scene = await startScene();
    const { registry } = scene;
    await using service = await scene.start({ CACHE_MAX_BYTES: '0' });
    registry.defects.stallBlob = BASE_STALLS;
    const packed = service.request('/docker-gzip/team_app_1.tar');
    await scene.untilStalled();
    const oci = service.request('/oci/team_app_1.tar');
    const configs = new RegExp(`GET .*blobs/${APP.config.digest}`);
    await within(registry.waitForRequest(configs, 2), 'the request for a config');
    registry.releaseStalled();
    assertHoldsPacked(await packed, APP);
    assert.equal((await oci).status, 200);
    for (const { digest } of APP.layers) {
      assert.equal(registry.countRequests(new RegExp(`GET .*/blobs/${digest}`)), 1);
    }
  });

  for (const [how, disturb] of [
    ['whose config is missing', { dropBlob: { digest: APP.config.digest } }],
    ['whose config is damaged', { wrongBlobDigest: { digest: APP.config.digest } }],
  ] as const) {
    test(`do not share the failure of one ${how}`, async () => {
      await using scene = await startScene();
      const { registry } = scene;
      await using service = await scene.start({ CACHE_MAX_BYTES: '0' });
      registry.defects.stallRequests = {
        pattern: new RegExp(`${APP.config.digest}|${BASE_DIGEST}`),
        times: 2,
      };
      const broken = service.request('/docker/team_app_1.tar');
      await scene.untilStalled(2);
      const sound = service.request('/docker/org_tool_1.tar');
      await within(registry.waitForRequest(new RegExp(TOOL.config.digest)), 'the request for a config');
      Object.assign(registry.defects, disturb);
      registry.releaseStalled();
      assert.equal((await broken).status, 502);
      assertHolds(await sound, TOOL);
    });
  }

  test('do not share it when the one who began leaves before its config has come', async () => {
    await using scene = await startScene();
    const { registry } = scene;
    await using service = await scene.start({ CACHE_MAX_BYTES: '0' });
    registry.defects.stallRequests = { pattern: new RegExp(`${APP.config.digest}|${BASE_DIGEST}`), times: 2 };
    const client = new AbortController();
    const leaving = service.request('/docker/team_app_1.tar', { signal: client.signal });
    await scene.untilStalled(2);
    const staying = service.request('/docker/org_tool_1.tar');
    await within(registry.waitForRequest(new RegExp(TOOL.config.digest)), 'the request for a config');
    client.abort();
    await assert.rejects(leaving, { name: 'AbortError' });
    await service.waitForLog({ event: 'request', outcome: 'aborted' });
    registry.releaseStalled();
    assertHolds(await staying, TOOL);
  });

  test('do not share the refusal of a repository that does not have it', async () => {
    await using scene = await startScene();
    const { registry } = scene;
    registry.push('team/thin', '1', { ...APP, blobs: new Map([[APP.config.digest, APP.config.bytes]]) });
    await using service = await scene.start({ CACHE_MAX_BYTES: '0' });
    registry.defects.stallRequests = { pattern: new RegExp(`thin/blobs/${BASE_DIGEST}`) };
    const thin = service.request('/docker/team_thin_1.tar');
    await scene.untilStalled();
    const whole = service.request('/docker/org_tool_1.tar');
    await within(registry.waitForRequest(new RegExp(TOOL.config.digest)), 'the request for a config');
    registry.releaseStalled();
    const refused = await thin;
    assert.equal(refused.status, 502);
    assert.match(refused.body.toString(), /^error: IMAGE_NOT_FOUND$/m);
    assertHolds(await whole, TOOL);
  });

  test('do not share the failure of one that names another size for it', async () => {
    await using scene = await startScene();
    const { registry } = scene;
    const wrong = makeImage({ layers: [{ ...BASE, descriptor: { size: 1 } }] });
    registry.push('team/wrong', '1', wrong);
    await using service = await scene.start({ CACHE_MAX_BYTES: '0' });
    registry.defects.stallRequests = { pattern: new RegExp(`wrong/blobs/${BASE_DIGEST}`) };
    const broken = service.request('/docker/team_wrong_1.tar');
    await scene.untilStalled();
    const sound = service.request('/docker/org_tool_1.tar');
    await within(registry.waitForRequest(new RegExp(TOOL.config.digest)), 'the request for a config');
    registry.releaseStalled();
    const refused = await broken;
    assert.equal(refused.status, 502);
    assert.match(refused.body.toString(), /^error: VERIFICATION_FAILED$/m);
    assertHolds(await sound, TOOL);
  });
});
