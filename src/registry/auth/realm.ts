/** Token endpoints, and which of them may receive credentials. */

import { type HostPattern, matchesHost } from '../host-pattern.ts';
import type { RegistryHost } from '../registry-host.ts';
import type { Challenge } from './challenge.ts';
import { isSameOwner } from './registrable-domain.ts';

/**
 * Whether a token realm may receive Basic credentials. A registry's response may name any realm, so the response alone
 * must not decide where a password is sent. The realm must use https, or http if the registry itself does. It must be
 * configured or known, on the registry's host, under the same registrable domain, or in the operator's list.
 *
 * @param realm token endpoint, from the configuration or from a challenge
 * @param trusted the operator's list
 */
export function mayReachRealm(host: RegistryHost, realm: URL, trusted: readonly HostPattern[]): boolean {
  const registry = new URL(host.origin);
  if (realm.protocol !== 'https:' && registry.protocol !== 'http:') return false;
  if (host.tokenEndpoint instanceof URL && host.tokenEndpoint.href === realm.href) return true;
  return (
    isSameOwner(realm.hostname, registry.hostname) || trusted.some((pattern) => matchesHost(pattern, realm))
  );
}

/** The realm of a challenge; `undefined` if it is no http or https URL, or contains credentials. */
export function realmUrl({ params }: Challenge): URL | undefined {
  const url = URL.parse(params.get('realm') ?? '');
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) return undefined;
  return url.username === '' && url.password === '' ? url : undefined;
}
