import { printable } from '../printable.ts';

/** Longest text in a page, in characters: an error line with several quotes in it. */
const MAX_TEXT_LENGTH = 2000;

/** Characters that could end a text or the value of an attribute: https://html.spec.whatwg.org/multipage/syntax.html#cdata-rcdata-restrictions */
const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['&', '&amp;'],
  ['<', '&lt;'],
  ['>', '&gt;'],
  ['"', '&quot;'],
  ["'", '&#39;'],
]);

/** HTML that may stand in a page as it is. Only {@link html} makes it. */
export class Html {
  readonly #markup: string;

  private constructor(markup: string) {
    this.#markup = markup;
  }

  toString(): string {
    return this.#markup;
  }

  /** @see html */
  static of(strings: TemplateStringsArray, values: readonly HtmlValue[]): Html {
    const parts = strings.map((string, at) => string + shown(values[at]));
    return new Html(parts.join(''));
  }
}

/** What stands in a template: text and numbers are escaped, HTML stands as it is, lists are joined, `undefined` is nothing. */
export type HtmlValue = string | number | Html | readonly Html[] | undefined;

/**
 * HTML from a template. A text in it is text, whatever is in it: it is escaped, what a reader cannot see is shown as an escape, and
 * it is cut at 2000 characters. It may stand between tags, and in the value of an attribute in quotes; not in the name of a tag or
 * an attribute, a script, a style or a URL.
 */
export function html(strings: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  return Html.of(strings, values);
}

/** A text with the characters escaped that mean something in HTML. */
export function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => ESCAPES.get(character) ?? character);
}

function shown(value: HtmlValue): string {
  if (value === undefined) return '';
  if (value instanceof Html) return value.toString();
  if (typeof value === 'object') return value.join('');
  return escapeHtml(printable(String(value), MAX_TEXT_LENGTH));
}
