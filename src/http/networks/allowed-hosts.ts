import type { IncomingMessage } from 'node:http';
import type { AllowedHost } from '../../config/access.ts';
import { PassthroughError } from '../../errors.ts';
import { quoted } from '../../util/printable.ts';

/**
 * Refuses a request for a host that is not the service's own. A page of another site can make its own name resolve to the address of
 * the service (DNS rebinding), and is then of the same origin for the browser; its requests still have that name as `Host`.
 *
 * The status is 421: the connection is right, and the name is not one that this server answers for. 403 would say that another
 * client may ask.
 *
 * @param allowed `HTTP_ALLOWED_HOSTS`; all if it is empty
 * @throws PassthroughError `HOST_NOT_ALLOWED` that names the variable
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-15.5.20
 */
export function refuseOtherHost(
  { headers: { host = '' } }: Pick<IncomingMessage, 'headers'>,
  allowed: readonly AllowedHost[],
): void {
  if (allowed.length === 0 || isAllowed(host, allowed)) return;
  throw new PassthroughError(
    'HOST_NOT_ALLOWED',
    `Cannot answer for the host ${quoted(host)}: HTTP_ALLOWED_HOSTS does not list it`,
  );
}

function isAllowed(host: string, allowed: readonly AllowedHost[]): boolean {
  const url = URL.parse(`http://${host}`);
  if (url === null || url.hostname === '' || url.hostname.startsWith('.')) return false;
  // A name with the root's dot is the same name: https://www.rfc-editor.org/rfc/rfc1034#section-3.1
  const hostname = url.hostname.replace(/\.$/, '');
  // Ports 80 and 443 may be left out, and the scheme that the client used is not known behind a proxy.
  const port = /:(\d+)$/.exec(host)?.[1];
  return allowed.some(
    (entry) =>
      (entry.isWildcard ? hostname.endsWith(`.${entry.hostname}`) : hostname === entry.hostname) &&
      (entry.port === undefined ||
        (port === undefined ? [80, 443].includes(entry.port) : entry.port === Number(port))),
  );
}
