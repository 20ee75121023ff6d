import type { Field } from './fields.ts';
import { sizeOf } from './settings.ts';
import type { YamlValue } from './yaml.ts';

/** Most characters of a text: names, paths and descriptions of applications have some tens. */
export const MAX_TEXT_LENGTH = 4096;

/** Most items of a list. */
const MAX_ITEMS = 256;

/** Longest time, in seconds: a day. */
const MAX_SECONDS = 86_400;

const MAX_PORT = 65_535;

/** A value that a field does not take; the message says what it takes. */
export class ValueError extends Error {}

/**
 * Reads the value of a label for a field.
 *
 * @throws ValueError
 */
export function parseValue({ kind, words = [] }: Field, text: string): YamlValue {
  if (text.length > MAX_TEXT_LENGTH) throw new ValueError(`at most ${MAX_TEXT_LENGTH} characters`);
  switch (kind) {
    case 'text':
      return text;
    case 'boolean':
      return wordOf(['true', 'false'], text.toLowerCase()) === 'true';
    case 'seconds':
      return secondsOf(text);
    case 'integer':
      return wholeOf(text, 0, 999_999_999);
    case 'cpu':
    case 'memory':
    case 'disk':
    case 'vcpu':
      return sizeOf(kind, text) ?? wrong('a whole number that a device may have');
    case 'ports':
      return itemsOf(text).map((item) => wholeOf(item, 1, MAX_PORT));
    case 'command':
      return commandOf(text);
    case 'args':
      return text.startsWith('[') ? listOf(text) : text;
    case 'texts':
      return itemsOf(text);
    case 'word':
      return wordOf(words, text);
    case 'words':
      return itemsOf(text).map((item) => wordOf(words, item));
  }
}

/** Whether a label may set single items of a field. */
export function hasItems({ kind }: Field): boolean {
  return kind === 'ports' || kind === 'command' || kind === 'args' || kind === 'texts' || kind === 'words';
}

/**
 * Reads a list of which each item is the value of a label.
 *
 * @throws ValueError
 */
export function parseItems(field: Field, items: readonly string[]): YamlValue {
  if (field.kind === 'command' || field.kind === 'args' || field.kind === 'texts') {
    for (const item of items) parseValue({ ...field, kind: 'text' }, item);
    return items;
  }
  return items.flatMap((item) => {
    const value = parseValue(field, item);
    return Array.isArray(value) ? value : [value];
  });
}

/** `[8080, 9000]`, `["a", "b"]`, `8080,9000`, `8080` */
function itemsOf(text: string): readonly string[] {
  const inner = text.startsWith('[') && text.endsWith(']') ? text.slice(1, -1) : text;
  const items = inner.split(',').map((item) => unquoted(item.trim()));
  if (items.length > MAX_ITEMS) throw new ValueError(`at most ${MAX_ITEMS} items`);
  return items.length === 1 && items[0] === '' ? [] : items;
}

function unquoted(text: string): string {
  const isQuoted = text.length >= 2 && /^["']/.test(text) && text.at(-1) === text[0];
  return isQuoted ? text.slice(1, -1) : text;
}

/** Without a word, nothing would be started. */
function commandOf(text: string): readonly string[] {
  const words = text.startsWith('[') ? listOf(text) : splitCommand(text);
  return words.length > 0 ? words : wrong('a command');
}

function listOf(text: string): readonly string[] {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch {
    list = undefined;
  }
  const items: readonly unknown[] = Array.isArray(list) ? list : [undefined];
  if (items.length <= MAX_ITEMS && items.every((item) => typeof item === 'string')) return items;
  throw new ValueError(`a list of texts in JSON, such as ["/app", "-v"]`);
}

/** Splits a command at its blanks. Quotes hold words together; no other character of a shell means anything. */
function splitCommand(text: string): readonly string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote: string | undefined;
  for (const character of text) {
    if (character === quote) quote = undefined;
    else if (quote !== undefined) word = (word ?? '') + character;
    else if (character === '"' || character === "'") {
      quote = character;
      word ??= '';
    } else if (!/\s/.test(character)) word = (word ?? '') + character;
    else if (word !== undefined) {
      words.push(word);
      word = undefined;
    }
  }
  if (quote !== undefined) throw new ValueError('a command whose quotes are closed');
  return word === undefined ? words : [...words, word];
}

function wordOf(words: readonly string[], text: string): string {
  return words.includes(text) ? text : wrong(words.join(', '));
}

function wholeOf(text: string, min: number, max: number): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : -1;
  return value >= min && value <= max ? value : wrong(`whole numbers from ${min} to ${max}`);
}

function secondsOf(text: string): number {
  const value = /^\d{1,5}(?:\.\d{1,3})?$/.test(text) ? Number(text) : -1;
  return value >= 0 && value <= MAX_SECONDS ? value : wrong(`seconds up to ${MAX_SECONDS}`);
}

function wrong(expected: string): never {
  throw new ValueError(expected);
}
