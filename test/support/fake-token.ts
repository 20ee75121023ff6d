/** Access to the fake registry: Basic credentials, tokens, challenges, and the token endpoint. */

import { randomBytes } from 'node:crypto';
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import { type Answer, bytesBody, paddedBody, type Refusal } from './answer.ts';

/** The parts of a challenge. */
export interface ChallengeParts {
  readonly scheme: 'Basic' | 'Bearer';
  readonly realm: string;
  readonly service: string;
  readonly scope: string;
  /** `insufficient_scope` or `invalid_token`, for a token that does not suffice. */
  readonly error: string | undefined;
}

/** How the registry authorizes, and how its token endpoint behaves. Every field can be changed at any time. */
export interface AuthSettings {
  /** `none` (default), `basic`, or `token`: a bearer token with the scope `repository:{name}:pull`. */
  mode: 'none' | 'basic' | 'token';
  /** Name to password; `user`/`secret` unless given. */
  users: Map<string, string>;
  /** The service that challenges name, and the only one that the token endpoint accepts. */
  service: string;
  /** Realm of Bearer challenges, on any host; the registry's own `/token` unless given. */
  realm: string | undefined;
  /** Writes the challenge another way: one header value, or several header lines. */
  challengeSpelling: ((parts: ChallengeParts) => string | readonly string[]) | undefined;
  /** Repositories that cannot be pulled with any credentials: 403 `DENIED`. */
  deniedRepositories: Set<string>;
  /** Anonymous token requests get a token (default), 401, or a token that grants nothing (`noAccess`). */
  allowAnonymous: boolean | 'noAccess';
  /** The field of the answer that holds the token; `both` unless given, as Docker Hub does. */
  tokenField: 'token' | 'access_token' | 'both' | 'none';
  /** `expires_in` and the life of the token in seconds, 300 unless given; `undefined`: field missing, 60 s. */
  expiresIn: number | undefined;
  /** The token endpoint answers 307 to this URL. */
  tokenRedirectTo: string | undefined;
  /** The token endpoint answers with this status and, without `tokenBody`, an OCI error document. */
  tokenStatus: number | undefined;
  /** The token endpoint answers with this body. */
  tokenBody: string | undefined;
  /** Further headers of the token endpoint's answers. */
  tokenHeaders: OutgoingHttpHeaders;
  /** The token endpoint gives not even headers until `releaseStalled()`. */
  tokenDelayUntilReleased: boolean;
  /** The answer holds a token of so many characters, which grants nothing. */
  hugeToken: number | undefined;
}

/** @returns the settings of a registry without access control, overridden by `given` */
export function authSettings(given: Partial<AuthSettings> = {}): AuthSettings {
  return {
    mode: 'none',
    users: new Map([['user', 'secret']]),
    service: 'fake-registry',
    realm: undefined,
    challengeSpelling: undefined,
    deniedRepositories: new Set(),
    allowAnonymous: true,
    tokenField: 'both',
    expiresIn: 300,
    tokenRedirectTo: undefined,
    tokenStatus: undefined,
    tokenBody: undefined,
    tokenHeaders: {},
    tokenDelayUntilReleased: false,
    hugeToken: undefined,
    ...given,
  };
}

/** The tokens that a token endpoint has issued. Two servers that share it trust each other's tokens. */
export class TokenStore {
  readonly #tokens = new Map<string, { readonly scopes: ReadonlySet<string>; readonly expires: number }>();

  /**
   * @param scopes such as `repository:team/app:pull`
   * @param lifeSeconds after which it opens nothing any more
   * @returns an opaque token
   */
  issue(scopes: Iterable<string>, lifeSeconds: number): string {
    const token = randomBytes(24).toString('base64url');
    this.#tokens.set(token, { scopes: new Set(scopes), expires: Date.now() + lifeSeconds * 1000 });
    return token;
  }

  /** @returns whether the token is known and alive, and then whether it opens the scope */
  check(token: string, scope: string): 'unknown' | 'insufficient' | 'good' {
    const known = this.#tokens.get(token);
    if (known === undefined || known.expires <= Date.now()) {
      return 'unknown';
    }
    return known.scopes.has(scope) ? 'good' : 'insufficient';
  }

  /** Makes all issued tokens unknown, as if they had expired. */
  revokeAll(): void {
    this.#tokens.clear();
  }
}

/**
 * Decide whether a request may pull.
 *
 * @param authorization the header as it came
 * @param repository what it wants to pull from; `undefined` for the `/v2/` ping
 * @returns the refusal, or `undefined` when it may
 */
export function authorize(
  authorization: string | undefined,
  repository: string | undefined,
  auth: AuthSettings,
  tokens: TokenStore,
  ownRealm: string,
): Refusal | undefined {
  const scope = repository === undefined ? '' : `repository:${repository}:pull`;
  if (auth.mode === 'basic' && checkBasic(authorization, auth.users) !== 'good') {
    return unauthorized(auth, { scheme: 'Basic', realm: 'fake registry', scope, error: undefined });
  }
  if (auth.mode === 'token') {
    const token = /^bearer ([^ ]+)$/i.exec(authorization ?? '')?.[1];
    const verdict = token === undefined ? 'missing' : tokens.check(token, scope);
    if (verdict !== 'good' && !(repository === undefined && verdict === 'insufficient')) {
      const error = { missing: undefined, unknown: 'invalid_token', insufficient: 'insufficient_scope' }[
        verdict
      ];
      return unauthorized(auth, { scheme: 'Bearer', realm: auth.realm ?? ownRealm, scope, error });
    }
  }
  if (repository !== undefined && auth.deniedRepositories.has(repository)) {
    return { status: 403, code: 'DENIED', message: 'requested access to the resource is denied' };
  }
  return undefined;
}

function unauthorized(auth: AuthSettings, parts: Omit<ChallengeParts, 'service'>): Refusal {
  const spelling = auth.challengeSpelling ?? spellChallenge;
  const challenge = spelling({ ...parts, service: auth.service });
  return {
    status: 401,
    code: 'UNAUTHORIZED',
    message: 'authentication required',
    headers: { 'WWW-Authenticate': typeof challenge === 'string' ? challenge : [...challenge] },
  };
}

/** The usual spelling: what CNCF distribution writes. */
function spellChallenge({ scheme, realm, service, scope, error }: ChallengeParts): string {
  const parameters =
    scheme === 'Basic'
      ? [['realm', realm]]
      : [
          ['realm', realm],
          ['service', service],
          ['scope', scope],
          ['error', error ?? ''],
        ];
  const written = parameters.filter(([, value]) => value !== '').map(([name, value]) => `${name}="${value}"`);
  return `${scheme} ${written.join(',')}`;
}

/** RFC 7617: `Basic` and the base64 of `user:password`, split at the first colon. */
function checkBasic(
  authorization: string | undefined,
  users: ReadonlyMap<string, string>,
): 'missing' | 'wrong' | 'good' {
  if (authorization === undefined) {
    return 'missing';
  }
  const encoded = /^basic ([A-Za-z0-9+/]+=*)$/i.exec(authorization)?.[1] ?? '';
  const [, user, password] = /^([^:]*):(.*)$/s.exec(Buffer.from(encoded, 'base64').toString()) ?? [];
  return user !== undefined && users.has(user) && users.get(user) === password ? 'good' : 'wrong';
}

/**
 * Answer `GET /token?service=…&scope=…`.
 *
 * @param headers of the request
 * @param query its query
 * @returns a refusal, or the answer with the token
 * @see https://distribution.github.io/distribution/spec/auth/token/
 */
export function answerToken(
  headers: IncomingHttpHeaders,
  query: URLSearchParams,
  auth: AuthSettings,
  tokens: TokenStore,
): Refusal | Answer {
  const service = query.get('service');
  if (service !== null && service !== auth.service) {
    return { status: 400, code: 'UNSUPPORTED', message: `unknown service ${JSON.stringify(service)}` };
  }
  const credentials = checkBasic(headers.authorization, auth.users);
  if (credentials === 'wrong' || (credentials === 'missing' && auth.allowAnonymous === false)) {
    return {
      status: 401,
      code: 'UNAUTHORIZED',
      message: 'incorrect username or password',
      headers: { 'WWW-Authenticate': 'Basic realm="fake token endpoint"' },
    };
  }
  const json = { 'Content-Type': 'application/json', ...auth.tokenHeaders };
  if (auth.hugeToken !== undefined) {
    return { status: 200, headers: json, body: paddedBody('{"token":"', auth.hugeToken, '"}', 'a') };
  }
  const opensNothing = credentials === 'missing' && auth.allowAnonymous === 'noAccess';
  const scopes = opensNothing
    ? []
    : query.getAll('scope').flatMap((scope) => scope.split(' ').flatMap(eachAction));
  const token = tokens.issue(scopes, auth.expiresIn ?? 60);
  const has = (field: string): string | undefined =>
    auth.tokenField === field || auth.tokenField === 'both' ? token : undefined;
  const answer = { token: has('token'), access_token: has('access_token'), expires_in: auth.expiresIn };
  return { status: 200, headers: json, body: bytesBody(JSON.stringify(answer)) };
}

/** `repository:name:pull,push` stands for `repository:name:pull` and `repository:name:push`. */
function eachAction(scope: string): string[] {
  const colon = scope.lastIndexOf(':');
  const actions = scope.slice(colon + 1).split(',');
  return actions.map((action) => `${scope.slice(0, colon)}:${action}`);
}
