import { createHmac, randomBytes } from 'node:crypto';
import { PassthroughError } from '../../errors.ts';
import { SingleFlight } from '../../util/single-flight.ts';
import { readBounded } from '../read-bounded.ts';
import type { BodyLimits } from '../repository-client.ts';
import { errorFromResponse } from '../response-error.ts';
import { abortedError } from '../transport/connection-error.ts';
import type { Transport, TransportRequest } from '../transport/transport.ts';
import { type BasicCredentials, basicAuthorization } from './credentials.ts';

/** What a token is asked for. */
export interface TokenRequest {
  readonly realm: URL;
  readonly service: string;
  /** `repository:{name}:pull` */
  readonly scope: string;
  /** Sent as Basic; without it the token is anonymous. */
  readonly credentials: BasicCredentials | undefined;
}

/** How much of an answer is read, in bytes. */
export type TokenLimits = Pick<BodyLimits, 'tokenBytes' | 'errorBytes'>;

/** Life of a token that names none: https://distribution.github.io/distribution/spec/auth/token/ */
const DEFAULT_EXPIRES_S = 60;

/** A token is used no more in the last part of its life, so that it does not expire on its way. */
const EXPIRY_MARGIN_S = 5;

/** No token is trusted for longer than this, whatever it says of itself. */
const MAX_EXPIRES_S = 3600;

/** Tokens kept at once; the oldest goes first. A token is a few kilobytes. */
const MAX_TOKENS = 1000;

/**
 * Fetches bearer tokens and keeps them while they live: once per realm, service, scope and credentials, also when many ask
 * at once. Credentials are kept as a keyed hash only.
 *
 * @see https://distribution.github.io/distribution/spec/auth/token/
 */
export class TokenSource {
  readonly #tokens = new Map<string, { readonly token: string; readonly expiresAt: number }>();
  readonly #flights = new SingleFlight<string, string>();
  readonly #hashKey = randomBytes(32);
  readonly #limits: TokenLimits;

  /** @param limits how much of a token endpoint's answer is read, in bytes */
  constructor(limits: TokenLimits) {
    this.#limits = limits;
  }

  /**
   * The token for a request, from memory or from its realm.
   *
   * @param transport carries the token request; must not follow redirects
   * @throws PassthroughError `REGISTRY_DENIED` when the realm refuses, `REGISTRY_FAILED` when its answer holds no token,
   *   what the transport throws, `ABORTED`
   */
  async get(request: TokenRequest, transport: Transport, signal: AbortSignal): Promise<string> {
    const key = this.#key(request);
    const known = this.#tokens.get(key);
    if (known !== undefined && known.expiresAt > performance.now()) return known.token;
    this.#tokens.delete(key);
    try {
      return await this.#flights.run(key, signal, async (shared) => {
        const { token, expiresIn } = await fetchToken(request, transport, this.#limits, shared);
        this.#keep(key, token, expiresIn);
        return token;
      });
    } catch (error) {
      throw signal.aborted ? abortedError(signal) : error;
    }
  }

  /** Forgets a token that a registry has refused; a newer one for the same request stays. */
  forget(request: TokenRequest, token: string): void {
    const key = this.#key(request);
    if (this.#tokens.get(key)?.token === token) this.#tokens.delete(key);
  }

  #keep(key: string, token: string, expiresIn: number): void {
    const lifeSeconds = Math.min(expiresIn, MAX_EXPIRES_S) - EXPIRY_MARGIN_S;
    if (lifeSeconds <= 0) return;
    const oldest = this.#tokens.keys().next();
    if (this.#tokens.size >= MAX_TOKENS && oldest.done !== true) this.#tokens.delete(oldest.value);
    this.#tokens.set(key, { token, expiresAt: performance.now() + lifeSeconds * 1000 });
  }

  #key({ realm, service, scope, credentials }: TokenRequest): string {
    const parts = [realm.href, service, scope, credentials?.username ?? null, credentials?.password ?? null];
    return createHmac('sha256', this.#hashKey).update(JSON.stringify(parts)).digest('base64');
  }
}

async function fetchToken(
  request: TokenRequest,
  transport: Transport,
  limits: TokenLimits,
  signal: AbortSignal,
): Promise<{ token: string; expiresIn: number }> {
  const { realm, service, scope, credentials } = request;
  const url = new URL(realm);
  url.searchParams.set('service', service);
  url.searchParams.set('scope', scope);
  const exchange: TransportRequest = {
    method: 'GET',
    url,
    headers: {
      accept: 'application/json',
      ...(credentials !== undefined && { authorization: basicAuthorization(credentials) }),
    },
    operation: 'token',
    template: realm.pathname,
    auth: { service, scope },
    signal,
    attempts: { count: 0 },
  };
  const response = await transport.send(exchange);
  const secrets =
    credentials === undefined
      ? []
      : [basicAuthorization(credentials).slice('Basic '.length), credentials.password];
  const endpoint = JSON.stringify(`${realm.origin}${realm.pathname}`);
  if (response.status !== 200) {
    const error = await errorFromResponse(
      { ...response, secrets },
      `Cannot get a token from ${endpoint}`,
      limits.errorBytes,
    );
    // What is not found here is the endpoint, not the image.
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
  return parseTokenAnswer(bytes, endpoint);
}

/**
 * Reads a token endpoint's answer: `token` or, as OAuth 2 has it, `access_token`.
 *
 * @see https://distribution.github.io/distribution/spec/auth/token/#token-response-fields
 */
function parseTokenAnswer(bytes: Uint8Array, endpoint: string): { token: string; expiresIn: number } {
  const failure = (why: string) =>
    new PassthroughError('REGISTRY_FAILED', `Cannot get a token from ${endpoint}: ${why}`);
  let answer: unknown;
  try {
    answer = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    throw failure('its answer is not JSON');
  }
  const fields = (typeof answer === 'object' && answer !== null ? answer : {}) as Record<string, unknown>;
  const token = [fields['token'], fields['access_token']].find(
    (value) => typeof value === 'string' && value !== '',
  );
  if (typeof token !== 'string') throw failure('its answer has neither token nor access_token');
  // What would end a header early, or is no header text at all, is no token: RFC 6750 gives b64token.
  if (!/^[\x21-\x7e]+$/.test(token)) throw failure('its token has characters that no token has');
  const expiresIn = Number(fields['expires_in'] ?? DEFAULT_EXPIRES_S);
  return { token, expiresIn: Number.isFinite(expiresIn) && expiresIn > 0 ? expiresIn : DEFAULT_EXPIRES_S };
}
