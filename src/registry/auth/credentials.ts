import { type HostPattern, matchesHost } from '../host-pattern.ts';
import type { RegistryHost } from '../registry-host.ts';
import { isSameOwner } from './registrable-domain.ts';

/** User name and password, as Basic carries them. */
export interface BasicCredentials {
  readonly username: string;
  readonly password: string;
}

/** The operator's credentials and where they may go. */
export interface StaticCredentials {
  readonly bearerToken: string | undefined;
  readonly basic: BasicCredentials | undefined;
  /**
   * Origin of the one registry that they belong to; `undefined` where none was configured, and they serve whichever
   * registry a request names.
   */
  readonly boundTo: string | undefined;
  /** Further hosts that they may reach when they are bound. */
  readonly hosts: readonly HostPattern[];
}

/** What a pull authenticates with. `source` tells whether what it earns may be shared with other requests. */
export type Credential =
  | { readonly type: 'none' }
  | { readonly type: 'bearer'; readonly token: string }
  | { readonly type: 'basic'; readonly basic: BasicCredentials; readonly source: 'client' | 'environment' };

/**
 * Chooses the credential of one pull: the static bearer token, else the client's Basic credentials, else the static
 * ones, else none. Static ones are left out where they do not belong to the registry.
 *
 * @param client the client's credentials, where the request has them and may use them
 */
export function chooseCredential(
  target: RegistryHost,
  client: BasicCredentials | undefined,
  fixed: StaticCredentials,
): Credential {
  const mayUseStatic = belongsTo(fixed, new URL(target.origin));
  if (mayUseStatic && fixed.bearerToken !== undefined) return { type: 'bearer', token: fixed.bearerToken };
  if (client !== undefined) return { type: 'basic', basic: client, source: 'client' };
  if (mayUseStatic && fixed.basic !== undefined) {
    return { type: 'basic', basic: fixed.basic, source: 'environment' };
  }
  return { type: 'none' };
}

/**
 * Whether static credentials may be sent to a registry. Over plain http only to the configured registry itself or to an
 * entry that says so, by its scheme or by a port of its own: the scheme in a request is the client's choice, and a name
 * that the operator listed for https must not be talked out of it.
 */
function belongsTo(fixed: StaticCredentials, registry: URL): boolean {
  if (fixed.boundTo === undefined || fixed.boundTo === registry.origin) return true;
  return fixed.hosts.some(
    (host) =>
      matchesHost(host, registry) &&
      (registry.protocol === 'https:' || host.scheme === 'http:' || host.port !== undefined),
  );
}

/**
 * Whether Basic credentials may be sent to a token realm. The realm comes from the registry's answer, so the answer
 * alone must not decide where a password goes: it goes over https (over http only where the registry itself is http),
 * and to a realm that is configured or known, on the registry's host, under the same registrable domain, or trusted by
 * the operator.
 *
 * @param realm token endpoint, from the configuration or from a challenge
 * @param trusted the operator's list
 */
export function mayReachRealm(target: RegistryHost, realm: URL, trusted: readonly HostPattern[]): boolean {
  const registry = new URL(target.origin);
  if (realm.protocol !== 'https:' && registry.protocol !== 'http:') return false;
  if (target.tokenEndpoint instanceof URL && target.tokenEndpoint.href === realm.href) return true;
  return (
    isSameOwner(realm.hostname, registry.hostname) || trusted.some((pattern) => matchesHost(pattern, realm))
  );
}

/** The value of an `Authorization` header for Basic, in UTF-8: https://www.rfc-editor.org/rfc/rfc7617#section-2 */
export function basicAuthorization({ username, password }: BasicCredentials): string {
  return `Basic ${Buffer.from(`${username}:${password}`, 'utf8').toString('base64')}`;
}
