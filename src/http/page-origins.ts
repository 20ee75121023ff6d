import type { IncomingMessage, ServerResponse } from 'node:http';
import { varyBy } from './respond.ts';

/** What pages of `PAGE_ORIGINS` may do, by the first segment of the path: look before they pull, prepare, and watch. */
const METHODS: ReadonlyMap<string, readonly string[]> = new Map([
  ['manifest', ['GET', 'HEAD']],
  ['tags', ['GET', 'HEAD']],
  ['prepare', ['POST']],
  ['preparations', ['GET', 'HEAD']],
]);

/** Headers of answers that such a page may read, besides those that any page may: https://fetch.spec.whatwg.org/#cors-safelisted-response-header-name */
const EXPOSED = 'Docker-Content-Digest, ETag, Location, Retry-After, X-Request-Id';

/** Headers that such a page may send, besides those that any page may. */
const ALLOWED = 'Content-Type, Last-Event-ID';

/** Seconds for which a browser may remember the answer to a preflight. An origin that is taken off the list is refused anyway. */
const MAX_AGE_S = 600;

/**
 * Lets pages of listed origins read what they may ask for (CORS). Their requests carry no credentials: `Access-Control-Allow-Credentials`
 * is never sent, and one with `Authorization` is a request of another site as ever.
 *
 * @param origins `PAGE_ORIGINS`. `null`, the origin of files and sandboxes, is none of them
 * @returns `allowed` for a request that such a page may make; `preflight` for the question before it, which is answered now
 * @see https://fetch.spec.whatwg.org/#http-cors-protocol
 */
export function admitPage(
  { url = '', method = '', headers }: Pick<IncomingMessage, 'url' | 'method' | 'headers'>,
  response: ServerResponse,
  origins: readonly string[],
): 'allowed' | 'preflight' | undefined {
  const methods = origins.length === 0 ? undefined : METHODS.get(/^\/([a-z]+)\//.exec(url)?.[1] ?? '');
  if (methods === undefined) return undefined;
  // Also without an Origin: a cache must not give the answer to a page that may read it.
  varyBy(response, 'Origin');
  const { origin, authorization } = headers;
  if (origin === undefined || !origins.includes(origin)) return undefined;
  const asked = headers['access-control-request-method'];
  if (method === 'OPTIONS' ? !methods.includes(asked ?? '') : !methods.includes(method)) return undefined;
  response.setHeader('Access-Control-Allow-Origin', origin);
  if (method !== 'OPTIONS') {
    response.setHeader('Access-Control-Expose-Headers', EXPOSED);
    return authorization === undefined ? 'allowed' : undefined;
  }
  answerPreflight(headers, response, methods);
  return 'preflight';
}

function answerPreflight(
  headers: IncomingMessage['headers'],
  response: ServerResponse,
  methods: readonly string[],
): void {
  varyBy(response, 'Access-Control-Request-Method', 'Access-Control-Request-Headers');
  // A page of the internet asks a service of a private network: https://wicg.github.io/private-network-access/#headers
  varyBy(response, 'Access-Control-Request-Private-Network');
  if (headers['access-control-request-private-network'] === 'true')
    response.setHeader('Access-Control-Allow-Private-Network', 'true');
  response.writeHead(204, {
    'Access-Control-Allow-Methods': methods.join(', '),
    'Access-Control-Allow-Headers': ALLOWED,
    'Access-Control-Max-Age': MAX_AGE_S,
  });
  response.end();
}
