import type { HostPattern } from '../host-pattern.ts';
import type { RegistryHost } from '../registry-host.ts';
import type { Transport, TransportRequest, TransportResponse } from '../transport/transport.ts';
import { type Challenge, parseChallenges } from './challenge.ts';
import { basicAuthorization, basicSecrets, type Credential, mayReachRealm } from './credentials.ts';
import type { TokenRequest, TokenSource } from './token.ts';

/** Settings of {@link AuthorizedTransport}. */
export interface AuthorizeOptions {
  readonly host: RegistryHost;
  /** Name of the repository, such as `library/nginx`: for the scope of tokens. */
  readonly repository: string;
  readonly credential: Credential;
  /** Further hosts whose realms may receive Basic credentials. */
  readonly trustedRealms: readonly HostPattern[];
  readonly tokens: TokenSource;
  /** Carries token requests; must not follow redirects. */
  readonly tokenTransport: Transport;
}

type BearerMethod = { readonly type: 'bearer'; readonly tokenRequest: TokenRequest };

/** How requests are authorized now. */
type Method =
  | { readonly type: 'anonymous' }
  | { readonly type: 'basic'; readonly authorization: string; readonly secrets: readonly string[] }
  | { readonly type: 'static-bearer'; readonly token: string }
  | BearerMethod;

/** The `Authorization` header of a request. */
interface Authorization {
  readonly header: string | undefined;
  /** What a server could repeat of the header. */
  readonly secrets: readonly string[];
  /** Parameters of the token request; absent without a token. */
  readonly auth?: { readonly service: string; readonly scope: string };
  /** Whether it is a token that was fetched earlier. */
  readonly isCached?: boolean;
}

/** How often one request is sent at most: without credentials, with a cached token that is not accepted any more, with a new one. */
const MAX_SENDS = 3;

/**
 * Authorizes the requests of one pull by the method that the registry's challenges ask for:
 *
 *     static token ─────────────────► static-bearer        (a 401 is final)
 *     token endpoint configured
 *     or known ─────────────────────► bearer ◄──────────┐
 *     direct Basic configured ──────► basic             │ 401 Bearer: a token;
 *     else ─────────► anonymous ──────401 Bearer────────┘ a cached one that is refused is replaced once
 *                         └───────────401 Basic─────────► basic
 *
 * A registry may stop to accept a token before it expires: its keys were changed, or the right was granted only after the token.
 * So any 401 or 403 to a cached token, with or without a challenge, makes a new one.
 *
 * The manifest request itself is the probe. The pull keeps the method for later and concurrent requests. Credentials
 * are sent to the registry's own origin, and to a realm only if {@link mayReachRealm} allows it.
 */
export class AuthorizedTransport implements Transport {
  readonly #inner: Transport;
  readonly #options: AuthorizeOptions;
  #method: Method;

  constructor(inner: Transport, options: AuthorizeOptions) {
    this.#inner = inner;
    this.#options = options;
    this.#method = this.#firstMethod();
  }

  async send(request: TransportRequest): Promise<TransportResponse> {
    let method = this.#method;
    for (let sends = 1; ; sends += 1) {
      const authorization = await this.#authorizationFor(method, request);
      const response = await this.#sendWith(authorization, request);
      if (response.url.origin !== this.#options.host.origin || sends === MAX_SENDS) return response;
      const next = this.#methodAfter(response, method, authorization);
      if (next === undefined) return response;
      response.discard();
      method = next;
      this.#method = next;
    }
  }

  async #sendWith(
    { header, secrets, auth }: Authorization,
    request: TransportRequest,
  ): Promise<TransportResponse> {
    if (header === undefined || request.url.origin !== this.#options.host.origin) {
      return await this.#inner.send(request);
    }
    const headers = { ...request.headers, authorization: header };
    const response = await this.#inner.send({ ...request, headers, ...(auth !== undefined && { auth }) });
    return { ...response, secrets: [...response.secrets, ...secrets] };
  }

  #firstMethod(): Method {
    const { host, credential } = this.#options;
    if (credential.type === 'bearer') return { type: 'static-bearer', token: credential.token };
    if (host.tokenEndpoint instanceof URL) return this.#bearer(host.tokenEndpoint);
    return host.tokenEndpoint === 'none' ? this.#basic() : { type: 'anonymous' };
  }

  /** The method after a response; `undefined` if the response is final. */
  #methodAfter(
    { status, headers }: TransportResponse,
    used: Method,
    authorization: Authorization,
  ): Method | undefined {
    if (status !== 401 && status !== 403) return undefined;
    const [token] = authorization.secrets;
    if (used.type === 'bearer' && token !== undefined) this.#options.tokens.forget(used.tokenRequest, token);
    const next =
      status === 401 ? this.#challenged(used, parseChallenges(wwwAuthenticate(headers))) : undefined;
    if (used.type !== 'bearer') return next;
    if (authorization.isCached === true) return next ?? used;
    // A new token for the same parameters would be refused, too.
    return next?.type === 'bearer' && isSameRequest(next.tokenRequest, used.tokenRequest) ? undefined : next;
  }

  /** The method that the challenges of a 401 ask for; `undefined` if there is none. */
  #challenged(used: Method, challenges: readonly Challenge[]): Method | undefined {
    const { host } = this.#options;
    if (used.type === 'static-bearer' || host.tokenEndpoint === 'none') return undefined;
    const bearer = challenges.find(({ scheme, params }) => scheme === 'bearer' && params.has('realm'));
    if (bearer !== undefined) {
      const realm = host.tokenEndpoint instanceof URL ? host.tokenEndpoint : realmUrl(bearer);
      return realm && this.#bearer(realm, bearer.params);
    }
    const asksForBasic = challenges.some(({ scheme }) => scheme === 'basic');
    return asksForBasic && used.type === 'anonymous' && this.#options.credential.type === 'basic'
      ? this.#basic()
      : undefined;
  }

  #bearer(realm: URL, params: ReadonlyMap<string, string> = new Map()): BearerMethod {
    const { host, repository, credential, trustedRealms } = this.#options;
    const mayReach = mayReachRealm(host, realm, trustedRealms);
    return {
      type: 'bearer',
      tokenRequest: {
        realm,
        service: params.get('service') || host.service,
        scope: params.get('scope') || `repository:${repository}:pull`,
        credentials: mayReach ? tokenCredentials(credential) : undefined,
        isForeign: !mayReach,
      },
    };
  }

  #basic(): Method {
    const { credential } = this.#options;
    if (credential.type !== 'basic') return { type: 'anonymous' };
    const authorization = basicAuthorization(credential.basic);
    return { type: 'basic', authorization, secrets: basicSecrets(credential.basic) };
  }

  async #authorizationFor(method: Method, { signal }: TransportRequest): Promise<Authorization> {
    const { tokens, tokenTransport } = this.#options;
    switch (method.type) {
      case 'anonymous':
        return { header: undefined, secrets: [] };
      case 'basic':
        return { header: method.authorization, secrets: method.secrets };
      case 'static-bearer':
        return { header: `Bearer ${method.token}`, secrets: [method.token] };
      case 'bearer': {
        const { service, scope } = method.tokenRequest;
        const { token, isCached } = await tokens.get(method.tokenRequest, tokenTransport, signal);
        return { header: `Bearer ${token}`, secrets: [token], auth: { service, scope }, isCached };
      }
    }
  }
}

/** The part of a credential that a realm takes. */
function tokenCredentials(credential: Credential): TokenRequest['credentials'] {
  if (credential.type === 'identity') return credential.identity;
  return credential.type === 'basic' ? credential.basic : undefined;
}

/** Whether two token requests of one pull are the same: their credentials follow from the realm. */
function isSameRequest(a: TokenRequest, b: TokenRequest): boolean {
  return a.realm.href === b.realm.href && a.service === b.service && a.scope === b.scope;
}

/** All challenges of a response: Node joins repeated headers of this name by commas. */
function wwwAuthenticate(headers: TransportResponse['headers']): string {
  return headers['www-authenticate'] ?? '';
}

/** The realm of a challenge; `undefined` if it is no http or https URL, or contains credentials. */
function realmUrl({ params }: Challenge): URL | undefined {
  const url = URL.parse(params.get('realm') ?? '');
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) return undefined;
  return url.username === '' && url.password === '' ? url : undefined;
}
