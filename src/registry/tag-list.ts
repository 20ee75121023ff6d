import { PassthroughError } from '../errors.ts';
import { quoted } from '../util/printable.ts';
import { nextLink } from './link.ts';

/** Page size to ask for, in tags: the maximum of large registries. Registries with a smaller maximum send less. */
export const TAGS_PER_PAGE = 1000;

/** Most pages to read: some registries send 100 tags a page, so that {@link MAX_TAGS} take 1000 pages. */
export const MAX_TAG_PAGES = 1000;

/** Most tags of a repository. Nightly builds for ten platforms make 36,500 tags in ten years. */
export const MAX_TAGS = 100_000;

/** Most bytes of all pages. {@link MAX_TAGS} tags of 128 characters, with quotes and comma, take 13.1 MB. */
export const MAX_TAG_LIST_BYTES = 16 * 1024 * 1024;

/** One page of a tag list. */
export interface TagPage {
  readonly bytes: Uint8Array;
  /** Value of its `Link` header; empty if there is none. */
  readonly link: string;
}

/**
 * Reads a tag list page by page.
 *
 * @param first URL of the first page
 * @param getPage fetches a page
 * @param what name of the list, for messages
 * @returns each tag once, in the registry's order
 * @throws PassthroughError `REGISTRY_FAILED` for a body that is no tag list, for a next page at another place, for a
 *   circle of pages, and beyond the limits; what `getPage` throws
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-tags
 */
export async function collectTags(
  first: URL,
  getPage: (url: URL) => Promise<TagPage>,
  what: string,
): Promise<readonly string[]> {
  const tags = new Set<string>();
  const seen = new Set<string>();
  let bytes = 0;
  for (let url: URL | undefined = first; url !== undefined; ) {
    if (seen.has(url.href)) throw failure(what, 'its pages lead in a circle');
    if (seen.size === MAX_TAG_PAGES) throw failure(what, `it has more than ${MAX_TAG_PAGES} pages`);
    seen.add(url.href);
    const page: TagPage = await getPage(url);
    bytes += page.bytes.byteLength;
    if (bytes > MAX_TAG_LIST_BYTES) throw failure(what, `it is larger than ${MAX_TAG_LIST_BYTES} bytes`);
    for (const tag of parseTags(page.bytes, what)) tags.add(tag);
    if (tags.size > MAX_TAGS) throw failure(what, `it has more than ${MAX_TAGS} tags`);
    url = nextPage(page.link, url, what);
  }
  return [...tags];
}

/** Reads `{"name", "tags": [...]}`. In a repository without tags, `tags` may be `null` or missing. */
function parseTags(bytes: Uint8Array, what: string): readonly string[] {
  let body: unknown;
  try {
    body = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    throw failure(what, 'it is not JSON');
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw failure(what, 'it is not a JSON object');
  }
  const tags: unknown = 'tags' in body ? (body.tags ?? []) : [];
  if (!Array.isArray(tags)) throw failure(what, 'its tags are not a list');
  return tags.filter((tag) => typeof tag === 'string');
}

/**
 * The URL of the next page: the URL of this page with the query of the link. A link to another host or path is refused.
 * A link with another scheme is accepted, because a registry behind a TLS-terminating proxy writes `http` links.
 *
 * @param url of this page
 * @returns `undefined` on the last page
 */
function nextPage(link: string, url: URL, what: string): URL | undefined {
  const reference = nextLink(link);
  if (reference === undefined) return undefined;
  const named = URL.parse(reference, url);
  if (named === null) throw failure(what, 'its next page is not a URL');
  if (!/^https?:$/.test(named.protocol) || named.host !== url.host) {
    throw failure(what, `its next page is at another origin, ${quoted(named.origin)}`);
  }
  if (named.pathname !== url.pathname) {
    throw failure(what, `its next page has another path, ${quoted(named.pathname)}`);
  }
  const next = new URL(url);
  next.search = named.search;
  return next;
}

function failure(what: string, why: string): PassthroughError {
  return new PassthroughError('REGISTRY_FAILED', `Cannot read ${what}: ${why}`);
}
