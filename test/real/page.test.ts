/** The page in a real browser. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Page } from 'playwright-core';
import { startFakeRegistry } from '../support/fake-registry.ts';
import { makeImage, makeLayer } from '../support/image.ts';
import { noise } from '../support/noise.ts';
import { accessibilityFaults, type Browser, startBrowser } from './browser.ts';
import { startDockerEngine } from './docker-engine.ts';
import { freePort } from './free-port.ts';
import { openBench, published, push, twoPlatforms } from './images.ts';
import { cleanup, requireParts, requireRoot, temporaryDirectory } from './parts.ts';
import { startRegistry } from './registry.ts';
import { type Service, startService } from './service.ts';

/** Answers with an error that the browser logs by itself. */
const FAILED_REQUEST = /^Failed to load resource: the server responded with a status of (?:404|502)/;

/** What stands in names, labels and errors of a hostile registry. */
const HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>\u202Ejavascript:alert(3)';

interface Scene {
  readonly service: Service;
  readonly browser: Browser;
  readonly directory: string;
}

/** A browser, and a service with one hostile and one usual image. */
async function start(t: TestContext): Promise<Scene | undefined> {
  if (!requireParts(t, 'chromium')) return undefined;
  const stack = cleanup(t);
  const registry = await startFakeRegistry();
  stack.defer(() => registry.close());
  const layers = [{ tar: makeLayer({ a: 'x'.repeat(300_000) }) }, { tar: makeLayer({ b: 'y' }) }];
  for (const tag of ['1.24', '1.25']) registry.push('team/app', tag, makeImage({ layers }));
  const Labels = { [HOSTILE]: HOSTILE, 'org.opencontainers.image.title': 'app' };
  registry.push(
    'team/hostile',
    '1',
    makeImage({ layers, config: { created: HOSTILE, config: { Labels, Cmd: [HOSTILE] } } }),
  );
  const settings = { REGISTRY_URL: registry.url, CACHE_MAX_BYTES: '100MiB' };
  const [service, browser, directory] = await Promise.all([
    startService(stack, settings),
    startBrowser(stack),
    temporaryDirectory(stack, 'page'),
  ]);
  return { service, browser, directory };
}

const status = (page: Page) => page.locator('#status');
const codeOf = (page: Page, group: string) => page.locator(`#text-${group}`);

test('from typing to a file that docker load takes', { timeout: 180_000 }, async (t) => {
  if (
    !requireRoot(t) ||
    !requireParts(t, 'chromium', 'docker-registry', 'docker', 'dockerd', 'skopeo', 'busybox')
  )
    return;
  const stack = cleanup(t);
  const [registry, bench] = await Promise.all([startRegistry(stack, 'none'), openBench(stack)]);
  await push(registry, bench, await twoPlatforms(bench, 'by the page'), 'team/app:1');
  const service = await startService(stack, { REGISTRY_URL: registry.origin, CACHE_MAX_BYTES: '100MiB' });
  const browser = await startBrowser(stack);
  const { page, assertQuiet } = await browser.open(service.origin, {
    viewport: { width: 1280, height: 900 },
  });

  await page.locator('#field-image').pressSequentially('docker pull team/app:');
  await page.locator('#tags option[value="team/app:1"]').waitFor({ state: 'attached' });
  await page.locator('#field-image').pressSequentially('1');
  await page.getByRole('button', { name: 'Look inside' }).click();
  await page.getByRole('button', { name: 'Choose linux/amd64' }).waitFor();
  assert.equal(await page.locator('.layers tbody tr').count(), 2);

  await page.getByRole('button', { name: 'Prepare' }).click();
  await page.getByText('Ready: the download begins at once').first().waitFor();
  await page
    .locator('#text-ios')
    .filter({ hasText: /verify \/md5 flash:team__app_1\.tar [0-9a-f]{32}/ })
    .waitFor();

  const [download] = await Promise.all([page.waitForEvent('download'), page.locator('#download a').click()]);
  assert.equal(download.suggestedFilename(), 'team__app_1.tar');
  const file = join(await temporaryDirectory(stack, 'download'), download.suggestedFilename());
  await download.saveAs(file);
  assertQuiet();

  const engine = await startDockerEngine(stack);
  await engine.docker('load', '-i', file);
  const { configDigest } = await published(registry, 'team/app:1', 'amd64');
  const name = `${registry.host}/team/app:1`;
  assert.equal((await engine.inspect(name)).Id, configDigest);
  assert.equal(await engine.runContainer(name), 'by the page on amd64');
});

test('the page in a browser', { timeout: 240_000 }, async (t) => {
  const scene = await start(t);
  if (scene === undefined) return;
  const { service, browser } = scene;
  const open = (path = '/', options = {}) => browser.open(service.origin + path, options);

  await t.test('asks once, and is ready soon', async () => {
    // From source, the first answer is bundled.
    await fetch(service.origin, { headers: { Accept: 'text/html' } }).then((answer) => answer.text());
    const { page, requests, assertQuiet } = await open();
    const figures = await page.evaluate(() => {
      const [navigation] = performance.getEntriesByType('navigation') as PerformanceNavigationTiming[];
      return (
        navigation && {
          bytes: navigation.decodedBodySize,
          sent: navigation.encodedBodySize,
          ready: Math.round(navigation.domInteractive),
        }
      );
    });
    t.diagnostic(
      `page: ${figures?.bytes} bytes, ${figures?.sent} sent, 1 request, interactive after ${figures?.ready} ms`,
    );
    assert.deepEqual(requests, [`${service.origin}/`]);
    assertQuiet();
  });

  const looks: readonly [name: string, options: object][] = [
    ['light', { colorScheme: 'light', viewport: { width: 1280, height: 800 } }],
    ['dark', { colorScheme: 'dark', viewport: { width: 1280, height: 800 } }],
    ['narrow', { viewport: { width: 320, height: 640 } }],
    ['at 200 % of a small window', { viewport: { width: 640, height: 400 }, deviceScaleFactor: 2 }],
  ];
  for (const [name, options] of looks) {
    await t.test(`is accessible and fits its window, ${name}`, async () => {
      const { page, assertQuiet } = await open('/', options);
      const check = async () => {
        assert.deepEqual(await accessibilityFaults(page), []);
        const [wide, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
        assert.ok((wide ?? 0) <= (window ?? 0), `${wide} > ${window}`);
      };
      await check();
      await page.locator('#field-image').fill('team/hostile:1');
      await page.locator('summary').click();
      await page.getByRole('button', { name: 'Look inside' }).click();
      await page.locator('.layers').waitFor();
      await page.getByRole('button', { name: 'Prepare' }).click();
      await page.locator('.state-done').waitFor();
      await check();
      await page.locator('#field-image').fill('Team/App:x y');
      await check();
      assertQuiet();
    });
  }

  await t.test('is used by keyboard alone', async () => {
    const { page, assertQuiet } = await open();
    const focused = () =>
      page.evaluate(
        () =>
          document.activeElement?.id ||
          document.activeElement?.getAttribute('aria-label') ||
          document.activeElement?.textContent,
      );
    const tabTo = async (name: string) => {
      for (let step = 0; step < 60 && (await focused()) !== name; step += 1) await page.keyboard.press('Tab');
      assert.equal(await focused(), name);
      const outline = await page.evaluate(
        () => document.activeElement && getComputedStyle(document.activeElement).outlineStyle,
      );
      assert.notEqual(outline, 'none', `${name} shows no focus`);
    };
    assert.equal(await focused(), 'field-image');
    await page.keyboard.type('team/app:1.25');
    await tabTo('field-platform');
    await tabTo('layout-docker');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Tab');
    assert.equal(await focused(), 'field-profile');
    await page.keyboard.press('Shift+Tab');
    await page.keyboard.press('ArrowDown');
    await tabTo('More choices');
    await page.keyboard.press('Enter');
    await tabTo('field-start');
    await page.keyboard.press('Space');
    await tabTo('submit');
    await page.keyboard.press('Enter');
    await page.locator('.layers').waitFor();
    const path = '/early/docker-gzip/team__app_1.25.tar';
    assert.equal(await codeOf(page, 'url').textContent(), service.origin + path);
    await tabTo('Copy: URL');
    await page.keyboard.press('Enter');
    await status(page).filter({ hasText: 'Copied: URL' }).waitFor();
    assert.equal(await focused(), 'Copy: URL');

    const waiting = { id: 'x', state: 'waiting', layers: {}, bytes: {} };
    await page.route('**/preparations/*', (route) => route.fulfill({ json: waiting }));
    await tabTo('prepare');
    await page.keyboard.press('Enter');
    await page.locator('.state-waiting').waitFor();
    assert.equal(await focused(), 'prepare');
    await tabTo('cancel');
    await page.keyboard.press('Enter');
    await page.locator('#cancel').waitFor({ state: 'hidden' });
    assert.equal(await focused(), 'prepare');
    assertQuiet();
  });

  await t.test('works without scripts', async () => {
    const { page, assertQuiet } = await open('/', { javaScriptEnabled: false });
    await page.locator('#field-image').fill('podman pull ghcr.io/org/app:1.2');
    await page.locator('#field-platform').selectOption('ir1101');
    await page.getByRole('button', { name: 'Show commands' }).click();
    assert.equal(
      await codeOf(page, 'url').textContent(),
      `${service.origin}/platform/ir1101/registry/https/ghcr.io/docker/org__app_1.2.tar`,
    );
    assert.equal(await page.getByRole('button').count(), 1);
    await page.locator('#field-image').fill('App');
    await page.getByRole('button', { name: 'Show commands' }).click();
    await page.getByText('Repository component "App" is not lower case').waitFor();
    assertQuiet();
  });

  await t.test('has the size of an application for a package only', async () => {
    const { page, assertQuiet } = await open('/#image=team/app:1.25&since=1.24');
    const profile = page.locator('#field-profile');
    const [cpu, since] = [page.locator('#field-cpu'), page.locator('#field-since')];
    assert.deepEqual([await profile.isVisible(), await since.isVisible()], [false, true]);
    await page.getByText('IOx package', { exact: true }).click();
    assert.deepEqual(
      [await profile.isVisible(), await cpu.isVisible(), await since.isVisible()],
      [true, false, false],
    );
    await profile.selectOption('c1.medium');
    const url = codeOf(page, 'url');
    assert.equal(await url.textContent(), `${service.origin}/profile/c1.medium/iox/team__app_1.25.tar`);
    await profile.selectOption('custom');
    await cpu.fill('0');
    await page.getByText('Expected a whole number from 1 to 1000000').waitFor();
    assert.equal(await cpu.getAttribute('aria-invalid'), 'true');
    assert.deepEqual(await accessibilityFaults(page), []);
    await cpu.fill('1000');
    assert.equal(
      await url.textContent(),
      `${service.origin}/profile/custom/1000/256/64/iox/team__app_1.25.tar`,
    );
    await page.waitForURL(/profile=custom&cpu=1000/);
    const second = await browser.open(page.url());
    assert.equal(await codeOf(second.page, 'url').textContent(), await url.textContent());
    assert.equal(await second.page.locator('#field-cpu').isVisible(), true);
    await page.getByRole('button', { name: 'Prepare' }).click();
    await page.locator('.state-done').waitFor();
    await page.getByText('OCI layout', { exact: true }).click();
    assert.equal(await profile.isVisible(), false);
    assert.equal(await url.textContent(), `${service.origin}/since/1.24/oci/team__app_1.25.tar`);
    assertQuiet();
  });

  await t.test('has the size of an application without scripts', async () => {
    const { page, assertQuiet } = await open('/', { javaScriptEnabled: false });
    await page.locator('#field-image').fill('team/app:1');
    await page.getByText('IOx package', { exact: true }).click();
    await page.locator('#field-profile').selectOption('custom');
    await page.locator('#field-memory').fill('1024');
    await page.getByRole('button', { name: 'Show commands' }).click();
    const path = '/profile/custom/400/1024/64/iox/team__app_1.tar';
    assert.equal(await codeOf(page, 'url').textContent(), service.origin + path);
    assert.equal(await page.locator('#field-memory').inputValue(), '1024');
    assertQuiet();
  });

  await t.test('says what an update leaves out', async () => {
    const { page, assertQuiet } = await open('/#image=team/app:1.25&since=1.24');
    await page.getByRole('button', { name: 'Look inside' }).click();
    await page.getByText(/^An update transfers 0 B of /).waitFor();
    assert.equal(await page.locator('.layers .shared').count(), 2);
    assertQuiet();
  });

  await t.test('cancels a preparation at the service when that is asked for, and only then', async () => {
    const { page, assertQuiet } = await open('/#image=team/app:1.24&layout=oci');
    const running = {
      id: 'x',
      state: 'waiting',
      layers: { done: 0, total: 0 },
      bytes: { done: 0, total: 0 },
    };
    let cancelled = 0;
    await page.route('**/preparations/*', async (route) => {
      if (route.request().method() !== 'DELETE') return await route.fulfill({ json: running });
      cancelled += 1;
      await route.fulfill({ status: 204 });
    });
    await page.getByRole('button', { name: 'Prepare' }).click();
    await page.locator('.state-waiting').waitFor();
    const request = page.waitForRequest((asked) => asked.method() === 'DELETE');
    await page.getByRole('button', { name: 'Cancel' }).click();
    await request;
    await page.getByRole('button', { name: 'Prepare' }).click();
    await page.locator('.state-waiting').waitFor();
    await page.locator('#field-image').fill('team/app:1.25');
    await page.locator('.state-waiting').waitFor({ state: 'detached' });
    // Its answer comes after any that the change of the form has asked for.
    await page.getByRole('button', { name: 'Look inside' }).click();
    await page.locator('.layers').waitFor();
    assert.equal(cancelled, 1);
    assertQuiet();
  });

  await t.test('is the same page by its link', async () => {
    const first = await open();
    await first.page.locator('#field-image').fill('team/app:1.25');
    await first.page.locator('#field-platform').selectOption('cat9300');
    await first.page.waitForURL(/#image=team\/app:1\.25&platform=cat9300$/);
    const second = await browser.open(first.page.url());
    assert.equal(
      await codeOf(second.page, 'url').textContent(),
      await codeOf(first.page, 'url').textContent(),
    );
    await first.page.locator('#field-image').fill('user:secret@ghcr.io/app');
    await first.page.waitForURL(/#platform=cat9300$/);
    await first.page.locator('#field-image').fill('podman pull --creds user:secret ghcr.io/org/app:1');
    await first.page.waitForURL(/#image=ghcr\.io\/org\/app:1&platform=cat9300$/);
  });

  await t.test('shows what is hostile as text', async () => {
    const fragment = new URLSearchParams({
      image: 'team/hostile:1',
      since: '',
      platform: 'linux/amd64',
      layout: HOSTILE,
      disk: 'flash:;reload',
    });
    const { page, assertQuiet } = await open(`/#${fragment}`);
    await page.getByRole('button', { name: 'Look inside' }).click();
    await page.getByText('<img src=x onerror=alert(1)>').first().waitFor();
    assert.deepEqual(await page.evaluate(() => [document.scripts.length, document.images.length]), [1, 0]);
    assert.doesNotMatch((await page.locator('body').textContent()) ?? '', /\u202E/);
    assert.match((await codeOf(page, 'ios').textContent()) ?? '', / flash:team__hostile_1\.tar$/m);
    for (const hash of [
      `#image=${encodeURIComponent(HOSTILE)}`,
      '#image=javascript:alert(1)',
      `#platform=${encodeURIComponent(HOSTILE)}&image=a`,
    ]) {
      await page.evaluate((text) => {
        location.hash = text;
      }, hash);
      await page.waitForFunction((text) => location.hash.startsWith(text.slice(0, 8)), hash);
      const links = await page.evaluate(() => Array.from(document.links, ({ protocol }) => protocol));
      assert.deepEqual(
        links.filter((protocol) => protocol !== 'http:'),
        [],
      );
    }
    assertQuiet();
  });

  await t.test('takes 10 MB of tags', async () => {
    const { page, assertQuiet } = await open();
    const tags = Array.from({ length: 600_000 }, (_, at) => `v1.0.${at}-build`);
    const body = JSON.stringify({ name: 'team/app', tags: [HOSTILE, ...tags] });
    assert.ok(body.length > 10_000_000);
    await page.route('**/tags/**', (route) => route.fulfill({ contentType: 'application/json', body }));
    await page.locator('#field-image').fill('team/app:v1.0.59999');
    await page.locator('#tags option[value="team/app:v1.0.599999-build"]').waitFor({ state: 'attached' });
    assert.ok((await page.locator('#tags option').count()) <= 50);
    assertQuiet();
  });

  await t.test('asks for tags once for a repository, and for nothing before its colon', async () => {
    const { page, requests } = await open();
    await page.locator('#field-image').pressSequentially('team/app:1.2', { delay: 20 });
    await page.locator('#tags option').first().waitFor({ state: 'attached' });
    assert.deepEqual(
      requests.filter((url) => !url.endsWith('/')),
      [`${service.origin}/tags/team/app`],
    );
  });

  await t.test(
    'suggests what fits the text of now, and says nothing of tags that it does not know',
    async () => {
      const { page, assertQuiet } = await open();
      const said: string[] = [];
      await page.exposeFunction('say', (text: string) => said.push(text));
      await page.evaluate(() => {
        const region = document.getElementById('status');
        const { say } = globalThis as unknown as { say: (text: string | null) => void };
        if (region) new MutationObserver(() => say(region.textContent)).observe(region, { childList: true });
      });
      await page.clock.install();
      const asked = Promise.withResolvers<void>();
      const release = Promise.withResolvers<void>();
      await page.route('**/tags/team/app', async (route) => {
        asked.resolve();
        await release.promise;
        await route.fulfill({
          json: { tags: ['1.24', '1.25', ...Array.from({ length: 60 }, (_, at) => `9.${at}`)] },
        });
      });
      await page.route('**/tags/team/none', (route) => route.fulfill({ status: 502, body: 'Failed' }));
      const image = page.locator('#field-image');
      await image.fill('team/app:');
      await page.clock.runFor(1000);
      await asked.promise;
      await image.fill('team/app:1.2');
      await page.clock.runFor(1000);
      release.resolve();
      await page.locator('#tags option[value="team/app:1.25"]').waitFor({ state: 'attached' });
      await image.fill('team/none:');
      await page.clock.runFor(1000);
      await status(page).filter({ hasText: 'The tags cannot be listed' }).waitFor();
      await image.fill('team/none:1');
      await page.clock.runFor(1000);
      assert.deepEqual(
        said.filter((text) => text !== ''),
        ['62 tags', 'The tags cannot be listed'],
      );
      assertQuiet(FAILED_REQUEST);
    },
  );

  await t.test('says what the service says when an image cannot be prepared', async () => {
    const { page, assertQuiet } = await open('/#image=team/none:1');
    await page.getByRole('button', { name: 'Prepare' }).click();
    await page.locator('#progress .error').waitFor();
    assert.match(
      (await page.locator('#progress .error').textContent()) ?? '',
      /^Failed to prepare image: .*team\/none/,
    );
    await page.getByRole('button', { name: 'Look inside' }).click();
    await page.locator('#details .error').waitFor();
    assert.match(
      (await page.locator('#details .error').textContent()) ?? '',
      /^Failed to prepare image: Cannot get manifest/,
    );
    assertQuiet(FAILED_REQUEST);
  });

  await t.test('prepares again when a preparation is forgotten, thrice at most', async () => {
    for (const [times, begun, end] of [
      [1, 2, '.state-done'],
      [9, 3, '.error:has-text("a load balancer")'],
    ] as const) {
      const { page, requests, assertQuiet } = await open('/#image=team/app:1.25&layout=oci');
      let forgotten = 0;
      await page.route('**/preparations/*', async (route) => {
        if (forgotten === times) return await route.continue();
        forgotten += 1;
        await route.fulfill({ status: 404, contentType: 'text/plain', body: 'Not found' });
      });
      await page.getByRole('button', { name: 'Prepare' }).click();
      await page.locator(`#progress ${end}`).waitFor();
      assert.equal(requests.filter((url) => url.includes('/prepare/')).length, begun);
      assertQuiet(FAILED_REQUEST);
    }
  });

  await t.test('looks again and again where too many listen, or events do not come through', async () => {
    const { page, assertQuiet } = await open('/#image=team/app:1.25&layout=oci');
    await page.clock.install();
    const state = (name: string) => ({
      ...{ id: 'x', state: name, layers: { done: 0, total: 2 }, bytes: { done: 0, total: 200 } },
    });
    const asked: string[] = [];
    let answers: readonly (number | 'silence' | 'waiting' | 'done')[] = [];
    await page.route('**/preparations/*', async (route) => {
      const accept = (await route.request().allHeaders())['accept'];
      const answer = answers[asked.length] ?? 'done';
      asked.push(accept === 'application/json' ? 'state' : 'events');
      if (typeof answer === 'number') await route.fulfill({ status: answer, body: 'Busy' });
      else if (answer !== 'silence') await route.fulfill({ json: state(answer) });
    });
    for (const [given, expected] of [
      [[503, 'waiting', 'waiting', 'done'], 'events state state state'],
      [['silence', 'waiting', 'done'], 'events state state'],
    ] as const) {
      answers = given;
      asked.splice(0);
      await page.getByRole('button', { name: 'Prepare' }).click();
      for (let seconds = 0; (await page.locator('.state-done').count()) === 0; seconds += 1) {
        assert.ok(seconds < 60, `after ${asked}`);
        await page.clock.runFor(1000);
      }
      assert.equal(asked.join(' '), expected);
      await page.locator('#field-image').fill('team/app:1.24');
    }
    assertQuiet(/^Failed to load resource: the server responded with a status of 503/);
  });

  await t.test('shows layers as events tell of them, and takes up a broken stream where it was', async () => {
    const { page, assertQuiet } = await open('/#image=team/app:1.25&layout=docker-gzip');
    const layer = (digest: string, done: number, state: string) => ({ digest, done, total: 100, state });
    const event = (id: number, state: string, done: number) =>
      `event: progress\nid: ${id}\ndata: ${JSON.stringify({ id: 'x', state, layers: { done: 0, total: 2 }, bytes: { done, total: 200 }, layerProgress: [layer('sha256:aaaaaaaaaaaaaaaa', done, 'fetching'), layer('sha256:bb', 0, 'waiting')] })}\n\n`;
    const last: (string | undefined)[] = [];
    const release = Promise.withResolvers<void>();
    await page.route('**/preparations/*', async (route) => {
      const seen = (await route.request().allHeaders())['last-event-id'];
      last.push(seen);
      if (seen !== undefined) await release.promise;
      const body = seen === undefined ? `: hello\n\n${event(1, 'fetching', 50)}` : event(2, 'done', 200);
      await route.fulfill({ contentType: 'text/event-stream', body });
    });
    await page.getByRole('button', { name: 'Prepare' }).click();
    const bars = page.locator('.in-flight progress');
    await bars.first().waitFor();
    assert.deepEqual(
      await bars.evaluateAll((all) => all.map((bar) => (bar as HTMLProgressElement).value)),
      [50, 0],
    );
    assert.match((await page.locator('#progress').textContent()) ?? '', /50 B of 200 B/);
    release.resolve();
    await page.locator('.state-done').waitFor();
    assert.deepEqual(last, [undefined, '1']);
    assertQuiet();
  });

  await t.test('moves nothing for people who want less motion', async () => {
    const { page } = await open('/', { reducedMotion: 'reduce' });
    assert.equal(
      await page.evaluate(() => getComputedStyle(document.documentElement).scrollBehavior),
      'auto',
    );
  });
});

for (const how of ['kill', 'stop'] as const) {
  test(
    `progress comes as events, and a service that has restarted prepares again: ${how}`,
    {
      timeout: 120_000,
    },
    (t) => restart(t, how),
  );
}

async function restart(t: TestContext, how: 'kill' | 'stop'): Promise<void> {
  if (!requireParts(t, 'chromium')) return;
  const stack = cleanup(t);
  const registry = await startFakeRegistry();
  stack.defer(() => registry.close());
  // Progress is told in steps of some hundred KB.
  const image = makeImage({ layers: [{ tar: makeLayer({ a: noise('layer', 3_000_000) }) }] });
  registry.push('team/app', '1', image);
  // The layer only: a config that never ends would hold the connection on which the layer is asked for.
  registry.defects.stallBlob = { afterBytes: 2_000_000, digest: image.layers[0]?.digest ?? '' };
  const port = String(await freePort());
  const settings = { REGISTRY_URL: registry.url, CACHE_MAX_BYTES: '100MiB', HTTP_PORT: port };
  const before = await startService(stack, settings);
  const browser = await startBrowser(stack);
  const { page, requests, assertQuiet } = await browser.open(`${before.origin}/#image=team/app:1`);
  const answers: string[] = [];
  page.on('response', async (answer) => {
    if (!answer.url().includes('/preparations/')) return;
    answers.push(`${answer.status()} ${(await answer.allHeaders())['content-type']}`);
  });
  await page.getByRole('button', { name: 'Prepare' }).click();
  await page.waitForFunction(
    () => (document.querySelector<HTMLProgressElement>('.in-flight progress')?.value ?? 0) > 0,
  );
  await before[how]();
  await status(page).filter({ hasText: 'The connection to the service is lost' }).waitFor();
  registry.defects.stallBlob = undefined;
  await startService(stack, settings);
  await page.locator('.state-done').waitFor();
  // The layer of each preparation came over one answer: nothing was asked again and again.
  assert.deepEqual(answers, [
    '200 text/event-stream',
    '404 application/problem+json',
    '200 text/event-stream',
  ]);
  assert.equal(requests.filter((url) => url.includes('/prepare/')).length, 2);
  assertQuiet(/^Failed to load resource: (?:net::ERR_|the server responded with a status of 404)/);
}

test('the browser asks for the password of a private image, and the page never has it', {
  timeout: 120_000,
}, async (t) => {
  if (!requireParts(t, 'chromium')) return;
  const stack = cleanup(t);
  const registry = await startFakeRegistry({ auth: { mode: 'token', users: new Map([['user', 'secret']]) } });
  stack.defer(() => registry.close());
  registry.push('team/private', '1', makeImage({ layers: [{ tar: makeLayer({ a: 'b' }) }] }));
  const service = await startService(stack, { CACHE_MAX_BYTES: '100MiB' });
  const browser = await startBrowser(stack);
  const form = new URLSearchParams({
    image: `${registry.host}/team/private:1`,
    scheme: 'http',
    credentials: 'client',
  });
  // Answers the browser's own dialog.
  const httpCredentials = { username: 'user', password: 'secret' };
  const { page, requests, assertQuiet } = await browser.open(`${service.origin}/#${form}`, {
    httpCredentials,
  });
  await page.getByRole('button', { name: 'Look inside' }).click();
  await page.locator('.layers').waitFor();
  await page.getByRole('button', { name: 'Prepare' }).click();
  await page.locator('.state-done').waitFor();
  await page
    .locator('#text-ios')
    .filter({ hasText: / [0-9a-f]{32}$/m })
    .waitFor();
  const [download] = await Promise.all([page.waitForEvent('download'), page.locator('#download a').click()]);
  assert.equal(await download.failure(), null);
  const seen = await page.evaluate(() =>
    [document.documentElement.outerHTML, location.href, Object.keys(localStorage), document.cookie].join(),
  );
  assert.doesNotMatch(`${seen}${requests.join()}${service.said()}`, /secret/);
  assertQuiet();
});
