import { type ErrorCode, PassthroughError } from '../../errors.ts';
import { quoted } from '../../util/printable.ts';

/** The parts of a request target: its path, still encoded, and its query. */
export interface Target {
  readonly path: string;
  readonly query: URLSearchParams;
}

/** An `@`, also encoded several times, that is not followed by a digest. */
const CREDENTIALS = /(?:@|%(?:25)*40)(?!sha\d+(?::|%3a))/i;

/**
 * Splits a request target, which may be in absolute form, as clients send it to a proxy.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9112#name-request-target
 */
export function splitTarget(target: string): Target {
  const origin = /^https?:\/\/[^/?]*/i.exec(target)?.[0] ?? '';
  const [path = '', ...query] = target.slice(origin.length).split('?');
  return { path: path === '' ? '/' : path, query: new URLSearchParams(query.join('?')) };
}

/**
 * Whether a text may contain a password: text around an `@`, unless the `@` precedes a digest.
 */
export function mayHoldCredentials(text: string): boolean {
  return CREDENTIALS.test(text);
}

/**
 * Refuses a part that may contain a password. The message does not quote it, since errors are logged.
 *
 * @param code of the error
 * @param part its name, for the message
 * @throws PassthroughError `code`
 */
export function refuseCredentials(text: string, code: ErrorCode, part: string): void {
  if (!mayHoldCredentials(text)) return;
  throw new PassthroughError(
    code,
    `Cannot parse ${part}: it holds an @, and credentials do not belong in an address`,
  );
}

/**
 * Decodes one segment of a path. Each is decoded on its own, so an encoded slash separates nothing.
 *
 * @param code of the error
 * @param part its name, for the message
 * @throws PassthroughError `code` naming what is wrong
 */
export function decodeSegment(segment: string, code: ErrorCode, part: string): string {
  const fail = (why: string) => new PassthroughError(code, `Cannot parse ${part} ${quoted(segment)}: ${why}`);
  refuseCredentials(segment, code, part);
  let text: string;
  try {
    text = decodeURIComponent(segment);
  } catch {
    throw fail('malformed percent-encoding');
  }
  if (text === '') throw fail('it is empty');
  if (/\p{Cc}/u.test(text)) throw fail('it holds a control character');
  if (/[/\\]/.test(text)) throw fail('it holds a slash');
  if (text === '.' || text === '..') throw fail('dot segments name nothing here');
  return text;
}
