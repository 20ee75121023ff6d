import type { IncomingMessage } from 'node:http';
import { PassthroughError } from '../errors.ts';

/** Methods that change nothing. OPTIONS carries no credentials, and has no route. */
const SAFE_METHODS: ReadonlySet<string | undefined> = new Set(['GET', 'HEAD', 'OPTIONS']);

/**
 * Refuses a request that a page of another site makes with more than what anybody may do. A browser that was once asked for a
 * password sends it again to every path of this origin, also to one that names another registry, and a page may make it do so by a
 * link.
 *
 * Foreign are `Sec-Fetch-Site: cross-site`, `same-site` with a method that changes something, and an `Origin` with another host or port
 * than `Host`. The scheme is not compared, since a proxy in front of the service speaks https with the browser. A proxy may change
 * `Host`, too, so `same-origin` counts more than `Origin`: no page can set either field. Programs send none of them.
 *
 * @throws PassthroughError `CROSS_SITE`
 * @see https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header
 * @see https://www.rfc-editor.org/rfc/rfc6454#section-7
 */
export function refuseCrossSite({ method, headers }: Pick<IncomingMessage, 'method' | 'headers'>): void {
  const hasCredentials = headers.authorization !== undefined;
  const isSafe = SAFE_METHODS.has(method);
  if ((!hasCredentials && isSafe) || !isForeign(headers, isSafe)) return;
  throw new PassthroughError(
    'CROSS_SITE',
    hasCredentials
      ? 'Cannot answer a page of another site: the browser has sent the credentials that it keeps; open the address in a new tab'
      : `Cannot ${method} for a page of another site: such a page may only GET`,
  );
}

function isForeign({ origin, host = '', ...headers }: IncomingMessage['headers'], isSafe: boolean): boolean {
  // Repeated fields are joined by commas.
  const sites = String(headers['sec-fetch-site'] ?? '')
    .split(',')
    .map((site) => site.trim().toLowerCase());
  if (sites.includes('cross-site')) return true;
  // A neighbour, such as a wiki of the same company, may link to archives. It is another origin all the same.
  if (!isSafe && sites.includes('same-site')) return true;
  if (origin === undefined || sites.every((site) => site === 'same-origin')) return false;
  const url = URL.parse(origin);
  if (url === null || !/^https?:$/.test(url.protocol)) return true;
  // The port of the scheme is left out of both, however they are written.
  return url.host === '' || url.host !== URL.parse(`${url.protocol}//${host}`)?.host;
}
