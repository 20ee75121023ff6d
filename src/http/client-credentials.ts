import { PassthroughError } from '../errors.ts';
import type { BasicCredentials } from '../registry/auth/credentials.ts';

/** RFC 4648 base64, its padding forgiven. */
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

/**
 * Reads the registry credentials that a client sends as Basic.
 *
 *     credentials = "Basic" 1*SP base64( user-id ":" password )
 *
 * @param authorization the request's `Authorization`
 * @returns `undefined` where the request has none
 * @throws PassthroughError `CREDENTIALS_REQUIRED` when the header is there and cannot be read; the message names the part
 *   and shows nothing of it
 * @see https://www.rfc-editor.org/rfc/rfc7617#section-2
 */
export function parseBasicCredentials(authorization: string | undefined): BasicCredentials | undefined {
  if (authorization === undefined) return undefined;
  const { scheme = '', value = '' } =
    /^(?<scheme>\S*)\s*(?<value>.*?)\s*$/s.exec(authorization)?.groups ?? {};
  if (scheme.toLowerCase() !== 'basic') throw unreadable('its scheme is not Basic');
  if (!BASE64.test(value)) throw unreadable('what follows Basic is not base64');
  const text = Buffer.from(value, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  if (colon === -1) throw unreadable('no colon separates user name and password');
  if (/\p{Cc}/u.test(text)) throw unreadable('it holds a control character');
  if (text === ':') throw unreadable('user name and password are empty');
  return { username: text.slice(0, colon), password: text.slice(colon + 1) };
}

function unreadable(why: string): PassthroughError {
  return new PassthroughError('CREDENTIALS_REQUIRED', `Cannot parse Authorization header: ${why}`);
}
