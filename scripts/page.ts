/**
 * The page in what is published: `npm run page` writes the website `docs/index.html`, and {@link builtPage} puts the finished page of the
 * service into a build.
 */

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Plugin } from 'esbuild';
import { NO_CHOICE } from '../src/web/choice.ts';
import { el } from '../src/web/element.ts';
import { websitePolicy } from '../src/web/page.ts';
import { bundlePage, loadPageFiles } from '../src/web/page-files.ts';
import { pageHtml } from '../src/web/views/page.ts';
import { sections } from './website/sections.ts';

/** The website, from the folder of the repository. */
export const WEBSITE = 'docs/index.html';

/** Where the website leads to the documents. The documentation site puts its own page in its place. */
export const DOCUMENTS = 'https://github.com/cisco-open/docker-http-passthrough/tree/main/docs';

/** Replaces the module that bundles the page by one that has it. */
export const builtPage: Plugin = {
  name: 'built-page',
  setup: ({ onLoad }) =>
    onLoad({ filter: /[/\\]src[/\\]web[/\\]page-files\.ts$/ }, async () => ({
      contents: `const FILES = ${JSON.stringify(await loadPageFiles())};\nexport async function loadPageFiles() { return FILES; }\n`,
      loader: 'js',
    })),
};

/** The website: the builder for a service whose address is typed, and what the project tells about itself. */
export async function website(): Promise<string> {
  const { script, style } = await bundlePage();
  const more = await readFile(join(import.meta.dirname, 'website', 'website.css'), 'utf8');
  const code = { script, style: `${style}\n${more.trim()}\n` };
  return pageHtml({
    ...code,
    ...{ choice: NO_CHOICE, result: { faults: [] }, origin: undefined },
    metaPolicy: websitePolicy(code),
    sections: sections(),
    documents: el('a', { href: DOCUMENTS }, 'Documentation'),
  });
}

if (import.meta.main) await writeFile(join(import.meta.dirname, '..', WEBSITE), await website());
