import { JsonLimitError, readJson } from './json-reader.ts';
import { fieldsOf, type JsonFields, type JsonShape } from './json-shape.ts';

export { fieldsOf, type JsonFields } from './json-shape.ts';

/** What of a document is read: some of its fields. */
export interface ObjectShape {
  readonly fields: Readonly<Record<string, JsonShape>>;
}

/**
 * Reads some fields of a document that must be a JSON object in UTF-8.
 *
 * @param refuse makes the error to throw from the reason and the underlying error
 * @throws the error of `refuse`; what `take` of a shape throws
 */
export function readJsonObject(
  bytes: Uint8Array,
  shape: ObjectShape,
  refuse: (why: string, cause?: unknown) => Error,
): JsonFields {
  let value: unknown;
  try {
    value = readJson(bytes, shape);
  } catch (cause) {
    if (cause instanceof JsonLimitError) throw refuse(cause.message);
    throw cause instanceof SyntaxError ? refuse('it is not JSON', cause) : cause;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw refuse('it is not a JSON object');
  }
  return fieldsOf(value);
}
