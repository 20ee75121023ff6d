/**
 * `npm run docs:site`: the documentation site in `site/html`. Its front door is the website, docs/index.html; the pages lie beside it.
 * Copies the pages (`pages.ts`) and the program for diagrams, runs mkdocs, adds the API reference of `npm run docs:api`, and checks
 * every link (`check-site.ts`). A warning of mkdocs is an error.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DOCUMENTS } from '../page.ts';
import { problemsOf } from './check-site.ts';
import { FURTHER_PAGES, pageOf, placeOf } from './pages.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const SITE = join(ROOT, 'site');
const PAGES = join(SITE, 'pages');
const HTML = join(SITE, 'html');

/** Copies all that mkdocs reads. */
async function copyPages(): Promise<void> {
  await rm(SITE, { recursive: true, force: true });
  await mkdir(join(PAGES, 'assets'), { recursive: true });
  const own = (await readdir(join(ROOT, 'docs'))).map((name) => `docs/${name}`);
  const documents = [...own.filter((path) => path.endsWith('.md')), ...FURTHER_PAGES.keys()];
  for (const path of documents) {
    const page = pageOf(path, await readFile(join(ROOT, path), 'utf8'));
    await writeFile(join(PAGES, placeOf(path) ?? ''), page);
  }
  await cp(join(ROOT, 'docs', 'pictures'), join(PAGES, 'pictures'), { recursive: true });
  await cp(join(ROOT, 'docs', 'api'), join(PAGES, 'api'), { recursive: true });
  const website = await readFile(join(ROOT, 'docs', 'index.html'), 'utf8');
  if (!website.includes(`"${DOCUMENTS}"`)) throw new Error(`docs/index.html has no link to ${DOCUMENTS}`);
  await writeFile(join(PAGES, 'index.html'), website.replace(`"${DOCUMENTS}"`, '"overview.html"'));
  for (const name of ['diagrams.js', 'site.css']) {
    await copyFile(join(import.meta.dirname, 'site', name), join(PAGES, 'assets', name));
  }
  const mermaid = join(ROOT, 'node_modules', 'mermaid', 'dist', 'mermaid.min.js');
  await copyFile(mermaid, join(PAGES, 'assets', 'mermaid.min.js'));
}

/** Runs mkdocs. @throws Error with what to do when it is missing or finds a fault */
async function runMkdocs(): Promise<void> {
  const mkdocs = spawn('mkdocs', ['build', '--strict', '--quiet'], { cwd: ROOT, stdio: 'inherit' });
  const [code] = await once(mkdocs, 'exit').catch((cause) => {
    throw new Error('Cannot run mkdocs: apt-get install mkdocs-material', { cause });
  });
  if (code !== 0) throw new Error(`Cannot build the site: mkdocs has ended with ${code}`);
}

try {
  await copyPages();
  await runMkdocs();
  const problems = await problemsOf(HTML);
  if (problems.length > 0) throw new Error(`Cannot publish the site:\n${problems.join('\n')}`);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
