import { isPassthroughError, PassthroughError } from '../errors.ts';
import type { BasicCredentials } from '../registry/auth/credentials.ts';
import type { RegistryHost } from '../registry/registry-host.ts';
import { withSpan } from '../telemetry/span.ts';
import type { Application } from './application.ts';
import { isFailure } from './problem.ts';
import type { RequestContext } from './request-context.ts';

/** Base64 of RFC 4648, section 4. The padding may be missing. */
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

/**
 * Reads the registry credentials that a client sends as Basic.
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
  const end = authorization.search(/\s|$/);
  const [scheme, value] = [authorization.slice(0, end), authorization.slice(end).trim()];
  if (scheme.toLowerCase() !== 'basic') throw malformed('its scheme is not Basic');
  if (!BASE64.test(value)) throw malformed('what follows Basic is not base64');
  const text = Buffer.from(value, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  if (colon === -1) throw malformed('no colon separates user name and password');
  if (/\p{Cc}/u.test(text)) throw malformed('it holds a control character');
  if (text === ':') throw malformed('user name and password are empty');
  return { username: text.slice(0, colon), password: text.slice(colon + 1) };
}

/**
 * Extracts the client's registry credentials from a request, inside a span of its own.
 *
 * @param isRequired whether the route requires them
 * @param hosts the registries of the request
 * @returns `undefined` if the client sends none, or the configuration ignores them
 * @throws PassthroughError `CREDENTIALS_REQUIRED` if they are required and missing, or malformed
 */
export function extractCredentials(
  { request }: RequestContext,
  isRequired: boolean,
  hosts: readonly RegistryHost[],
  { config, images }: Application,
): Promise<BasicCredentials | undefined> {
  const mode = isRequired ? 'required' : config.registry.clientAuth;
  const { authorization } = request.headers;
  const attributes = {
    'registry.client_auth.mode': mode,
    'registry.client_auth.credentials_present': authorization !== undefined,
    'registry.client_auth.credentials_used': false,
    'registry.client_auth.challenge_sent': false,
  };
  return withSpan('extract_registry_client_credentials', { attributes, isFailure }, (span) => {
    try {
      const client = mode === 'off' ? undefined : parseBasicCredentials(authorization);
      if (client === undefined && mode === 'required') {
        throw new PassthroughError(
          'CREDENTIALS_REQUIRED',
          'Send them as HTTP Basic: user name and password of the registry',
        );
      }
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
 * @param client the credentials that the client sent
 */
export function challengeWhenDenied(
  error: unknown,
  hosts: readonly RegistryHost[],
  client: BasicCredentials | undefined,
  { config, images }: Application,
): unknown {
  if (!isPassthroughError(error, 'REGISTRY_DENIED')) return error;
  const owners = images.credentialOwners(hosts, client);
  const isAnonymous = [...owners].every((owner) => owner === 'none');
  const isSingle = new Set(hosts.map(({ origin }) => origin)).size === 1;
  if (config.registry.clientAuth === 'off' || !isSingle || !isAnonymous) return error;
  return new PassthroughError('CREDENTIALS_REQUIRED', error.message, { ...error.details, cause: error });
}

function malformed(why: string): PassthroughError {
  return new PassthroughError('CREDENTIALS_REQUIRED', `Cannot parse Authorization header: ${why}`);
}
