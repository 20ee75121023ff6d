import { FieldReader, LIST_GAP, TOKEN, WHITESPACE } from '../transport/field-value.ts';

/** One challenge of a `WWW-Authenticate` header; scheme and parameter names in lower case. */
export interface Challenge {
  readonly scheme: string;
  readonly params: ReadonlyMap<string, string>;
}

/** RFC 9110 `token68`, which `Negotiate` and `NTLM` carry in place of parameters: it fills its list element. */
const TOKEN68 = /[A-Za-z0-9\-._~+/]+=*(?=[ \t]*(?:,|$))/y;
/** An unquoted value as registries send it: more than a token, for URLs and scopes stand there unquoted too. */
const BARE_VALUE = /[^\s,"]*/y;
/** What makes a name one of a parameter. */
const EQUALS = /[ \t]*=[ \t]*/y;

/**
 * Reads the challenges of a `WWW-Authenticate` header, or of several that were joined by commas.
 *
 *     WWW-Authenticate = #challenge
 *     challenge        = auth-scheme [ 1*SP ( token68 / #auth-param ) ]
 *     auth-param       = token BWS "=" BWS ( token / quoted-string )
 *     quoted-string    = DQUOTE *( qdtext / "\" CHAR ) DQUOTE
 *
 * A comma separates parameters and challenges alike, and stands inside values (`scope="repository:a:pull,push"`), so this
 * reads on by position and never splits: a name with `=` behind it is a parameter of the last scheme, a name without is
 * the next scheme. What cannot be read ends the reading; the challenges before it stand. The first of a repeated parameter
 * counts.
 *
 * @param header the field value
 * @returns the challenges in their order; none for a header that holds none
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
