/** The documentation site has each page in its navigation once, and its links lead somewhere. */

import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parse } from 'yaml';
import { problemsOf } from '../../scripts/docs/check-site.ts';
import { pageOf, placeOf } from '../../scripts/docs/pages.ts';
import { pagePaths, readPage } from './markdown.ts';

/** An entry of mkdocs' navigation: a title with a page, or with further entries. */
type Entry = Readonly<Record<string, string | readonly Entry[]>>;

/** What is no Markdown: the website with its builder, and the API reference, which `npm run docs:api` writes. */
const FURTHER = ['index.html', 'api/index.html'];

function pagesIn(entries: readonly Entry[]): readonly string[] {
  return entries.flatMap((entry) =>
    Object.values(entry).flatMap((value) => (typeof value === 'string' ? [value] : pagesIn(value))),
  );
}

// The tag of a Python function means nothing here.
const { nav } = parse(await readPage('mkdocs.yml'), { logLevel: 'silent' }) as { nav: readonly Entry[] };
const listed = pagesIn(nav);
const pages = (await pagePaths()).map((path) => placeOf(path) ?? path);

describe('the navigation', () => {
  test('has every page: a new one gets its line in mkdocs.yml', () => {
    assert.deepEqual(
      pages.filter((page) => !listed.includes(page)),
      [],
    );
  });

  test('has nothing else but website and API reference, and nothing twice', () => {
    assert.deepEqual(listed.toSorted(), [...pages, ...FURTHER].toSorted());
  });
});

describe('a page of the site', () => {
  const cases: readonly [from: string, link: string, there: string][] = [
    ['docs/routes.md', 'archives.md#layouts', 'archives.md#layouts'],
    ['docs/routes.md', '#by-reference', '#by-reference'],
    ['docs/routes.md', 'https://example.com/a.md', 'https://example.com/a.md'],
    ['docs/routes.md', 'pictures/a.svg', 'pictures/a.svg'],
    ['docs/routes.md', '../README.md#examples', 'overview.md#examples'],
    ['docs/routes.md', '../.github/SECURITY.md', 'security.md'],
    ['README.md', 'docs/routes.md', 'routes.md'],
    ['README.md', 'docs/pictures/a.svg', 'pictures/a.svg'],
    ['.github/SECURITY.md', '../docs/library.md', 'library.md'],
    [
      'docs/scaling.md',
      '../deploy/nginx/nginx.conf',
      'https://github.com/cisco-open/docker-http-passthrough/blob/main/deploy/nginx/nginx.conf',
    ],
    ['README.md', 'LICENSE', 'https://github.com/cisco-open/docker-http-passthrough/blob/main/LICENSE'],
  ];
  for (const [from, link, there] of cases) {
    test(`${from}: ${link} → ${there}`, () => {
      assert.equal(pageOf(from, `See [it](${link}).\n`), `See [it](${there}).\n`);
    });
  }

  test('keeps its code', () => {
    const code = '```sh\necho "[a](../README.md)"\n```';
    assert.equal(pageOf('docs/a.md', `[b](../README.md)\n\n${code}\n`), `[b](overview.md)\n\n${code}\n`);
  });

  test('is a document that the site has', () => {
    assert.throws(() => pageOf('deploy/a.md', ''), /Cannot place "deploy\/a\.md" on the site/);
  });
});

describe('the check of a built site', () => {
  let folder = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'site-'));
    await mkdir(join(folder, 'api'));
    await writeFile(join(folder, 'api', 'index.html'), '<a href="missing.html">of TypeDoc</a>');
    await writeFile(join(folder, 'other.html'), '<h2 id="here">Here</h2>');
  });
  after(() => rm(folder, { recursive: true, force: true }));

  const cases: readonly [html: string, problem: RegExp | undefined][] = [
    ['<a href="other.html#here">', undefined],
    ['<a class="x" href="api/index.html">', undefined],
    ['<h1 id="a&amp;b"></h1><a href="#a&amp;b">', undefined],
    ['<a href="https://example.com/">', undefined],
    ['<img src="data:image/png;base64,AAAA">', undefined],
    ['<script>"<a href=\'gone.html\'>"</script>', undefined],
    ['<a href="gone.html">', /page\.html: gone\.html leads to no file/],
    ['<a href="other.html#there">', /page\.html: other\.html#there leads to no heading/],
    ['<a href="#there">', /page\.html: #there leads to no heading/],
    ['<script src="gone.js"></script>', /gone\.js leads to no file/],
    ['<script src="https://cdn.example/a.js"></script>', /cdn\.example.*from another server/],
    [
      '<a href="https://github.com/a/b" class="md-source" data-md-component="source">',
      /github\.com.*from another/,
    ],
    ['<link rel="stylesheet" href="//fonts.example/a.css">', /fonts\.example.*from another server/],
  ];
  for (const [html, problem] of cases) {
    test(`${html} is ${problem === undefined ? 'right' : 'wrong'}`, async () => {
      await writeFile(join(folder, 'page.html'), html);
      const problems = await problemsOf(folder);
      if (problem === undefined) assert.deepEqual(problems, []);
      else assert.ok(problems.length === 1 && problem.test(problems[0] ?? ''), problems.join('\n'));
    });
  }
});
