/** The file `.env`: read as Node.js does, with warnings for what it takes otherwise than its author has meant. */

import { parseEnv } from 'node:util';
import { PassthroughError } from '../errors.ts';

/** What a file sets. */
export interface DotEnv {
  readonly variables: Readonly<Record<string, string>>;
  /** One sentence each, with the number of the line. Values are not shown: they may be secrets. */
  readonly warnings: readonly string[];
}

/** Variables that Node.js reads when it starts, before the file. */
const READ_AT_START: ReadonlySet<string> = new Set([
  'NODE_EXTRA_CA_CERTS',
  'NODE_OPTIONS',
  'NODE_USE_ENV_PROXY',
  'NODE_USE_SYSTEM_CA',
  'SSL_CERT_DIR',
  'SSL_CERT_FILE',
]);

/** Quotes around values. */
const QUOTES = ['"', "'", '`'] as const;

/**
 * Reads the file.
 *
 *     line  ::= [ "export " ] name "=" value | comment
 *     value ::= quote any-text quote | text without "#"
 *
 * A quoted value may have several lines. In double quotes `\n` is a line break. Without quotes, `#` begins a comment, also
 * without a space before it.
 *
 * @param isSet whether the environment has a variable, which wins then
 * @throws PassthroughError `INVALID_CONFIGURATION` for a file in UTF-16
 * @see https://nodejs.org/api/environment_variables.html#dotenv
 */
export function parseDotEnv(bytes: Uint8Array, isSet: (name: string) => boolean): DotEnv {
  const [first = 0, second = 0] = bytes;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) {
    throw new PassthroughError('INVALID_CONFIGURATION', 'Cannot read .env: it is UTF-16, expected UTF-8');
  }
  // The decoder leaves a byte order mark out. Node.js takes it for a part of the first name.
  const text = new TextDecoder().decode(bytes);
  const { warnings, warn } = collector();
  const lines = text.split('\n');
  const setAt = new Map<string, number>();
  for (let at = 0; at < lines.length; at += 1) {
    const line = (lines[at] ?? '').trim();
    if (line === '' || line.startsWith('#')) continue;
    const equals = line.indexOf('=');
    if (equals === -1) {
      warn(at, 'it has no "=" and is ignored; write NAME=value');
      continue;
    }
    const name = line
      .slice(0, equals)
      .trim()
      .replace(/^export /, '')
      .trim();
    const value = line.slice(equals + 1).trim();
    const quote = QUOTES.find((one) => value.startsWith(one));
    const end = quote === undefined ? at : endOfQuoted(lines, at, value.slice(1), quote);
    if (!/^[A-Za-z_]\w*$/.test(name)) warn(at, 'what stands before "=" is no name of a variable');
    else {
      const before = setAt.get(name);
      if (before !== undefined) warn(at, `${name} is set in line ${before} already; this line counts`);
      setAt.set(name, at + 1);
      if (READ_AT_START.has(name) && !isSet(name))
        warn(at, `${name} has no effect here: Node.js reads it when it starts; set it in the environment`);
      warnOfValue(name, { value, quote, isClosed: end !== undefined, isOneLine: end === at }, (why) =>
        warn(at, why),
      );
    }
    at = end ?? at;
  }
  return { variables: parseEnv(text) as Record<string, string>, warnings };
}

function collector() {
  const warnings: string[] = [];
  return { warnings, warn: (at: number, why: string) => void warnings.push(`.env line ${at + 1}: ${why}`) };
}

/** Index of the line with the closing quote; `undefined` if there is none. `rest` follows the opening one. */
function endOfQuoted(lines: readonly string[], at: number, rest: string, quote: string): number | undefined {
  if (rest.includes(quote)) return at;
  const end = lines.findIndex((line, index) => index > at && line.includes(quote));
  return end === -1 ? undefined : end;
}

/** A value as it is written. */
interface WrittenValue {
  readonly value: string;
  readonly quote: string | undefined;
  readonly isClosed: boolean;
  readonly isOneLine: boolean;
}

function warnOfValue(
  name: string,
  { value, quote, isClosed, isOneLine }: WrittenValue,
  warn: (why: string) => void,
): void {
  if (quote === undefined) {
    if (/^#|\S#/.test(value))
      warn(`the value of ${name} ends before "#", which begins a comment; put the value into quotes`);
  } else if (!isClosed) {
    warn(`the quote at the beginning of ${name} has no end, so it is a part of the value`);
  } else if (isOneLine) {
    const rest = value.slice(value.indexOf(quote, 1) + 1).trim();
    if (rest !== '' && !rest.startsWith('#'))
      warn(
        `what follows the closing quote of ${name} is ignored; quotes in a value need other quotes around it`,
      );
  }
}
