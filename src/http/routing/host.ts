import type { IncomingMessage } from 'node:http';
import { PassthroughError } from '../../errors.ts';

/**
 * What `Host` may hold. It may be empty.
 *
 *     Host     = uri-host [ ":" port ]
 *     uri-host = IP-literal / IPv4address / reg-name
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#field.host
 * @see https://www.rfc-editor.org/rfc/rfc3986#section-3.2.2
 */
const HOST = /^(?:\[[0-9a-z:.%~_-]+\]|(?:[\w.~!$&'()*+,;=-]|%[0-9a-f]{2})*)(?::\d{0,5})?$/i;

/**
 * Refuses a request that names its host twice, or with a malformed field. Proxies and services that choose different ones of two
 * fields can be led to different answers. Node refuses requests of HTTP/1.1 without the field.
 *
 * @throws PassthroughError `INVALID_REQUEST`
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-3.2
 */
export function refuseInvalidHost({
  rawHeaders,
  headers,
}: Pick<IncomingMessage, 'rawHeaders' | 'headers'>): void {
  const count = rawHeaders.filter((text, at) => at % 2 === 0 && text.toLowerCase() === 'host').length;
  if (count > 1) throw invalid(`it has ${count} Host fields`);
  if (!HOST.test(headers.host ?? '')) throw invalid('its Host is not a host with an optional port');
}

function invalid(why: string): PassthroughError {
  return new PassthroughError('INVALID_REQUEST', `Cannot answer the request: ${why}`);
}
