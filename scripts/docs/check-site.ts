/**
 * Looks for what mkdocs 1.4 does not look for: links and anchors of the built pages that lead nowhere, and files that a browser
 * would fetch from another server.
 */

import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';

/** A built page. */
interface Built {
  readonly ids: ReadonlySet<string>;
  readonly links: readonly string[];
  /** What the browser fetches with the page. */
  readonly fetched: readonly string[];
}

function read(html: string): Built {
  // Text in scripts and comments is no markup.
  const markup = html.replace(/<script(?![^>]*\ssrc=)[^>]*>[\s\S]*?<\/script>|<!--[\s\S]*?-->/g, '');
  const all = (pattern: RegExp) => [...markup.matchAll(pattern)].map(([, value = '']) => decode(value));
  return {
    ids: new Set(all(/\s(?:id|name)="([^"]+)"/g)),
    links: all(/<a\s[^>]*?href="([^"]+)"/g),
    fetched: [
      ...all(/<(?:script|img|iframe|source)\s[^>]*?src="([^"]+)"/g),
      ...all(/<link\s[^>]*?href="([^"]+)"/g),
      // The theme's script asks the API of GitHub or GitLab about such a repository.
      ...all(/<a\s[^>]*?href="([^"]+)"[^>]*?data-md-component="source"/g),
    ],
  };
}

/** The characters that mkdocs escapes in attributes. */
function decode(value: string): string {
  return value.replaceAll('&amp;', '&').replaceAll('&quot;', '"').replaceAll('&#39;', "'");
}

const isElsewhere = (target: string) => /^(?:[a-z][a-z+.-]*:|\/\/)/i.test(target);

/**
 * What is wrong with a built site, one line each.
 *
 * @param folder of the site
 */
export async function problemsOf(folder: string): Promise<readonly string[]> {
  const paths = new Set(
    (await readdir(folder, { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile())
      .map((entry) => normalize(join(entry.parentPath, entry.name)).slice(folder.length + 1)),
  );
  // TypeDoc checks its own pages. The page of unknown addresses is made for the root of a server.
  const names = [...paths].filter(
    (path) => path.endsWith('.html') && !path.startsWith('api/') && path !== '404.html',
  );
  const pages = new Map<string, Built>(
    await Promise.all(
      names.map(async (path) => [path, read(await readFile(join(folder, path), 'utf8'))] as const),
    ),
  );
  return [...pages].flatMap(([from, { links, fetched }]) => {
    const wrong = (target: string): string | undefined => {
      const [file = '', anchor = ''] = target.split('#').map(decodeURIComponent);
      const path = file === '' ? from : normalize(join(dirname(from), file.split('?')[0] ?? ''));
      if (!paths.has(path)) return `${from}: ${target} leads to no file`;
      const isMissing = anchor !== '' && pages.get(path)?.ids.has(anchor) === false;
      return isMissing ? `${from}: ${target} leads to no heading` : undefined;
    };
    const broken = [...links, ...fetched].filter((target) => !isElsewhere(target)).map(wrong);
    const foreign = fetched
      .filter((target) => isElsewhere(target) && !target.startsWith('data:'))
      .map((target) => `${from}: ${target} would be fetched from another server`);
    return [...broken.filter((line) => line !== undefined), ...foreign];
  });
}
