/** Conditional and range requests: https://www.rfc-editor.org/rfc/rfc9110#section-13 and section-14. */

import type { ByteRange } from '../tar/encoder.ts';

/**
 * Whether `If-None-Match` names an entity tag, so that the client has the current file. The header compares weakly: tags that
 * differ only in `W/` are equal.
 *
 *     If-None-Match = "*" / #entity-tag
 *     entity-tag    = [ "W/" ] DQUOTE *etagc DQUOTE
 *
 * @param header value of the header
 * @param etag strong tag, quotes included
 * @see https://www.rfc-editor.org/rfc/rfc9110#field.if-none-match
 */
export function isMatched(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  if (header.trim() === '*') return true;
  return [...header.matchAll(/(?:W\/)?("[^"]*")/g)].some(([, tag]) => tag === etag);
}

/**
 * Whether `If-Range` lets a range be answered in part: only if it names the current tag. The header compares strongly. A date
 * never matches, since archives have no modification date.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#field.if-range
 */
export function mayBePartial(ifRange: string | undefined, etag: string): boolean {
  return ifRange === undefined || ifRange.trim() === etag;
}

/**
 * Reads `Range` against a length.
 *
 *     Range           = "bytes=" ( first-pos "-" [ last-pos ] / "-" suffix-length )
 *
 * @param header value of the header
 * @param size bytes of the whole
 * @returns the requested range; `undefined` if the whole is the answer: without the header, for another unit, for several ranges,
 *   and for a malformed header; `unsatisfiable` if the range has no byte of the file
 * @see https://www.rfc-editor.org/rfc/rfc9110#name-range-requests
 */
export function parseRange(
  header: string | undefined,
  size: number,
): ByteRange | 'unsatisfiable' | undefined {
  const [unit, positions] = cut(header ?? '', '=');
  if (unit.toLowerCase() !== 'bytes' || positions === undefined) return undefined;
  const [first, last] = cut(positions, '-');
  if (last === undefined || first + last === '' || !isDigits(first + last)) return undefined;
  if (first === '') {
    const length = Math.min(Number(last), size);
    return length === 0 ? 'unsatisfiable' : { start: size - length, end: size };
  }
  const start = Number(first);
  const end = last === '' ? size : Math.min(Number(last) + 1, size);
  // A last position before the first makes the header malformed.
  if (last !== '' && Number(last) < start) return undefined;
  return start >= size ? 'unsatisfiable' : { start, end };
}

function isDigits(text: string): boolean {
  return /^\d+$/.test(text);
}

/** The texts around the first separator, without white space at their ends. */
function cut(text: string, separator: string): readonly [before: string, after: string | undefined] {
  const at = text.indexOf(separator);
  return at === -1 ? [text.trim(), undefined] : [text.slice(0, at).trim(), text.slice(at + 1).trim()];
}
