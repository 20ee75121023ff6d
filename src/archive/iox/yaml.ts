/**
 * Writes YAML. Values are data: no text can add a line, a field, a tag or an anchor, since every text stands in double quotes, and
 * what is not printable is escaped. So readers of YAML 1.1 and 1.2 see the same values.
 *
 * @see https://yaml.org/spec/1.2.2/#731-double-quoted-style
 */

import { PassthroughError } from '../../errors.ts';

/** What can be written. Fields stand in the order of the map. */
export type YamlValue = string | number | boolean | readonly YamlValue[] | YamlMap;

/** An object. A map, so that a field can have any name. */
export type YamlMap = ReadonlyMap<string, YamlValue>;

/** Names that need no quotes: no reader takes them for a number, and {@link WORDS} for nothing else. */
const PLAIN_NAME = /^[A-Za-z][A-Za-z0-9_-]*$/;

/** Names that readers of YAML 1.1 take for other values. https://yaml.org/type/bool.html */
const WORDS = new Set(['y', 'n', 'yes', 'no', 'on', 'off', 'true', 'false', 'null']);

/** Most characters of a name before its colon. https://yaml.org/spec/1.2.2/#742-flow-mappings */
const MAX_NAME_LENGTH = 1024;

/** Characters that are escaped: quotation marks, backslashes, and what a reader may fold, strip, refuse or not show. */
const ESCAPED = /["\\\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Cn}\p{Co}\p{Default_Ignorable_Code_Point}]/gu;

/** What stands for a surrogate without its other half, as in UTF-8. */
const REPLACEMENT = '\ufffd';

/**
 * Writes a document in block style, with lists of scalars on one line.
 *
 * @throws PassthroughError `INTERNAL` for a number that is not finite, and for a name that is too long
 */
export function formatYaml(document: YamlMap): string {
  return `${linesOf(document).join('\n')}\n`;
}

function linesOf(map: YamlMap): readonly string[] {
  if (map.size === 0) return ['{}'];
  return Array.from(map, ([name, value]) => field(nameText(name), value)).flat();
}

function field(name: string, value: YamlValue): readonly string[] {
  if (isInline(value)) return [`${name}: ${inline(value)}`];
  return [`${name}:`, ...(isList(value) ? value.flatMap(item) : linesOf(value)).map((line) => `  ${line}`)];
}

function item(value: YamlValue): readonly string[] {
  if (isInline(value)) return [`- ${inline(value)}`];
  const [first = '', ...more] = isList(value) ? value.flatMap(item) : linesOf(value);
  return [`- ${first}`, ...more.map((line) => `  ${line}`)];
}

function isList(value: YamlValue): value is readonly YamlValue[] {
  return Array.isArray(value);
}

function isScalar(value: YamlValue): value is string | number | boolean {
  return typeof value !== 'object';
}

function isInline(value: YamlValue): value is string | number | boolean | readonly YamlValue[] {
  if (isScalar(value)) return true;
  return isList(value) ? value.every(isScalar) : value.size === 0;
}

function inline(value: YamlValue): string {
  if (isList(value)) return `[${value.map(inline).join(', ')}]`;
  if (typeof value === 'string') return quotedText(value);
  if (typeof value === 'boolean') return String(value);
  if (typeof value === 'object') return '{}';
  if (Number.isFinite(value) && Math.abs(value) < 1e15 && !(Math.abs(value) < 1e-6 && value !== 0))
    return String(value);
  throw new PassthroughError('INTERNAL', `Cannot write ${value} as YAML`);
}

function nameText(name: string): string {
  const text = PLAIN_NAME.test(name) && !WORDS.has(name.toLowerCase()) ? name : quotedText(name);
  if (text.length <= MAX_NAME_LENGTH) return text;
  throw new PassthroughError(
    'INTERNAL',
    `Cannot write YAML: a name has more than ${MAX_NAME_LENGTH} characters`,
  );
}

function quotedText(text: string): string {
  return `"${text.replace(ESCAPED, escapeOf)}"`;
}

function escapeOf(character: string): string {
  if (character === '"' || character === '\\') return `\\${character}`;
  const code = character.codePointAt(0) ?? 0;
  if (code >= 0xd800 && code <= 0xdfff) return REPLACEMENT;
  const hex = code.toString(16);
  return code > 0xffff ? `\\U${hex.padStart(8, '0')}` : `\\u${hex.padStart(4, '0')}`;
}
