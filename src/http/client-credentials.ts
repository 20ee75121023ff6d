import { isUtf8 } from 'node:buffer';
import { isPassthroughError, PassthroughError } from '../errors.ts';
import type { Call } from '../pull/request.ts';
import type { BasicCredentials } from '../registry/auth/credentials.ts';
import type { RegistryHost } from '../registry/registry-host.ts';
import { withSpan } from '../telemetry/span.ts';
import type { Application } from './application.ts';
import { isFailure } from './problem.ts';
import type { RequestContext } from './request-context.ts';

/** Base64 of RFC 4648, section 4. The padding may be missing. */
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

/** Control characters, by the bytes of another encoding than UTF-8: all but those of ASCII and, from 0x80 on, letters of some. */
const CONTROL_BYTES = /[^ -~\x80-\xff]/;

/**
 * Reads the registry credentials that a client sends as Basic. A registry that is asked with them gets the same bytes: clients
 * encode letters beyond ASCII in UTF-8 or, as older ones do, in Latin-1.
 *
 *     credentials = "Basic" 1*SP base64( user-id ":" password )
 *
 * @param authorization the `Authorization` header
 * @returns `undefined` without the header
 * @throws PassthroughError `CREDENTIALS_REQUIRED` for a malformed header; the message names the part and quotes nothing
 * @see https://www.rfc-editor.org/rfc/rfc7617#section-2
 */
export function parseBasicCredentials(authorization: string | undefined): BasicCredentials | undefined {
  if (authorization === undefined) return undefined;
  // Trimming and searching are linear; an expression that skips blanks on both sides of a value is not.
  const text = authorization.trim();
  const blank = text.search(/\s/);
  const scheme = blank === -1 ? text : text.slice(0, blank);
  const value = blank === -1 ? '' : text.slice(blank).trimStart();
  if (scheme.toLowerCase() !== 'basic') throw malformed('its scheme is not Basic');
  if (!BASE64.test(value)) throw malformed('what follows Basic is not base64');
  const bytes = Buffer.from(value, 'base64');
  const encoding = isUtf8(bytes) ? 'utf8' : 'latin1';
  const pair = bytes.toString(encoding);
  const colon = pair.indexOf(':');
  if (colon === -1) throw malformed('no colon separates user name and password');
  if ((encoding === 'utf8' ? /\p{Cc}/u : CONTROL_BYTES).test(pair))
    throw malformed('it holds a control character');
  if (pair === ':') throw malformed('user name and password are empty');
  const credentials = { username: pair.slice(0, colon), password: pair.slice(colon + 1) };
  return encoding === 'utf8' ? credentials : { ...credentials, encoding };
}

/** What a request brings for its registry. */
export type ClientAccess = Pick<Call, 'credentials' | 'requiresClient'>;

/**
 * Extracts the client's registry credentials from a request, inside a span of its own.
 *
 * @param isRequired whether the route requires them
 * @param hosts the registries of the request
 * @returns no credentials if the client sends none, or the configuration ignores them
 * @throws PassthroughError `CREDENTIALS_REQUIRED` if they are required and missing, or malformed; `INVALID_REFERENCE` if they are
 *   required and the request names several registries
 */
export function extractCredentials(
  { request }: RequestContext,
  isRequired: boolean,
  hosts: readonly RegistryHost[],
  { config, images }: Application,
): Promise<ClientAccess> {
  const mode = isRequired ? 'required' : config.registry.clientAuth;
  const requiresClient = mode === 'required';
  const { authorization } = request.headers;
  const attributes = {
    'registry.client_auth.mode': mode,
    'registry.client_auth.credentials_present': authorization !== undefined,
    'registry.client_auth.credentials_used': false,
    'registry.client_auth.challenge_sent': false,
  };
  return withSpan('extract_registry_client_credentials', { attributes, isFailure }, (span) => {
    // Before the challenge, since no credentials make such a request valid.
    if (requiresClient && !isSingle(hosts)) throw severalRegistries(hosts);
    try {
      const credentials = mode === 'off' ? undefined : parseBasicCredentials(authorization);
      if (credentials === undefined && requiresClient) {
        throw new PassthroughError(
          'CREDENTIALS_REQUIRED',
          'Send them as HTTP Basic: user name and password of the registry',
        );
      }
      const client = { credentials, requiresClient };
      const isUsed = images.credentialOwners(hosts, client).has('client');
      span.setAttribute('registry.client_auth.credentials_used', isUsed);
      return client;
    } catch (error) {
      span.setAttribute('registry.client_auth.challenge_sent', true);
      throw error;
    }
  });
}

/**
 * Turns the refusal of an anonymous pull into a challenge, so that a browser asks for credentials. Other errors stay as they are,
 * also where the client's credentials would not be used: a browser would ask for them again and again.
 *
 * @param hosts the registries of the request
 * @param client what the client sent
 */
export function challengeWhenDenied(
  error: unknown,
  hosts: readonly RegistryHost[],
  client: ClientAccess,
  { config, images }: Application,
): unknown {
  if (!isPassthroughError(error, 'REGISTRY_DENIED')) return error;
  // An auth file may have credentials for other repositories of the registry, and its helper program may have none.
  const { credentials } = error.details;
  const owners = credentials === undefined ? images.credentialOwners(hosts, client) : [credentials];
  const isAnonymous = [...owners].every((owner) => owner === 'none');
  if (config.registry.clientAuth === 'off' || !isSingle(hosts) || !isAnonymous) return error;
  return new PassthroughError('CREDENTIALS_REQUIRED', error.message, { ...error.details, cause: error });
}

function isSingle(hosts: readonly RegistryHost[]): boolean {
  return new Set(hosts.map(({ origin }) => origin)).size === 1;
}

function severalRegistries(hosts: readonly RegistryHost[]): PassthroughError {
  const count = new Set(hosts.map(({ origin }) => origin)).size;
  return new PassthroughError(
    'INVALID_REFERENCE',
    `Cannot bundle images of ${count} registries: clients must send credentials here, and those of a request are for one registry`,
  );
}

function malformed(why: string): PassthroughError {
  return new PassthroughError('CREDENTIALS_REQUIRED', `Cannot parse Authorization header: ${why}`);
}
