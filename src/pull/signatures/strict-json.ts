import type { JsonFields } from '../../image/json.ts';

/** A document that two readers could understand in two ways; the message is the reason. */
export class DocumentFault extends Error {}

/**
 * Most bytes of a document that is read here: a payload or a bundle. Those of cosign have 700 bytes, with entries of a transparency
 * log some 10 KB. `JSON.parse` takes up to 20 ms for as many bytes of small objects.
 */
export const MAX_SIGNED_BYTES = 64 * 1024;

/**
 * Reads a document whose meaning is a matter of trust: a JSON object in UTF-8, in which no object has two fields of one name. Of
 * these, one reader takes the first and another takes the last.
 *
 * @throws DocumentFault
 */
export function readStrictJson(bytes: Uint8Array): JsonFields {
  if (bytes.byteLength > MAX_SIGNED_BYTES)
    throw new DocumentFault(`it has more than ${MAX_SIGNED_BYTES} bytes`);
  let value: unknown;
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    value = JSON.parse(text);
  } catch {
    throw new DocumentFault('it is not JSON');
  }
  if (!isObject(value)) throw new DocumentFault('it is not a JSON object');
  if (fieldsIn(text) !== fieldsOfAll(value)) throw new DocumentFault('two of its fields have one name');
  return value;
}

/** Whether a value is an object with fields. */
export function isObject(value: unknown): value is JsonFields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The fields in the text of a document: as many as there are colons outside of its strings. */
function fieldsIn(text: string): number {
  let count = 0;
  let isText = false;
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at];
    if (character === '"') isText = !isText;
    else if (isText && character === '\\') at += 1;
    else if (!isText && character === ':') count += 1;
  }
  return count;
}

/** The fields that a parser has kept, of all objects of a document. */
function fieldsOfAll(document: JsonFields): number {
  let count = 0;
  const open: unknown[] = [document];
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (typeof value !== 'object' || value === null) continue;
    const parts: unknown[] = Object.values(value);
    if (!Array.isArray(value)) count += parts.length;
    open.push(...parts.filter((part) => typeof part === 'object' && part !== null));
  }
  return count;
}

/**
 * Decodes base64 in its one form: the standard alphabet, padded, without spaces and stray bits. Other forms would give one signature
 * many texts.
 *
 * @throws DocumentFault
 */
export function decodeBase64(value: unknown, what: string): Buffer {
  const bytes = Buffer.from(typeof value === 'string' ? value : '', 'base64');
  if (bytes.byteLength === 0 || bytes.toString('base64') !== value)
    throw new DocumentFault(`${what} is not base64`);
  return bytes;
}
