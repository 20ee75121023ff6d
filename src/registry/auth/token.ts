import { createHmac, randomBytes } from 'node:crypto';
import { PassthroughError } from '../../errors.ts';
import { BoundedMap } from '../../util/bounded-map.ts';
import { quoted } from '../../util/printable.ts';
import { SingleFlight } from '../../util/single-flight.ts';
import { readBounded } from '../read-bounded.ts';
import type { BodyLimits } from '../repository-client.ts';
import { errorFromResponse } from '../response-error.ts';
import { abortedError } from '../transport/connection-error.ts';
import type { CredentialUse, Transport } from '../transport/transport.ts';
import {
  type BasicCredentials,
  basicAuthorization,
  basicSecrets,
  type IdentityToken,
} from './credentials.ts';

/** The parameters of a token request. */
export interface TokenRequest {
  readonly realm: URL;
  readonly service: string;
  /** `repository:{name}:pull` */
  readonly scope: string;
  /** Sent as Basic, or as the refresh token of a POST; `undefined` requests an anonymous token. */
  readonly credentials: BasicCredentials | IdentityToken | undefined;
  /** Whose they are, for messages and telemetry. */
  readonly use?: CredentialUse | undefined;
  /** Whether the realm may not receive the registry's credentials, and so not the client certificate. */
  readonly isForeign: boolean;
}

/** Largest response bodies, in bytes. */
export type TokenLimits = Pick<BodyLimits, 'tokenBytes' | 'errorBytes'>;

/** Lifetime of a token without `expires_in`: https://distribution.github.io/distribution/spec/auth/token/ */
const DEFAULT_EXPIRES_S = 60;

/** A token is not used in the last seconds of its lifetime: it would expire in transit. */
const EXPIRY_MARGIN_S = 5;

/** Longest use of a token, even if its `expires_in` is longer: a revoked right must end. */
const MAX_EXPIRES_S = 3600;

/** Most memory of cached tokens, in bytes. A token has one to a few kilobytes, so a thousand and more fit. */
const MAX_TOKEN_BYTES = 4 * 1024 * 1024;

/** Memory that a token takes besides its characters: its key and the entries of two maps. */
const OVERHEAD_BYTES = 300;

/** Name of this program at token endpoints. */
const CLIENT_ID = 'docker-http-passthrough';

interface Token {
  readonly value: string;
  /** In milliseconds of `performance.now()`. */
  readonly expiresAt: number;
}

/** A token, as {@link TokenSource.get} returns it. */
export interface GivenToken {
  readonly token: string;
  /** Whether it was fetched earlier, so that the registry may have stopped to accept it. */
  readonly isCached: boolean;
}

/**
 * Fetches bearer tokens and caches them until they expire. Concurrent requests with the same realm, service, scope and
 * credentials share one token request. Credentials are stored only as a keyed hash.
 *
 * @see https://distribution.github.io/distribution/spec/auth/token/
 */
export class TokenSource {
  readonly #tokens = new BoundedMap<string, Token>({
    maxCost: MAX_TOKEN_BYTES,
    costOf: ({ value }) => value.length + OVERHEAD_BYTES,
  });
  readonly #requests = new SingleFlight<string, string>();
  readonly #hashKey = randomBytes(32);
  readonly #limits: TokenLimits;

  /** @param limits of a token endpoint's responses */
  constructor(limits: TokenLimits) {
    this.#limits = limits;
  }

  /**
   * Returns the token for a request, from the cache or from the realm.
   *
   * @param transport carries the token request; must not follow redirects
   * @throws PassthroughError `REGISTRY_DENIED` when the realm refuses, `REGISTRY_FAILED` when its response has no
   *   token, what the transport throws, `ABORTED`
   */
  async get(request: TokenRequest, transport: Transport, signal: AbortSignal): Promise<GivenToken> {
    const key = this.#key(request);
    const cached = this.#tokens.get(key);
    if (cached !== undefined && cached.expiresAt > performance.now())
      return { token: cached.value, isCached: true };
    this.#tokens.delete(key);
    try {
      const fetched = await this.#requests.run(key, signal, async (shared) => {
        const { token, expiresIn } = await fetchToken(request, transport, this.#limits, shared);
        const lifetimeS = Math.min(expiresIn, MAX_EXPIRES_S) - EXPIRY_MARGIN_S;
        const expiresAt = performance.now() + lifetimeS * 1000;
        if (lifetimeS > 0) this.#tokens.set(key, { value: token, expiresAt });
        return token;
      });
      return { token: fetched, isCached: false };
    } catch (error) {
      throw signal.aborted ? abortedError(signal) : error;
    }
  }

  /** Removes a token that a registry has refused. A newer token for the same request stays. */
  forget(request: TokenRequest, token: string): void {
    const key = this.#key(request);
    if (this.#tokens.get(key)?.value === token) this.#tokens.delete(key);
  }

  #key({ realm, service, scope, credentials, isForeign }: TokenRequest): string {
    const parts = [realm.href, isForeign, service, scope, ...keyOf(credentials)];
    return createHmac('sha256', this.#hashKey).update(JSON.stringify(parts)).digest('base64');
  }
}

async function fetchToken(
  request: TokenRequest,
  transport: Transport,
  limits: TokenLimits,
  signal: AbortSignal,
): Promise<{ token: string; expiresIn: number }> {
  const { realm, service, scope, isForeign, use } = request;
  const response = await transport.send({
    ...messageOf(request),
    operation: 'token',
    isForeign,
    template: realm.pathname,
    auth: { service, scope },
    ...(use !== undefined && { credentials: request.credentials === undefined ? 'none' : use.origin }),
    signal,
    attempts: { count: 0 },
  });
  const endpoint = quoted(`${realm.origin}${realm.pathname}`);
  if (response.status !== 200) {
    const secrets = secretsOf(request.credentials);
    const error = await errorFromResponse(
      { ...response, secrets, ...(use !== undefined && { credentials: use }) },
      `Cannot get a token from ${endpoint}`,
      limits.errorBytes,
    );
    // A 404 of the realm means that the endpoint is missing, not the image.
    throw error.code === 'IMAGE_NOT_FOUND'
      ? new PassthroughError('REGISTRY_FAILED', error.message, error.details)
      : error;
  }
  const bytes = await readBounded(
    response,
    limits.tokenBytes,
    `token answer of ${endpoint}`,
    'REGISTRY_FAILED',
  );
  return parseTokenResponse(bytes, endpoint);
}

/**
 * The request for a token: GET with the parameters in the query, or for an identity token the POST of OAuth 2 with the
 * parameters in the body.
 *
 * @see https://distribution.github.io/distribution/spec/auth/oauth/#refresh-token-format
 */
function messageOf({ realm, service, scope, credentials }: TokenRequest) {
  const headers = { accept: 'application/json' };
  if (credentials !== undefined && 'identityToken' in credentials) {
    const body = new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token: credentials.identityToken,
      service,
      scope,
      client_id: CLIENT_ID,
    });
    const type = { 'content-type': 'application/x-www-form-urlencoded' };
    return { method: 'POST', url: realm, headers: { ...headers, ...type }, body: body.toString() } as const;
  }
  const url = new URL(realm);
  url.searchParams.set('service', service);
  url.searchParams.set('scope', scope);
  const authorization = credentials && { authorization: basicAuthorization(credentials) };
  return { method: 'GET', url, headers: { ...headers, ...authorization } } as const;
}

/** What a server could repeat of the credentials. */
function secretsOf(credentials: TokenRequest['credentials']): readonly string[] {
  if (credentials === undefined) return [];
  if (!('identityToken' in credentials)) return basicSecrets(credentials);
  const { identityToken } = credentials;
  return [identityToken, encodeURIComponent(identityToken)];
}

/** Distinguishes credentials of all kinds. */
function keyOf(credentials: TokenRequest['credentials']): readonly (string | null)[] {
  if (credentials === undefined) return [];
  if ('identityToken' in credentials) return [credentials.identityToken];
  const { username, password, encoding = 'utf8' } = credentials;
  return [username, password, encoding];
}

/**
 * Parses the response of a token endpoint: `token`, or `access_token` as in OAuth 2.
 *
 * @see https://distribution.github.io/distribution/spec/auth/token/#token-response-fields
 */
function parseTokenResponse(bytes: Uint8Array, endpoint: string): { token: string; expiresIn: number } {
  const failure = (why: string) =>
    new PassthroughError('REGISTRY_FAILED', `Cannot get a token from ${endpoint}: ${why}`);
  let body: unknown;
  try {
    body = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    throw failure('its answer is not JSON');
  }
  const fields = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>;
  const token = [fields['token'], fields['access_token']].find(
    (value) => typeof value === 'string' && value !== '',
  );
  if (typeof token !== 'string') throw failure('its answer has neither token nor access_token');
  // RFC 6750 allows only b64token. A line break in a token would end the header early.
  if (!/^[\x21-\x7e]+$/.test(token)) throw failure('its token has characters that no token has');
  const expiresIn = Number(fields['expires_in'] ?? DEFAULT_EXPIRES_S);
  return { token, expiresIn: Number.isFinite(expiresIn) && expiresIn > 0 ? expiresIn : DEFAULT_EXPIRES_S };
}
