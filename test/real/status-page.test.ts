/** The operators' view `/status` in a real browser. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startFakeRegistry } from '../support/fake-registry.ts';
import { makeImage, makeLayer } from '../support/image.ts';
import { noise } from '../support/noise.ts';
import { accessibilityFaults, startBrowser } from './browser.ts';
import { cleanup, requireParts } from './parts.ts';
import { startService } from './service.ts';

/** What stands in the path of a failed request. */
const HOSTILE = '<img src=x onerror=alert(1)>';

test('the view of operators in a browser', { timeout: 120_000 }, async (t) => {
  if (!requireParts(t, 'chromium')) return;
  const stack = cleanup(t);
  const registry = await startFakeRegistry();
  stack.defer(() => registry.close());
  const image = makeImage({ layers: [{ tar: makeLayer({ a: noise('layer', 400_000) }) }] });
  registry.push('team/app', '1', image);
  const settings = { REGISTRY_URL: registry.url, CACHE_MAX_BYTES: '100MiB' };
  const service = await startService(stack, settings);
  const browser = await startBrowser(stack);
  const open = (options = {}) => browser.open(`${service.origin}/status?clients=yes&refresh=no`, options);

  await t.test('is accessible at rest', async () => {
    const { page, requests, assertQuiet } = await open();
    assert.deepEqual(await accessibilityFaults(page), []);
    assert.equal(requests.length, 1);
    assertQuiet();
  });

  // A download, an error, and a preparation that is on its way.
  await (await fetch(`${service.origin}/docker/team__app_1.tar`)).arrayBuffer();
  await (await fetch(`${service.origin}/docker/team__none_1.tar`)).arrayBuffer();
  await (await fetch(`${service.origin}/docker/${encodeURIComponent(HOSTILE)}`)).arrayBuffer();
  const slow = makeImage({ layers: [{ tar: makeLayer({ b: noise('slow', 400_000) }) }] });
  registry.push('team/slow', '1', slow);
  registry.defects.stallBlob = { afterBytes: 200_000, digest: slow.layers[0]?.digest ?? '' };
  stack.defer(() => registry.releaseStalled());
  await (await fetch(`${service.origin}/prepare/docker/team__slow_1.tar`, { method: 'POST' })).arrayBuffer();
  await registry.waitForStalled();

  const looks: readonly [name: string, options: object][] = [
    ['light', { colorScheme: 'light', viewport: { width: 1280, height: 800 } }],
    ['dark', { colorScheme: 'dark', viewport: { width: 1280, height: 800 } }],
    ['narrow', { viewport: { width: 320, height: 640 } }],
  ];
  for (const [name, options] of looks) {
    await t.test(`is accessible and fits its window, ${name}`, async () => {
      const { page, assertQuiet } = await open(options);
      assert.deepEqual(await page.getByRole('table').count(), 3);
      await page.getByText('team/slow:1').waitFor();
      assert.deepEqual(await page.evaluate(() => document.images.length), 0);
      assert.deepEqual(await accessibilityFaults(page), []);
      const [wide, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.ok((wide ?? 0) <= (window ?? 0), `${wide} > ${window}`);
      assertQuiet();
    });
  }
});
