import { PassthroughError } from '../errors.ts';
import { nextLink } from './link.ts';

/** Tags that one page is asked for: what large registries give at the most. One that gives fewer does so. */
export const TAGS_PER_PAGE = 1000;

/**
 * Most pages that are read: a list of {@link MAX_TAGS} where a registry gives a hundred at a time, as some
 * do.
 */
export const MAX_TAG_PAGES = 1000;

/** Most tags of a repository. Those that are built nightly for ten years for ten platforms have 36500. */
export const MAX_TAGS = 100_000;

/**
 * Most bytes of all pages, as {@link MAX_TAGS} of the longest tags (128 characters, quotes, comma) take, and
 * some.
 */
export const MAX_TAG_LIST_BYTES = 16 * 1024 * 1024;

/** One answer of a tag list. */
export interface TagPage {
  readonly bytes: Uint8Array;
  /** Value of its `Link` header; empty where there is none. */
  readonly link: string;
}

/**
 * Reads a tag list page by page.
 *
 * @param first address of the first page
 * @param getPage fetches a page
 * @param what the list is, for messages
 * @returns the tags in the registry's order, each once
 * @throws PassthroughError `REGISTRY_FAILED` for what is no tag list, for pages that lead elsewhere or in a
 *   circle, and beyond the limits; what `getPage` throws
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

/** The tags of `{"name", "tags": [...]}`. A repository that has none says `null`, or nothing at all. */
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
 * The address of the page behind this one. Of what the registry says only the query is taken, and put to the
 * address that is asked for anyway: a link that leads to another host or path is refused, and one that
 * differs in its scheme alone, as from behind a proxy that ends TLS, leads to where it should.
 *
 * @param url of this page
 */
function nextPage(link: string, url: URL, what: string): URL | undefined {
  const target = nextLink(link);
  if (target === undefined) return undefined;
  const named = URL.parse(target, url);
  if (named === null) throw failure(what, 'its next page is not a URL');
  if (!/^https?:$/.test(named.protocol) || named.host !== url.host) {
    throw failure(what, `its next page is at another origin, ${JSON.stringify(named.origin)}`);
  }
  if (named.pathname !== url.pathname) {
    throw failure(what, `its next page has another path, ${JSON.stringify(named.pathname)}`);
  }
  const next = new URL(url);
  next.search = named.search;
  return next;
}

function failure(what: string, why: string): PassthroughError {
  return new PassthroughError('REGISTRY_FAILED', `Cannot read ${what}: ${why}`);
}
