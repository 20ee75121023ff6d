import { isPassthroughError } from '../../errors.ts';
import type { HostPattern } from '../host-pattern.ts';
import type { RegistryHost } from '../registry-host.ts';
import type {
  CredentialUse,
  Transport,
  TransportRequest,
  TransportResponse,
} from '../transport/transport.ts';
import { type Challenge, parseChallenges } from './challenge.ts';
import {
  basicAuthorization,
  basicSecrets,
  type Credential,
  isSameCredential,
  originOf,
  type SettledCredential,
} from './credentials.ts';
import { mayReachRealm, realmUrl } from './realm.ts';
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

/** What each method has. */
interface MethodParts {
  /** The credential that it was made of. */
  readonly credential: SettledCredential;
  readonly use: CredentialUse;
}

type BearerMethod = MethodParts & { readonly type: 'bearer'; readonly tokenRequest: TokenRequest };

/** How requests are authorized now. */
type Method =
  | (MethodParts & { readonly type: 'anonymous' })
  | (MethodParts & {
      readonly type: 'basic';
      readonly authorization: string;
      readonly secrets: readonly string[];
    })
  | (MethodParts & { readonly type: 'static-bearer'; readonly token: string })
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
 * The operator's credentials may come from files that are rotated, and from helper programs whose answers expire. What a registry or
 * a realm refuses is read again, and the request is sent once more if the credential is another now.
 *
 * The manifest request itself is the probe. The pull keeps the method for later and concurrent requests. Credentials
 * are sent to the registry's own origin, and to a realm only if {@link mayReachRealm} allows it.
 */
export class AuthorizedTransport implements Transport {
  readonly #inner: Transport;
  readonly #options: AuthorizeOptions;
  #method: Method | undefined;

  constructor(inner: Transport, options: AuthorizeOptions) {
    this.#inner = inner;
    this.#options = options;
  }

  async send(request: TransportRequest): Promise<TransportResponse> {
    const { signal } = request;
    let method = await this.#currentMethod(signal);
    let isRenewed: boolean = false;
    for (let sends = 1; ; sends += 1) {
      let authorization: Authorization;
      try {
        authorization = await this.#authorizationFor(method, request);
      } catch (error) {
        const isRefused = !isRenewed && isPassthroughError(error, 'REGISTRY_DENIED');
        const renewed = isRefused ? await this.#renewed(method, signal) : undefined;
        // Without another credential, the refusal says more than the failure to get one.
        if (renewed === undefined) throw error;
        isRenewed = true;
        method = renewed;
        continue;
      }
      const response = await this.#sendWith(authorization, method, request);
      if (response.url.origin !== this.#options.host.origin || sends > MAX_SENDS) return response;
      const next: Method | undefined =
        sends === MAX_SENDS ? undefined : this.#methodAfter(response, method, authorization);
      const isRefused = next === undefined && (response.status === 401 || response.status === 403);
      const renewed: Method | undefined =
        isRefused && !isRenewed ? await this.#renewed(method, signal) : undefined;
      if (next === undefined && renewed === undefined) return response;
      response.discard();
      isRenewed ||= renewed !== undefined;
      method = next ?? renewed ?? method;
      this.#method = method;
    }
  }

  async #sendWith(
    { header, secrets, auth }: Authorization,
    { use }: Method,
    request: TransportRequest,
  ): Promise<TransportResponse> {
    const { origin } = this.#options.host;
    if (header === undefined || request.url.origin !== origin) {
      const response = await this.#inner.send(request);
      return response.url.origin === origin ? { ...response, credentials: use } : response;
    }
    const headers = { ...request.headers, authorization: header };
    const response = await this.#inner.send({
      ...request,
      headers,
      credentials: use.way === 'withheld' ? 'none' : use.origin,
      ...(auth !== undefined && { auth }),
    });
    return {
      ...response,
      secrets: [...response.secrets, ...secrets],
      ...(response.url.origin === origin && { credentials: use }),
    };
  }

  /** The method, with the credential as it is now. */
  async #currentMethod(signal: AbortSignal): Promise<Method> {
    const { credential } = this.#options;
    const method = this.#method;
    if (credential.type !== 'changing') {
      this.#method = method ?? this.#firstMethod(credential);
      return this.#method;
    }
    const settled = await credential.settle(signal);
    const isSame = method !== undefined && isSameCredential(method.credential, settled);
    const current = isSame ? method : this.#methodWith(settled, method);
    this.#method = current;
    return current;
  }

  /** The method with a credential that has replaced a refused one; `undefined` if there is no other, or it cannot be had. */
  async #renewed(method: Method, signal: AbortSignal): Promise<Method | undefined> {
    const { credential } = this.#options;
    if (credential.type !== 'changing') return undefined;
    const settled = await credential.settle(signal, method.credential).catch(() => method.credential);
    return isSameCredential(method.credential, settled) ? undefined : this.#methodWith(settled, method);
  }

  /** @param before keeps what the registry has asked for */
  #methodWith(credential: SettledCredential, before: Method | undefined): Method {
    if (credential.type === 'bearer' || before === undefined) return this.#firstMethod(credential);
    if (before.type === 'basic') return this.#basic(credential);
    if (before.type !== 'bearer') return this.#firstMethod(credential);
    const { realm, service, scope } = before.tokenRequest;
    return this.#bearer(credential, realm, new Map(Object.entries({ service, scope })));
  }

  #firstMethod(credential: SettledCredential): Method {
    const { host } = this.#options;
    if (credential.type === 'bearer') {
      const use = { origin: originOf(credential), way: 'direct' } as const;
      return { type: 'static-bearer', token: credential.token, credential, use };
    }
    if (host.tokenEndpoint instanceof URL) return this.#bearer(credential, host.tokenEndpoint);
    return host.tokenEndpoint === 'none' ? this.#basic(credential) : anonymous(credential);
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
      return realm && this.#bearer(used.credential, realm, bearer.params);
    }
    const asksForBasic = challenges.some(({ scheme }) => scheme === 'basic');
    return asksForBasic && used.type === 'anonymous' && used.credential.type === 'basic'
      ? this.#basic(used.credential)
      : undefined;
  }

  #bearer(
    credential: SettledCredential,
    realm: URL,
    params: ReadonlyMap<string, string> = new Map(),
  ): BearerMethod {
    const { host, repository, trustedRealms } = this.#options;
    const mayReach = mayReachRealm(host, realm, trustedRealms);
    const place = `${realm.origin}${realm.pathname}`;
    const use = { origin: originOf(credential), way: mayReach ? 'token' : 'withheld', realm: place } as const;
    return {
      type: 'bearer',
      credential,
      use,
      tokenRequest: {
        realm,
        service: params.get('service') || host.service,
        scope: params.get('scope') || `repository:${repository}:pull`,
        credentials: mayReach ? tokenCredentials(credential) : undefined,
        use: { ...use, ...(mayReach && { way: 'direct' as const }) },
        isForeign: !mayReach,
      },
    };
  }

  #basic(credential: SettledCredential): Method {
    if (credential.type !== 'basic') return anonymous(credential);
    const authorization = basicAuthorization(credential.basic);
    const use = { origin: originOf(credential), way: 'direct' } as const;
    return { type: 'basic', authorization, secrets: basicSecrets(credential.basic), credential, use };
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

/** Sent without credentials, be there some or not. */
function anonymous(credential: SettledCredential): Method {
  return { type: 'anonymous', credential, use: { origin: originOf(credential), way: 'unasked' } };
}

/** The part of a credential that a realm takes. */
function tokenCredentials(credential: SettledCredential): TokenRequest['credentials'] {
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
