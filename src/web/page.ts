/** The page as the service sends it. */

import { createHash } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import { readTyped, showable } from './choice.ts';
import { loadPageFiles } from './page-files.ts';
import { targetOf } from './target.ts';
import { type PageCode, pageHtml } from './views/page.ts';

/** Encodings in which the empty page is there. */
export type PageEncoding = 'br' | 'gzip' | 'identity';

/** The page. */
export interface Page {
  /** The empty page in each encoding. */
  readonly bodies: Readonly<Record<PageEncoding, Buffer>>;
  /** Hash of the empty page, for entity tags. */
  readonly hash: string;
  /** Value of `Content-Security-Policy`. */
  readonly policy: string;
  /**
   * The page for a browser without scripts: the form is filled, and its commands are written.
   *
   * @param query of the form
   * @param origin as the client addressed the service
   */
  render(query: string, origin: string): string;
}

/** Loads the page: once for a process. */
export async function loadPage(): Promise<Page> {
  const { gzip, brotli, ...code } = await loadPageFiles();
  const zipped = Buffer.from(gzip, 'base64');
  const html = gunzipSync(zipped);
  return {
    bodies: { identity: html, gzip: zipped, br: Buffer.from(brotli, 'base64') },
    hash: createHash('sha256').update(html).digest('base64url').slice(0, 22),
    policy: pagePolicy(code),
    render: (query, origin) => {
      const typed = readTyped(query);
      // What may not stand in the page has its fault there.
      return pageHtml({ ...code, choice: showable(typed), result: targetOf(typed), origin });
    },
  };
}

/**
 * What the page may do: run its own script and styles, ask this service, and nothing else.
 *
 * @see https://www.w3.org/TR/CSP3/#grammardef-hash-source
 */
export function pagePolicy(code: PageCode): string {
  return [...policyOf(code), "connect-src 'self'", "form-action 'self'", "frame-ancestors 'none'"].join('; ');
}

/** What the website may do: it asks the service whose address is typed. A policy in the page cannot name its frames. */
export function websitePolicy(code: PageCode): string {
  return [...policyOf(code), 'connect-src http: https:', "form-action 'none'"].join('; ');
}

function policyOf({ script, style }: PageCode): readonly string[] {
  return [
    "default-src 'none'",
    `script-src ${hashSource(script)}`,
    `style-src ${hashSource(style)}`,
    'img-src data:',
    "base-uri 'none'",
  ];
}

function hashSource(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}
