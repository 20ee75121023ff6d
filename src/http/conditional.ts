/** What a request makes its answer depend on: https://www.rfc-editor.org/rfc/rfc9110#section-13 and section-14. */

import type { ByteRange } from '../tar/encoder.ts';

/**
 * Whether `If-None-Match` names an entity tag, so that the client has what it would get. Weak comparison, as the header has
 * it: tags that differ in `W/` alone are equal.
 *
 *     If-None-Match = "*" / #entity-tag
 *     entity-tag    = [ "W/" ] DQUOTE *etagc DQUOTE
 *
 * @param header its value
 * @param etag strong tag, quotes included
 * @see https://www.rfc-editor.org/rfc/rfc9110#field.if-none-match
 */
export function isMatched(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  if (header.trim() === '*') return true;
  return [...header.matchAll(/(?:W\/)?("[^"]*")/g)].some(([, tag]) => tag === etag);
}

/**
 * Whether a range may be answered in part: with `If-Range`, only where it names the very bytes. Strong comparison; a date
 * never does, for there is none that would be known of an archive.
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
 * @param header its value
 * @param size bytes of the whole
 * @returns the bytes that are asked for; `undefined` where the whole is the answer: without the header, in another unit, for
 *   several ranges, and for what cannot be read; `unsatisfiable` where no byte of it exists
 * @see https://www.rfc-editor.org/rfc/rfc9110#name-range-requests
 */
export function parseRange(
  header: string | undefined,
  size: number,
): ByteRange | 'unsatisfiable' | undefined {
  const { first, last, suffix } =
    /^\s*bytes\s*=\s*(?:(?<first>\d+)\s*-\s*(?<last>\d*)|-\s*(?<suffix>\d+))\s*$/i.exec(header ?? '')
      ?.groups ?? {};
  if (suffix !== undefined) {
    const length = Math.min(Number(suffix), size);
    return length === 0 ? 'unsatisfiable' : { start: size - length, end: size };
  }
  if (first === undefined) return undefined;
  const start = Number(first);
  const end = last === undefined || last === '' ? size : Math.min(Number(last) + 1, size);
  // A last position before the first makes the whole header one that cannot be read.
  if (last !== undefined && last !== '' && Number(last) < start) return undefined;
  return start >= size ? 'unsatisfiable' : { start, end };
}
