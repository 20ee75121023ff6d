/** Conditional and range requests: https://www.rfc-editor.org/rfc/rfc9110#section-13 and section-14. */

import type { IncomingMessage } from 'node:http';
import { PassthroughError } from '../errors.ts';
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
  return entityTags(header).some(([, tag]) => tag === etag);
}

/**
 * What `If-Match` and `If-None-Match` of a request say about a representation, in the order that the standard asks for: the first
 * one decides whether the second one counts.
 *
 * @param etag strong tag of the representation, quotes included
 * @returns `met` to answer as usual, `not modified` for 304, `failed` for 412
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-13.2.2
 */
export function evaluateConditions(
  { method, headers }: Pick<IncomingMessage, 'method' | 'headers'>,
  etag: string,
): 'met' | 'not modified' | 'failed' {
  if (headers['if-match'] !== undefined && !isStronglyMatched(headers['if-match'], etag)) return 'failed';
  if (!isMatched(headers['if-none-match'], etag)) return 'met';
  return method === 'GET' || method === 'HEAD' ? 'not modified' : 'failed';
}

/**
 * Refuses a request whose condition is not met.
 *
 * @returns whether the client has the current representation already, so that the answer is 304
 * @throws PassthroughError `PRECONDITION_FAILED`
 */
export function checkConditions(request: Pick<IncomingMessage, 'method' | 'headers'>, etag: string): boolean {
  const result = evaluateConditions(request, etag);
  if (result !== 'failed') return result === 'not modified';
  const name = request.headers['if-match'] === undefined ? 'If-None-Match' : 'If-Match';
  const why = name === 'If-Match' ? `does not name it` : 'names it';
  throw new PassthroughError('PRECONDITION_FAILED', `Cannot send ETag ${etag}: ${name} ${why}`);
}

/** `If-Match` compares strongly: a weak tag matches nothing. https://www.rfc-editor.org/rfc/rfc9110#field.if-match */
function isStronglyMatched(header: string, etag: string): boolean {
  return (
    header.trim() === '*' || entityTags(header).some(([weak, tag]) => weak === undefined && tag === etag)
  );
}

/** The tags of a list: the mark of a weak one, and the opaque tag with its quotes. */
function entityTags(
  header: string,
): readonly (readonly [weak: string | undefined, tag: string | undefined])[] {
  return Array.from(header.matchAll(/(W\/)?("[^"]*")/g), ([, weak, tag]) => [weak, tag]);
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

/**
 * Where a range begins that the file does not have.
 *
 * @returns `NaN` for a range of the last bytes
 */
export function rangeStart(header: string | undefined): number {
  const [, positions = ''] = cut(header ?? '', '=');
  const [first] = cut(positions, '-');
  return first === '' ? Number.NaN : Number(first);
}

function isDigits(text: string): boolean {
  return /^\d+$/.test(text);
}

/** The texts around the first separator, without white space at their ends. */
function cut(text: string, separator: string): readonly [before: string, after: string | undefined] {
  const at = text.indexOf(separator);
  return at === -1 ? [text.trim(), undefined] : [text.slice(0, at).trim(), text.slice(at + 1).trim()];
}
