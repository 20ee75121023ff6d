import { FieldReader, LIST_GAP, TOKEN, WHITESPACE } from '../transport/field-value.ts';

/** One challenge of a `WWW-Authenticate` header; scheme and parameter names in lower case. */
export interface Challenge {
  readonly scheme: string;
  readonly params: ReadonlyMap<string, string>;
}

/** RFC 9110 `token68`: `Negotiate` and `NTLM` send it in place of parameters. It extends to the end of its list element. */
const TOKEN68 = /[A-Za-z0-9\-._~+/]+=*(?=[ \t]*(?:,|$))/y;
/** An unquoted value. Registries send more than a token: URLs and scopes without quotes. */
const BARE_VALUE = /[^\s,"]*/y;
/** A name before it is the name of a parameter; any other name is a scheme. */
const EQUALS = /[ \t]*=[ \t]*/y;

/**
 * Parses the challenges of a `WWW-Authenticate` header, or of several headers joined by commas.
 *
 *     WWW-Authenticate = #challenge
 *     challenge        = auth-scheme [ 1*SP ( token68 / #auth-param ) ]
 *     auth-param       = token BWS "=" BWS ( token / quoted-string )
 *     quoted-string    = DQUOTE *( qdtext / "\" CHAR ) DQUOTE
 *
 * Commas separate parameters and challenges alike, and values contain commas (`scope="repository:a:pull,push"`). So the
 * header is parsed by position and never split: a name before `=` is a parameter of the last scheme, any other name is
 * the next scheme. Of a repeated parameter the first counts. Parsing stops at the first syntax error and keeps the
 * challenges before it.
 *
 * @param header the field value
 * @returns the challenges in their order
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1
 */
export function parseChallenges(header: string): readonly Challenge[] {
  const challenges: { scheme: string; params: Map<string, string> }[] = [];
  const reader = new FieldReader(header);
  for (;;) {
    reader.take(LIST_GAP);
    const name = reader.take(TOKEN)?.toLowerCase();
    if (name === undefined) return challenges;
    if (reader.take(EQUALS) === undefined) {
      challenges.push({ scheme: name, params: new Map() });
      reader.take(WHITESPACE);
      reader.take(TOKEN68);
      continue;
    }
    const value = reader.takeValue(BARE_VALUE);
    const params = challenges.at(-1)?.params;
    if (params === undefined) return challenges;
    if (!params.has(name)) params.set(name, value);
  }
}
