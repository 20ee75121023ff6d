import { PassthroughError } from '../../errors.ts';
import { quoted } from '../../util/printable.ts';
import type { Transport, TransportRequest, TransportResponse } from './transport.ts';

/** Most consecutive redirects. Registries redirect once, to their storage; some storage redirects a second time. */
const MAX_REDIRECTS = 5;

const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** Shortest query value that may be a signature, in characters. Shorter values are dates, algorithms and numbers. */
const MIN_SIGNATURE_LENGTH = 16;

/** Headers that must not leave the registry's origin. */
const PRIVATE_HEADERS = ['authorization', 'cookie', 'proxy-authorization'];

/**
 * Follows redirects. The first redirect to another scheme, host or port drops all credentials, the client certificate included; a later redirect back
 * does not restore them. Redirects from https to http are refused: the digest protects the bytes, but the network would
 * see the request. The query of a redirect's URL may be a signature, so it is a secret of the response.
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
    for (let redirects = 0; ; redirects += 1) {
      const response = await this.#inner.send(current);
      const { location } = response.headers;
      if (!REDIRECTS.has(response.status) || location === undefined) {
        if (redirects === 0) return response;
        return { ...response, secrets: [...response.secrets, ...signatureOf(current.url)] };
      }
      response.discard();
      if (redirects === MAX_REDIRECTS) {
        throw refusal(request.url, `it redirects more than ${MAX_REDIRECTS} times`);
      }
      current = follow(current, location);
    }
  }
}

/** The request for the target of a redirect. */
function follow(request: TransportRequest, location: string): TransportRequest {
  const url = URL.parse(location, request.url);
  if (url === null) throw refusal(request.url, 'it redirects to something that is not a URL');
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw refusal(request.url, `it redirects to ${quoted(url.protocol)}`);
  }
  if (url.protocol === 'http:' && request.url.protocol === 'https:') {
    throw refusal(request.url, `it redirects from https to http, to ${quoted(url.origin)}`);
  }
  if (url.username !== '' || url.password !== '') {
    throw refusal(request.url, 'it redirects to a URL with credentials in it');
  }
  if (url.origin === request.url.origin) return { ...request, url };
  const headers = Object.fromEntries(
    Object.entries(request.headers).filter(([name]) => !PRIVATE_HEADERS.includes(name)),
  );
  const { credentials: _, ...rest } = request;
  return { ...rest, url, headers, isForeign: true };
}

/**
 * The parts of a URL that may be its signature: the whole query and each long value in it, encoded and decoded.
 */
export function signatureOf({ search, searchParams }: URL): readonly string[] {
  const query = search.slice(1);
  const values = query.split('&').map((param) => param.slice(param.indexOf('=') + 1));
  return [query, ...values, ...searchParams.values()].filter(({ length }) => length >= MIN_SIGNATURE_LENGTH);
}

function refusal(url: URL, why: string): PassthroughError {
  return new PassthroughError('REGISTRY_FAILED', `Cannot follow ${quoted(url.origin)}: ${why}`);
}
