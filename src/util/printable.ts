/** Text from outside, made safe to show: registries, clients and operators can write what consoles act on. */

/** Longest quote of foreign text, in characters: a reference or a URL of usual length, in a few lines of a console. */
export const MAX_QUOTE_LENGTH = 200;

/** Follows a text that was cut. */
const ELLIPSIS = '…';

/**
 * Characters that are shown as an escape: control characters (C0, DEL, C1), format characters (bidirectional marks, zero-width
 * characters, the byte order mark), line and paragraph separators, lone surrogates, and characters that show nothing. Terminals
 * act on some of them. The others make a text look like another one.
 *
 * @see https://www.unicode.org/reports/tr44/#General_Category_Values
 * @see https://www.unicode.org/reports/tr36/#Bidirectional_Text_Spoofing
 */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u;
const EACH_UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

/** Characters with an escape that is shorter than their code, as in JSON. */
const SHORT_ESCAPES: ReadonlyMap<string, string> = new Map([
  ['\b', '\\b'],
  ['\t', '\\t'],
  ['\n', '\\n'],
  ['\f', '\\f'],
  ['\r', '\\r'],
]);

/**
 * Foreign text on one line: what a reader cannot see is escaped (`\n`, `\u009b`), and what is too long is cut. Short text of
 * visible characters stays as it is.
 *
 * @param text anything
 * @param maxLength most characters of the result, without the ellipsis that says that it is cut
 */
export function printable(text: string, maxLength: number = MAX_QUOTE_LENGTH): string {
  if (text.length <= maxLength && !UNPRINTABLE.test(text)) return text;
  return show(text, maxLength, escapeUnprintable);
}

/**
 * Foreign text as a quote in a message: in the quotation marks of JSON, with its own ones and its backslashes escaped, and else
 * as {@link printable} shows it.
 *
 * @param text anything
 * @param maxLength most characters between the quotation marks, without the ellipsis
 */
export function quoted(text: string, maxLength: number = MAX_QUOTE_LENGTH): string {
  const escapeQuoted = (character: string) =>
    character === '"' || character === '\\' ? `\\${character}` : escapeUnprintable(character);
  return `"${show(text, maxLength, escapeQuoted)}"`;
}

/**
 * Foreign text of several lines, such as a stack: each line as {@link printable} shows it.
 *
 * @param text anything
 * @param maxLength most characters of a line
 * @param maxLines further lines are left out
 */
export function printableLines(text: string, maxLength: number, maxLines: number): string {
  const lines = text.split('\n', maxLines);
  return lines.map((line) => printable(line, maxLength)).join('\n');
}

/**
 * A value as JSON on one line, in which all that a reader cannot see is escaped. `JSON.stringify` escapes less: terminals act on
 * U+0080 to U+009F and on bidirectional marks. A parser reads the same value.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8259#section-7
 */
export function printableJson(value: unknown): string {
  const json = JSON.stringify(value);
  return UNPRINTABLE.test(json) ? json.replace(EACH_UNPRINTABLE, escapeUnprintable) : json;
}

/** Shows character after character until the result is long enough, so that a long text costs no more than a short one. */
function show(text: string, maxLength: number, escapeOf: (character: string) => string): string {
  let shown = '';
  for (const character of text) {
    const next = escapeOf(character);
    if (shown.length + next.length > maxLength) return `${shown}${ELLIPSIS}`;
    shown += next;
  }
  return shown;
}

function escapeUnprintable(character: string): string {
  if (!UNPRINTABLE.test(character)) return character;
  const units = Array.from({ length: character.length }, (_, at) => character.charCodeAt(at));
  const codes = units.map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`);
  return SHORT_ESCAPES.get(character) ?? codes.join('');
}
