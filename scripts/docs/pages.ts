/**
 * The pages of the documentation site: those of docs/, and further documents of the repository under names of their own. A link to
 * a page leads to its place on the site, a link to any other file of the repository to that file at GitHub.
 */

import { dirname, join, normalize, relative } from 'node:path/posix';

/** Where files that are no pages can be read. */
const REPOSITORY = 'https://github.com/cisco-open/docker-http-passthrough/blob/main';

/** Documents outside of docs/, and their names on the site. */
export const FURTHER_PAGES: ReadonlyMap<string, string> = new Map([
  ['README.md', 'overview.md'],
  ['CHANGELOG.md', 'changelog.md'],
  ['.github/SECURITY.md', 'security.md'],
  ['.github/CONTRIBUTING.md', 'contributing.md'],
  ['.github/CODE_OF_CONDUCT.md', 'code-of-conduct.md'],
]);

/**
 * The place of a file on the site.
 *
 * @param path from the folder of the repository, such as `docs/routes.md`
 * @returns from the folder of the pages; `undefined` for a file that the site does not have
 */
export function placeOf(path: string): string | undefined {
  const own = FURTHER_PAGES.get(path);
  if (own !== undefined) return own;
  return /^docs\/(?:[^/]+\.md|pictures\/[^/]+)$/.test(path) ? path.slice('docs/'.length) : undefined;
}

/**
 * A document as a page of the site: its links changed, its code not.
 *
 * @param path of the document from the folder of the repository
 * @param markdown its text
 * @throws Error for a document that the site does not have
 */
export function pageOf(path: string, markdown: string): string {
  const place = placeOf(path);
  if (place === undefined) throw new Error(`Cannot place "${path}" on the site`);
  // Fenced blocks have odd numbers.
  const parts = markdown.split(/^(```\w*\n[\s\S]*?^```$)/m);
  return parts
    .map((part, index) =>
      index % 2 === 1
        ? part
        : part.replace(/\]\(([^)\s]+)\)/g, (_, target: string) => `](${linkOf(path, place, target)})`),
    )
    .join('');
}

/** Where a link leads on the site. */
function linkOf(from: string, place: string, target: string): string {
  const [file = '', anchor] = target.split('#');
  if (file === '' || /^[a-z]+:/i.test(target)) return target;
  const path = normalize(join(dirname(from), file));
  const there = placeOf(path);
  const suffix = anchor === undefined ? '' : `#${anchor}`;
  if (there === undefined) return `${REPOSITORY}/${path}${suffix}`;
  return `${relative(dirname(place), there)}${suffix}`;
}
