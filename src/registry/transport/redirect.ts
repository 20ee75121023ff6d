import { PassthroughError } from '../../errors.ts';
import type { Transport, TransportRequest, TransportResponse } from './transport.ts';

/** Redirects in a row. Registries use one, to their storage; some storage adds a second. */
const MAX_REDIRECTS = 5;

const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** Shortest value of a query that may be a signature: what is shorter is a date, an algorithm, a number. */
const MIN_SIGNATURE_LENGTH = 16;

/** Headers that are for the registry alone. */
const PRIVATE_HEADERS = ['authorization', 'cookie', 'proxy-authorization'];

/**
 * Follows redirects. What is private to an origin stays there: from the first step to another scheme, host or port on, the
 * request goes without credentials, even where a later step leads back. Never from https to http: the bytes are verified,
 * but what is asked for would be seen. The query of an address that was redirected to may be its signature, and counts as
 * a secret of the answer.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-15.4
 */
export class RedirectTransport implements Transport {
  readonly #inner: Transport;

  constructor(inner: Transport) {
    this.#inner = inner;
  }

  async send(request: TransportRequest): Promise<TransportResponse> {
    let current = request;
    for (let followed = 0; ; followed += 1) {
      const response = await this.#inner.send(current);
      const { location } = response.headers;
      if (!REDIRECTS.has(response.status) || location === undefined) {
        if (followed === 0) return response;
        return { ...response, secrets: [...response.secrets, ...signatureOf(current.url)] };
      }
      response.discard();
      if (followed === MAX_REDIRECTS) {
        throw refusal(request.url, `it redirects more than ${MAX_REDIRECTS} times`);
      }
      current = redirected(current, location);
    }
  }
}

function redirected(request: TransportRequest, location: string): TransportRequest {
  const url = URL.parse(location, request.url);
  if (url === null) throw refusal(request.url, 'it redirects to something that is not a URL');
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw refusal(request.url, `it redirects to ${JSON.stringify(url.protocol)}`);
  }
  if (url.protocol === 'http:' && request.url.protocol === 'https:') {
    throw refusal(request.url, `it redirects from https to http, to ${JSON.stringify(url.origin)}`);
  }
  if (url.username !== '' || url.password !== '') {
    throw refusal(request.url, 'it redirects to a URL with credentials in it');
  }
  const headers =
    url.origin === request.url.origin
      ? request.headers
      : Object.fromEntries(
          Object.entries(request.headers).filter(([name]) => !PRIVATE_HEADERS.includes(name)),
        );
  return { ...request, url, headers };
}

/**
 * What of an address may be its signature: the query as a whole and each longer value in it, as they stand
 * and decoded.
 */
export function signatureOf({ search, searchParams }: URL): readonly string[] {
  const query = search.slice(1);
  const values = query.split('&').map((param) => param.slice(param.indexOf('=') + 1));
  return [query, ...values, ...searchParams.values()].filter(({ length }) => length >= MIN_SIGNATURE_LENGTH);
}

function refusal(url: URL, why: string): PassthroughError {
  return new PassthroughError('REGISTRY_FAILED', `Cannot follow ${JSON.stringify(url.origin)}: ${why}`);
}
