/** A real browser draws the diagrams of all pages, with the program of the documentation site and without a network. */
import assert from 'node:assert/strict';
import { copyFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { codeBlocks, pagePaths, ROOT, readPage } from '../docs/markdown.ts';
import { cleanup, requireParts, run, temporaryDirectory } from './parts.ts';

const SITE = join(ROOT, 'scripts', 'docs', 'site');
const MERMAID = join(ROOT, 'node_modules', 'mermaid', 'dist', 'mermaid.min.js');

/** Milliseconds of the page's own clock until it is read. */
const PAGE_TIME_MS = 30_000;

/** What names of hosts mean to the browser. */
const NO_NETWORK = '--host-resolver-rules=MAP * ~NOTFOUND';

const escaped = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

test('each diagram is drawn, in light and in dark', { timeout: 180_000 }, async (t) => {
  if (!requireParts(t, 'chromium')) return;
  const directory = await temporaryDirectory(cleanup(t), 'diagrams');
  await copyFile(join(SITE, 'diagrams.js'), join(directory, 'diagrams.js'));
  await copyFile(MERMAID, join(directory, 'mermaid.min.js'));
  const pages = await Promise.all((await pagePaths()).map(readPage));
  const sources = pages
    .flatMap(codeBlocks)
    .filter(({ language }) => language === 'mermaid')
    .map(({ text }) => text);
  assert.ok(sources.length >= 8);

  /** The page after its scripts have run. */
  const draw = async (scheme: string, blocks: readonly string[]): Promise<string> => {
    const page = join(directory, `${scheme}.html`);
    const pres = blocks.map((text) => `<pre class="diagram"><code>${escaped(text)}</code></pre>`).join('');
    await writeFile(
      page,
      `<!doctype html><meta charset="utf-8"><body data-md-color-scheme="${scheme}">${pres}` +
        '<script src="diagrams.js"></script>',
    );
    const profile = `--user-data-dir=${join(directory, 'profile')}`;
    const flags = ['--headless', '--no-sandbox', '--disable-gpu', profile, NO_NETWORK];
    const time = `--virtual-time-budget=${PAGE_TIME_MS}`;
    return await run('chromium', [...flags, time, '--dump-dom', `file://${page}`]);
  };
  for (const scheme of ['default', 'slate']) {
    const drawn = await draw(scheme, sources);
    assert.equal([...drawn.matchAll(/<div class="diagram"[^>]*><svg /g)].length, sources.length);
    assert.doesNotMatch(drawn, /<pre|Syntax error/);
  }

  const refused = await draw('default', ['flowchart TD\n  a["x" --> b\n']);
  assert.match(
    refused,
    /<pre class="diagram" data-error="[^"]*Parse error/,
    'a wrong diagram shows its source',
  );
});
