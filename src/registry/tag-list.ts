import { hash } from 'node:crypto';
import { PassthroughError } from '../errors.ts';
import { type ObjectShape, readJsonObject } from '../image/json.ts';
import { quoted } from '../util/printable.ts';
import { SeenTexts } from '../util/text/seen-texts.ts';
import { nextLink } from './link.ts';

/** Page size to ask for, in tags: the maximum of large registries. Registries with a smaller maximum send less. */
export const TAGS_PER_PAGE = 1000;

/** Most pages to read: some registries send 100 tags a page, so that {@link MAX_TAGS} take 1000 pages. */
export const MAX_TAG_PAGES = 1000;

/** Most tags of a repository. Nightly builds for ten platforms make 36,500 tags in ten years. */
export const MAX_TAGS = 100_000;

const TAGS_SHAPE: ObjectShape = { fields: { tags: { items: 'scalar' } } };

/** Most bytes of all pages. {@link MAX_TAGS} tags of 128 characters, with quotes and comma, take 13.1 MB. */
export const MAX_TAG_LIST_BYTES = 16 * 1024 * 1024;

/** Most tags of a page that are handled at once: 10,000 take 20 ms. */
const TAGS_PER_TURN = 10_000;

/** One page of a tag list. */
export interface TagPage {
  /** Bytes of its body. */
  readonly size: number;
  readonly tags: readonly string[];
  /** Value of its `Link` header; empty if there is none. */
  readonly link: string;
}

/** Fetches a page, and reads its body with `parse`. */
export type GetTagPage = (url: URL, parse: (bytes: Uint8Array) => readonly string[]) => Promise<TagPage>;

/**
 * Reads a tag list page by page. Holds one page, and the hashes of all tags.
 *
 * @param first URL of the first page
 * @param what name of the list, for messages
 * @returns each tag once, in the registry's order
 * @throws PassthroughError while it is read, `REGISTRY_FAILED` for a body that is no tag list, for a next page at another place,
 *   for a circle of pages, and beyond the limits; what `getPage` throws
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-tags
 */
export async function* collectTags(
  first: URL,
  getPage: GetTagPage,
  what: string,
): AsyncGenerator<readonly string[], void, undefined> {
  const known = new SeenTexts();
  const seen = new Set<string>();
  let bytes = 0;
  for (let url: URL | undefined = first; url !== undefined; ) {
    const key = keyOf(url.href);
    if (seen.has(key)) throw failure(what, 'its pages lead in a circle');
    if (seen.size === MAX_TAG_PAGES) throw failure(what, `it has more than ${MAX_TAG_PAGES} pages`);
    seen.add(key);
    const { size, tags, link }: TagPage = await getPage(url, (body) => parseTags(body, what));
    bytes += size;
    if (bytes > MAX_TAG_LIST_BYTES) throw failure(what, `it is larger than ${MAX_TAG_LIST_BYTES} bytes`);
    for (let at = 0; at < tags.length; at += TAGS_PER_TURN) {
      const fresh = tags.slice(at, at + TAGS_PER_TURN).filter((tag) => known.add(tag));
      if (known.size > MAX_TAGS) throw failure(what, `it has more than ${MAX_TAGS} tags`);
      yield fresh;
    }
    url = nextPage(link, url, what);
  }
}

function keyOf(text: string): string {
  return hash('sha256', text, 'base64url');
}

/** Reads `{"name", "tags": [...]}`. In a repository without tags, `tags` may be `null` or missing. */
function parseTags(bytes: Uint8Array, what: string): readonly string[] {
  const { tags = null } = readJsonObject(bytes, TAGS_SHAPE, (why) => failure(what, why));
  if (tags !== null && !Array.isArray(tags)) throw failure(what, 'its tags are not a list');
  return (tags ?? []).filter((tag: unknown) => typeof tag === 'string');
}

/**
 * The URL of the next page: the URL of this page with the query of the link, and with the namespace of this page. A link to another host or path is refused.
 * A link with another scheme is accepted, because a registry behind a TLS-terminating proxy writes `http` links.
 *
 * @param url of this page
 * @returns `undefined` on the last page
 */
export function nextPage(link: string, url: URL, what: string): URL | undefined {
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
  // A mirror's link may lack the namespace of this page.
  const namespace = url.searchParams.get('ns');
  if (namespace !== null) next.searchParams.set('ns', namespace);
  return next;
}

function failure(what: string, why: string): PassthroughError {
  return new PassthroughError('REGISTRY_FAILED', `Cannot read ${what}: ${why}`);
}
