/**
 * What of a document is read; all else is only checked to be JSON:
 *
 * - `scalar`: text, a number, `true`, `false` or `null`. A list becomes an empty list, an object an empty object.
 * - `source`: any value, as its JSON text.
 * - `pairs`: the names and scalars of an object, in their order, {@link MAX_PAIRS} and one more at most; any other value is read
 *   as a scalar.
 * - `fields`: some fields of an object; any other value is read as a scalar. The last one of two fields with one name counts.
 * - `items`: all items of a list; any other value is read as a scalar.
 */
export type JsonShape =
  | 'scalar'
  | 'source'
  | 'pairs'
  | { readonly fields: Readonly<Record<string, JsonShape>>; readonly items?: undefined }
  | { readonly items: JsonShape; readonly fields?: undefined };

/** Most fields of an object of free names, such as annotations: each costs a decoding of its name. */
export const MAX_PAIRS = 32;

/** A shape in the form that the reader compares bytes with. */
export interface Wanted {
  readonly isSource: boolean;
  readonly isPairs: boolean;
  readonly fields:
    | readonly { readonly name: string; readonly bytes: Buffer; readonly wanted: Wanted }[]
    | undefined;
  readonly items: Wanted | undefined;
}

function wantedBy(shape: JsonShape): Wanted {
  const { fields, items } = typeof shape === 'string' ? {} : shape;
  return {
    isSource: shape === 'source',
    isPairs: shape === 'pairs',
    fields:
      fields &&
      Object.entries(fields).map(([name, field]) => {
        return { name, bytes: Buffer.from(name), wanted: wantedBy(field) };
      }),
    items: items && wantedBy(items),
  };
}

/** Of a value that is read as a scalar. */
export const SCALAR = wantedBy('scalar');

/** Shapes that were read before. */
const known = new WeakMap<object, Wanted>();

/** Brings a shape into this form, once for each. */
export function wantedOf(shape: Exclude<JsonShape, string>): Wanted {
  const wanted = known.get(shape) ?? wantedBy(shape);
  known.set(shape, wanted);
  return wanted;
}
