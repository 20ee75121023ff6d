/** Debian's Chromium, driven over its own protocol. Whatever a page complains about is kept, so that a test can fail for it. */
import assert from 'node:assert/strict';
import axe from 'axe-core';
import { type BrowserContextOptions, chromium, type Page } from 'playwright-core';

/** Milliseconds that the browser has to start, and a step of a page to show its effect. */
const START_TIMEOUT = 60_000;
const STEP_TIMEOUT = 20_000;

/** A page, and what it has said. */
export interface OpenedPage {
  readonly page: Page;
  /** Addresses of its requests, in their order. */
  readonly requests: readonly string[];
  /** Fails if the page has logged an error, thrown one, or broken its policy. Answers of the service are no errors here if they match. */
  readonly assertQuiet: (expected?: RegExp) => void;
}

/** A running browser. */
export interface Browser {
  /** Opens an address in a context of its own, with no state of other pages. */
  readonly open: (address: string, options?: BrowserContextOptions) => Promise<OpenedPage>;
}

/** Starts the browser; it ends when `stack` is undone. */
export async function startBrowser(stack: AsyncDisposableStack): Promise<Browser> {
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    // Its sandbox does not work for root. It opens pages of this machine only.
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-background-networking'],
    timeout: START_TIMEOUT,
  });
  stack.defer(() => browser.close());
  return {
    open: async (address, options = {}) => {
      const context = await browser.newContext({ acceptDownloads: true, ...options });
      context.setDefaultTimeout(STEP_TIMEOUT);
      const page = await context.newPage();
      const complaints: string[] = [];
      const requests: string[] = [];
      page.on('console', (message) => {
        if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
      });
      page.on('pageerror', (error) => complaints.push(String(error)));
      page.on('dialog', (dialog) => {
        complaints.push(`dialog: ${dialog.message()}`);
        void dialog.dismiss();
      });
      page.on('request', (request) => requests.push(request.url()));
      await page.goto(address);
      const assertQuiet = (expected?: RegExp) => {
        const unexpected = complaints.filter((text) => expected?.test(text) !== true);
        assert.deepEqual(unexpected, []);
      };
      return { page, requests, assertQuiet };
    },
  };
}

/**
 * Rules that a page breaks, by axe-core: WCAG 2.2 A and AA, and best practices.
 *
 * @returns a line for each rule and element
 */
export async function accessibilityFaults(page: Page): Promise<readonly string[]> {
  // Not a script of the page, whose policy would refuse it.
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => (globalThis as unknown as { axe: typeof axe }).axe.run());
  return violations.flatMap(({ id, help, nodes }) =>
    nodes.map(({ html }) => `${id}: ${help}: ${html.slice(0, 200)}`),
  );
}
