import { FieldReader, LIST_GAP, TOKEN } from './transport/field-value.ts';

/** One value of a `Link` header. */
export interface Link {
  /** A URI reference, unresolved: absolute, or relative to the URL of the request. */
  readonly target: string;
  /** Names in lower case. */
  readonly params: ReadonlyMap<string, string>;
}

const TARGET = /<[^>]*>/y;
/** Separator before a parameter. Parameters may be empty, as in `; ;`. */
const PARAM_GAP = /[ \t]*;[ \t;]*/y;
const EQUALS = /[ \t]*=[ \t]*/y;
/** An unquoted value. Servers send more than a token, because relation types may be URLs. */
const BARE_VALUE = /[^\s,;"]*/y;

/**
 * Parses a `Link` header, or several headers joined by commas.
 *
 *     Link          = #link-value
 *     link-value    = "<" URI-Reference ">" *( OWS ";" OWS link-param )
 *     link-param    = token BWS [ "=" BWS ( token / quoted-string ) ]
 *
 * Targets and quoted values may contain commas and semicolons, so the header is parsed by position and never split. Of
 * a repeated parameter the first counts. Parsing stops at the first syntax error and keeps the links before it.
 *
 * @param header the field value
 * @returns the links in their order
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
 * A link with an `anchor` describes another resource than this page, so it is ignored.
 *
 * @param header the field value
 * @returns the unresolved target; `undefined` on the last page
 * @see https://www.rfc-editor.org/rfc/rfc8288#section-3.3
 */
export function nextLink(header: string): string | undefined {
  const isNext = ({ params }: Link) =>
    !params.has('anchor') && (params.get('rel') ?? '').toLowerCase().split(/\s+/).includes('next');
  return parseLinks(header).find(isNext)?.target;
}
