/** A JSON object whose fields are not validated. */
export type JsonFields = Readonly<Record<string, unknown>>;

/** The fields of a JSON object; none for any other value. */
export function fieldsOf(value: unknown): JsonFields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonFields) : {};
}

/**
 * Reads a document that must be a JSON object in UTF-8.
 *
 * @param refuse makes the error to throw from the reason and the underlying error
 * @throws the error of `refuse`
 */
export function parseJsonObject(
  bytes: Uint8Array,
  refuse: (why: string, cause?: unknown) => Error,
): JsonFields {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw refuse('it is not JSON', cause);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw refuse('it is not a JSON object');
  }
  return fieldsOf(value);
}
