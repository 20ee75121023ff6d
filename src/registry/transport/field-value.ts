/** RFC 9110 `token`: https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2 */
export const TOKEN = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+/y;

/**
 * RFC 9110 `quoted-string`; the closing quote may be missing:
 * https://www.rfc-editor.org/rfc/rfc9110#section-5.6.4
 */
export const QUOTED_STRING = /"(?:[^"\\]|\\.)*(?:"|$)/sy;

/** Optional whitespace. */
export const WHITESPACE = /[ \t]*/y;

/** Separator of list elements: whitespace and commas. Empty elements are allowed. */
export const LIST_GAP = /[ \t,]*/y;

/**
 * Parses a field value by position. Splitting at separators would be wrong, because quoted strings and brackets may contain
 * separators.
 */
export class FieldReader {
  readonly #text: string;
  #position = 0;

  /** @param text the field value */
  constructor(text: string) {
    this.#text = text;
  }

  /**
   * Matches a pattern at the current position, and moves behind the match.
   *
   * @param pattern with the flag `y`
   * @returns the matched text; `undefined` if the pattern does not match here
   */
  take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#position;
    const text = pattern.exec(this.#text)?.[0];
    this.#position += text?.length ?? 0;
    return text;
  }

  /**
   * Takes the value of a parameter: a quoted string, unquoted, or else bare text.
   *
   * @param bare pattern of bare text, with the flag `y`
   * @returns the value; empty if there is none
   */
  takeValue(bare: RegExp): string {
    const quoted = this.take(QUOTED_STRING);
    return quoted === undefined ? (this.take(bare) ?? '') : unquote(quoted);
  }
}

function unquote(text: string): string {
  return text.replace(/^"|"$/g, '').replace(/\\(.)/gs, '$1');
}
