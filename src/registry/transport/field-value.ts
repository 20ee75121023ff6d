/** RFC 9110 `token`: https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2 */
export const TOKEN = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+/y;

/**
 * RFC 9110 `quoted-string`; a missing last quote is forgiven:
 * https://www.rfc-editor.org/rfc/rfc9110#section-5.6.4
 */
export const QUOTED_STRING = /"(?:[^"\\]|\\.)*(?:"|$)/sy;

/** Optional whitespace. */
export const WHITESPACE = /[ \t]*/y;

/** What may stand between list elements: whitespace, the comma, and elements left empty. */
export const LIST_GAP = /[ \t,]*/y;

/**
 * Reads a header's value by position, from its start on. Values hold the separators of their lists inside of
 * quotes and brackets, so that whoever splits them reads them wrong.
 */
export class FieldReader {
  readonly #text: string;
  #position = 0;

  /** @param text the field value */
  constructor(text: string) {
    this.#text = text;
  }

  /**
   * Takes what stands here.
   *
   * @param pattern with the flag `y`
   * @returns the text that matches, which is passed; `undefined` when it does not match here
   */
  take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#position;
    const text = pattern.exec(this.#text)?.[0];
    this.#position += text?.length ?? 0;
    return text;
  }

  /**
   * Takes a parameter's value: what a quoted string means, or the text that stands there without quotes.
   *
   * @param bare how far text without quotes goes, with the flag `y`
   */
  takeValue(bare: RegExp): string {
    const quoted = this.take(QUOTED_STRING);
    return quoted === undefined ? (this.take(bare) ?? '') : unquote(quoted);
  }
}

function unquote(text: string): string {
  return text.replace(/^"|"$/g, '').replace(/\\(.)/gs, '$1');
}
