import type { HostPattern } from '../host-pattern.ts';
import type { RegistryHost } from '../registry-host.ts';
import type { Transport, TransportRequest, TransportResponse } from '../transport/transport.ts';
import { type Challenge, parseChallenges } from './challenge.ts';
import { basicAuthorization, type Credential, mayReachRealm } from './credentials.ts';
import type { TokenRequest, TokenSource } from './token.ts';

/** What one pull is authorized with. */
export interface AuthorizeOptions {
  readonly target: RegistryHost;
  readonly repository: string;
  readonly credential: Credential;
  readonly trustedRealms: readonly HostPattern[];
  readonly tokens: TokenSource;
  /** Carries token requests; must not follow redirects. */
  readonly tokenTransport: Transport;
}

/** How requests are authorized at the moment. */
type Method =
  | { readonly type: 'anonymous' }
  | { readonly type: 'basic'; readonly authorization: string; readonly secrets: readonly string[] }
  | { readonly type: 'static-bearer'; readonly token: string }
  | { readonly type: 'bearer'; readonly tokenRequest: TokenRequest };

/** A method turned into a header. */
interface Authorization {
  readonly header: string | undefined;
  readonly secrets: readonly string[];
  /** What a token was asked for with. */
  readonly auth?: { readonly service: string; readonly scope: string };
}

/**
 * Authorizes the requests of one pull, learning from the registry's challenges how it wants them:
 *
 *     static token ─────────────────► static-bearer        (a 401 is final)
 *     token endpoint configured
 *     or known ─────────────────────► bearer ◄──────────┐
 *     direct Basic configured ──────► basic             │ 401 Bearer: a new token,
 *     else ─────────► anonymous ──────401 Bearer────────┘ once a request
 *                         └───────────401 Basic─────────► basic
 *
 * The manifest request itself is the probe. What was learned holds for the rest of the pull, also for the layers that are
 * fetched side by side. Credentials go to the registry's own origin, and to a realm only as `mayReachRealm` allows.
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
    const method = this.#method;
    const authorization = await this.#authorizationFor(method, request);
    const response = await this.#sendWith(authorization, request);
    if (response.status !== 401 || response.url.origin !== this.#options.target.origin) return response;

    const next = this.#nextMethod(method, authorization, parseChallenges(wwwAuthenticate(response)));
    if (next === undefined) return response;
    response.discard();
    this.#method = next;
    return await this.#sendWith(await this.#authorizationFor(next, request), request);
  }

  async #sendWith(
    { header, secrets, auth }: Authorization,
    request: TransportRequest,
  ): Promise<TransportResponse> {
    if (header === undefined || request.url.origin !== this.#options.target.origin) {
      return await this.#inner.send(request);
    }
    const headers = { ...request.headers, authorization: header };
    const response = await this.#inner.send({ ...request, headers, ...(auth !== undefined && { auth }) });
    return { ...response, secrets: [...response.secrets, ...secrets] };
  }

  #firstMethod(): Method {
    const { target, credential } = this.#options;
    if (credential.type === 'bearer') return { type: 'static-bearer', token: credential.token };
    if (target.tokenEndpoint instanceof URL) return this.#bearer(target.tokenEndpoint);
    return target.tokenEndpoint === 'none' ? this.#basic() : { type: 'anonymous' };
  }

  /** What a 401 teaches; `undefined` when there is nothing better to try. */
  #nextMethod(
    used: Method,
    authorization: Authorization,
    challenges: readonly Challenge[],
  ): Method | undefined {
    const { target, tokens } = this.#options;
    if (used.type === 'static-bearer' || target.tokenEndpoint === 'none') return undefined;
    const bearer = challenges.find(({ scheme, params }) => scheme === 'bearer' && params.has('realm'));
    if (bearer !== undefined) {
      const realm = target.tokenEndpoint instanceof URL ? target.tokenEndpoint : realmUrl(bearer);
      if (realm === undefined) return undefined;
      const [token] = authorization.secrets;
      if (used.type === 'bearer' && token !== undefined) tokens.forget(used.tokenRequest, token);
      return this.#bearer(realm, bearer.params);
    }
    const asksForBasic = challenges.some(({ scheme }) => scheme === 'basic');
    return asksForBasic && used.type === 'anonymous' && this.#options.credential.type === 'basic'
      ? this.#basic()
      : undefined;
  }

  #bearer(realm: URL, params: ReadonlyMap<string, string> = new Map()): Method {
    const { target, repository, credential, trustedRealms } = this.#options;
    const mayReach = credential.type === 'basic' && mayReachRealm(target, realm, trustedRealms);
    return {
      type: 'bearer',
      tokenRequest: {
        realm,
        service: params.get('service') || target.service,
        scope: params.get('scope') || `repository:${repository}:pull`,
        credentials: mayReach ? credential.basic : undefined,
      },
    };
  }

  #basic(): Method {
    const { credential } = this.#options;
    if (credential.type !== 'basic') return { type: 'anonymous' };
    const authorization = basicAuthorization(credential.basic);
    return {
      type: 'basic',
      authorization,
      secrets: [authorization.slice('Basic '.length), credential.basic.password],
    };
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
        const token = await tokens.get(method.tokenRequest, tokenTransport, signal);
        return { header: `Bearer ${token}`, secrets: [token], auth: { service, scope } };
      }
    }
  }
}

/** All challenges of an answer: Node joins repeated headers of this name by commas. */
function wwwAuthenticate({ headers }: TransportResponse): string {
  return headers['www-authenticate'] ?? '';
}

/** The realm of a challenge, where it is a web address that holds no credentials of its own. */
function realmUrl({ params }: Challenge): URL | undefined {
  const url = URL.parse(params.get('realm') ?? '');
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) return undefined;
  return url.username === '' && url.password === '' ? url : undefined;
}
