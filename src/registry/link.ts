import { FieldReader, LIST_GAP, TOKEN } from './transport/field-value.ts';

/** One value of a `Link` header. */
export interface Link {
  /** A URI reference as it stands there: absolute, or relative to the address that was asked for. */
  readonly target: string;
  /** Names in lower case. */
  readonly params: ReadonlyMap<string, string>;
}

const TARGET = /<[^>]*>/y;
/** What goes before a parameter; one may be left empty. */
const PARAM_GAP = /[ \t]*;[ \t;]*/y;
const EQUALS = /[ \t]*=[ \t]*/y;
/** An unquoted value as servers send it: more than a token, for relation types may be URLs. */
const BARE_VALUE = /[^\s,;"]*/y;

/**
 * Reads a `Link` header, or several that were joined by commas.
 *
 *     Link          = #link-value
 *     link-value    = "<" URI-Reference ">" *( OWS ";" OWS link-param )
 *     link-param    = token BWS [ "=" BWS ( token / quoted-string ) ]
 *
 * Commas and semicolons stand in targets and quoted values too, so this reads on by position and never
 * splits. The first of a repeated parameter counts. What cannot be read ends the reading; the links before it
 * stand.
 *
 * @param header the field value
 * @returns the links in their order; none for a header that holds none
 * @see https://www.rfc-editor.org/rfc/rfc8288#section-3
 */
export function parseLinks(header: string): readonly Link[] {
  const links: Link[] = [];
  const reader = new FieldReader(header);
  for (;;) {
    reader.take(LIST_GAP);
    const target = reader.take(TARGET);
    if (target === undefined) return links;
    const params = new Map<string, string>();
    links.push({ target: target.slice(1, -1).trim(), params });
    while (reader.take(PARAM_GAP) !== undefined) {
      const name = reader.take(TOKEN)?.toLowerCase();
      if (name === undefined) break;
      const value = reader.take(EQUALS) === undefined ? '' : reader.takeValue(BARE_VALUE);
      if (!params.has(name)) params.set(name, value);
    }
  }
}

/**
 * The target of the first link to the next page.
 *
 *     rel           = relation-type *( 1*SP relation-type )     ; in any case
 *
 * A link with an `anchor` starts somewhere else than at the page that it came with, and is none of its own.
 *
 * @param header the field value
 * @returns the target as it stands there; `undefined` on the last page
 * @see https://www.rfc-editor.org/rfc/rfc8288#section-3.3
 */
export function nextLink(header: string): string | undefined {
  const isNext = ({ params }: Link) =>
    !params.has('anchor') && (params.get('rel') ?? '').toLowerCase().split(/\s+/).includes('next');
  return parseLinks(header).find(isNext)?.target;
}
