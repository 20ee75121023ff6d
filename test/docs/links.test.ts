/** The documents lead where they say, are found from the README, and keep the form and the words of the house. */

import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { basename, dirname, join, normalize } from 'node:path';
import { describe, test } from 'node:test';
import { pagePaths, prose, ROOT, readPage } from './markdown.ts';

/** Bytes: what a newcomer reads to the end. */
const MAX_README_BYTES = 10 * 1024;

/** Words that the style guide of the project forbids, because they hide what is meant. */
const VAGUE = /\b(?:whoever|nobody|somebody|thereof|of it)\b/i;

/** Paths of the machine that a document was written on. */
const MACHINE_PATH = /(?<![\w.])\/(?:work|home|root)\//;

const paths = await pagePaths();
const pages = new Map(await Promise.all(paths.map(async (path) => [path, await readPage(path)] as const)));

interface Link {
  readonly from: string;
  /** As it is written. */
  readonly target: string;
  /** From the repository's folder. */
  readonly path: string;
  readonly anchor: string;
}

/** Links to files of the repository. */
const links: readonly Link[] = [...pages].flatMap(([from, page]) =>
  [...prose(page).matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = '']) => target)
    .filter((target) => !/^[a-z]+:/i.test(target))
    .map((target) => {
      const [file = '', anchor = ''] = target.split('#');
      return { from, target, path: file === '' ? from : normalize(join(dirname(from), file)), anchor };
    }),
);

/**
 * Anchors of a page's headings, as GitHub makes them: lower case, without punctuation, a hyphen for a space; a number
 * behind one that was there before.
 */
function anchorsOf(page: string): ReadonlySet<string> {
  const seen = new Map<string, number>();
  const anchors = [...prose(page).matchAll(/^#{1,6} (.+)$/gm)].map(([, heading = '']) => {
    const anchor = heading
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-');
    const count = seen.get(anchor) ?? 0;
    seen.set(anchor, count + 1);
    return count === 0 ? anchor : `${anchor}-${count}`;
  });
  return new Set(anchors);
}

describe('links', () => {
  test('are there', () => assert.ok(links.length > 50, `${links.length} links`));

  for (const { from, target, path, anchor } of links) {
    test(`${from} → ${target}`, async () => {
      assert.ok(await stat(join(ROOT, path)).catch(() => undefined), `${path} does not exist`);
      if (anchor === '') return;
      const page = pages.get(path) ?? (await readPage(path));
      assert.ok(anchorsOf(page).has(anchor), `${path} has no heading ${anchor}`);
    });
  }

  test('lead from the README to every page', () => {
    const reached = new Set(links.filter(({ from }) => from === 'README.md').map(({ path }) => path));
    const wanted = paths.filter((path) => path.startsWith('docs/'));
    assert.deepEqual(
      wanted.filter((path) => !reached.has(path)),
      [],
    );
  });
});

test('the README is short', () => {
  const bytes = Buffer.byteLength(pages.get('README.md') ?? '');
  assert.ok(bytes > 0 && bytes <= MAX_README_BYTES, `${bytes} bytes`);
});

describe('a page', () => {
  for (const [path, page] of pages) {
    test(`${path} has a title, plain words and no path of a machine`, () => {
      assert.match(page, /^# \S/);
      assert.equal(VAGUE.exec(prose(page))?.[0], undefined);
      assert.equal(MACHINE_PATH.exec(page)?.[0], undefined);
    });

    if (['README.md', 'CHANGELOG.md', 'architecture.md'].includes(basename(path))) continue;
    test(`${path} begins with the question that it answers`, () => {
      assert.match(page, /^# .+\n\nThis page answers: [^?]+\?\n/);
    });
  }
});
