/** The website in a real browser: as a file, and on another origin than the service that it asks. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { startFakeRegistry } from '../support/fake-registry.ts';
import { makeImage, makeLayer } from '../support/image.ts';
import { accessibilityFaults, startBrowser } from './browser.ts';
import { freePort } from './free-port.ts';
import { cleanup, end, requireParts, start, until } from './parts.ts';
import { startService } from './service.ts';

const WEBSITE = join(import.meta.dirname, '..', '..', 'docs', 'index.html');
const FILE = pathToFileURL(WEBSITE).href;

/** Milliseconds that the server of the website has to end. */
const STOP_TIMEOUT = 10_000;

/** The website on an origin of its own, and a service whose `PAGE_ORIGINS` lists it, or not. */
async function startElsewhere(t: TestContext, { isListed }: { readonly isListed: boolean }) {
  const stack = cleanup(t);
  const registry = await startFakeRegistry();
  stack.defer(() => registry.close());
  const layers = [{ tar: makeLayer({ a: 'x'.repeat(300_000) }) }, { tar: makeLayer({ b: 'y' }) }];
  for (const tag of ['1.24', '1.25']) registry.push('team/app', tag, makeImage({ layers }));
  const port = String(await freePort());
  const website = `http://127.0.0.1:${port}`;
  // As docs/page.md says.
  const options = ['--bind', '127.0.0.1', '--directory', join(WEBSITE, '..')];
  const server = start('python3', ['-m', 'http.server', port, ...options]);
  stack.defer(async () => {
    await end(server, STOP_TIMEOUT);
  });
  await until('the website', () =>
    fetch(website, { method: 'HEAD' }).then(
      ({ ok }) => ok || undefined,
      () => undefined,
    ),
  );
  const service = await startService(stack, {
    REGISTRY_URL: registry.url,
    CACHE_MAX_BYTES: '100MiB',
    ...(isListed && { PAGE_ORIGINS: website }),
  });
  const opened = await (await startBrowser(stack)).open(website);
  await opened.page.locator('#field-service').fill(service.origin);
  return { website, service, registry, ...opened };
}

test('the website in a browser', { timeout: 120_000 }, async (t) => {
  if (!requireParts(t, 'chromium')) return;
  const browser = await startBrowser(cleanup(t));
  for (const [name, options] of [
    ['light', { viewport: { width: 1280, height: 900 } }],
    ['dark', { colorScheme: 'dark', viewport: { width: 1280, height: 900 } }],
    ['narrow', { viewport: { width: 320, height: 640 } }],
  ] as const) {
    await t.test(`is accessible, and builds commands for a service elsewhere, ${name}`, async () => {
      const { page, requests, assertQuiet } = await browser.open(FILE, options);
      await page.locator('#field-service').fill('http://10.20.30.40:8080/');
      await page.locator('#field-image').fill('nginx');
      assert.equal(
        await page.locator('#text-url').textContent(),
        'http://10.20.30.40:8080/docker/nginx_latest.tar',
      );
      assert.deepEqual(await accessibilityFaults(page), []);
      const [wide, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.ok((wide ?? 0) <= (window ?? 0), `${wide} > ${window}`);
      await page.locator('#field-service').fill('javascript:alert(1)');
      await page.getByText('Expected the address of the service').waitFor();
      assert.equal(await page.locator('#download a').count(), 0);
      assert.deepEqual(requests, [FILE]);
      assertQuiet();
    });
  }
});

test('the website asks a service that lists its origin', { timeout: 120_000 }, async (t) => {
  if (!requireParts(t, 'chromium', 'python3')) return;
  const { page, website, service, requests, assertQuiet } = await startElsewhere(t, { isListed: true });
  const answers: string[] = [];
  page.on('response', async (answer) => {
    if (!answer.url().includes('/preparations/')) return;
    answers.push(`${answer.status()} ${(await answer.allHeaders())['content-type']}`);
  });
  await page.locator('#field-image').pressSequentially('team/app:');
  await page.locator('#tags option[value="team/app:1.25"]').waitFor({ state: 'attached' });
  await page.locator('#field-image').pressSequentially('1.25');
  await page.getByRole('button', { name: 'Look inside' }).click();
  await page.locator('.layers').waitFor();
  assert.equal(await page.locator('.layers tbody tr').count(), 2);
  await page.getByRole('button', { name: 'Prepare' }).click();
  await page.locator('.state-done').waitFor();
  assert.deepEqual(answers, ['200 text/event-stream']);
  const link = page.locator('#download a');
  assert.equal(await link.getAttribute('href'), `${service.origin}/docker/team__app_1.25.tar`);
  const [download] = await Promise.all([page.waitForEvent('download'), link.click()]);
  assert.equal(await download.failure(), null);
  const paths = requests.map((url) => url.replace(service.origin, '').replace(/(?<=^\/\w+\/).*/, '…'));
  assert.deepEqual(
    [...new Set(paths)],
    [`${website}/`, '/tags/…', '/manifest/…', '/prepare/…', '/preparations/…', '/docker/…'],
  );
  assertQuiet();
});

test('the website says why it cannot ask a service that does not list its origin', {
  timeout: 120_000,
}, async (t) => {
  if (!requireParts(t, 'chromium', 'python3')) return;
  const { page, website, service, registry, assertQuiet } = await startElsewhere(t, { isListed: false });
  await page.locator('#field-image').pressSequentially('team/app:1.25');
  await page.locator('#status').filter({ hasText: 'The tags cannot be listed' }).waitFor();
  const why = `The service cannot be reached, or its PAGE_ORIGINS does not list ${website}`;
  await page.getByRole('button', { name: 'Look inside' }).click();
  await page.locator('#details .error').filter({ hasText: why }).waitFor();
  await page.getByRole('button', { name: 'Prepare' }).click();
  await page.locator('#progress .error').filter({ hasText: why }).waitFor();
  assert.deepEqual(
    registry.requests.filter(({ path }) => path.includes('/blobs/')),
    [],
  );
  // Commands and download need no permission.
  assert.equal(await page.locator('#text-url').textContent(), `${service.origin}/docker/team__app_1.25.tar`);
  assert.deepEqual(await accessibilityFaults(page), []);
  // The browser's own lines about each refused request; an error that the script does not handle is another.
  assertQuiet(/^(?:Access to fetch at .* has been blocked by CORS policy|Failed to load resource: )/);
});
