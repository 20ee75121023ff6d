/** The answers of the fake registry to requests for tags (OCI distribution, "Listing Tags"). */

import { type Answer, bytesBody, type Refusal } from './answer.ts';
import type { Defects } from './defects.ts';

/** Most tags of a page, also if more are requested or no number is given. */
const MAX_PAGE = 1000;

/**
 * @param name of the repository
 * @param all its tags, in any order
 * @param query `n`, the size of a page, and `last`, the tag that it begins behind
 */
export function answerTags(
  name: string,
  all: Iterable<string>,
  query: URLSearchParams,
  { tagPageSize = MAX_PAGE, tagLink = (next) => `<${next}>; rel="next"` }: Defects,
): Answer | Refusal {
  const n = query.get('n');
  if (n !== null && !/^\d+$/.test(n)) {
    return { status: 400, code: 'PAGINATION_NUMBER_INVALID', message: `invalid number of results ${n}` };
  }
  const size = Math.min(n === null ? tagPageSize : Number(n), tagPageSize);
  const last = query.get('last') ?? '';
  const rest = [...all].toSorted().filter((tag) => last === '' || tag > last);
  const tags = rest.slice(0, size);
  const end = tags.at(-1);
  const next = new URLSearchParams({ last: end ?? '', n: String(size) });
  return {
    status: 200,
    headers: {
      'Content-Type': 'application/json',
      ...(end !== undefined && rest.length > tags.length
        ? { Link: tagLink(`/v2/${name}/tags/list?${next}`) }
        : {}),
    },
    body: bytesBody(JSON.stringify({ name, tags })),
  };
}
