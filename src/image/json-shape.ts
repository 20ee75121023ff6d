/**
 * What of a document is read; all else is only checked to be JSON:
 *
 * - `scalar`: text, a number, `true`, `false` or `null`. A list becomes an empty list, an object an empty object.
 * - `source`: any value, as its JSON text.
 * - `pairs`: the names and scalars of an object, in their order, {@link MAX_PAIRS} and one more at most; any other value is read
 *   as a scalar.
 * - `fields`: some fields of an object; any other value is read as a scalar. The last one of two fields with one name counts.
 * - `items`: all items of a list; any other value is read as a scalar. With `take`, they are passed to that function in place of
 *   being collected: a list may have 25,000 of them.
 */
export type JsonShape =
  | 'scalar'
  | 'source'
  | 'pairs'
  | { readonly fields: Readonly<Record<string, JsonShape>>; readonly items?: undefined }
  | { readonly items: JsonShape; readonly take?: TakeItem; readonly fields?: undefined };

/** A JSON object whose fields are not validated. */
export type JsonFields = Readonly<Record<string, unknown>>;

/** The fields of a JSON object; none for any other value. */
export function fieldsOf(value: unknown): JsonFields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonFields) : {};
}

/** Receives an item of a list, and its index. */
export type TakeItem = (item: unknown, index: number) => void;

/** Most fields of an object of free names, such as annotations: each costs a decoding of its name. */
export const MAX_PAIRS = 32;

/** A shape in the form that the reader compares bytes with. */
export interface Wanted {
  readonly isSource: boolean;
  readonly isPairs: boolean;
  readonly fields:
    | readonly { readonly name: string; readonly bytes: Uint8Array; readonly wanted: Wanted }[]
    | undefined;
  readonly items: Wanted | undefined;
  readonly take: TakeItem | undefined;
}

const SIMPLE = { isSource: false, isPairs: false, fields: undefined, items: undefined, take: undefined };

/** Of a value that is read as a scalar. */
export const SCALAR: Wanted = SIMPLE;

/** Shapes that were read before. */
const known = new WeakMap<object, Wanted>();

/** Brings a shape into this form, once for each. */
export function wantedOf(shape: JsonShape): Wanted {
  if (typeof shape === 'string')
    return { ...SIMPLE, isSource: shape === 'source', isPairs: shape === 'pairs' };
  const wanted = known.get(shape) ?? wantedBy(shape);
  known.set(shape, wanted);
  return wanted;
}

function wantedBy(shape: Exclude<JsonShape, string>): Wanted {
  if (shape.fields === undefined) return { ...SIMPLE, items: wantedOf(shape.items), take: shape.take };
  const fields = Object.entries(shape.fields).map(([name, field]) => {
    return { name, bytes: new TextEncoder().encode(name), wanted: wantedOf(field) };
  });
  return { ...SIMPLE, fields };
}
